/** What a thread does to know what a region of a disk holds. */
import { createHash, type Hash } from 'node:crypto'
import { readSync } from 'node:fs'
import { ImageError } from '../errors.ts'
import { sourceError } from '../io/source-error.ts'
import type { WorkModule } from '../threads/work.ts'

/** Files, and of each range of the region: which file, where on the disk, bytes, where in the file. */
export interface RegionHashTask {
  readonly files: readonly { readonly descriptor: number; readonly label: string; readonly size: number }[]
  readonly ranges: Float64Array
}

/** Numbers of a range. */
export const RANGE_LENGTH = 4
/** Bytes that are zero or not as a whole; so a disk has one identity, whatever its container kept of its zeros. */
const UNIT = 4096
const ZEROS = Buffer.alloc(UNIT)
const CHUNK_SIZE = 1 << 20

/** SHA-256, or undefined where all is zero. Throws UNREADABLE and CHANGED. */
export const work: WorkModule<undefined, RegionHashTask, string | undefined> = {
  module: import.meta.url,
  open(_setup, { isStopped }) {
    const chunk = Buffer.allocUnsafeSlow(CHUNK_SIZE)
    return {
      run({ files, ranges }) {
        const region = new RegionHash()
        for (let index = 0; index < ranges.length; index += RANGE_LENGTH) {
          const [number = 0, start = 0, length = 0, position = 0] = ranges.subarray(index, index + RANGE_LENGTH)
          const file = files[number]
          if (file === undefined) continue
          // A file may end within its last block, as if zeros followed.
          const present = Math.min(length, file.size - position)
          for (let done = 0; done < present && !isStopped(); ) {
            const count = readAt(file, chunk.subarray(0, Math.min(CHUNK_SIZE, present - done)), position + done)
            region.add(start + done, chunk.subarray(0, count))
            done += count
          }
        }
        return region.digest()
      },
    }
  },
}

function readAt({ descriptor, label }: RegionHashTask['files'][number], bytes: Buffer, position: number): number {
  let count: number
  try {
    count = readSync(descriptor, bytes, 0, bytes.length, position)
  } catch (error) {
    throw sourceError(label, error)
  }
  if (count === 0) throw new ImageError('CHANGED', `${label}: ended at byte ${position} while it was read`, { path: label })
  return count
}

/** Of the units that are not zero, with their numbers; however the bytes come. */
export class RegionHash {
  readonly #unit = Buffer.alloc(UNIT)
  #hash: Hash | undefined
  #current = 0

  /** Bytes of the disk from `start` on, behind all that was added before. */
  add(start: number, bytes: Uint8Array): void {
    let at = start
    for (let done = 0; done < bytes.length; ) {
      const whole = bytes.length - done - ((bytes.length - done) % UNIT)
      if (at % UNIT === 0 && whole > 0) {
        this.#flush()
        this.#addUnits(bytes.subarray(done, done + whole), at)
        at += whole
        done += whole
        this.#current = at / UNIT
        continue
      }
      const number = Math.floor(at / UNIT)
      if (number !== this.#current) {
        this.#flush()
        this.#current = number
      }
      const offset = at % UNIT
      const count = Math.min(UNIT - offset, bytes.length - done)
      this.#unit.set(bytes.subarray(done, done + count), offset)
      at += count
      done += count
    }
  }

  digest(): string | undefined {
    this.#flush()
    return this.#hash?.digest('hex')
  }

  #flush(): void {
    this.#addUnits(this.#unit, this.#current * UNIT)
    this.#unit.fill(0)
  }

  #addUnits(bytes: Uint8Array, start: number): void {
    for (let at = 0; at < bytes.length; at += UNIT) {
      const unit = bytes.subarray(at, at + UNIT)
      if (unit[0] === 0 && Buffer.compare(unit, ZEROS) === 0) continue
      this.#hash ??= createHash('sha256')
      this.#hash.update(`${(start + at) / UNIT}\n`)
      this.#hash.update(unit)
    }
  }
}
