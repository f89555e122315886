/**
 * ZFS pools of one device, as OpenZFS 2.1 to 2.4 read and write them: `zfsPool(root, options)` plans, `pack` reads,
 * compresses and writes. After the sources of OpenZFS 2.1, named at each record.
 *
 * Not supported (asking for it is UNSUPPORTED where it can be asked for): reading; mirrors, raidz, draid, logs, caches
 * and spares; native encryption; deduplication; checksums other than fletcher4 and sha256; lzjb and zstd-fast; dnodes
 * beyond 512 bytes (`dnodesize` is kept for what is written later); volumes; clones and bookmarks; extended attributes in directories of their own; names of more than
 * 255 bytes; quotas of users; on file systems that normalize names or fold case, rare characters (`zpl/name-rules.ts`).
 * Chosen: access, change and creation times are the modification time; access control lists are the trivial ones of
 * the modes; the intent log is empty; copies of metadata lie far from each other where there is room.
 */
import { uncoveredDigests, withVerifiedContents } from '../../data/coverage.ts'
import { type BuildContext, checkJobs, type GrowingImage, type Image } from '../../io/image.ts'
import { regionImage } from '../../io/region.ts'
import type { Target } from '../../io/target.ts'
import type { DirectoryNode, TreeDigest } from '../../tree/tree.ts'
import { emitPool } from './emit.ts'
import type { ZfsPoolOptions } from './options.ts'
import { planZfs, type ZfsPlan } from './plan.ts'

export { ZFS_COMPATIBILITIES, type ZfsCompatibility } from './compatibility.ts'
export { ZFS_DEFAULTS, type ZfsDataset, type ZfsPoolOptions, type ZfsSnapshot } from './options.ts'
export { planZfs, type ZfsPlan } from './plan.ts'
export { type SplitPoolProperties, splitPoolProperties, type ZfsPoolProperties } from './pool-properties.ts'
export type { ZfsProperties } from './properties.ts'

export interface ZfsImage extends GrowingImage {
  readonly plan: ZfsPlan
  /** Bytes of all files, each hard link once: what `pack` reads. */
  readonly contentBytes: number
}

export interface ZfsPackOptions extends ZfsPoolOptions {
  /** Checksums over parts of the tree, checked while the contents are read; each covers a node of the tree. */
  readonly digests?: readonly TreeDigest[]
}

/**
 * A pool that holds `root`, spread over its datasets by their mount points. Its size is that of the options, or what the
 * content needs once it is compressed, up to `sizeLimit`. Each file is read once, dataset by dataset, depth first and by
 * name. Throws USAGE, UNSUPPORTED, or LIMIT for what surely does not fit; `pack` also LIMIT as soon as the pool is full,
 * with a size that will do, HASH_MISMATCH, CHANGED, UNREADABLE, WORKER_DIED, ABORTED, and what contents and the target throw.
 */
export function zfsPool(root: DirectoryNode, { digests = [], ...options }: ZfsPackOptions): ZfsImage {
  const whole = planZfs(root, options)
  const uncovered = uncoveredDigests(treesOf(whole), digests)
  const plan = uncovered.length === 0 ? whole : planZfs(withVerifiedContents(root, uncovered), options)
  const streamed = digests.filter((digest) => !uncovered.includes(digest))
  return {
    plan,
    contentBytes: plan.contentBytes,
    sizeLimit: typeof plan.options.size === 'number' ? plan.options.size : plan.size.geometry.deviceSize,
    async pack(target: Target, start: number, context: BuildContext): Promise<Image> {
      checkJobs(context.jobs)
      context.onProgress?.({ kind: 'stage', stage: 'compress', totalBytes: plan.contentBytes })
      const { size, runs } = await emitPool(plan, streamed, target, start, context)
      target.flush?.()
      const extents = runs.flatMap((run) => {
        const { extents: own } = regionImage(target, start + run.start, run.length)
        return own.map((extent) => ({ ...extent, start: run.start }))
      })
      return { size, extents }
    },
  }
}

/** What each dataset holds. */
function treesOf({ datasets }: ZfsPlan): DirectoryNode[] {
  return datasets.map(({ fileSystem }) => fileSystem.nodes[0]?.node as DirectoryNode)
}
