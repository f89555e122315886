/** What is done to know the checksum of a file that was written, in whatever thread: it is read back. */
import { createHash } from 'node:crypto'
import { readSync } from 'node:fs'
import type { WorkModule } from '../threads/work.ts'
import type { ByteRun } from './byte-run.ts'
import { endedError, readBackError } from './read-back-error.ts'

const CHUNK_SIZE = 1 << 20

export interface DigestTask {
  readonly descriptor: number
  /** Bytes from the beginning of the file. */
  readonly size: number
  /** The file in errors. */
  readonly label: string
  /** What has to be read; all else is zero. */
  readonly runs: readonly ByteRun[]
}

/** SHA-256, lower-case hex. Throws UNREADABLE and CHANGED. */
export const work: WorkModule<undefined, DigestTask, string> = {
  module: import.meta.url,
  open: (_setup, { isStopped }) => ({
    run({ descriptor, size, label, runs }) {
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
          const count = readChunk(descriptor, chunk.subarray(0, start + length - position), position, label)
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
