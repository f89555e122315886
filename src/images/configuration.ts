/** The text of a NixOS configuration that goes into an image. */
import type { Addition } from '../system/additions.ts'
import { smallHostFile } from '../system/small-file.ts'

/** The text itself, or a file of the host that holds it. */
export type Configuration = string | { readonly file: string }

/** Larger texts are no configurations. */
const CONFIGURATION_LIMIT = 16 << 20

/** The text, if any. Throws NOT_FOUND, UNREADABLE, LIMIT. */
export function configurationText(given: Configuration | undefined): string | undefined {
  if (typeof given !== 'object') return given
  return Buffer.from(smallHostFile(given.file, CONFIGURATION_LIMIT, 'the configuration')).toString('utf8')
}

/** What is read of the host for an installed system, beside the store. */
export function installedInputs({
  add = [],
  configuration,
  initrdSecrets,
}: {
  readonly initrdSecrets?: string
  readonly add?: readonly Addition[]
  readonly configuration?: Configuration
}) {
  return [
    ...add.map(({ source }) => source),
    ...[initrdSecrets, typeof configuration === 'object' ? configuration.file : undefined].filter((path) => path !== undefined),
  ]
}
