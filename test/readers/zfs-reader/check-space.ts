/** Every block against every other, and against the space maps (OpenZFS `include/sys/space_map.h`). */
import type { Wrong } from './check.ts'
import { number64 } from './device.ts'
import type { ZfsReading } from './index.ts'
import { nvList, nvNumber } from './nvlist.ts'
import type { Objset, StoredObject } from './objset.ts'
import { type BlockNode, nameOf } from './pool.ts'

interface Run {
  start: number
  end: number
}

interface Extent extends Run {
  readonly node: BlockNode
}

const HISTOGRAM_AT = 64
const BUCKETS = 32
/** Bonus sizes without and with a histogram. */
const PLAIN_SIZE = 24
export const HISTOGRAM_SIZE = HISTOGRAM_AT + 8 * BUCKETS

export function checkSpace({ pool, labels, meta, sets }: ZfsReading, wrong: Wrong): void {
  const device = nvList(labels.config, 'vdev_tree')
  const metaslabSize = 2 ** nvNumber(device, 'metaslab_shift')
  const count = Math.floor(nvNumber(device, 'asize') / metaslabSize)
  const extents = extentsOf([meta.objset, ...[...sets.values()].map(({ objset }) => objset)])
  for (const { start, end, node } of extents) {
    const isOutside = end > count * metaslabSize
    if (isOutside || Math.floor(start / metaslabSize) !== Math.floor((end - 1) / metaslabSize)) {
      wrong(`${nameOf(node)}: ${start} to ${end} is not in one metaslab`)
    }
  }
  const reached = mergeBlocks(extents, wrong)
  const array = meta.objset.objects.get(nvNumber(device, 'metaslab_array'))?.content
  if (array === undefined || array.length < 8 * count) throw new Error(`there is no list of ${count} metaslabs`)
  const allocated: Run[] = []
  for (let index = 0; 8 * index < array.length; index++) {
    const object = number64(array, 8 * index)
    if (object === 0) continue
    const map = meta.objset.objects.get(object)
    if (index >= count || map === undefined) throw new Error(`the metaslab ${index} has the space map ${object}`)
    const say: Wrong = (what) => wrong(`space map of metaslab ${index}: ${what}`)
    const runs = readSpaceMap(map, { metaslabSize, ashift: pool.ashift }, say)
    const base = index * metaslabSize
    for (const { start, end } of runs) allocated.push({ start: base + start, end: base + end })
  }
  const difference = (name: string, runs: readonly Run[]): void => {
    for (const { start, end } of runs.slice(0, 5)) wrong(`${name}: ${end - start} bytes at ${start}`)
  }
  const maps = joined(allocated)
  difference('space is leaked', subtract(maps, reached))
  difference('space is in use that the maps have as free', subtract(reached, maps))
}

/** All copies of all blocks, by their places. */
function extentsOf(sets: readonly Objset[]): Extent[] {
  const extents = sets.flatMap(({ blocks }) =>
    blocks.flatMap((node) => node.pointer.copies.map(({ place, size }) => ({ start: place, end: place + size, node }))),
  )
  return extents.sort((a, b) => a.start - b.start || a.end - b.end)
}

/** What snapshots share must be the same block, and each set may have it once. */
function mergeBlocks(extents: readonly Extent[], wrong: Wrong): Run[] {
  const runs: Run[] = []
  let sharers = new Set<string>()
  let previous: Extent | undefined
  for (const extent of extents) {
    const { start, end, node } = extent
    const last = runs.at(-1)
    if (last === undefined || previous === undefined || start >= last.end) {
      sharers = new Set([node.objset])
      if (last !== undefined && start === last.end) last.end = end
      else runs.push({ start, end })
    } else {
      const isShared = isSameBlock(previous, extent) && !sharers.has(node.objset) && !sharers.has('mos') && node.objset !== 'mos'
      if (!isShared) wrong(`${nameOf(node)} and ${nameOf(previous.node)} both have ${start}`)
      sharers.add(node.objset)
      last.end = Math.max(last.end, end)
    }
    previous = extent
  }
  return runs
}

function isSameBlock(a: Extent, b: Extent): boolean {
  const [one, other] = [a.node.pointer, b.node.pointer]
  return a.start === b.start && a.end === b.end && one.birthTxg === other.birthTxg && one.checksumWords.equals(other.checksumWords)
}

type StoredMap = Pick<StoredObject, 'bonus' | 'content' | 'object' | 'blockSize'>

/** Replays the map; returns what is allocated, from the start of the metaslab. */
export function readSpaceMap(map: StoredMap, { metaslabSize, ashift }: { metaslabSize: number; ashift: number }, wrong: Wrong): Run[] {
  const { bonus, content, object } = map
  const length = number64(bonus, 8)
  if (content === undefined || length % 8 !== 0 || length > content.length) throw new Error(`the space map ${object} has ${length} bytes`)
  if (number64(bonus, 0) !== object) wrong(`it calls itself ${number64(bonus, 0)}`)
  if (bonus.length !== PLAIN_SIZE && bonus.length !== HISTOGRAM_SIZE) wrong(`its bonus has ${bonus.length} bytes`)
  let runs: Run[] = []
  for (let at = 0; at < length; ) {
    const word = content.readBigUInt64LE(at)
    at += 8
    const prefix = Number(word >> 62n)
    if (prefix === 2) continue
    let [offset, units, isFree] = [Number((word >> 16n) & 0x7fffffffffffn), Number(word & 0x7fffn) + 1, (word & 0x8000n) !== 0n]
    if (prefix === 3) {
      if (at % map.blockSize === 0) wrong(`an entry of two words ends in another block than it begins`)
      const second = content.readBigUInt64LE(at)
      at += 8
      units = Number((word >> 24n) & 0xfffffffffn) + 1
      offset = Number(second & 0x7fffffffffffffffn)
      isFree = second >> 63n === 1n
    }
    const run = { start: offset * 2 ** ashift, end: (offset + units) * 2 ** ashift }
    if (run.end > metaslabSize) wrong(`${run.start} to ${run.end} is outside`)
    const missing = subtract([run], runs)
    const isAllFree = missing.length === 1 && missing[0]?.start === run.start && missing[0].end === run.end
    if (isFree ? missing.length > 0 : !isAllFree) wrong(`${run.start} to ${run.end} is ${isFree ? 'freed' : 'allocated'} twice`)
    runs = isFree ? subtract(runs, [run]) : joined([...runs, run])
  }
  const allocated = runs.reduce((sum, { start, end }) => sum + end - start, 0)
  if (number64(bonus, 16) !== allocated) wrong(`${allocated} bytes are allocated, the bonus says ${number64(bonus, 16)}`)
  if (bonus.length === HISTOGRAM_SIZE) checkHistogram(bonus, subtract([{ start: 0, end: metaslabSize }], runs), ashift, wrong)
  return runs
}

/** Bucket i counts free runs of 2^i units and more. */
function checkHistogram(bonus: Buffer, free: readonly Run[], ashift: number, wrong: Wrong): void {
  const counts = new Array<number>(BUCKETS).fill(0)
  for (const { start, end } of free) {
    const bucket = Math.min(BUCKETS - 1, Math.floor(Math.log2((end - start) / 2 ** ashift)))
    counts[bucket] = (counts[bucket] ?? 0) + 1
  }
  for (const [bucket, wanted] of counts.entries()) {
    const actual = number64(bonus, HISTOGRAM_AT + 8 * bucket)
    if (actual !== wanted) wrong(`bucket ${bucket} of the histogram is ${actual}, not ${wanted}`)
  }
}

/** Sorted, without gaps of nothing. */
function joined(runs: readonly Run[]): Run[] {
  const out: Run[] = []
  for (const { start, end } of [...runs].sort((a, b) => a.start - b.start)) {
    const last = out.at(-1)
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end)
    else out.push({ start, end })
  }
  return out
}

/** What `runs` have that `others` have not; both sorted. */
function subtract(runs: readonly Run[], others: readonly Run[]): Run[] {
  const out: Run[] = []
  let index = 0
  for (const { start, end } of runs) {
    let at = start
    while ((others[index]?.end ?? Number.POSITIVE_INFINITY) <= at) index++
    for (let next = index; at < end; next++) {
      const other = others[next]
      if (other === undefined || other.start >= end) {
        out.push({ start: at, end })
        break
      }
      if (other.start > at) out.push({ start: at, end: other.start })
      at = Math.max(at, other.end)
    }
  }
  return out
}
