/** Where a file has data: what of it is not zero, found by threads that read it. */
import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { ImageError, throwIfAborted } from '../errors.ts'
import { Pool } from '../threads/pool.ts'
import { addRuns, type DataSearchTask, UNIT, work } from './data-search-work.ts'
import { NumberList } from './numbers.ts'
import type { RandomAccessSource } from './source.ts'

/** Bytes that a thread looks through at a time. */
const REGION_SIZE = 64 << 20
/** Bytes that are looked through while a thread starts. */
const WORTH_A_THREAD = 32 << 20
const DEFAULT_JOBS = 2
/** So many runs take 256 MiB of memory, and only what is made for it lies so scattered. */
const RUN_LIMIT = 1 << 24

export interface DataSearchOptions {
  /** Threads that search, of a file; default 2. */
  readonly jobs?: number
  /** Ends it with ABORTED. */
  readonly signal?: AbortSignal
}

/** Ascending runs of bytes that do not touch, in memory of 16 bytes each. */
export interface FoundRuns {
  readonly starts: NumberList
  readonly ends: NumberList
}

/**
 * The runs from byte `from` up to `end` in which not all is zero, to units of 4096 bytes of the file. Every byte is read: how much
 * of a file is allocated is no proof, since file systems compress, and keep small files elsewhere (Node has no SEEK_DATA). Throws what
 * the source throws, LIMIT, WORKER_DIED and ABORTED.
 */
export async function searchData(
  source: RandomAccessSource,
  from: number,
  end: number,
  options: DataSearchOptions = {},
): Promise<FoundRuns> {
  const found: FoundRuns = { starts: new NumberList(), ends: new NumberList() }
  const { starts, ends } = found
  for await (const pairs of source.file === undefined ? readRegions(source, from, end, options) : fileRegions(source, from, end, options)) {
    for (let index = 0; index < pairs.length; index += 2) {
      const [start, runEnd] = [pairs[index] as number, pairs[index + 1] as number]
      if (ends.length > 0 && ends.at(ends.length - 1) === start) ends.replaceLast(runEnd)
      else {
        starts.push(start)
        ends.push(runEnd)
      }
    }
    if (starts.length > RUN_LIMIT) {
      throw new ImageError('LIMIT', `the data of the disk lies in more than ${RUN_LIMIT} runs, which are not kept in memory`)
    }
  }
  return found
}

/** By threads, each region as starts and ends. */
async function* fileRegions(
  source: RandomAccessSource,
  from: number,
  end: number,
  { jobs = DEFAULT_JOBS, signal }: DataSearchOptions,
): AsyncGenerator<Float64Array> {
  const { descriptor, label, checkUnchanged } = source.file as NonNullable<RandomAccessSource['file']>
  const direct = directDescriptor(descriptor)
  const threads = end - from < WORTH_A_THREAD ? 'none' : 'workers'
  const pool = new Pool(work, undefined, { count: jobs, threads, signal })
  try {
    const under: Promise<Float64Array>[] = []
    let next = from
    while (under.length > 0 || next < end) {
      for (; next < end && under.length < 4 * jobs; next += REGION_SIZE - (next % REGION_SIZE)) {
        const task: DataSearchTask = { descriptor, label, from: next, end: Math.min(end, next + REGION_SIZE - (next % REGION_SIZE)) }
        under.push(pool.run(direct === undefined ? task : { ...task, direct }))
      }
      yield (await under.shift()) ?? new Float64Array()
      checkUnchanged()
    }
  } finally {
    await pool.close()
    if (direct !== undefined) closeSync(direct)
  }
}

/**
 * Of a file that is mostly holes: the same file, past the page cache, which would be filled with their zeros: 20 GiB take 2 s of CPU
 * instead of 16. Files with more data may be in that cache already. Undefined where the system has no such thing.
 */
function directDescriptor(descriptor: number): number | undefined {
  const { O_DIRECT } = constants
  const status = fstatSync(descriptor)
  if (O_DIRECT === undefined || !status.isFile() || status.size < WORTH_A_THREAD || status.blocks * 512 > status.size / 8) return undefined
  try {
    return openSync(`/proc/self/fd/${descriptor}`, constants.O_RDONLY | O_DIRECT)
  } catch {
    return undefined
  }
}

const CHUNK_SIZE = 1 << 20

async function* readRegions(
  source: RandomAccessSource,
  from: number,
  end: number,
  { signal }: DataSearchOptions,
): AsyncGenerator<Float64Array> {
  for (let at = from; at < end; ) {
    throwIfAborted(signal)
    const chunk = await source.read(at, Math.min(CHUNK_SIZE - (at % UNIT), end - at))
    const pairs: number[] = []
    addRuns(pairs, chunk, at)
    yield Float64Array.from(pairs)
    at += chunk.length
  }
}
