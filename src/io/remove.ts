/** Removing folders by descriptors: no link is followed, and nothing on another file system or mount is touched. */
import { chmodSync, closeSync, constants, fchmodSync, openSync, renameSync, rmdirSync, unlinkSync } from 'node:fs'
import { systemErrorCode } from '../errors.ts'
import { type HeldFolder, O_PATH } from './held-folder.ts'

/** What unlink(2) says of a folder; EPERM is POSIX' word for it. */
const IS_FOLDER = ['EISDIR', 'EPERM']

const OWN_MODE = 0o700

/**
 * Remove `name`, and all below it if it is a folder, from `folder`, which nobody else may write to. Folders within are first
 * moved into `folder` itself: so neither depth nor the length of paths matters, and one on which something is mounted, which
 * cannot be moved, ends this with EBUSY and is left as it is. Throws errors of the system; what is removed by then is gone.
 */
export function removeEntry(folder: HeldFolder, name: string): void {
  const waiting = [name]
  let serial = 0
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const status = folder.status(next)
    if (status === undefined) continue
    if (!status.isDirectory()) {
      unlinkSync(folder.at(next))
      continue
    }
    const inner = folder.openFolder(next)
    try {
      if (inner.identity.dev !== folder.identity.dev) throw Object.assign(new Error(`${next}: is another file system`), { code: 'EBUSY' })
      fchmodSync(inner.descriptor, OWN_MODE)
      for (const child of inner.byteNames()) {
        const place = inner.at(child)
        if (isUnlinked(place)) continue
        const moved = `.removed-${process.pid}-${serial++}`
        makeOwn(place)
        renameSync(place, folder.at(moved))
        waiting.push(moved)
      }
    } finally {
      inner.close()
    }
    rmdirSync(folder.at(next))
  }
}

/** False for a folder. */
function isUnlinked(place: Buffer): boolean {
  try {
    unlinkSync(place)
    return true
  } catch (error) {
    const code = systemErrorCode(error) ?? ''
    if (code === 'ENOENT') return true
    if (IS_FOLDER.includes(code)) return false
    throw error
  }
}

/** Only a folder that may be written to can be moved out of another, and only one that may be read can be emptied. */
function makeOwn(place: Buffer): void {
  const descriptor = openSync(place, constants.O_DIRECTORY | constants.O_NOFOLLOW | (O_PATH || constants.O_RDONLY))
  try {
    if (O_PATH === 0) fchmodSync(descriptor, OWN_MODE)
    else chmodSync(`/proc/self/fd/${descriptor}`, OWN_MODE)
  } finally {
    closeSync(descriptor)
  }
}
