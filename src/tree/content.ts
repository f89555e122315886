/** The bytes of a file node as extents of an image, read only when they are asked for. */
import { printable } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import { bytesExtent, type Extent, type Image, type ImmediateReader, moveExtent } from '../io/image.ts'
import { imageSlice } from '../io/slice.ts'
import { extentChunks } from '../io/stream.ts'
import { type HostFileState, hostFileOf, readHostFile } from './host-file.ts'
import { hostFileChunks, hostFileExtent } from './host-image.ts'
import type { FileNode } from './tree.ts'

/**
 * The content of `file` from byte `start` of an image on, as sorted extents. An empty file has none; an
 * `image` content keeps its holes. `path` names the file in errors.
 *
 * Throws USAGE when content in memory is not `file.size` bytes long; reading a host file throws
 * UNREADABLE, or CHANGED when it does not have exactly `file.size` bytes.
 */
export function contentExtents(file: FileNode, start: number, path: string): Extent[] {
  const { content, size } = file
  switch (content.kind) {
    case 'bytes':
      checkSize(path, content.bytes.length, size)
      return size === 0 ? [] : [bytesExtent(start, content.bytes)]
    case 'image':
      checkSize(path, content.image.size, size)
      return content.image.extents.map((extent) => moveExtent(extent, start))
    case 'hostFile':
    case 'patched':
      return size === 0 ? [] : [hostFileExtent(hostFileOf(content, size), start)]
  }
}

/**
 * For one reading of `file` from its beginning to its end, synchronously; undefined for an empty file, and for images
 * that cannot be read so, or have holes. Throws what `contentExtents` and opening a host file throw.
 */
export function openContent(file: FileNode, path: string): ImmediateReader | undefined {
  const [extent] = contentExtents(file, 0, path)
  return extent?.length === file.size ? extent.openNow?.() : undefined
}

/**
 * `length` bytes of the content of `file` from byte `start` on; a number stands for so many zeros. `state` is the
 * same for all parts of a file that is read in several. Chunks may lie in `buffer`, where the next one replaces them.
 *
 * Reading throws what the extents of `contentExtents` throw.
 */
export async function* contentRange(
  file: FileNode,
  start: number,
  length: number,
  { state, buffer }: { readonly state?: HostFileState | undefined; readonly buffer?: Uint8Array | undefined } = {},
): AsyncGenerator<Uint8Array | number> {
  const { content, size } = file
  if ('proof' in content && content.proof !== undefined) {
    yield* imageRange({ size, extents: contentExtents(file, 0, printable(content.path)) }, start, start + length, buffer)
    return
  }
  switch (content.kind) {
    case 'bytes':
      yield content.bytes.subarray(start, start + length)
      return
    case 'hostFile':
    case 'patched':
      yield* hostFileChunks(hostFileOf(content, size), { start, length, state, buffer })
      return
    case 'image':
      yield* imageRange(content.image, start, start + length, buffer)
  }
}

async function* imageRange(image: Image, start: number, end: number, buffer: Uint8Array | undefined): AsyncGenerator<Uint8Array | number> {
  const { size, extents } = imageSlice(image, start, end)
  let at = 0
  for (const extent of extents) {
    if (extent.start > at) yield extent.start - at
    yield* extentChunks(extent, undefined, buffer)
    at = extent.start + extent.length
  }
  if (at < size) yield size - at
}

/** All bytes of a small file. Throws what the extents of `contentExtents` throw; UNSUPPORTED for an image, which cannot be read at once. */
export function contentBytes({ content, size }: Pick<FileNode, 'content' | 'size'>, path: string): Uint8Array {
  switch (content.kind) {
    case 'bytes':
      checkSize(path, content.bytes.length, size)
      return content.bytes
    case 'hostFile':
    case 'patched': {
      const bytes = new Uint8Array(size)
      readHostFile(hostFileOf(content, size), bytes)
      return bytes
    }
    case 'image':
      throw new ImageError('UNSUPPORTED', `${path}: its content is an image`, { path })
  }
}

function checkSize(path: string, actual: number, stated: number): void {
  if (actual !== stated) throw new ImageError('USAGE', `${path}: the content is ${actual} bytes, the node says ${stated}`, { path })
}
