/** What recipes take beside their options. */
import { ImageError, systemErrorCode } from '../errors.ts'
import { readSmallFile } from '../io/small-file.ts'
import type { Context } from './command.ts'
import { standardInput } from './standard-input.ts'

export interface GivenInput {
  readonly closure?: string
  readonly cutoffs?: readonly string[]
}

/** Of recipes that read a closure: who is told, what `-` is, and no path where the cut-off is `none`. */
export function storeInput({ closure, cutoffs }: GivenInput, { signal, onProgress }: Context) {
  return {
    signal,
    onProgress,
    ...(closure === '-' && { stdin: standardInput(signal) }),
    ...(cutoffs && { cutoffs: cutoffs.filter((path) => path !== 'none') }),
  }
}

/** Larger texts are no configurations. */
const CONFIGURATION_LIMIT = 16 << 20

/** The text of a file that becomes a part of the system; nothing without one. Throws NOT_FOUND, UNREADABLE, LIMIT. */
export function configurationText(path: string | undefined): { readonly configuration?: string } {
  if (path === undefined) return {}
  try {
    return { configuration: Buffer.from(readSmallFile(path, CONFIGURATION_LIMIT, 'a configuration')).toString('utf8') }
  } catch (error) {
    if (error instanceof ImageError) throw error
    const code = systemErrorCode(error)
    throw new ImageError(code === 'ENOENT' ? 'NOT_FOUND' : 'UNREADABLE', `${path}: cannot be read (${code ?? String(error)})`, {
      path,
      cause: error,
    })
  }
}
