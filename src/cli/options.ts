/** The table of options for code that does not care which option it is, and the settings that come out of it. */
import type { CommandName, Option } from './option.ts'
import { OPTIONS } from './option-table.ts'
import type { ValueType } from './values.ts'

export { type BuildCommand, type ClosureCommand, type CommandName, GROUPS, type NarCommand, type Option } from './option.ts'
export { OPTIONS } from './option-table.ts'

export type OptionKey = keyof typeof OPTIONS

type TypeOf<O> = O extends { readonly type: ValueType<infer T> } ? (O extends { readonly repeatable: true } ? readonly T[] : T) : never

/** Always there: options that have a default. */
type Certain<O> = O extends { readonly default: unknown } ? TypeOf<O> : TypeOf<O> | undefined

/** All settings; options of another command have their default. */
export type Settings = { readonly [K in OptionKey]: Certain<(typeof OPTIONS)[K]> }

export interface OptionRow {
  readonly key: OptionKey
  readonly name: string
  /** As the command has it. */
  readonly option: Option
  readonly isRequired: boolean
}

/** The table for code that does not care which option it is. */
export function optionList(command?: CommandName): OptionRow[] {
  const entries = Object.entries(OPTIONS) as [OptionKey, Option][]
  return entries
    .filter(([, option]) => command === undefined || option.commands.includes(command))
    .map(([key, option]) => ({
      key,
      name: kebabCase(key),
      option: command === undefined ? option : { ...option, ...option.variants?.[command] },
      isRequired: command !== undefined && option.required?.includes(command) === true,
    }))
}

/** `volumeId` to `volume-id`. */
export function kebabCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** As it is written on the command line: `--no-verify` for a flag that is on by itself. */
export function writtenName(name: string, option: Option): string {
  return option.type.placeholder === '' && option.default === true ? `--no-${name}` : `--${name}`
}
