/** The bytes of a file node as extents of an image, read only when they are asked for. */
import { ImageError } from '../errors.ts'
import { bytesExtent, type Extent, moveExtent } from '../io/image.ts'
import { hostFileExtent } from './host-file.ts'
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
      return size === 0 ? [] : [hostFileExtent(content.path, start, size)]
  }
}

function checkSize(path: string, actual: number, stated: number): void {
  if (actual !== stated) throw new ImageError('USAGE', `${path}: the content is ${actual} bytes, the node says ${stated}`, { path })
}
