/** How large a pool is, or may become, from what its content takes at most; and what surely does not fit. */
import { ImageError } from '../../errors.ts'
import { BLOCK_SIZE_MAXIMUM, POOL_SIZE_MAXIMUM } from './constants.ts'
import type { DatasetPlan } from './dataset-plan.ts'
import { type Geometry, geometryOf, geometryWith, metaslabCountFor, openShape, sizeThatHolds, usableSize } from './geometry.ts'
import type { CheckedOptions } from './options.ts'
import { parseSize, type SizeProperty } from './properties.ts'
import { fileSystemBound, fileSystemMinimum, metaBound, metaMinimum } from './space-bound.ts'
import { POOL_COPIES, storageFacts } from './storage.ts'

export interface SizePlan {
  /** Of a fixed size, or the largest that the pool may get. */
  readonly geometry: Geometry
  /** Bytes that blocks take at most, whatever the content. */
  readonly spaceBound: number
  /** Bytes that datasets have reserved. */
  readonly reserved: number
  /** Bytes of the largest block. */
  readonly blockSizeMaximum: number
}

/** Metaslabs of the three copies, which are only begun, and those that the pool's own objects may begin. */
const BEGUN_METASLABS = 6

/** Throws LIMIT when the content surely does not fit. */
export function planSize(options: CheckedOptions, datasets: readonly DatasetPlan[]): SizePlan {
  const { size, ashift, freeSize, roundTo } = options
  let spaceBound = metaBound(datasets.map(metaCounts), POOL_COPIES)
  let least = metaMinimum(2 ** ashift, POOL_COPIES)
  for (const { fileSystem, empty, style } of datasets) {
    const facts = storageFacts(style, options)
    for (const plan of empty === undefined ? [fileSystem] : [fileSystem, empty]) {
      spaceBound += fileSystemBound(plan, facts)
      least += fileSystemMinimum(plan, facts)
    }
  }
  const sum = (name: SizeProperty): number =>
    datasets.reduce((total, { spec }) => total + parseSize(name, spec.properties[name] ?? 'none'), 0)
  const reserved = sum('reservation') + sum('refreservation')
  const blockSizeMaximum = Math.max(BLOCK_SIZE_MAXIMUM, ...datasets.map(({ style }) => style.recordSize))
  const facts = { spaceBound, reserved, blockSizeMaximum }
  if (size !== 'auto') {
    const geometry = geometryOf(size, ashift)
    const usable = usableSize(geometry)
    const certain = Math.max(least, sum('refreservation'))
    if (certain > usable)
      throw tooSmall(size, usable, `its metadata and reservations take ${certain} at least`, spaceBound + reserved, facts, ashift)
    return { ...facts, geometry }
  }
  const total = spaceBound + reserved + freeSize
  const shape = openShape(sizeThatHolds(total, ashift, blockSizeMaximum), ashift, blockSizeMaximum)
  const atMost = BEGUN_METASLABS + Math.ceil(total / (2 ** shape.metaslabShift - blockSizeMaximum))
  const geometry = geometryWith(shape, metaslabCountFor(shape, total, atMost), roundTo)
  if (geometry.deviceSize > POOL_SIZE_MAXIMUM) {
    throw new ImageError(
      'LIMIT',
      `zfs: the content may take ${total} bytes with what is to stay free, this writer makes pools of ${POOL_SIZE_MAXIMUM}`,
    )
  }
  return { ...facts, geometry }
}

function metaCounts({ spec }: DatasetPlan): { readonly snapshots: number; readonly properties: number } {
  return { snapshots: spec.snapshots.length, properties: Object.keys(spec.properties).length }
}

/** LIMIT for a pool of fixed size; `needed` is what its content takes at most, all in all. */
export function tooSmall(
  size: number,
  usable: number,
  why: string,
  needed: number,
  { blockSizeMaximum }: Pick<SizePlan, 'blockSizeMaximum'>,
  ashift: number,
): ImageError {
  const neededBytes = sizeThatHolds(needed, ashift, blockSizeMaximum)
  return new ImageError(
    'LIMIT',
    `zfs: of a pool of ${size} bytes ${usable} are usable, the rest OpenZFS keeps for itself; ${why}; ` +
      `give it ${Math.ceil(neededBytes / 2 ** 20)} MiB, which will do, or the size 'auto', or more compression`,
    { neededBytes },
  )
}
