/** What a thread does to find where a file has data. */
import { readSync } from 'node:fs'
import { ImageError, systemErrorCode } from '../errors.ts'
import type { WorkModule } from '../threads/work.ts'
import { sourceError } from './source-error.ts'

export interface DataSearchTask {
  readonly descriptor: number
  /** The same file, read past the page cache. */
  readonly direct?: number
  /** The file in errors. */
  readonly label: string
  readonly from: number
  readonly end: number
}

/** Bytes that are looked at as one: file systems of hosts have no smaller holes. */
export const UNIT = 4096
/** What a processor's cache holds. */
const CHUNK_SIZE = 1 << 20
const ZEROS = Buffer.alloc(CHUNK_SIZE)

/** What is used here of WebAssembly, which the type declarations of Node leave out; `node --jitless` has none. */
declare const WebAssembly: undefined | { readonly Memory: new (descriptor: { initial: number }) => { readonly buffer: ArrayBuffer } }
const WASM_PAGE = 65536

/** That of WebAssembly begins at a page, as reading past the page cache wants it. */
function pageMemory(size: number): Buffer {
  if (typeof WebAssembly === 'undefined') return Buffer.allocUnsafeSlow(size)
  return Buffer.from(new WebAssembly.Memory({ initial: size / WASM_PAGE }).buffer)
}

/** Starts and ends of the runs that are not zero, one after the other. Throws UNREADABLE and CHANGED. */
export const work: WorkModule<undefined, DataSearchTask, Float64Array> = {
  module: import.meta.url,
  open(_setup, { isStopped }) {
    const memory = pageMemory(CHUNK_SIZE)
    let isDirect = true
    const readAt = (task: DataSearchTask, position: number, bytes: Buffer): number => {
      const { descriptor, direct, label } = task
      if (direct !== undefined && isDirect && position % UNIT === 0) {
        try {
          return readSync(direct, memory, 0, CHUNK_SIZE, position)
        } catch (error) {
          // EINVAL: the file system does not do that, or wants other places.
          if (systemErrorCode(error) !== 'EINVAL') throw sourceError(label, error)
          isDirect = false
        }
      }
      try {
        return readSync(descriptor, bytes, 0, bytes.length, position)
      } catch (error) {
        throw sourceError(label, error)
      }
    }
    return {
      run(task) {
        const pairs: number[] = []
        for (let at = task.from; at < task.end && !isStopped(); ) {
          const wanted = memory.subarray(0, Math.min(CHUNK_SIZE - (at % UNIT), task.end - at))
          const count = Math.min(wanted.length, readAt(task, at, wanted))
          if (count === 0) {
            throw new ImageError('CHANGED', `${task.label}: ended at byte ${at} while it was read`, { path: task.label })
          }
          addRuns(pairs, wanted.subarray(0, count), at)
          at += count
        }
        return Float64Array.from(pairs)
      },
      moved: ({ buffer }) => [buffer as ArrayBuffer],
    }
  },
}

/** Add to `pairs` the runs of what is not zero in bytes that begin at `position`. */
export function addRuns(pairs: number[], bytes: Uint8Array, position: number): void {
  if (isZero(bytes)) return
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(UNIT - ((position + done) % UNIT), bytes.length - done)
    if (!isZero(bytes.subarray(done, done + length))) {
      const start = position + done
      if (pairs.at(-1) === start) pairs[pairs.length - 1] = start + length
      else pairs.push(start, start + length)
    }
    done += length
  }
}

function isZero(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && Buffer.compare(bytes, ZEROS.subarray(0, bytes.length)) === 0
}
