/** That an output is none of the inputs. */
import { realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { ImageError } from '../errors.ts'

/**
 * Throws USAGE when a file written at `output` would replace one of `inputs`, or lie within one that is a
 * folder. A link is a file of its own here: replacing it leaves what it leads to as it is.
 */
export function checkApart(output: string, inputs: Iterable<string>): void {
  const placeOf = placeFinder()
  const place = placeOf(output)
  for (const input of inputs) {
    if (isSameDevice(output, input))
      throw new ImageError('USAGE', `the output ${output} is the input ${input}; choose another`, { path: output })
    for (const taken of [placeOf(input), realPath(resolve(input))]) {
      if (place !== taken && !place.startsWith(`${taken}/`)) continue
      const what = place === taken ? 'is the input' : 'lies within the input'
      throw new ImageError('USAGE', `the output ${output} ${what} ${input}; choose another place`, { path: output })
    }
  }
}

/** Throws USAGE when a folder that is written anew at `output` would replace one that holds any of `inputs`. */
export function checkHoldsNone(output: string, inputs: Iterable<string>): void {
  const placeOf = placeFinder()
  const place = `${placeOf(output)}/`
  for (const input of inputs) {
    if (!placeOf(input).startsWith(place) && !realPath(resolve(input)).startsWith(place)) continue
    throw new ImageError('USAGE', `the input ${input} lies within the output ${output}; choose another place for one of them`, {
      path: output,
    })
  }
}

/** Whether both are, by any name, one block device. */
function isSameDevice(output: string, input: string): boolean {
  try {
    const [one, other] = [statSync(output), statSync(input)]
    return one.isBlockDevice() && other.isBlockDevice() && one.rdev === other.rdev
  } catch {
    return false
  }
}

/** Where a path is: its folder without links. */
function placeFinder(): (path: string) => string {
  const folders = new Map<string, string>()
  return (path) => {
    const folder = dirname(resolve(path))
    const real = folders.get(folder) ?? realPath(folder)
    folders.set(folder, real)
    return join(real, basename(resolve(path)))
  }
}

/** Without links; what is not there is taken as it is written. */
function realPath(path: string): string {
  try {
    return realpathSync.native(path)
  } catch {
    const folder = dirname(path)
    return folder === path ? path : join(realPath(folder), basename(path))
  }
}
