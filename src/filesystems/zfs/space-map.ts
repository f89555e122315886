/** Space maps: what of a metaslab is in use (OpenZFS `include/sys/space_map.h`). */
import { SPACE_MAP, SPACE_MAP_HISTOGRAM, SPACE_MAP_PLAIN_SIZE } from './disk.ts'
import { FEATURE, type Feature, hasFeature } from './features.ts'
import type { MetaslabShape } from './geometry.ts'

/** A run in one word has at most so many units: 15 bits, less one. */
const RUN_MAXIMUM = 1 << 15
const RUN_OFFSET_SHIFT = 16n
/** The first word of two has this in its upper bits and the length, which 36 bits hold for any metaslab; the other the start. */
const TWO_WORDS_PREFIX = 3n << 62n
const LONG_RUN_SHIFT = 24n
const WORD_SIZE = 8
const BLOCK_SIZE_MINIMUM = 4096

export interface SpaceMapForm extends MetaslabShape {
  /** Whether runs that one word cannot describe take two, or else many of one. */
  readonly hasTwoWordEntries: boolean
  /**
   * OpenZFS takes room for a histogram as its presence, and a kernel can panic over maps that have none where the
   * feature spacemap_histogram is; without the feature they must not have it.
   */
  readonly hasHistogram: boolean
}

/** The maps of a pool with these features. */
export function spaceMapForm({ ashift, metaslabShift }: MetaslabShape, features: readonly Feature[]): SpaceMapForm {
  return {
    ashift,
    metaslabShift,
    hasTwoWordEntries: hasFeature(features, FEATURE.spaceMapTwoWords),
    hasHistogram: hasFeature(features, FEATURE.spaceMapHistogram),
  }
}

/** Bytes of the one block of a map, a power of two, whatever is in use of its metaslab. */
export function spaceMapBlockSize({ ashift, metaslabShift, hasTwoWordEntries }: SpaceMapForm): number {
  return hasTwoWordEntries ? BLOCK_SIZE_MINIMUM : Math.max(BLOCK_SIZE_MINIMUM, WORD_SIZE * (2 ** (metaslabShift - ashift) / RUN_MAXIMUM))
}

/** Words for a metaslab in use from its beginning up to `used` bytes. */
export function spaceMapEntries(used: number, { ashift, hasTwoWordEntries }: SpaceMapForm): Uint8Array {
  const units = used / 2 ** ashift
  if (hasTwoWordEntries && units > RUN_MAXIMUM) return wordBytes([TWO_WORDS_PREFIX | (BigInt(units - 1) << LONG_RUN_SHIFT), 0n])
  const entries = Array.from({ length: Math.ceil(units / RUN_MAXIMUM) }, (_, index) => {
    const start = index * RUN_MAXIMUM
    const run = Math.min(RUN_MAXIMUM, units - start)
    return (BigInt(start) << RUN_OFFSET_SHIFT) | BigInt(run - 1)
  })
  return wordBytes(entries)
}

function wordBytes(words: readonly bigint[]): Uint8Array {
  const bytes = new Uint8Array(WORD_SIZE * words.length)
  const view = new DataView(bytes.buffer)
  for (const [index, word] of words.entries()) view.setBigUint64(WORD_SIZE * index, word, true)
  return bytes
}

export interface SpaceMapFacts extends SpaceMapForm {
  readonly object: number
  readonly used: number
}

/** The bonus of the object; the one free run is counted by its size. */
export function spaceMapBonus({ object, used, ...form }: SpaceMapFacts): Uint8Array {
  const { metaslabShift, ashift, hasHistogram } = form
  const { length } = spaceMapEntries(used, form)
  const bonus = SPACE_MAP.encode({ object, length, allocated: used })
  if (!hasHistogram) return bonus.subarray(0, SPACE_MAP_PLAIN_SIZE)
  const freeUnits = (2 ** metaslabShift - used) / 2 ** ashift
  if (freeUnits > 0) {
    const bucket = Math.min(SPACE_MAP_HISTOGRAM.buckets - 1, Math.floor(Math.log2(freeUnits)))
    new DataView(bonus.buffer).setBigUint64(SPACE_MAP_HISTOGRAM.offset + 8 * bucket, 1n, true)
  }
  return bonus
}
