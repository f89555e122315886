/** Single files of a loaded store, whose bytes are proven. */
import { ImageError } from '../errors.ts'
import type { Image } from '../io/image.ts'
import { imageChunks } from '../io/stream.ts'
import { resolveInStore } from '../nix/store/resolve.ts'
import type { StoreTrees } from '../nix/store/store-trees.ts'
import { contentBytes, contentExtents } from '../tree/content.ts'
import type { Content, DirectoryNode, FileNode, TreeNode } from '../tree/tree.ts'

/** Of a loaded store. */
export interface StorePlace {
  readonly trees: StoreTrees
}

/** What reads as text here is small; larger files are not looked at. */
const TEXT_LIMIT = 1 << 20

/** A file that boot.json names; reading it later gives what is proven now, or CHANGED. Throws NOT_FOUND, BAD_INPUT for a folder. */
export async function fileInStore(path: string, { trees }: StorePlace): Promise<FileNode> {
  const { size, content } = await resolveInStore(path, trees)
  if (content === undefined) throw new ImageError('BAD_INPUT', `boot.json: ${path} is a folder, a file is needed`, { path })
  // A proof is of what lies below the patches; the few files that have some are taken as they are then.
  const own: Content = content.kind === 'patched' ? { kind: 'bytes', bytes: contentBytes({ size, content }, path) } : content
  return { kind: 'file', mode: 0o444, uid: 0, gid: 0, mtimeSeconds: 1, size, content: own }
}

/** The files of `paths`, by path. Throws what `fileInStore` throws. */
export async function filesInStore(paths: Iterable<string>, place: StorePlace): Promise<Map<string, FileNode>> {
  const files = new Map<string, FileNode>()
  for (const path of paths) files.set(path, await fileInStore(path, place))
  return files
}

/** A file as an image; it can be read any number of times. */
export async function imageInStore(path: string, place: StorePlace): Promise<Image> {
  const file = await fileInStore(path, place)
  return { size: file.size, extents: contentExtents(file, 0, path) }
}

/** A folder of the store, and where it is when links are followed. */
export interface StoreDirectory {
  readonly path: string
  /** With all that is in it, its links as they are. */
  readonly node: DirectoryNode
}

/** A folder of the store; undefined where there is none. Throws what `trees` throws. */
export async function directoryInStore(path: string, { trees }: StorePlace): Promise<StoreDirectory | undefined> {
  try {
    const found = (await resolveInStore(path, trees)).path
    const [, , , baseName = '', ...names] = Buffer.from(found).toString('latin1').split('/')
    let node: TreeNode | undefined = await trees.tree(baseName)
    for (const name of names) {
      const bytes = Buffer.from(name, 'latin1')
      node = node?.kind === 'directory' ? node.entries.find((entry) => bytes.equals(entry.name))?.node : undefined
    }
    return node?.kind === 'directory' ? { path: Buffer.from(found).toString(), node } : undefined
  } catch (error) {
    if (error instanceof ImageError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}

/** All bytes of a file that boot.json or the system names. Throws NOT_FOUND, BAD_INPUT, UNREADABLE, CHANGED. */
export async function bytesInStore(path: string, place: StorePlace): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks(await imageInStore(path, place))) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The text of a small file of the store, or undefined where there is none. */
export async function textInStore(path: string, place: StorePlace): Promise<string | undefined> {
  try {
    const found = await resolveInStore(path, place.trees)
    return found.kind === 'file' && found.size < TEXT_LIMIT ? (await bytesInStore(path, place)).toString('utf8') : undefined
  } catch (error) {
    if (error instanceof ImageError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}
