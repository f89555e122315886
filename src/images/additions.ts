/** Files and folders of the host that a user wants in an image. */
import { realpathSync } from 'node:fs'
import { ImageError, systemErrorCode } from '../errors.ts'
import { treeAt } from '../tree/merge.ts'
import { type ScanPolicy, scanHost } from '../tree/scan.ts'
import type { Attributes, DirectoryNode } from '../tree/tree.ts'

/** `target` is a path in the image, `source` one of the host; a link there is followed, links below it are kept. */
export interface Addition {
  readonly target: string
  readonly source: string
}

/**
 * A tree with `source` at `target`; the folders above it have `folder`'s attributes. Where the source itself is a
 * link, such as the `result` of a Nix build, what it leads to is meant.
 */
export function addedTree({ target, source }: Addition, folder: Attributes, policy: ScanPolicy): DirectoryNode {
  return treeAt(target, scanHost(withoutLinks(source), policy), folder)
}

/** The real path, as bytes. Throws NOT_FOUND, UNREADABLE, USAGE. */
export function withoutLinks(source: string): Uint8Array {
  if (source === '') throw new ImageError('USAGE', 'a further file has no source; name a file or folder of the host')
  try {
    return realpathSync(source, 'buffer')
  } catch (error) {
    const code = systemErrorCode(error)
    const missing = code === 'ENOENT' || code === 'ENOTDIR'
    const why = missing ? 'is not there, or is a link to what is not there' : `cannot be reached (${code ?? String(error)})`
    throw new ImageError(missing ? 'NOT_FOUND' : 'UNREADABLE', `${source}: ${why}`, { path: source, cause: error })
  }
}
