/** Single files of a loaded store. */
import { readFile } from 'node:fs/promises'
import { printable } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import type { Image } from '../io/image.ts'
import { imageChunks } from '../io/stream.ts'
import type { Closure } from '../nix/closure.ts'
import { resolveInStore } from '../nix/resolve.ts'
import type { StoreOverlay } from '../nix/store-tree.ts'
import { contentExtents } from '../tree/content.ts'
import { unreadableError } from '../tree/host-file.ts'
import type { FileNode } from '../tree/tree.ts'

export interface StorePlace {
  readonly closure: Closure
  /** Where the store is, on the host. */
  readonly root: string
  /** What of it is not on the host. */
  readonly overlay?: StoreOverlay
}

/** What reads as text here is small; larger files are not looked at. */
const TEXT_LIMIT = 1 << 20

/** A file that boot.json names. Throws NOT_FOUND, BAD_INPUT for a folder. */
export function fileInStore(path: string, place: StorePlace): FileNode {
  const { size, content } = resolveInStore(path, place.closure, place)
  if (content === undefined) throw new ImageError('BAD_INPUT', `boot.json: ${path} is a folder, a file is needed`, { path })
  return { kind: 'file', mode: 0o444, uid: 0, gid: 0, mtimeSeconds: 1, size, content }
}

/** The same as an image; it can be read any number of times. */
export function imageInStore(path: string, place: StorePlace): Image {
  const file = fileInStore(path, place)
  return { size: file.size, extents: contentExtents(file, 0, path) }
}

/** All bytes of a file that boot.json or the system names. Throws NOT_FOUND, BAD_INPUT, UNREADABLE. */
export async function bytesInStore(path: string, place: StorePlace): Promise<Buffer> {
  const { size, extents } = imageInStore(path, place)
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks({ size, extents })) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The text of a small file of the store, or undefined where there is none. */
export async function textInStore(path: string, place: StorePlace): Promise<string | undefined> {
  try {
    const found = resolveInStore(path, place.closure, place)
    return found.kind === 'file' && found.size < TEXT_LIMIT ? (await bytesInStore(path, place)).toString('utf8') : undefined
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
