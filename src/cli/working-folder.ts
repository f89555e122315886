/** The folder that relative paths count from may be gone. */
import { isAbsolute } from 'node:path'
import { ImageError } from '../errors.ts'

let isGone = false

/** Where the folder was removed, go to another one: in it no thread of Node can start. Then relative paths are errors. */
export function leaveRemovedFolder(): void {
  try {
    process.cwd()
  } catch {
    isGone = true
    process.chdir('/')
  }
}

/** `path`, which the command line gives. Throws USAGE when it is relative to a folder that is gone. */
export function fromWorkingFolder(path: string, option: string): string {
  if (!isGone || path === '-' || isAbsolute(path)) return path
  throw new ImageError(
    'USAGE',
    `${option} is the relative path ${path}, but the working directory was removed; change to another, or give an absolute path`,
  )
}
