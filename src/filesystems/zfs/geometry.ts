/** How a device is divided (OpenZFS `module/zfs/vdev.c`, `vdev_metaslab_set_size`), and what of it users get. */
import { alignUp } from '../../bytes/align.ts'
import { FRONT_SIZE, LABEL_SIZE, POOL_SIZE_MINIMUM, TAIL_SIZE } from './constants.ts'

/** What places of blocks depend on. */
export interface MetaslabShape {
  readonly ashift: number
  readonly metaslabShift: number
}

export interface Geometry extends MetaslabShape {
  /** Bytes of the device that ZFS sees; the labels at the end stand before it. */
  readonly deviceSize: number
  /** Bytes between the labels. */
  readonly allocatableSize: number
  readonly metaslabCount: number
}

const DEFAULT_SHIFT = 29
const SHIFT_MINIMUM = 24
const SHIFT_MAXIMUM = 34
const COUNT_WANTED_SMALL = 16
const COUNT_WANTED_LARGE = 200

/** A device of a given size, as `zpool create` divides it. */
export function geometryOf(size: number, ashift: number): Geometry {
  const deviceSize = size - (size % LABEL_SIZE)
  const allocatableSize = deviceSize - FRONT_SIZE - TAIL_SIZE
  const metaslabShift = metaslabShiftOf(allocatableSize)
  return { ashift, deviceSize, allocatableSize, metaslabShift, metaslabCount: Math.floor(allocatableSize / 2 ** metaslabShift) }
}

function metaslabShiftOf(size: number): number {
  const count = Math.floor(size / 2 ** DEFAULT_SHIFT)
  const wanted = count < COUNT_WANTED_SMALL ? COUNT_WANTED_SMALL : count > COUNT_WANTED_LARGE ? COUNT_WANTED_LARGE : undefined
  if (wanted === undefined) return DEFAULT_SHIFT
  return Math.min(SHIFT_MAXIMUM, Math.max(SHIFT_MINIMUM, Math.floor(Math.log2(size / wanted)) + 1))
}

/** Pools whose size follows from their content often grow: 100 GiB are then 1600 metaslabs at most. */
const OPEN_SHIFT_MINIMUM = 26
/** Of the largest blocks, so that little is lost where a metaslab ends. */
const BLOCKS_IN_METASLAB = 16

/** Metaslabs of a device whose size is open: as if it had `sizeLimit` bytes. `blockSize` is that of the largest blocks. */
export function openShape(sizeLimit: number, ashift: number, blockSize: number): MetaslabShape {
  const forBlocks = Math.ceil(Math.log2(BLOCKS_IN_METASLAB * blockSize))
  return { ashift, metaslabShift: Math.max(OPEN_SHIFT_MINIMUM, forBlocks, metaslabShiftOf(sizeLimit)) }
}

/** The smallest device with so many metaslabs; its size is a multiple of `roundTo` bytes. */
export function geometryWith({ ashift, metaslabShift }: MetaslabShape, metaslabCount: number, roundTo: number): Geometry {
  const needed = FRONT_SIZE + metaslabCount * 2 ** metaslabShift + TAIL_SIZE
  const deviceSize = alignUp(Math.max(needed, POOL_SIZE_MINIMUM), roundTo)
  const allocatableSize = deviceSize - FRONT_SIZE - TAIL_SIZE
  return { ashift, deviceSize, allocatableSize, metaslabShift, metaslabCount: Math.floor(allocatableSize / 2 ** metaslabShift) }
}

/** `spa_slop_shift`, `spa_min_slop`, `spa_max_slop` (OpenZFS `module/zfs/spa_misc.c`). */
const SLOP_SHIFT = 5
const SLOP_MINIMUM = 128 << 20
const SLOP_MAXIMUM = 2 ** 37
/** `zfs_embedded_slog_min_ms`: with more metaslabs one is kept for the intent log. */
const METASLABS_WITHOUT_LOG = 64

/** Bytes of all metaslabs without what OpenZFS keeps for itself (`spa_get_slop_space`). */
export function usableSize({ metaslabShift, metaslabCount }: Pick<Geometry, 'metaslabShift' | 'metaslabCount'>): number {
  const metaslabSize = 2 ** metaslabShift
  const logSize = metaslabCount > METASLABS_WITHOUT_LOG ? metaslabSize : 0
  const space = metaslabCount * metaslabSize - logSize
  const share = Math.min(Math.floor(space / 2 ** SLOP_SHIFT), SLOP_MAXIMUM)
  const slop = share - Math.min(logSize, Math.floor(share / 2))
  return space - Math.max(slop, Math.min(Math.floor(space / 2), SLOP_MINIMUM))
}

/** The fewest metaslabs, at least `least`, of which users get `size` bytes. */
export function metaslabCountFor({ metaslabShift }: MetaslabShape, size: number, least: number): number {
  let metaslabCount = Math.max(1, least, Math.floor(size / 2 ** metaslabShift))
  while (usableSize({ metaslabShift, metaslabCount }) < size) metaslabCount++
  return metaslabCount
}

/** A size that will do, as `geometryOf` divides it, for `size` bytes in blocks of up to `blockSize`: whole MiB. */
export function sizeThatHolds(size: number, ashift: number, blockSize: number): number {
  const step = 1 << 20
  for (let deviceSize = alignUp(Math.max(size, POOL_SIZE_MINIMUM), step); ; deviceSize += alignUp(Math.ceil(deviceSize / 64), step)) {
    const geometry = geometryOf(deviceSize, ashift)
    if (usableSize(geometry) - geometry.metaslabCount * blockSize >= size) return deviceSize
  }
}
