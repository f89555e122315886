/** What a path is to write to: a file, an open descriptor, a pipe, or a device. Links to what is no file stand for that. */
import { lstatSync, readlinkSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { ImageError } from '../errors.ts'

export type Destination =
  /** Whatever is at the path, it is made or replaced. */
  | { readonly kind: 'file' }
  /** `/dev/stdout`, and what a shell puts in place of `>(command)`. */
  | { readonly kind: 'descriptor'; readonly descriptor: number }
  /** A named pipe, or a device that takes bytes in order. */
  | { readonly kind: 'pipe' }
  | { readonly kind: 'blockDevice' }

/** Links are followed so often (Linux, path_resolution(7)). */
const LINK_LIMIT = 40

/** Throws UNSUPPORTED for standard input and error. */
export function destinationOf(path: string): Destination {
  const descriptor = descriptorOf(path)
  if (descriptor !== undefined) {
    if (descriptor === 0 || descriptor === 2)
      throw new ImageError('UNSUPPORTED', `${path}: is standard ${descriptor === 0 ? 'input' : 'error'}; choose another output`, { path })
    return { kind: 'descriptor', descriptor }
  }
  let status: ReturnType<typeof statSync>
  try {
    status = statSync(path, { throwIfNoEntry: false })
  } catch {
    // A circle, or a folder that may not be looked into: whoever writes there says what is wrong.
    return { kind: 'file' }
  }
  if (status?.isBlockDevice()) return { kind: 'blockDevice' }
  return { kind: status?.isFIFO() || status?.isCharacterDevice() ? 'pipe' : 'file' }
}

const NAMED: Readonly<Record<string, number>> = { '/dev/stdin': 0, '/dev/stdout': 1, '/dev/stderr': 2 }

function descriptorOf(path: string): number | undefined {
  let place = resolve(path)
  for (let count = 0; count < LINK_LIMIT; count++) {
    const number = NAMED[place] ?? /^\/(?:dev|proc\/(?:self|thread-self|\d+))\/fd\/(\d{1,9})$/.exec(place)?.[1]
    // Descriptors of other processes are opened by their names.
    const owner = /^\/proc\/(\d+)\//.exec(place)?.[1]
    if (number !== undefined && (owner === undefined || Number(owner) === process.pid)) return Number(number)
    try {
      if (!lstatSync(place).isSymbolicLink()) return undefined
      place = resolve(dirname(place), readlinkSync(place))
    } catch {
      return undefined
    }
  }
  return undefined
}
