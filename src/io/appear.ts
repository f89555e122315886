/** A file, folder or link of the host that appears at its path whole or not at all. */
import { chmodSync, lstatSync, readdirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { ImageError, systemErrorCode } from '../errors.ts'
import { syncFolder, writeError } from './file-target.ts'

/** Of this process, so that no two calls choose the same name. */
let serial = 0

export interface AppearOptions {
  /** Replace what is there, whatever it is. Default: that is EXISTS. */
  readonly force?: boolean
}

/**
 * `build` makes one new file, folder or link at the hidden path it is given, beside `path`, where it is renamed to when
 * `build` returns; what it has made is removed when it throws. A killed process may leave `.kilnix-*.partial` beside
 * `path`. Throws EXISTS, WRITE_FAILED, and what `build` throws.
 */
export async function appear<T>(path: string, options: AppearOptions, build: (temporary: string) => Promise<T>): Promise<T> {
  const destination = resolve(path)
  const isTaken = (): boolean => lstatAt(destination, path) !== undefined
  if (options.force !== true && isTaken()) throw existsError(path)
  const temporary = join(dirname(destination), `.kilnix-${process.pid}-whole-${serial++}.partial`)
  const aside = `${temporary}.old`
  let isMoved = false
  try {
    const result = await build(temporary)
    if (isTaken()) {
      if (options.force !== true) throw existsError(path)
      renameSync(destination, aside)
    }
    try {
      renameSync(temporary, destination)
      isMoved = true
    } finally {
      if (!isMoved && lstatAt(aside, path) !== undefined) renameSync(aside, destination)
    }
    await syncFolder(dirname(destination))
    return result
  } catch (error) {
    throw systemErrorCode(error) === undefined ? error : writeError(path, error)
  } finally {
    if (!isMoved) removeTree(temporary)
    removeTree(aside)
  }
}

/** Remove what is at `path`, also folders that may not be written to and names that are no UTF-8. Links are not followed. */
export function removeTree(path: string | Buffer): void {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isDirectory()) {
    unlinkSync(path)
    return
  }
  chmodSync(path, 0o700)
  for (const name of readdirSync(path, 'buffer')) removeTree(Buffer.concat([Buffer.from(path), SLASH, name]))
  rmdirSync(path)
}

const SLASH = Buffer.from('/')

function lstatAt(hostPath: string, label: string) {
  try {
    return lstatSync(hostPath, { throwIfNoEntry: false })
  } catch (error) {
    throw writeError(label, error)
  }
}

function existsError(path: string): ImageError {
  return new ImageError('EXISTS', `${path}: exists already; use --force to replace it`, { path })
}
