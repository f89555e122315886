/** Commands by their names. */
import type { Command } from './command.ts'
import { COMMANDS, type CommandName } from './commands/index.ts'

export const COMMAND_NAMES: readonly CommandName[] = COMMANDS.map(({ name }) => name)

/** First words of the commands that have two. */
export const COMMAND_FAMILIES = { nar: 'Nix archives', closure: 'Closures: sizes, references, differences, checks' } as const

export type CommandFamily = keyof typeof COMMAND_FAMILIES

export function familyMembers(family: CommandFamily): readonly Command[] {
  return COMMANDS.filter(({ name }) => name.startsWith(`${family} `))
}

export function isFamily(word: string | undefined): word is CommandFamily {
  return word !== undefined && Object.hasOwn(COMMAND_FAMILIES, word)
}

/** The command that `words` begin with, and the words behind it. */
export function commandOf(words: readonly string[]): { readonly command: Command; readonly rest: readonly string[] } | undefined {
  for (const count of [2, 1]) {
    const command = words.length < count ? undefined : COMMANDS.find(({ name }) => name === words.slice(0, count).join(' '))
    if (command !== undefined) return { command, rest: words.slice(count) }
  }
  return undefined
}
