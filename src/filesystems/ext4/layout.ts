/** Where the fixed metadata lies: group by group, and in flexible groups of 16. */
import { BLOCKS_PER_GROUP, GROUPS_PER_FLEX } from './disk.ts'
import { backupGroups, baseBlockCount, type Geometry } from './geometry.ts'
import type { BlockRange } from './space.ts'

/** First blocks by group. */
export interface Layout {
  readonly blockBitmaps: Uint32Array
  readonly inodeBitmaps: Uint32Array
  readonly inodeTables: Uint32Array
  /** All blocks of fixed metadata, ascending and without overlap. */
  readonly used: readonly BlockRange[]
}

/**
 * Superblock copies lie at the beginning of their groups. Of each flexible group all block bitmaps come
 * first, then all inode bitmaps, then all inode tables; each skips superblock copies that are in its way.
 */
export function planLayout(geometry: Geometry): Layout {
  const { groupCount, inodeTableBlockCount } = geometry
  const base = baseBlockCount(geometry)
  const copies: BlockRange[] = [0, ...backupGroups(groupCount)].map((group) => {
    const start = group * BLOCKS_PER_GROUP
    return { start, end: start + base }
  })
  const blockBitmaps = new Uint32Array(groupCount)
  const inodeBitmaps = new Uint32Array(groupCount)
  const inodeTables = new Uint32Array(groupCount)
  const tables: { start: number; end: number }[] = []
  let nextCopy = 0
  let cursor = 0
  const place = (blockCount: number): number => {
    for (let copy = copies[nextCopy]; copy !== undefined && copy.start < cursor + blockCount; copy = copies[++nextCopy]) {
      cursor = Math.max(cursor, copy.end)
    }
    const start = cursor
    cursor += blockCount
    const last = tables.at(-1)
    if (last?.end === start) last.end = cursor
    else tables.push({ start, end: cursor })
    return start
  }
  for (let first = 0; first < groupCount; first += GROUPS_PER_FLEX) {
    const end = Math.min(first + GROUPS_PER_FLEX, groupCount)
    cursor = first * BLOCKS_PER_GROUP
    for (let group = first; group < end; group++) blockBitmaps[group] = place(1)
    for (let group = first; group < end; group++) inodeBitmaps[group] = place(1)
    for (let group = first; group < end; group++) inodeTables[group] = place(inodeTableBlockCount)
  }
  return { blockBitmaps, inodeBitmaps, inodeTables, used: [...copies, ...tables].sort((a, b) => a.start - b.start) }
}

/** How many blocks of each group are in `ranges`, which are ascending. */
export function countByGroup(ranges: readonly BlockRange[], groupCount: number): Uint32Array {
  const counts = new Uint32Array(groupCount)
  for (const { start, end } of ranges) {
    for (let at = start; at < end; ) {
      const group = Math.floor(at / BLOCKS_PER_GROUP)
      const next = Math.min(end, (group + 1) * BLOCKS_PER_GROUP)
      counts[group] = (counts[group] as number) + next - at
      at = next
    }
  }
  return counts
}
