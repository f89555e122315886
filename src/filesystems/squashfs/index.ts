/**
 * SquashFS 4.0 from a tree: `squashfs(root, options)` plans, `pack` reads, compresses and writes.
 *
 * Not supported (asking for it is UNSUPPORTED): see `format.ts`; files whose content is an image;
 * digests that cover one another.
 */

import type { CodecSpec } from '../../codecs/codec.ts'
import { openCodec } from '../../codecs/open.ts'
import { ImageError } from '../../errors.ts'
import { type BuildContext, checkJobs, type GrowingImage, type Image } from '../../io/image.ts'
import { regionImage } from '../../io/region.ts'
import type { Target } from '../../io/target.ts'
import type { DirectoryNode, TreeDigest, TreeNode } from '../../tree/tree.ts'
import { packData } from './data/pack.ts'
import { METADATA_BLOCK_SIZE } from './disk.ts'
import { emitTables } from './emit.ts'
import type { SquashfsOptions } from './format.ts'
import { planSquashfs, type SquashfsPlan } from './plan.ts'

export { SQUASHFS_DEFAULTS, type SquashfsOptions } from './format.ts'
export { planSquashfs, type SquashfsPlan } from './plan.ts'

export interface SquashfsPackOptions extends SquashfsOptions {
  /** Checksums that are checked while the bytes pass; each covers a node of the tree that no other covers. */
  readonly digests?: readonly TreeDigest[]
}

export interface SquashfsImage extends GrowingImage {
  readonly plan: SquashfsPlan
  /** Bytes of all files, each hard link once: what `pack` reads at least. */
  readonly contentBytes: number
}

/**
 * A SquashFS image of a tree. Throws USAGE, LIMIT or UNSUPPORTED; `pack` also HASH_MISMATCH, CHANGED,
 * UNREADABLE, WORKER_DIED, ABORTED and what the target throws.
 *
 * Source: kernel Documentation/filesystems/squashfs.rst; "Squashfs Binary Format" of squashfs-tools-ng.
 */
export function squashfs(root: DirectoryNode, options: SquashfsPackOptions = {}): SquashfsImage {
  const { digests = [], ...format } = options
  const plan = planSquashfs(root, format)
  checkDigests(root, digests)
  let contentBytes = 0
  for (const { size } of plan.files) contentBytes += size
  return {
    plan,
    contentBytes,
    sizeLimit: sizeLimit(plan, contentBytes),
    async pack(target: Target, start: number, context: BuildContext): Promise<Image> {
      checkJobs(context.jobs)
      const { blockSize, codec, fragments } = plan.options
      const metadataCodec = await openCodec(metadataSpec(codec), METADATA_BLOCK_SIZE)
      context.onProgress?.({ kind: 'stage', stage: 'squashfs', totalBytes: contentBytes })
      const stored = await packData(
        { root, files: plan.files, inodes: plan.inodes, digests, blockSize, codec, fragments },
        target,
        start,
        plan.dataStart,
        context,
      )
      target.flush?.()
      const { paddedSize } = await emitTables(plan, stored, target, start, metadataCodec)
      return regionImage(target, start, paddedSize)
    },
  }
}

/** Tables are compressed on one thread, where zstd above this level takes ten times as long to save three in a hundred bytes. */
const METADATA_ZSTD_LEVEL = 9

function metadataSpec(codec: CodecSpec): CodecSpec {
  return codec.name === 'zstd' && (codec.level ?? 0) > METADATA_ZSTD_LEVEL ? { name: 'zstd', level: METADATA_ZSTD_LEVEL } : codec
}

/** A digest is hashed as one stream, and each file is in one. */
function checkDigests(root: DirectoryNode, digests: readonly TreeDigest[]): void {
  const left = new Set(digests.map(({ node }) => node))
  const stack: TreeNode[] = root.entries.map((entry) => entry.node)
  for (let node = stack.pop(); node && left.size > 0; node = stack.pop()) {
    if (!left.delete(node) && node.kind === 'directory') for (const entry of node.entries) stack.push(entry.node)
  }
  const seen = new Set<TreeNode>()
  const lost = digests.find(({ node }) => left.has(node) || seen.size === seen.add(node).size)
  if (lost !== undefined) {
    const message = `${lost.name}: a checksum must cover a node of the tree as it is, to which nothing is added, and no other may cover the same`
    throw new ImageError('UNSUPPORTED', message, { path: lost.name })
  }
}

/** Everything stored as it is: no block grows, and records are counted at their largest. */
function sizeLimit(plan: SquashfsPlan, contentBytes: number): number {
  const blockBytes = 8 * Math.ceil(contentBytes / plan.options.blockSize)
  let tables = 0
  for (const { node, listing } of plan.inodes) {
    tables += 128
    if (node.kind === 'symlink') tables += node.target.length
    for (const entry of listing?.entries ?? []) tables += 20 + 2 * entry.name.length
    for (const xattr of node.xattrs ?? []) tables += 64 + xattr.name.length + xattr.value.length
  }
  return contentBytes + blockBytes + 2 * tables + (1 << 20)
}
