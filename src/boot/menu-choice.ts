/** Which entries a menu of a live image has, and which of them boots by itself. */
import { ImageError } from '../errors.ts'

export interface MenuChoice {
  /** The entry that boots by itself, and stands first: a specialisation (`a/b` for b in a), or a title. Default: the first. */
  readonly defaultEntry?: string
  /** No entry for the system itself, only for its specialisations: `isoImage.showConfiguration = false`. Default false. */
  readonly hideBase?: boolean
}

interface Entry {
  readonly title: string
  readonly specialisation: readonly string[]
}

/**
 * The entries of `all` that are wanted, the default first and the others in their order. Throws USAGE where none would be
 * left, NOT_FOUND for a default that is not among them.
 */
export function chosenEntries<E extends Entry>(all: readonly E[], { defaultEntry, hideBase = false }: MenuChoice): E[] {
  const shown = all.filter(({ specialisation }) => !hideBase || specialisation.length > 0)
  if (shown.length === 0) {
    throw new ImageError('USAGE', (option) => `${option('hideBase')}: the system has no specialisation, so the menu would be empty`)
  }
  if (defaultEntry === undefined) return shown
  const named = shown.find(({ specialisation }) => specialisation.length > 0 && specialisation.join('/') === defaultEntry)
  const first = named ?? shown.find(({ title }) => title === defaultEntry)
  if (first === undefined) {
    const names = shown.map(({ title, specialisation }) => `'${specialisation.length > 0 ? specialisation.join('/') : title}'`)
    throw new ImageError(
      'NOT_FOUND',
      (option) => `${option('defaultEntry')} is '${defaultEntry}', and the menu has no such entry; it has ${names.join(', ')}`,
    )
  }
  return [first, ...shown.filter((entry) => entry !== first)]
}
