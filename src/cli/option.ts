/** What an option is. */
import type { ValueType } from './values.ts'

/** Commands that build something out of many options, which may come from a config file. */
export type BuildCommand = 'iso' | 'squashfs' | 'initrd' | 'netboot' | 'serve' | 'disk' | 'zfs' | 'convert'

/** Two words are a command of a family: `COMMAND_FAMILIES` has the first words. */
export type NarCommand = 'nar dump' | 'nar hash' | 'nar restore' | 'nar ls'
export type ClosureCommand = 'closure show' | 'closure why' | 'closure diff' | 'closure check'

/** Commands that write a store. */
export type StoreCommand = 'toplevel' | 'replace'

export type CommandName = BuildCommand | StoreCommand | NarCommand | ClosureCommand

export const GROUPS = ['Input', 'Output', 'Store', 'Boot', 'Image', 'Server', 'General'] as const

export interface Option {
  // biome-ignore lint/suspicious/noExplicitAny: a table of value types of all kinds
  readonly type: ValueType<any>
  readonly group: (typeof GROUPS)[number]
  readonly commands: readonly CommandName[]
  /** One sentence or two, without a full stop at the end. */
  readonly about: string
  /** For a flag that is on by itself: what `--no-...` does. */
  readonly aboutNegated?: string
  readonly short?: string
  /** Used when the option is given nowhere. */
  readonly default?: unknown
  /** Says what happens when the option is given nowhere, where that is no fixed value. */
  readonly defaultText?: string
  /** Commands that do not work without it. */
  readonly required?: readonly CommandName[]
  /** May be given several times; the value is a list. */
  readonly repeatable?: true
  /** False: command line only. */
  readonly configurable?: false
  /** Given without a name; several are taken in the order of the table. */
  readonly positional?: true
  /** What is another thing for some command. */
  readonly variants?: Readonly<Partial<Record<CommandName, Variant>>>
}

export type Variant = Partial<Pick<Option, 'type' | 'about' | 'defaultText' | 'positional'>>
