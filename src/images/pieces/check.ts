/** Whether a piece is what its name says. */
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { ImageError, systemErrorCode } from '../../errors.ts'
import { foreignHand } from '../../io/trust.ts'
import { HOST_FILE_FLAGS } from '../../tree/open-files.ts'
import type { Checked, CheckTask, TaskControl } from './protocol.ts'

/** Bytes that are read and hashed in one turn of the event loop. */
const CHECK_CHUNK_SIZE = 1 << 20

/** Read a piece and compare its checksum. Whatever is wrong with it is its damage, not an error. Throws ABORTED. */
export async function checkPiece(task: CheckTask, control: Pick<TaskControl, 'isStopped'>): Promise<Checked> {
  let inode: string | undefined
  try {
    const file = openSync(task.file, HOST_FILE_FLAGS)
    try {
      const stats = fstatSync(file, { bigint: true })
      inode = String(stats.ino)
      if (!stats.isFile()) return { kind: 'damaged', why: 'is not a file', inode }
      const hand = foreignHand({ uid: Number(stats.uid), mode: Number(stats.mode) })
      if (hand !== undefined) return { kind: 'damaged', why: hand, inode }
      const hash = createHash('sha256')
      const chunk = Buffer.allocUnsafeSlow(Math.min(CHECK_CHUNK_SIZE, Number(stats.size) + 1))
      let size = 0
      for (let count = -1; count !== 0; size += count) {
        if (control.isStopped()) throw new ImageError('ABORTED', 'cancelled')
        count = readSync(file, chunk, 0, chunk.length, null)
        hash.update(chunk.subarray(0, count))
        if (count === CHECK_CHUNK_SIZE) await setImmediate()
      }
      return hash.digest('hex') === task.sha256
        ? { kind: 'sound', size }
        : { kind: 'damaged', why: 'has other content than its name says', inode }
    } finally {
      closeSync(file)
    }
  } catch (error) {
    if (error instanceof ImageError) throw error
    return { kind: 'damaged', why: `cannot be read (${systemErrorCode(error) ?? String(error)})`, inode }
  }
}
