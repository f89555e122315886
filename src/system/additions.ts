/** Files and folders of the host that a user wants in an image. */
import { realpathSync } from 'node:fs'
import { printable } from '../bytes/text.ts'
import { ImageError, systemErrorCode } from '../errors.ts'
import type { ProgressListener } from '../io/progress.ts'
import { treeAt } from '../tree/merge.ts'
import { type ScanPolicy, scanHost } from '../tree/scan.ts'
import type { Attributes, DirectoryNode, TreeNode } from '../tree/tree.ts'

/** `target` is a path in the image, `/` for the content of a folder at its root, `source` one of the host; a link there is followed, links below it are kept. */
export interface Addition {
  readonly target: string
  readonly source: string
}

/** What is added, and what was said of it. */
export interface AddedAs extends Addition {
  /** The permission bits that were asked for; undefined where they are the host's. */
  readonly mode?: number | undefined
}

/**
 * A tree with `source` at `target`; the folders above it have `folder`'s attributes. Where the source itself is a
 * link, such as the `result` of a Nix build, what it leads to is meant.
 *
 * A set-user-id bit means the owner of the file, so it is dropped from a file that gets another owner, as chown(2) does,
 * and a set-group-id bit where the group is another; a note says so. Modes that were asked for stay.
 */
export function addedTree(
  { target, source, mode }: AddedAs,
  folder: Attributes,
  policy: ScanPolicy,
  onProgress: ProgressListener | undefined,
): DirectoryNode {
  const dropped: string[] = []
  const attributes: ScanPolicy['attributes'] = (kind, host, path) => {
    const given = policy.attributes(kind, host, path)
    const bits = kind === 'file' && mode === undefined ? given.mode & foreignBits(given, host) : 0
    if (bits === 0) return given
    dropped.push(path)
    return { ...given, mode: given.mode & ~bits }
  }
  const scanned = scanHost(withoutLinks(source), { ...policy, attributes })
  const tree = /^\/+$/.test(target) ? rootOf(scanned, source, folder) : treeAt(target, scanned, folder)
  const [first] = dropped
  if (first !== undefined) {
    const others = dropped.length === 1 ? '' : ` and ${dropped.length - 1} more below ${source}`
    const message = `${printable(Buffer.from(first, 'latin1'))}${others}: set-user-id and set-group-id bits are dropped, since the owner in the image is another one`
    onProgress?.({ kind: 'note', message })
  }
  return tree
}

/** The content of a folder, whose own attributes say nothing of the root of an image. */
function rootOf(node: TreeNode, source: string, folder: Attributes): DirectoryNode {
  if (node.kind === 'directory') return { ...node, ...folder }
  throw new ImageError('USAGE', `${source}: is no folder, and cannot be the root of an image; name a target below /`, { path: source })
}

/** The bits of a mode that would act for somebody else (POSIX, S_ISUID and S_ISGID). */
function foreignBits(given: Attributes, host: Attributes): number {
  return (given.uid === host.uid ? 0 : 0o4000) | (given.gid === host.gid ? 0 : 0o2000)
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
