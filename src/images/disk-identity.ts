/** What the identifiers of a disk are derived from that is read: its bytes. */
import { createHash } from 'node:crypto'
import { throwIfAborted } from '../errors.ts'
import type { Image } from '../io/image.ts'
import { type DiskMap, type MappedRange, rangeChunks, rangePart } from '../io/mapped.ts'
import type { SourceFile } from '../io/source.ts'
import { dataBytes, sparseChunks } from '../io/stream.ts'
import { Pool } from '../threads/pool.ts'
import { RANGE_LENGTH, RegionHash, type RegionHashTask, work } from './region-hash-work.ts'

export interface DiskIdentityOptions {
  /** Threads that read disks whose places in files are known; default 2. */
  readonly jobs?: number
  readonly signal?: AbortSignal
}

/** Bytes of a disk that are hashed as one. */
const REGION_SIZE = 64 << 20
const DEFAULT_JOBS = 2
/** Bytes that are hashed while a thread starts. */
const WORTH_A_THREAD = 32 << 20

/** A region by its number, with its digest; those that are zero have none. */
type RegionDigest = readonly [region: number, digest: string | undefined]

/**
 * Of the bytes of a disk and its size: zeros are passed over, as far as they are not data. It is the same however the disk is stored and cut.
 * Throws what the image throws, WORKER_DIED and ABORTED.
 */
export async function diskIdentity(image: Image & { readonly map?: DiskMap }, options: DiskIdentityOptions = {}): Promise<string> {
  const hash = createHash('sha256').update(`kilnix disk ${image.size}\n`)
  const { map } = image
  for await (const [region, digest] of map === undefined ? readRegions(image, options) : mappedRegions(image, map, options)) {
    if (digest !== undefined) hash.update(`${region} ${digest}\n`)
  }
  return hash.digest('hex')
}

async function* readRegions(image: Image, { signal }: DiskIdentityOptions): AsyncGenerator<RegionDigest> {
  let region = 0
  let hash = new RegionHash()
  for (const extent of image.extents) {
    let at = extent.start
    for await (const chunk of sparseChunks(extent, signal)) {
      throwIfAborted(signal)
      if (typeof chunk === 'number') {
        at += chunk
        continue
      }
      for (let done = 0; done < chunk.length; ) {
        const number = Math.floor(at / REGION_SIZE)
        if (number !== region) {
          yield [region, hash.digest()]
          region = number
          hash = new RegionHash()
        }
        const count = Math.min(chunk.length - done, (number + 1) * REGION_SIZE - at)
        hash.add(at, chunk.subarray(done, done + count))
        at += count
        done += count
      }
    }
  }
  yield [region, hash.digest()]
}

/** By threads, where the ranges lie in files as they are; in this one what is compressed. */
async function* mappedRegions(
  image: Image,
  map: DiskMap,
  { jobs = DEFAULT_JOBS, signal }: DiskIdentityOptions,
): AsyncGenerator<RegionDigest> {
  const threads = dataBytes(image) < WORTH_A_THREAD ? 'none' : 'workers'
  const pool = new Pool(work, undefined, { count: jobs, threads, signal })
  const files = new Set<SourceFile>()
  try {
    const under: Promise<RegionDigest>[] = []
    for await (const [region, ranges] of rangesByRegion(map)) {
      const task = taskOf(ranges, files)
      under.push(task === undefined ? hashHere(region, ranges, signal) : pool.run(task).then((digest): RegionDigest => [region, digest]))
      // What is read here is awaited at once; threads have several regions each before them.
      for (const promise of under) promise.catch(() => undefined)
      while (under.length >= (task === undefined ? 1 : 4 * jobs)) yield (await under.shift()) ?? [region, undefined]
    }
    for (const one of under) yield await one
    for (const file of files) file.checkUnchanged()
  } finally {
    await pool.close()
  }
}

async function* rangesByRegion({ ranges, size }: DiskMap): AsyncGenerator<readonly [region: number, ranges: readonly MappedRange[]]> {
  let region = 0
  let list: MappedRange[] = []
  for await (const group of ranges(0, size)) {
    for (const range of group) {
      if (range.file === undefined) continue
      const end = Math.min(range.start + range.length, size)
      for (let at = range.start; at < end; ) {
        const number = Math.floor(at / REGION_SIZE)
        if (number !== region) {
          if (list.length > 0) yield [region, list]
          region = number
          list = []
        }
        const partEnd = Math.min(end, (number + 1) * REGION_SIZE)
        list.push(rangePart(range, at, partEnd))
        at = partEnd
      }
    }
  }
  if (list.length > 0) yield [region, list]
}

/** Undefined for what a thread cannot read. */
function taskOf(ranges: readonly MappedRange[], known: Set<SourceFile>): RegionHashTask | undefined {
  const files: { readonly descriptor: number; readonly label: string; readonly size: number }[] = []
  const numbers = new Float64Array(ranges.length * RANGE_LENGTH)
  for (const [index, { file, packed, start, length, position }] of ranges.entries()) {
    const of = file?.source.file
    if (file === undefined || of === undefined || packed !== undefined) return undefined
    known.add(of)
    let number = files.findIndex(({ descriptor }) => descriptor === of.descriptor)
    if (number < 0) number = files.push({ descriptor: of.descriptor, label: of.label, size: file.source.size }) - 1
    numbers.set([number, start, length, position], index * RANGE_LENGTH)
  }
  return { files, ranges: numbers }
}

async function hashHere(region: number, ranges: readonly MappedRange[], signal: AbortSignal | undefined): Promise<RegionDigest> {
  const hash = new RegionHash()
  for (const range of ranges) {
    throwIfAborted(signal)
    let at = range.start
    for await (const chunk of rangeChunks(range)) {
      if (typeof chunk === 'number') at += chunk
      else {
        hash.add(at, chunk)
        at += chunk.length
      }
    }
  }
  return [region, hash.digest()]
}
