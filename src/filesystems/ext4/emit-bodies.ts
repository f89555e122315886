/** The blocks of directories, link targets and files: runs that follow each other on disk are read as one. */
import { wholeSource } from '../../io/carried.ts'
import { type CarriedContent, type CarriedSource, type Extent, moveExtent } from '../../io/image.ts'
import { contentRange } from '../../tree/content.ts'
import type { HostFileState } from '../../tree/host-file.ts'
import type { TreeNode } from '../../tree/tree.ts'
import { inodeChecksumSeed } from './checksums.ts'
import { BLOCK_SIZE, JOURNAL_INODE } from './disk.ts'
import { directoryBlock } from './emit-directory.ts'
import type { Ext4Plan } from './plan.ts'

/** Small pieces are gathered into chunks of this many bytes, larger ones go on as they are. */
const CHUNK_SIZE = 1 << 20
const SMALL_SIZE = CHUNK_SIZE / 4

/** Extents of all runs but the journal's. */
export function bodyExtents(plan: Ext4Plan, seed: number): Extent[] {
  const { inodes, diskBlocks, blockCounts } = plan.runs
  const context: Context = { plan, seed, states: new Map() }
  const extents: Extent[] = []
  for (let first = 0; first < inodes.length; ) {
    const start = diskBlocks[first] as number
    let block = start
    let end = first
    for (; end < inodes.length && diskBlocks[end] === block && inodes[end] !== JOURNAL_INODE; end++) block += blockCounts[end] as number
    if (end > first) extents.push(stretchExtent(context, first, end, (block - start) * BLOCK_SIZE))
    first = Math.max(end, first + 1)
  }
  return extents
}

interface Context {
  readonly plan: Ext4Plan
  readonly seed: number
  /** By inode number, of files in several runs: what was seen of them. */
  readonly states: Map<number, HostFileState>
}

interface Reading extends Context {
  /** What files are read into: many readers of many files would make garbage faster than it is collected. */
  readonly scratch: Uint8Array
  /** Whoever reads is done with a chunk when the next is asked for; else small pieces only, which are copied. */
  readonly lendsAll?: boolean
}

/** The runs from `first` up to `end`, which follow each other on disk. */
function stretchExtent(context: Context, first: number, end: number, length: number): Extent {
  const start = (context.plan.runs.diskBlocks[first] as number) * BLOCK_SIZE
  return {
    start,
    length,
    ...(hasCarried(context.plan, first, end) && { carried: carriedRuns(context, first, end, start) }),
    read: () => gathered(stretchChunks({ ...context, scratch: Buffer.allocUnsafeSlow(SMALL_SIZE) }, first, end, start, start + length)),
    readRange(from, count, buffer) {
      const firstRun = runAt(context.plan, first, end, start + from)
      const lending = { ...context, scratch: Buffer.allocUnsafeSlow(CHUNK_SIZE), lendsAll: buffer !== undefined }
      return gathered(stretchChunks(lending, firstRun, end, start + from, start + from + count), buffer)
    },
  }
}

function hasCarried(plan: Ext4Plan, first: number, end: number): boolean {
  for (let run = first; run < end; run++) if (carriedSource(plan, run) !== undefined) return true
  return false
}

/** What a carrier can bring of the file whose run it is. */
function carriedSource({ runs, tree }: Ext4Plan, run: number): CarriedSource | undefined {
  const node = tree.nodes[runs.inodes[run] as number] as TreeNode
  return node.kind === 'file' && node.content.kind === 'image' ? wholeSource(node.content.image) : undefined
}

/** The runs from `first` up to `end`, of which some are of carried files; they lie from byte `origin` of the image on. */
function carriedRuns(context: Context, first: number, end: number, origin: number): CarriedContent {
  const { plan } = context
  const { diskBlocks, blockCounts, fileBlocks } = plan.runs
  const startOf = (run: number): number => (diskBlocks[run] as number) * BLOCK_SIZE - origin
  const lengthOf = (run: number): number => (blockCounts[run] as number) * BLOCK_SIZE
  return {
    *parts() {
      for (let run = first; run < end; run++) {
        const source = carriedSource(plan, run)
        if (source === undefined) continue
        yield { start: startOf(run), length: lengthOf(run), source, offset: (fileBlocks[run] as number) * BLOCK_SIZE }
      }
    },
    *rest() {
      for (let run = first; run < end; run++) {
        const begin = run
        while (run < end && carriedSource(plan, run) === undefined) run++
        if (run === begin) continue
        const length = startOf(run - 1) + lengthOf(run - 1) - startOf(begin)
        yield moveExtent(stretchExtent(context, begin, run, length), -origin)
      }
    },
  }
}

/** The last of the runs from `first` up to `end` that begins at byte `position` of the image or before. */
function runAt({ runs }: Ext4Plan, first: number, end: number, position: number): number {
  let [low, high] = [first, end]
  while (high - low > 1) {
    const middle = (low + high) >>> 1
    if ((runs.diskBlocks[middle] as number) * BLOCK_SIZE <= position) low = middle
    else high = middle
  }
  return low
}

/** Bytes of the image from `from` up to `to`, which the runs from `first` on hold; a number stands for so many zeros. */
async function* stretchChunks(context: Reading, first: number, end: number, from: number, to: number): AsyncGenerator<Uint8Array | number> {
  const { diskBlocks, blockCounts } = context.plan.runs
  for (let run = first; run < end; run++) {
    const start = (diskBlocks[run] as number) * BLOCK_SIZE
    if (start >= to) return
    const size = (blockCounts[run] as number) * BLOCK_SIZE
    yield* runChunks(context, run, Math.max(0, from - start), Math.min(size, to - start))
  }
}

/** Bytes of one run, counted from its beginning. */
async function* runChunks(context: Reading, run: number, from: number, to: number): AsyncGenerator<Uint8Array | number> {
  const { plan, seed } = context
  const inode = plan.runs.inodes[run] as number
  const node = plan.tree.nodes[inode] as TreeNode
  const fileStart = (plan.runs.fileBlocks[run] as number) * BLOCK_SIZE
  if (node.kind === 'file') {
    const length = Math.max(0, Math.min(node.size, fileStart + to) - fileStart - from)
    if (length > 0)
      yield* contentRange(node, fileStart + from, length, {
        state: stateOf(context, inode, fileStart + from),
        buffer: context.lendsAll === true || length < SMALL_SIZE ? context.scratch : undefined,
      })
    yield to - from - length
  } else if (node.kind === 'symlink') {
    const block = new Uint8Array(BLOCK_SIZE)
    block.set(node.target)
    yield block.subarray(from, to)
  } else {
    const directory = plan.tree.directoryByInode.get(inode)
    if (directory === undefined) throw new RangeError(`inode ${inode} has blocks and is no directory`)
    const inodeSeed = inodeChecksumSeed(seed, inode)
    for (let at = from - (from % BLOCK_SIZE); at < to; at += BLOCK_SIZE) {
      yield directoryBlock(directory, (fileStart + at) / BLOCK_SIZE, inodeSeed).subarray(Math.max(0, from - at), to - at)
    }
  }
}

/** The parts of a host file that is read in several are compared with each other; its beginning begins anew. */
function stateOf({ plan, states }: Context, inode: number, position: number): HostFileState | undefined {
  if (plan.runCounts[inode] === 1) return undefined
  const known = position === 0 ? undefined : states.get(inode)
  const state = known ?? { changeTimeNs: undefined }
  states.set(inode, state)
  return state
}

/** Whole chunks, in `lent` where one is given: then each is good until the next is asked for. */
async function* gathered(chunks: AsyncIterable<Uint8Array | number>, lent?: Uint8Array): AsyncGenerator<Uint8Array> {
  let buffer = lent ?? Buffer.allocUnsafeSlow(CHUNK_SIZE)
  let used = 0
  const flush = (): Uint8Array => {
    const full = buffer.subarray(0, used)
    buffer = lent ?? Buffer.allocUnsafeSlow(CHUNK_SIZE)
    used = 0
    return full
  }
  for await (const chunk of chunks) {
    if (typeof chunk !== 'number' && chunk.length >= SMALL_SIZE) {
      if (used > 0) yield flush()
      yield chunk
      continue
    }
    const length = typeof chunk === 'number' ? chunk : chunk.length
    for (let done = 0; done < length; ) {
      const count = Math.min(length - done, buffer.length - used)
      if (typeof chunk === 'number') buffer.fill(0, used, used + count)
      else buffer.set(chunk.subarray(done, done + count), used)
      used += count
      done += count
      if (used === buffer.length) yield flush()
    }
  }
  if (used > 0) yield flush()
}
