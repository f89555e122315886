/** SQLite's write-ahead log (SQLite, "Database File Format", 4): which pages it has in place of those of the database. */
import { closeSync, openSync, readSync } from 'node:fs'
import { decode } from '../../bytes/decode.ts'
import { systemErrorCode } from '../../errors.ts'
import type { Turns } from '../../io/turns.ts'
import { FRAME_HEADER, LOG_HEADER, LOG_MAGIC, LOG_VERSION } from './sqlite-disk.ts'

const FRAMES_AT_ONCE = 64

/** What was committed when it was read; what follows in the file may be a transaction that is under way. */
export class WriteAheadLog {
  readonly #file: number
  readonly #header: Buffer
  readonly #frames: FrameScan
  /** Of its pages, bytes. */
  readonly pageSize: number

  private constructor(file: number, header: Buffer, frames: FrameScan) {
    this.#file = file
    this.#header = header
    this.#frames = frames
    this.pageSize = frames.pageSize
  }

  /** Undefined where there is none, or none with a header that holds, which counts as none. Throws system errors. */
  static async open(path: string, turns: Turns): Promise<WriteAheadLog | undefined> {
    const file = openIfThere(path)
    if (file === undefined) return undefined
    try {
      const header = readAt(file, 0, LOG_HEADER.size)
      const frames = FrameScan.from(header)
      if (frames !== undefined) {
        await frames.scan(file, turns)
        return new WriteAheadLog(file, header, frames)
      }
    } catch (error) {
      closeSync(file)
      throw error
    }
    closeSync(file)
    return undefined
  }

  /** Pages of the database; undefined where nothing was committed in the log. */
  get pageCount(): number | undefined {
    return this.#frames.pageCount
  }

  /** The bytes of a page, undefined where the log has it not. */
  page(number: number): Buffer | undefined {
    const at = this.#frames.committed.get(number)
    return at === undefined ? undefined : readAt(this.#file, at, this.pageSize)
  }

  /** `begun anew` where pages that were read from here, or from the database, may be others now. */
  async change(path: string, turns: Turns): Promise<'none' | 'longer' | 'begun anew'> {
    const file = openIfThere(path)
    if (file === undefined) return 'begun anew'
    try {
      if (!this.#header.equals(readAt(file, 0, LOG_HEADER.size))) return 'begun anew'
      const later = this.#frames.further()
      await later.scan(file, turns)
      return later.committed.size === 0 ? 'none' : 'longer'
    } finally {
      closeSync(file)
    }
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** Goes through frames whose checksums, each of which goes on from the one before, hold. */
class FrameScan {
  readonly pageSize: number
  /** By number of the page: where its newest bytes are in the log. */
  readonly committed = new Map<number, number>()
  pageCount: number | undefined
  readonly #salts: Buffer
  readonly #isBigEndian: boolean
  #sums: readonly [number, number]
  #end: number

  private constructor(pageSize: number, salts: Uint8Array, isBigEndian: boolean, sums: readonly [number, number], end: number) {
    this.pageSize = pageSize
    this.#salts = Buffer.from(salts)
    this.#isBigEndian = isBigEndian
    this.#sums = sums
    this.#end = end
  }

  static from(header: Buffer): FrameScan | undefined {
    if (header.length < LOG_HEADER.size) return undefined
    const { magic, version, pageSize, salts, firstSum, secondSum } = decode(LOG_HEADER, header, 0, 'log')
    const isBigEndian = (magic & 1) === 1
    if ((magic & ~1) !== LOG_MAGIC || version !== LOG_VERSION || !isPageSize(pageSize)) return undefined
    const sums = checksum(header.subarray(0, 24), [0, 0], isBigEndian)
    if (sums[0] !== firstSum || sums[1] !== secondSum) return undefined
    return new FrameScan(pageSize, salts, isBigEndian, sums, LOG_HEADER.size)
  }

  /** One that goes on behind the last commit of this one. */
  further(): FrameScan {
    return new FrameScan(this.pageSize, this.#salts, this.#isBigEndian, this.#sums, this.#end)
  }

  async scan(file: number, turns: Turns): Promise<void> {
    const frameSize = FRAME_HEADER.size + this.pageSize
    const pending = new Map<number, number>()
    let sums = this.#sums
    for (let at = this.#end; ; ) {
      const bytes = readAt(file, at, FRAMES_AT_ONCE * frameSize)
      const count = Math.floor(bytes.length / frameSize)
      for (let index = 0; index < count; index++, at += frameSize) {
        const frame = bytes.subarray(index * frameSize, (index + 1) * frameSize)
        const header = decode(FRAME_HEADER, frame, 0, 'frame')
        if (header.page === 0 || !this.#salts.equals(header.salts)) return
        sums = checksum(frame.subarray(FRAME_HEADER.size), checksum(frame.subarray(0, 8), sums, this.#isBigEndian), this.#isBigEndian)
        if (sums[0] !== header.firstSum || sums[1] !== header.secondSum) return
        pending.set(header.page, at + FRAME_HEADER.size)
        if (header.pageCount !== 0) {
          for (const [page, place] of pending) this.committed.set(page, place)
          pending.clear()
          this.pageCount = header.pageCount
          this.#sums = sums
          this.#end = at + frameSize
        }
      }
      if (count < FRAMES_AT_ONCE) return
      if (turns.isOver((count * frameSize) / 4)) await turns.next()
    }
  }
}

export function isPageSize(size: number): boolean {
  return size >= 512 && size <= 65536 && (size & (size - 1)) === 0
}

/** Two sums over pairs of 32-bit numbers (4.2). */
function checksum(bytes: Buffer, [first, second]: readonly [number, number], isBigEndian: boolean): readonly [number, number] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let at = 0; at < bytes.length; at += 8) {
    first = (first + view.getUint32(at, !isBigEndian) + second) >>> 0
    second = (second + view.getUint32(at + 4, !isBigEndian) + first) >>> 0
  }
  return [first, second]
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Fewer bytes where the file ends before. */
export function readAt(file: number, position: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  let done = 0
  while (done < length) {
    const count = readSync(file, bytes, done, length - done, position + done)
    if (count === 0) break
    done += count
  }
  return bytes.subarray(0, done)
}
