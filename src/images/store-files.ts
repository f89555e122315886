/** Single files of a loaded store. */
import { readFile } from 'node:fs/promises'
import { printable } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import type { Image } from '../io/image.ts'
import type { Closure } from '../nix/closure.ts'
import { resolveInStore } from '../nix/resolve.ts'
import { contentExtents } from '../tree/content.ts'
import { unreadableError } from '../tree/host-file.ts'
import type { FileNode } from '../tree/tree.ts'

export interface StorePlace {
  readonly closure: Closure
  /** Where the store is, on the host. */
  readonly root: string
}

/** What reads as text here is small; larger files are not looked at. */
const TEXT_LIMIT = 1 << 20

/** A file that boot.json names. Throws NOT_FOUND, BAD_INPUT for a folder. */
export function fileInStore(path: string, { closure, root }: StorePlace): FileNode {
  const found = resolveInStore(path, closure, root)
  if (found.kind !== 'file') throw new ImageError('BAD_INPUT', `boot.json: ${path} is a folder, a file is needed`, { path })
  return {
    kind: 'file',
    mode: 0o444,
    uid: 0,
    gid: 0,
    mtimeSeconds: 1,
    size: found.size,
    content: { kind: 'hostFile', path: found.hostPath },
  }
}

/** The same as an image; it can be read any number of times. */
export function imageInStore(path: string, place: StorePlace): Image {
  const file = fileInStore(path, place)
  return { size: file.size, extents: contentExtents(file, 0, path) }
}

/** All bytes of a file that boot.json or the system names. Throws NOT_FOUND, BAD_INPUT, UNREADABLE. */
export async function bytesInStore(path: string, { closure, root }: StorePlace): Promise<Buffer> {
  const found = resolveInStore(path, closure, root)
  if (found.kind !== 'file') throw new ImageError('BAD_INPUT', `${path} is a folder, a file is needed`, { path })
  return readHostFile(found.hostPath)
}

/** The text of a small file of the store, or undefined where there is none. */
export async function textInStore(path: string, { closure, root }: StorePlace): Promise<string | undefined> {
  try {
    const found = resolveInStore(path, closure, root)
    return found.kind === 'file' && found.size < TEXT_LIMIT ? (await readHostFile(found.hostPath)).toString('utf8') : undefined
  } catch (error) {
    if (error instanceof ImageError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}

/** All bytes of a file of the host. Throws UNREADABLE. */
export async function readHostFile(path: Uint8Array): Promise<Buffer> {
  try {
    return await readFile(Buffer.from(path))
  } catch (error) {
    throw unreadableError(printable(path), error)
  }
}
