/** Commands by their names. */
import { nearest } from '../bytes/nearest.ts'
import type { ImageError } from '../errors.ts'
import { ABOUT_NAMES, type AboutName, COMMAND_NAMES, type CommandName } from './commands/index.ts'
import { usage } from './values.ts'

/** First words of the commands that have two. */
export const COMMAND_FAMILIES = {
  store: 'Stores: fetched from binary caches',
  nar: 'Nix archives',
  closure: 'Closures: sizes, references, differences, checks',
} as const

export type CommandFamily = keyof typeof COMMAND_FAMILIES

export function familyMembers(family: CommandFamily): readonly CommandName[] {
  return COMMAND_NAMES.filter((name) => name.startsWith(`${family} `))
}

export function isFamily(word: string | undefined): word is CommandFamily {
  return word !== undefined && Object.hasOwn(COMMAND_FAMILIES, word)
}

/** The command that `words` begin with, and the words behind it. */
export function commandOf(
  words: readonly string[],
): { readonly name: CommandName | AboutName; readonly rest: readonly string[] } | undefined {
  const names: readonly (CommandName | AboutName)[] = [...COMMAND_NAMES, ...ABOUT_NAMES]
  for (const count of [2, 1]) {
    const name = words.length < count ? undefined : names.find((one) => one === words.slice(0, count).join(' '))
    if (name !== undefined) return { name, rest: words.slice(count) }
  }
  return undefined
}

/** What stands in place of a command, as other programs have it. */
export const HELP_WORDS = ['--help', '-h']
export const VERSION_WORDS = ['--version', '-V']

/** Of a family that is known, the second word is wrong. */
export function unknownCommand([first = '', second]: readonly string[]): ImageError {
  const words = isFamily(first) && second !== undefined ? `${first} ${second}` : first
  const known = [...COMMAND_NAMES, ...ABOUT_NAMES, ...Object.keys(COMMAND_FAMILIES), ...HELP_WORDS, ...VERSION_WORDS]
  const near = nearest(words, known)
  return usage(`there is no command '${words}'${near === undefined ? '' : `; did you mean ${near}?`}`)
}
