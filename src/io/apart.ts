/** That an output is none of the inputs. */
import { realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { ImageError } from '../errors.ts'

/**
 * Throws USAGE when a file written at `output` would replace one of `inputs`, or lie within one that is a
 * folder. A link is a file of its own here: replacing it leaves what it leads to as it is.
 */
export function checkApart(output: string, inputs: Iterable<string>): void {
  const folders = new Map<string, string>()
  const placeOf = (path: string): string => {
    const folder = dirname(resolve(path))
    const real = folders.get(folder) ?? realPath(folder)
    folders.set(folder, real)
    return join(real, basename(resolve(path)))
  }
  const place = placeOf(output)
  for (const input of inputs) {
    for (const taken of [placeOf(input), realPath(resolve(input))]) {
      if (place !== taken && !place.startsWith(`${taken}/`)) continue
      const what = place === taken ? 'is the input' : 'lies within the input'
      throw new ImageError('USAGE', `the output ${output} ${what} ${input}; choose another place`, { path: output })
    }
  }
}

/** Without links; what is not there is taken as it is written. */
function realPath(path: string): string {
  try {
    return realpathSync.native(path)
  } catch {
    return path
  }
}
