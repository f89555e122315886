/** Maps of disks that are made of others: what one leaves open another one has, or several follow each other. */

import type { FoundRuns } from './data-search.ts'
import { type DiskMap, imageOfMap, type MappedFile, type MappedImage, type MappedRange, mappedImage, rangePart } from './mapped.ts'

/** The disk `upper`, and where it has neither data nor zeros of its own what lies there in `lower`, as far as that reaches. */
export function layeredImage(upper: MappedImage, lower: MappedImage): Promise<MappedImage> {
  const { what, size } = upper.map
  return imageOfMap({ what, size, ranges: (from, end) => layeredRanges(upper.map, lower.map, from, end) })
}

async function* layeredRanges(upper: DiskMap, lower: DiskMap, from: number, end: number): AsyncGenerator<readonly MappedRange[]> {
  let at = from
  for await (const group of upper.ranges(from, end)) {
    const last = group.at(-1)
    if (last === undefined) continue
    yield* filledGroup(group, lower, at, last.start)
    at = Math.max(at, last.start + last.length)
  }
  yield* filledGroup([], lower, at, end)
}

/** A group of ranges, and between them, from byte `at` up to `end`, those of the disk below. */
async function* filledGroup(
  group: readonly MappedRange[],
  lower: DiskMap,
  at: number,
  end: number,
): AsyncGenerator<readonly MappedRange[]> {
  const endBelow = Math.min(end, lower.size)
  if (!hasGap(group, at, endBelow)) {
    yield group
    return
  }
  let next = 0
  let done = at
  for await (const below of lower.ranges(at, endBelow)) {
    const filled: MappedRange[] = []
    for (const range of below) {
      let start = Math.max(range.start, done)
      const rangeEnd = Math.min(range.start + range.length, endBelow)
      while (start < rangeEnd) {
        const above = group[next]
        if (above === undefined || above.start >= rangeEnd) {
          filled.push(rangePart(range, start, rangeEnd))
          break
        }
        if (above.start > start) filled.push(rangePart(range, start, above.start))
        filled.push(above)
        done = Math.max(done, above.start + above.length)
        start = Math.max(start, done)
        next++
      }
    }
    yield filled
  }
  yield group.slice(next)
}

function hasGap(group: readonly MappedRange[], at: number, end: number): boolean {
  let position = at
  for (const { start, length } of group) {
    if (start >= end) break
    if (start > position) return true
    position = Math.max(position, start + length)
  }
  return position < end
}

/** Disks one after the other as one. */
export function joinedImage(what: string, parts: readonly MappedImage[]): Promise<MappedImage> {
  const starts: number[] = []
  let size = 0
  for (const part of parts) {
    starts.push(size)
    size += part.size
  }
  return imageOfMap({
    what,
    size,
    async *ranges(from, end) {
      for (const [index, { map }] of parts.entries()) {
        const start = starts[index] as number
        if (start + map.size <= from || start >= end) continue
        for await (const group of map.ranges(Math.max(0, from - start), Math.min(map.size, end - start))) {
          yield group.map((range) => {
            const { start: at, length } = range
            const part = at + length > map.size ? rangePart(range, at, map.size) : range
            return { ...part, start: at + start }
          })
        }
      }
    },
  })
}

/** Bytes of a file from `position` on as a disk of `size` bytes; with `runs`, which count in the file, only where data was found. */
export function plainImage(file: MappedFile, position: number, size: number, runs?: FoundRuns): Promise<MappedImage> {
  return mappedImage({
    what: file.what,
    size,
    async *ranges(from, end) {
      if (end <= from) return
      if (runs === undefined) yield [{ start: from, length: end - from, file, position: position + from }]
      else yield* foundRanges(file, position, runs, from, end)
    },
  })
}

/** Ranges of a group. */
const GROUP_LENGTH = 1 << 12

function* foundRanges(
  file: MappedFile,
  position: number,
  { starts, ends }: FoundRuns,
  from: number,
  end: number,
): Generator<readonly MappedRange[]> {
  let group: MappedRange[] = []
  for (let run = ends.firstAbove(position + from); run < starts.length && starts.at(run) < position + end; run++) {
    const start = starts.at(run)
    group.push({ start: start - position, length: ends.at(run) - start, file, position: start })
    if (group.length < GROUP_LENGTH) continue
    yield group
    group = []
  }
  yield group
}
