/**
 * What an option of a command is: a row. A command has its rows by the names that its recipe has for them; arguments, help,
 * the JSON Schema of config files and docs/cli.md are made from them and therefore agree.
 */
import type { ValueType } from './values.ts'

export const GROUPS = ['Input', 'Output', 'Store', 'Boot', 'Image', 'Server', 'General'] as const

export interface Row {
  readonly type: ValueType<unknown>
  readonly group: (typeof GROUPS)[number]
  /** One sentence or two, without a full stop at the end. */
  readonly about: string
  /** For a flag that is on by itself: what `--no-...` does. */
  readonly aboutNegated?: string
  /** The name on the command line, where it is not the key: `mtime`, `kernel-param`. */
  readonly flag?: string
  readonly short?: string
  /** Used when the option is given nowhere. */
  readonly default?: unknown
  /** Says what happens when the option is given nowhere, where that is no fixed value, or is the recipe's. */
  readonly defaultText?: string
  readonly required?: true
  /** Key of the row that is given in its place: one of the two has to be, and not both. */
  readonly insteadOf?: string
  /** May be given several times; the value is a list, which is never empty. */
  readonly repeatable?: true
  /** False: command line only. */
  readonly configurable?: false
  /** Given without a name; several are taken in the order of the rows. */
  readonly positional?: true
  /** The environment variable that is taken where neither the command line nor a config file says anything. */
  readonly variable?: string
  /** Key of the row that has to be given as well. */
  readonly needs?: string
}

export type Rows = Readonly<Record<string, Row>>

/** Keeps the type of what is written. */
export function row<const R extends Row>(value: R): R {
  return value
}

type ValueOf<R> = R extends { readonly type: ValueType<infer T> } ? (R extends { readonly repeatable: true } ? readonly T[] : T) : never

type CertainKey<R> = {
  [K in keyof R]: R[K] extends { readonly required: true } | { readonly default: unknown } ? K : never
}[keyof R]

/** What was given, by key: what is required or has a default is there, all else only where somebody gave it. */
export type Given<R> = { readonly [K in CertainKey<R>]: ValueOf<R[K]> } & {
  readonly [K in Exclude<keyof R, CertainKey<R>>]?: ValueOf<R[K]>
}

export interface NamedRow {
  readonly key: string
  /** Without dashes in front. */
  readonly flag: string
  readonly row: Row
}

/** In the order of help, and of arguments without a name. */
export function rowList(rows: Rows): NamedRow[] {
  return Object.entries(rows).map(([key, row]) => ({ key, flag: flagOf(key, row), row }))
}

/** The name on the command line: `volumeId` is `volume-id`, unless its row says otherwise. */
export function flagOf(key: string, row: Row | undefined): string {
  return row?.flag ?? key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** The name in a config file: `volume-id` to `volumeId`. */
export function configName({ flag }: NamedRow): string {
  return flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

/** The rows that a config file may have, by their names in it. */
export function configurable(rows: Rows): ReadonlyMap<string, NamedRow> {
  const named = rowList(rows).filter(({ row }) => row.configurable !== false)
  return new Map(named.map((one) => [configName(one), one]))
}

/** As it is written on the command line: `--no-verify` for a flag that is on by itself. */
export function writtenName({ flag, row }: NamedRow): string {
  return row.type.placeholder === '' && row.default === true ? `--no-${flag}` : `--${flag}`
}
