/** The file allocation table (fatgen103, "FAT Data Structure"), made a piece at a time from the plan. */
import { unitsFor } from '../../bytes/align.ts'
import { type FatType, FIRST_CLUSTER } from './disk.ts'
import type { FatPlan } from './plan.ts'

/** Entries made at once; even, so that a piece of a FAT12 ends on a whole byte. */
const PIECE_ENTRIES = 1 << 18

/** Ends a chain; as entry 1 it also says that the volume was left clean and without disk errors. */
const END_OF_CHAIN: Readonly<Record<FatType, number>> = { 12: 0xfff, 16: 0xffff, 32: 0x0fffffff }

/** Bytes of one FAT up to the last cluster in use; the rest is zero, which says free. */
export function fatTableLength(plan: FatPlan): number {
  return unitsFor((FIRST_CLUSTER + plan.usedClusterCount) * plan.type, 8)
}

/** Every file and directory is one run, so that an entry names the next cluster but at the end of a run. */
export async function* fatTable(plan: FatPlan, media: number): AsyncGenerator<Uint8Array> {
  const end = END_OF_CHAIN[plan.type]
  const entryCount = FIRST_CLUSTER + plan.usedClusterCount
  const lasts = lastClusters(plan)
  let nextLast = lasts.next()
  for (let first = 0; first < entryCount; first += PIECE_ENTRIES) {
    const entries = new Uint32Array(Math.min(PIECE_ENTRIES, entryCount - first))
    for (let i = 0; i < entries.length; i++) entries[i] = first + i + 1
    if (first === 0) {
      // "FAT[0] contains the media byte in its low 8 bits, and all other bits are set to 1."
      entries[0] = (end & ~0xff) | media
      entries[1] = end
    }
    while (!nextLast.done && nextLast.value < first + entries.length) {
      entries[nextLast.value - first] = end
      nextLast = lasts.next()
    }
    yield packEntries(entries, plan.type)
  }
}

/** The last cluster of every run, ascending. */
function* lastClusters(plan: FatPlan): Generator<number> {
  for (const runs of [plan.directories, plan.files]) {
    for (const run of runs) if (run.clusterCount > 0) yield run.firstCluster + run.clusterCount - 1
  }
}

function packEntries(entries: Uint32Array, type: FatType): Uint8Array {
  const bytes = new Uint8Array(unitsFor(entries.length * type, 8))
  const view = new DataView(bytes.buffer)
  switch (type) {
    case 12:
      entries.forEach((entry, i) => {
        const at = i + (i >> 1)
        // An even entry is the low 12 bits of a little-endian word, an odd one the high 12 bits.
        const bits = i % 2 === 0 ? entry : entry << 4
        bytes[at] = (bytes[at] ?? 0) | (bits & 0xff)
        bytes[at + 1] = bits >> 8
      })
      return bytes
    case 16:
      entries.forEach((entry, i) => {
        view.setUint16(i * 2, entry, true)
      })
      return bytes
    case 32:
      entries.forEach((entry, i) => {
        view.setUint32(i * 4, entry, true)
      })
      return bytes
  }
}
