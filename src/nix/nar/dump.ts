/** Writing the NAR of a tree. */
import { throwIfAborted } from '../../errors.ts'
import type { Image } from '../../io/image.ts'
import { imageChunks } from '../../io/stream.ts'
import { contentExtents } from '../../tree/content.ts'
import type { TreeNode } from '../../tree/tree.ts'
import { narPieces, narSize } from './serialize.ts'

/**
 * The NAR of `node` as an image, whose files are read when it is. `name` names it in errors. Throws what `narSize`
 * throws; reading throws UNREADABLE and CHANGED.
 */
export function narImage(node: TreeNode, name: string): Image {
  const size = narSize(node, name)
  return { size, extents: [{ start: 0, length: size, read: () => narChunks(node, name) }] }
}

/** The bytes of the NAR of `node`. Throws what `narImage` throws, and ABORTED. */
export async function* narChunks(node: TreeNode, name: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  for (const piece of narPieces(node)) {
    throwIfAborted(signal)
    if (!('kind' in piece)) {
      yield piece
      continue
    }
    yield* imageChunks({ size: piece.size, extents: contentExtents(piece, 0, name) }, signal ? { signal } : {})
  }
}
