/** Commands by their names. */
import { COMMAND_NAMES, type CommandName } from './commands/index.ts'

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
export function commandOf(words: readonly string[]): { readonly name: CommandName; readonly rest: readonly string[] } | undefined {
  for (const count of [2, 1]) {
    const name = words.length < count ? undefined : COMMAND_NAMES.find((one) => one === words.slice(0, count).join(' '))
    if (name !== undefined) return { name, rest: words.slice(count) }
  }
  return undefined
}
