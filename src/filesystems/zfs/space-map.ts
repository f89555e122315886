/** Space maps: what of a metaslab is in use (OpenZFS `include/sys/space_map.h`). */
import { SPACE_MAP, SPACE_MAP_HISTOGRAM, SPACE_MAP_PLAIN_SIZE } from './disk.ts'

/** A run in one word has at most so many units: 15 bits, less one. */
const RUN_MAXIMUM = 1 << 15
const RUN_OFFSET_SHIFT = 16n
const ENTRY_SIZE = 8

/** Words for a metaslab in use from its beginning up to `used` bytes. */
export function spaceMapEntries(used: number, ashift: number): Uint8Array {
  const units = used / 2 ** ashift
  const count = Math.ceil(units / RUN_MAXIMUM)
  const bytes = new Uint8Array(ENTRY_SIZE * count)
  const view = new DataView(bytes.buffer)
  for (let index = 0; index < count; index++) {
    const start = index * RUN_MAXIMUM
    const run = Math.min(RUN_MAXIMUM, units - start)
    view.setBigUint64(ENTRY_SIZE * index, (BigInt(start) << RUN_OFFSET_SHIFT) | BigInt(run - 1), true)
  }
  return bytes
}

export interface SpaceMapFacts {
  readonly object: number
  readonly used: number
  readonly metaslabShift: number
  readonly ashift: number
  /**
   * OpenZFS takes room for a histogram as its presence, and a kernel can panic over maps that have none where the
   * feature spacemap_histogram is; without the feature they must not have it.
   */
  readonly hasHistogram: boolean
}

/** The bonus of the object; the one free run is counted by its size. */
export function spaceMapBonus({ object, used, metaslabShift, ashift, hasHistogram }: SpaceMapFacts): Uint8Array {
  const length = spaceMapEntries(used, ashift).length
  const bonus = SPACE_MAP.encode({ object, length, allocated: used })
  if (!hasHistogram) return bonus.subarray(0, SPACE_MAP_PLAIN_SIZE)
  const freeUnits = (2 ** metaslabShift - used) / 2 ** ashift
  if (freeUnits > 0) {
    const bucket = Math.min(SPACE_MAP_HISTOGRAM.buckets - 1, Math.floor(Math.log2(freeUnits)))
    new DataView(bonus.buffer).setBigUint64(SPACE_MAP_HISTOGRAM.offset + 8 * bucket, 1n, true)
  }
  return bonus
}
