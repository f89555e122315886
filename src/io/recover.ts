/** What was at a path and was moved aside, so that something new could appear there. */
import { fchmodSync, renameSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { HeldFolder } from './held-folder.ts'
import { PARTIAL_NAME } from './private-folder.ts'
import type { ProgressListener } from './progress.ts'

/** In the private folder: folders that hold what was at the path, under its own name; theirs end in its mode, octal. */
const REPLACED = /^replaced-\d+-([0-7]+)$/

/** The name of the folder for the `number`th thing that is moved aside, which has `mode`. */
export function asideName(number: number, mode: bigint): string {
  return `replaced-${number}-${(mode & 0o7777n).toString(8)}`
}

/** To its old place, and with its old mode. */
export function moveBack(partial: HeldFolder, aside: string, parent: HeldFolder, name: string): void {
  renameSync(partial.at(`${aside}/${name}`), parent.at(name))
  const [, mode = ''] = REPLACED.exec(aside) ?? []
  if (parent.status(name)?.isDirectory() !== true) return
  const folder = parent.openFolder(name)
  try {
    fchmodSync(folder.descriptor, Number.parseInt(mode, 8))
  } finally {
    folder.close()
  }
}

/**
 * Put back what a run that was killed has moved aside, where nothing is at `path`. Errors are left to those who write there.
 */
export function recover(path: string, onProgress?: ProgressListener): void {
  let parent: HeldFolder | undefined
  try {
    // In a working directory that was removed there is no such path.
    const destination = resolve(path)
    parent = HeldFolder.open(dirname(destination))
    const name = basename(destination)
    for (const partial of parent.status(name) === undefined ? parent.names() : []) {
      if (!PARTIAL_NAME.test(partial) || !putBackFrom(parent, partial, name)) continue
      onProgress?.({ kind: 'note', message: `${path}: what a run that was killed had moved to ${partial} is back in its place` })
      return
    }
  } catch {
    // The folder may not be there, or not be for this user.
  } finally {
    parent?.close()
  }
}

/** True when something was moved. The owner is compared, lest another user's folder become the output. */
function putBackFrom(parent: HeldFolder, partial: string, name: string): boolean {
  let folder: HeldFolder | undefined
  try {
    folder = parent.openFolder(partial)
    const owner = folder.status('.')?.uid
    if (process.geteuid !== undefined && owner !== BigInt(process.geteuid())) return false
    const held = folder.names().find((one) => REPLACED.test(one) && folder?.status(`${one}/${name}`) !== undefined)
    if (held === undefined || parent.status(name) !== undefined) return false
    moveBack(folder, held, parent, name)
    return true
  } catch {
    return false
  } finally {
    folder?.close()
  }
}
