/** Files of the host that are open for reading. Those that hold many contents are opened once for all that are read at a time. */
import { closeSync, constants, openSync } from 'node:fs'

/**
 * A path that became a link or a pipe since it was listed must neither be followed nor waited for. Windows
 * has neither flag; there they are undefined, which counts as 0 here.
 */
export const HOST_FILE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

export interface Opened {
  readonly descriptor: number
  /** Nobody had it open before. */
  readonly isNew: boolean
  /** The change time that was noted first of the open file, which is `seen` where this is the first. */
  changeTimeNs(seen: bigint): bigint
  close(): void
}

/** Closed, by whoever opened one more, once so many are open that nobody reads: a task reads few at a time. */
const IDLE_LIMIT = 8

interface Shared {
  readonly path: Uint8Array
  readonly descriptor: number
  users: number
  changeTimeNs: bigint | undefined
}

/** Of this thread. The one that was used last is the last. */
const shared: Shared[] = []
let isClosing = false

/**
 * Open the host file at `path` (bytes). Where `isShared`, whoever opens the same path in the same turn of the event loop gets
 * the same descriptor. Throws errors of the system.
 */
export function openHost(path: Uint8Array, isShared: boolean): Opened {
  if (!isShared) {
    const descriptor = openSync(Buffer.from(path), HOST_FILE_FLAGS)
    return { descriptor, isNew: true, changeTimeNs: (seen) => seen, close: () => closeSync(descriptor) }
  }
  const known = shared.findLast((one) => one.path === path || Buffer.compare(one.path, path) === 0)
  const file = known ?? opened(path)
  file.users++
  return {
    descriptor: file.descriptor,
    isNew: known === undefined,
    changeTimeNs: (seen) => {
      file.changeTimeNs ??= seen
      return file.changeTimeNs
    },
    close() {
      file.users--
      closeLater()
    },
  }
}

function opened(path: Uint8Array): Shared {
  if (shared.length >= IDLE_LIMIT) closeIdle()
  // Messages and slots use their memory again.
  const own = Uint8Array.from(path)
  const file: Shared = { path: own, descriptor: openSync(Buffer.from(own), HOST_FILE_FLAGS), users: 0, changeTimeNs: undefined }
  shared.push(file)
  return file
}

/** What comes in the same turn finds it open; what comes later has to find what lies at the path then. */
function closeLater(): void {
  if (isClosing) return
  isClosing = true
  setImmediate(() => {
    isClosing = false
    closeIdle()
  })
}

function closeIdle(): void {
  for (let index = shared.length - 1; index >= 0; index--) {
    const file = shared[index]
    if (file === undefined || file.users > 0) continue
    shared.splice(index, 1)
    closeSync(file.descriptor)
  }
}
