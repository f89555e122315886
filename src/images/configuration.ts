/** The text of a NixOS configuration that goes into an image. */
import { ImageError, systemErrorCode } from '../errors.ts'
import { readSmallFile } from '../io/small-file.ts'

/** The text itself, or a file of the host that holds it. */
export type Configuration = string | { readonly file: string }

/** Larger texts are no configurations. */
const CONFIGURATION_LIMIT = 16 << 20

/** The text. Throws NOT_FOUND, UNREADABLE, LIMIT. */
export function configurationText(given: Configuration): string {
  if (typeof given === 'string') return given
  const { file: path } = given
  try {
    return Buffer.from(readSmallFile(path, CONFIGURATION_LIMIT, 'a configuration')).toString('utf8')
  } catch (error) {
    if (error instanceof ImageError) throw error
    const code = systemErrorCode(error)
    throw new ImageError(code === 'ENOENT' ? 'NOT_FOUND' : 'UNREADABLE', `${path}: cannot be read (${code ?? String(error)})`, {
      path,
      cause: error,
    })
  }
}

/** What is read of the host for an installed system beside the store. */
export function installedInputs({
  add = [],
  configuration,
}: {
  readonly add?: readonly { readonly source: string }[]
  readonly configuration?: Configuration
}): string[] {
  return [...add.map(({ source }) => source), ...(typeof configuration === 'object' ? [configuration.file] : [])]
}
