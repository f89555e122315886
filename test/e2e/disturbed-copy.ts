/**
 * A copy of a store that holds the same for Nix and is as different as a host may make it: other times, owners and write
 * bits, equal files hard-linked to each other, entries made in the opposite order.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs'

const SLASH = Buffer.from('/')
/** Any time that no store has: 2021 */
const FIRST_TIME_SECONDS = 1_620_000_000

export function disturbedCopy(from: string, to: string): void {
  const byContent = new Map<string, Buffer>()
  const asRoot = process.getuid?.() === 0
  let timeSeconds = FIRST_TIME_SECONDS

  const disturb = (path: Buffer): void => {
    timeSeconds += 97
    lutimesSync(path, timeSeconds, timeSeconds)
  }
  const copyFile = (source: Buffer, target: Buffer, executable: boolean): void => {
    const key = createHash('sha256').update(readFileSync(source)).digest('hex') + executable
    const equal = byContent.get(key)
    if (equal !== undefined) {
      linkSync(equal, target)
      return
    }
    byContent.set(key, target)
    copyFileSync(source, target)
    if (asRoot) chownSync(target, 1000, 100)
    chmodSync(target, executable ? 0o755 : 0o644)
  }
  const copy = (source: Buffer, target: Buffer): void => {
    const stats = lstatSync(source)
    if (stats.isSymbolicLink()) symlinkSync(readlinkSync(source, { encoding: 'buffer' }), target)
    else if (stats.isFile()) copyFile(source, target, (stats.mode & 0o100) !== 0)
    else {
      mkdirSync(target)
      for (const name of readdirSync(source, { encoding: 'buffer' }).reverse()) {
        copy(Buffer.concat([source, SLASH, name]), Buffer.concat([target, SLASH, name]))
      }
    }
    disturb(target)
  }
  copy(Buffer.from(from), Buffer.from(to))
}
