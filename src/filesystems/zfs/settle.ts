/** What is decided about the size of a pool once its file systems are written. */
import type { ImageError } from '../../errors.ts'
import type { Allocator, AllocatorOptions } from './allocator.ts'
import { DNODE_BLOCK_SIZE, DNODES_PER_BLOCK, INDIRECT_SHIFT_MAXIMUM, SECTOR_SIZE } from './constants.ts'
import { OBJSET } from './disk.ts'
import { type Geometry, geometryWith, metaslabCountFor, usableSize } from './geometry.ts'
import type { MetaObjects } from './mos/objects.ts'
import { poolObjects } from './mos/pool.ts'
import { type DatasetContent, directoryUsages } from './mos/usage.ts'
import type { ZfsPlan } from './plan.ts'
import { tooSmall } from './plan-size.ts'
import { POOL_COPIES } from './storage.ts'

/** How much the allocator may give away. */
export function allocationLimits({ options, size }: ZfsPlan): Pick<AllocatorOptions, 'metaslabCount' | 'metaslabLimit' | 'usableSize'> {
  const { geometry } = size
  const isOpen = options.size === 'auto'
  return {
    metaslabCount: isOpen ? 0 : geometry.metaslabCount,
    metaslabLimit: geometry.metaslabCount,
    usableSize: usableSize(geometry),
  }
}

/** For blocks that have no room; `rest.bound` is what all that is not placed yet takes at most. */
export function fullErrorOf(plan: ZfsPlan, rest: { readonly bound: number }): (used: number) => ImageError {
  const { geometry, reserved } = plan.size
  return (used) => {
    const why = `its content takes more than ${used}`
    return tooSmall(geometry.deviceSize, usableSize(geometry), why, used + rest.bound + reserved, plan.size, geometry.ashift)
  }
}

/**
 * The geometry of the pool: with a fixed size that of the plan, else with as few metaslabs as hold all. Throws LIMIT
 * when reservations of datasets do not fit.
 */
export function settledGeometry(plan: ZfsPlan, contents: readonly DatasetContent[], allocator: Allocator): Geometry {
  const { options, size, txgs } = plan
  const { geometry, blockSizeMaximum } = size
  const copySize = metaSizeBound(poolObjects(options, contents, txgs).objects, geometry, allocator)
  const metaSpace = { used: POOL_COPIES * copySize, compressed: copySize, uncompressed: copySize }
  const used = directoryUsages(contents, metaSpace)[0]?.used ?? 0
  if (options.size !== 'auto') {
    const usable = usableSize(geometry)
    if (used <= usable) return geometry
    throw tooSmall(options.size, usable, `its content and reservations take ${used}`, used, size, geometry.ashift)
  }
  const least = allocator.metaslabCountAfter(copySize, blockSizeMaximum)
  const settled = geometryWith(geometry, metaslabCountFor(geometry, used + options.freeSize, least), options.roundTo)
  allocator.settle(settled.metaslabCount)
  return settled
}

/** What a space map and its dnode take. */
const SPACE_MAP_BOUND = 16 << 10

/** Bytes of one copy of the meta objset when nothing of it is compressed. */
function metaSizeBound(objects: MetaObjects, { metaslabCount }: Geometry, allocator: Allocator): number {
  let bytes = allocator.sizeOnDisk(OBJSET.size) + 2 ** INDIRECT_SHIFT_MAXIMUM
  for (const { blockSize, content } of objects.all) {
    const blocks = content.kind === 'late' ? 1 : content.blocks.length
    bytes += blocks * allocator.sizeOnDisk(blockSize) + (blocks > 1 ? 2 ** INDIRECT_SHIFT_MAXIMUM : 0)
  }
  const mapCount = Math.min(metaslabCount, allocator.used.length + POOL_COPIES)
  const dnodeBlocks = Math.ceil((objects.next + mapCount) / DNODES_PER_BLOCK)
  return bytes + dnodeBlocks * DNODE_BLOCK_SIZE + mapCount * (SPACE_MAP_BOUND + SECTOR_SIZE)
}
