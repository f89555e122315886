/** A ZAP in the smaller of its two forms. */

import type { ZapEntry } from './entries.ts'
import { type FatZap, fatZap } from './fat.ts'
import { fitsMicroZap, microZap } from './micro.ts'

export { type ZapArray, type ZapEntry, zapEntry, zapSalt, zapShorts, zapText } from './entries.ts'

/**
 * The blocks of a ZAP: one for the small form, more for the large one. `normalizationFlags` say how names are made into
 * what is hashed. Throws what `fatZap` throws.
 */
export function zapBlocks(entries: readonly ZapEntry[], salt: bigint, normalizationFlags = 0): FatZap {
  if (!fitsMicroZap(entries)) return fatZap(entries, salt, normalizationFlags)
  const block = microZap(entries, salt, normalizationFlags)
  return { blockSize: block.length, blockCount: 1, blocks: () => [block] }
}
