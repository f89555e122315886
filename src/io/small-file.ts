/** Whole files of the host that have no reason to be large. */
import { closeSync, openSync, readSync } from 'node:fs'
import { tooLarge } from '../json/parse.ts'

/** Bytes that are read at first; twice as many after that, as long as there are more. */
const FIRST_SIZE = 64 * 1024

/**
 * The bytes of a file of at most `limit` bytes, which may be a pipe as well; no more than that is read. `what` is such as `a config
 * file`. Throws LIMIT, and system errors as they are.
 */
export function readSmallFile(path: string, limit: number, what: string): Uint8Array {
  const file = openSync(path, 'r')
  try {
    let bytes = Buffer.allocUnsafeSlow(Math.min(FIRST_SIZE, limit + 1))
    for (let size = 0; ; ) {
      const count = readSync(file, bytes, size, bytes.length - size, null)
      if (count === 0) return bytes.subarray(0, size)
      size += count
      if (size > limit) throw tooLarge(path, limit, what)
      if (size < bytes.length) continue
      const larger = Buffer.allocUnsafeSlow(Math.min(2 * size, limit + 1))
      bytes.copy(larger)
      bytes = larger
    }
  } finally {
    closeSync(file)
  }
}
