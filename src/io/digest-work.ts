/** What is done to know the checksum of a file that was written, or is being written, in whatever thread: it is read back. */
import { createHash } from 'node:crypto'
import { readSync } from 'node:fs'
import type { WorkModule } from '../threads/work.ts'
import type { ByteRun } from './byte-run.ts'
import { endedError, readBackError } from './read-back-error.ts'

/** Bytes that are read at a time, and in which is counted how much of the file is settled. */
export const CHUNK_SIZE = 1 << 20

/** How often a thread that waits for what is written looks whether anybody still wants it. */
const WAIT_MILLISECONDS = 100

export interface DigestTask {
  readonly descriptor: number
  /** Bytes from the beginning of the file. */
  readonly size: number
  /** The file in errors. */
  readonly label: string
  /** What has to be read; all else is zero. */
  readonly runs: readonly ByteRun[]
  /** One 32-bit word: so many chunks from the beginning of the file are as they will stay. Without it, all are. */
  readonly settled?: SharedArrayBuffer
}

/** SHA-256, lower-case hex. Throws UNREADABLE and CHANGED. */
export const work: WorkModule<undefined, DigestTask, string> = {
  module: import.meta.url,
  open: (_setup, { isStopped }) => ({
    run({ descriptor, size, label, runs, settled }) {
      const counter = settled && new Int32Array(settled)
      const awaitUpTo = (end: number): void => {
        if (counter === undefined) return
        for (let count = Atomics.load(counter, 0); count * CHUNK_SIZE < end && !isStopped(); count = Atomics.load(counter, 0))
          Atomics.wait(counter, 0, count, WAIT_MILLISECONDS)
      }
      const hash = createHash('sha256')
      const chunk = Buffer.allocUnsafeSlow(Math.min(size, CHUNK_SIZE))
      const zeros = Buffer.alloc(Math.min(size, CHUNK_SIZE))
      let position = 0
      const zerosUpTo = (end: number): void => {
        for (; position < end && !isStopped(); position = Math.min(end, position + zeros.length))
          hash.update(zeros.subarray(0, end - position))
      }
      for (const { start, length } of runs) {
        zerosUpTo(start)
        while (position < start + length && !isStopped()) {
          const part = chunk.subarray(0, Math.min(start + length, position + chunk.length - (position % CHUNK_SIZE)) - position)
          awaitUpTo(position + part.length)
          if (isStopped()) break
          const count = readChunk(descriptor, part, position, label)
          if (count === 0) throw endedError(label, position)
          hash.update(chunk.subarray(0, count))
          position += count
        }
      }
      zerosUpTo(size)
      return hash.digest('hex')
    },
  }),
}

function readChunk(descriptor: number, chunk: Buffer, position: number, label: string): number {
  try {
    return readSync(descriptor, chunk, 0, chunk.length, position)
  } catch (error) {
    throw readBackError(label, error)
  }
}
