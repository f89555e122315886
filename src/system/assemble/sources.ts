/** What a spec names: paths in the store, and texts that stand in it, in the store or on the host. */
import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { utf8 } from '../../bytes/text.ts'
import { badInput, ImageError, systemErrorCode } from '../../errors.ts'
import { listedPath } from '../../nix/listing/closure.ts'
import { resolveInStore } from '../../nix/store/resolve.ts'
import { STORE_DIRECTORY } from '../../nix/store/store-path.ts'
import { unproven } from '../../nix/store/store-trees.ts'
import type { FileNode } from '../../tree/tree.ts'
import { bytesInStore, type StorePlace } from '../store-files.ts'
import type { TextSource } from './spec.ts'

/** Of `/nix/store/<base name>`, with what stands before the first slash. */
const STORE_PATH_PARTS = 4

/** Scripts and configurations are no larger, in bytes. */
const TEXT_LIMIT = 16 << 20

export interface SpecPlace extends StorePlace {
  /** From which the paths in the spec count that are on the host. */
  readonly folder: string
  /** Files of the host that were read are added here. */
  readonly inputs: string[]
}

/** Throws NOT_FOUND where the store path of `path` is not in the closure; `where` is the place in the spec. */
export function requireListed(path: string, where: string, { trees: { closure } }: StorePlace): void {
  const [, , , baseName = ''] = path.split('/')
  if (listedPath(closure, baseName) === undefined)
    throw new ImageError(
      'NOT_FOUND',
      `${where}: ${STORE_DIRECTORY}/${baseName} is not in the closure; list it with all that it refers to`,
      {
        path,
      },
    )
}

/** Something in the store that is there, whatever its content. Throws NOT_FOUND, BAD_INPUT (links in a circle). */
export async function requirePlace(path: string, where: string, place: StorePlace): Promise<void> {
  requireListed(path, where, place)
  // A store path may itself be a link that leads nowhere.
  if (path.split('/').length <= STORE_PATH_PARTS) return
  try {
    await resolveInStore(path, unproven(place.trees))
  } catch (cause) {
    throw at(where, cause)
  }
}

/** A file of the store, whatever its content. Throws NOT_FOUND, BAD_INPUT where it is a folder. */
export async function requireFile(path: string, where: string, { trees }: StorePlace): Promise<FileNode> {
  return storeFileNode(path, where, { trees: unproven(trees) })
}

/** A file of the store, with all links followed. Throws NOT_FOUND, BAD_INPUT where it is a folder. */
export async function storeFileNode(path: string, where: string, place: StorePlace): Promise<FileNode> {
  requireListed(path, where, place)
  try {
    const { size, content, executable } = await resolveInStore(path, place.trees)
    if (content === undefined) throw badInput(where, `${path} is a folder, a file is needed`)
    return { kind: 'file', mode: executable ? 0o555 : 0o444, uid: 0, gid: 0, mtimeSeconds: 1, size, content }
  } catch (cause) {
    throw at(where, cause)
  }
}

/** The bytes of a text. Throws NOT_FOUND, BAD_INPUT, LIMIT, UNREADABLE. */
export async function textBytes(source: TextSource, where: string, place: SpecPlace): Promise<Uint8Array> {
  if (typeof source === 'string') return utf8(source)
  return fileBytes(source.file, where, place)
}

/** The bytes of a file of the store or of the host. */
export async function fileBytes(path: string, where: string, place: SpecPlace): Promise<Uint8Array> {
  if (path.startsWith(`${STORE_DIRECTORY}/`)) {
    checkSize((await storeFileNode(path, where, place)).size, path, where)
    return bytesInStore(path, place)
  }
  const file = resolve(place.folder, path)
  place.inputs.push(file)
  try {
    const found = await stat(file)
    if (!found.isFile()) throw badInput(where, `${path} is no file`)
    checkSize(found.size, path, where)
    return await readFile(file)
  } catch (cause) {
    throw at(where, cause, path)
  }
}

function checkSize(size: number, path: string, where: string): void {
  if (size > TEXT_LIMIT)
    throw new ImageError('LIMIT', `${where}: ${path} has ${size} bytes, the limit for a text is ${TEXT_LIMIT}`, { path })
}

/** The error with the place in the spec before it. */
function at(where: string, cause: unknown, path = ''): ImageError {
  if (cause instanceof ImageError) {
    if (cause.message.startsWith(`${where}: `)) return cause
    return new ImageError(cause.code, (option) => `${where}: ${cause.messageWith(option)}`, {
      cause,
      ...(cause.path !== undefined && { path: cause.path }),
    })
  }
  const code = systemErrorCode(cause)
  if (code === undefined) throw cause
  const isMissing = code === 'ENOENT' || code === 'ENOTDIR'
  return new ImageError(isMissing ? 'NOT_FOUND' : 'UNREADABLE', `${where}: ${path} cannot be read (${code})`, { path, cause })
}
