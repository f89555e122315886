/** ZAPs in one block: short names and one number each (OpenZFS `include/sys/zap_impl.h`). */
import { alignUp } from '../../../bytes/align.ts'
import { BLOCK_SIZE_MAXIMUM, SECTOR_SIZE } from '../constants.ts'
import { MICRO_ZAP, MICRO_ZAP_ENTRY, ZAP_BLOCK_TYPE } from '../disk.ts'
import { hashedEntries, type ZapEntry } from './entries.ts'

/** Its field has room for a zero byte too. */
const NAME_LENGTH_MAXIMUM = 49
const ENTRIES_MAXIMUM = (BLOCK_SIZE_MAXIMUM - MICRO_ZAP.size) / MICRO_ZAP_ENTRY.size

export function fitsMicroZap(entries: readonly ZapEntry[]): boolean {
  return (
    entries.length <= ENTRIES_MAXIMUM && entries.every(({ name, value }) => name.length <= NAME_LENGTH_MAXIMUM && typeof value !== 'object')
  )
}

/** The one block. */
export function microZap(entries: readonly ZapEntry[], salt: bigint, normalizationFlags = 0): Uint8Array {
  const size = MICRO_ZAP.size + MICRO_ZAP_ENTRY.size * Math.max(1, entries.length)
  const block = new Uint8Array(alignUp(size, SECTOR_SIZE))
  MICRO_ZAP.write(block, 0, { blockType: ZAP_BLOCK_TYPE.micro, salt, normalizationFlags })
  for (const [index, { name, value, collisionDifferentiator }] of hashedEntries(entries, salt).entries()) {
    const at = MICRO_ZAP.size + MICRO_ZAP_ENTRY.size * index
    MICRO_ZAP_ENTRY.write(block, at, { value: value as number | bigint, collisionDifferentiator, name })
  }
  return block
}
