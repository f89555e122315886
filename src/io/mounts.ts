/** What is mounted on this machine. */
import { readFileSync, realpathSync } from 'node:fs'

/** The fifth field of a line is where it is mounted, with octal escapes (Linux, proc_pid_mountinfo(5)). */
const MOUNT_POINT = /^(?:\S+ ){4}(\S+) /gm

/** A place below the folder at `path` where something is mounted; undefined where none is, and on systems other than Linux. */
export function mountWithin(path: string): string | undefined {
  let table: string
  let folder: string
  try {
    table = readFileSync('/proc/self/mountinfo', 'latin1')
    folder = `${Buffer.from(realpathSync.native(path)).toString('latin1').replace(/\/+$/, '')}/`
  } catch {
    return undefined
  }
  const points = [...table.matchAll(MOUNT_POINT)].map(([, point = '']) => point.replace(/\\([0-7]{3})/g, (_, octal) => byteOf(octal)))
  const found = points.find((point) => point.startsWith(folder))
  return found === undefined ? undefined : Buffer.from(found, 'latin1').toString()
}

function byteOf(octal: string): string {
  return String.fromCharCode(Number.parseInt(octal, 8))
}
