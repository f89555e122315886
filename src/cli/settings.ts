/** From arguments, a config file and the environment to what was given, checked. */
import { dirname, resolve } from 'node:path'
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { nearest } from '../bytes/nearest.ts'
import { ImageError, systemErrorCode } from '../errors.ts'
import { readSmallFile } from '../io/small-file.ts'
import { isObject, parseJson } from '../json/parse.ts'
import type { Command } from './command.ts'
import { configurable, type Given, type NamedRow, type Row, type Rows, rowList } from './row.ts'
import { HELP } from './rows.ts'
import { usage } from './values.ts'

type Values = Readonly<Record<string, unknown>>

export type Environment = Readonly<Record<string, string | undefined>>

/** Undefined when help was asked for. Throws USAGE. */
export function readSettings<R extends Rows>(command: Command<R>, args: readonly string[], environment: Environment): Given<R> | undefined {
  const rows = rowList(command.rows)
  const { help, ...fromCommandLine } = fromArguments(rowList({ ...command.rows, help: HELP }), args)
  if (help) return undefined
  const config = fromCommandLine.config === undefined ? {} : fromConfig(command, String(fromCommandLine.config))
  const stated: Values = {
    ...fromEnvironment(rows, environment),
    ...withoutAlternatives(config, fromCommandLine, rows),
    ...fromCommandLine,
  }
  const given: Record<string, unknown> = {}
  for (const { key, flag, row } of rows) {
    const value = key in stated ? stated[key] : defaultOf(key, row, stated)
    if (value === undefined && row.required) throw usage(`${row.positional ? row.type.placeholder : `--${flag}`} is missing`)
    checkAlternative({ key, flag, row }, rows, { ...stated, [key]: value })
    if (value !== undefined) given[key] = value
  }
  for (const { flag, key, row } of rows) {
    if (isSaid(given[key]) && row.needs !== undefined && !isSaid(given[row.needs])) {
      const needed = rows.find((other) => other.key === row.needs)
      throw usage(`--${flag} goes with --${needed?.flag}`)
    }
  }
  command.check?.(given as Given<R>)
  return given as Given<R>
}

/** The command line wins: of two that exclude each other, a config file does not give the other one. */
function withoutAlternatives(config: Values, fromCommandLine: Values, rows: readonly NamedRow[]): Values {
  const pairs = rows.flatMap(({ key, row }) => (row.insteadOf === undefined ? [] : [[key, row.insteadOf] as const]))
  const beaten = pairs.flatMap(([one, other]) => [
    ...(isSaid(fromCommandLine[one]) ? [other] : []),
    ...(isSaid(fromCommandLine[other]) ? [one] : []),
  ])
  return Object.fromEntries(Object.entries(config).filter(([key]) => !beaten.includes(key)))
}

/** Throws USAGE where neither this row nor the one that it may stand for is given, or both are. */
function checkAlternative({ key, flag, row }: NamedRow, rows: readonly NamedRow[], stated: Values): void {
  const other = rows.find((one) => one.key === row.insteadOf)
  if (other === undefined || isSaid(stated[key]) !== isSaid(stated[other.key])) return
  if (!isSaid(stated[key])) throw usage(`${other.row.type.placeholder} or --${flag} is missing`)
  throw usage(`'${String(stated[other.key])}' is not expected, since --${flag} is given; give one of them`)
}

/** A dry run needs no output. */
function defaultOf(key: string, row: Row, stated: Values): unknown {
  return key === 'output' && stated.dryRun === true ? '-' : row.default
}

function isSaid(value: unknown): boolean {
  return value !== undefined && value !== false
}

function fromArguments(rows: readonly NamedRow[], args: readonly string[]): Values {
  const options: ParseArgsOptionsConfig = {}
  for (const { flag, row } of rows) {
    options[flag] = {
      type: row.type.placeholder === '' ? 'boolean' : 'string',
      ...(row.short && { short: row.short }),
      ...(row.repeatable && { multiple: true }),
    }
  }
  const { values: parsed, positionals: given } = parse(args, options)
  // What has no name on the command line may be given by name all the same.
  const places = rows.filter(({ flag, row }) => row.positional && parsed[flag] === undefined)
  const last = places.at(-1)
  const extra = given[places.length]
  if (!last?.row.repeatable && extra !== undefined) throw usage(`'${extra}' is not expected; options begin with --`)
  const values: Record<string, unknown> = {}
  for (const [index, argument] of given.entries()) {
    // The last takes what is left.
    const place = places[index] ?? last
    if (place === undefined) continue
    const value = place.row.type.parse(argument, place.row.type.placeholder)
    if (!place.row.repeatable) values[place.key] = value
    else values[place.key] = [...((values[place.key] as readonly unknown[] | undefined) ?? []), value]
  }
  for (const { key, flag, row } of rows) {
    const value = parsed[flag]
    if (value === undefined) continue
    if (typeof value === 'boolean') values[key] = value
    else if (Array.isArray(value)) values[key] = value.map((item) => row.type.parse(String(item), `--${flag}`))
    else values[key] = row.type.parse(value, `--${flag}`)
  }
  return values
}

interface Parsed {
  readonly values: Record<string, string | boolean | (string | boolean)[] | undefined>
  readonly positionals: readonly string[]
}

function parse(args: readonly string[], options: ParseArgsOptionsConfig): Parsed {
  let parsed: ReturnType<typeof parseArgs>
  try {
    parsed = parseArgs({ args: [...args], options, strict: true, allowPositionals: true, allowNegative: true })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const unknown = /^Unknown option '(-[^']*)'/.exec(message)?.[1]
    const ambiguous = /^Option '--?([^' ,]+).*' argument is ambiguous/.exec(message)?.[1]
    if (ambiguous !== undefined) throw usage(ambiguousValue(ambiguous, args, options))
    if (unknown === undefined) throw usage(message.split(/[.\n]/)[0]?.replace(/^Option /, '') ?? message)
    const near = nearest(unknown.replace(/^-+/, ''), Object.keys(options))
    throw usage(`there is no option ${unknown}${near === undefined ? '' : `; did you mean --${near}?`}`)
  }
  return { values: parsed.values, positionals: parsed.positionals }
}

/** A value that begins with a dash looks as another option does. */
function ambiguousValue(name: string, args: readonly string[], options: ParseArgsOptionsConfig): string {
  const flag = Object.keys(options).find((known) => options[known]?.short === name) ?? name
  const value = args.find((argument, index) => argument.startsWith('-') && [`--${flag}`, `-${name}`].includes(args[index - 1] ?? ''))
  return `--${flag} is followed by ${value === undefined ? 'an option' : `'${value}'`}; a value that begins with a dash is written --${flag}='${value ?? '-...'}'`
}

function fromConfig({ name, rows }: Command, file: string): Values {
  const folder = dirname(resolve(file))
  const own = configurable(rows)
  const values: Record<string, unknown> = {}
  for (const [spelled, value] of Object.entries(readJson(file))) {
    if (spelled === '$schema') continue
    const found = own.get(spelled)
    if (found === undefined) throw unknownKey(spelled, file, name, own)
    const read = fromJson(found.row, value, `${file}: '${spelled}'`, folder)
    // Nothing in a list is nothing given.
    if (!Array.isArray(read) || read.length > 0) values[found.key] = read
  }
  return values
}

function unknownKey(spelled: string, file: string, command: string, own: ReadonlyMap<string, NamedRow>): ImageError {
  const near = nearest(spelled, [...own.keys()])
  return usage(`${file}: there is no option '${spelled}' of kilnix ${command}${near === undefined ? '' : `; did you mean '${near}'?`}`)
}

function fromJson(row: Row, value: unknown, name: string, folder: string): unknown {
  if (!row.repeatable) return row.type.fromJson(value, name, folder)
  if (!Array.isArray(value)) throw usage(`${name} must be a list`)
  return value.map((item, index) => row.type.fromJson(item, `${name}[${index}]`, folder))
}

/** No config file is larger, in bytes: there are some hundred options. */
const CONFIG_LIMIT = 1024 ** 2

/** Throws USAGE, and LIMIT for what is too large or nests too deep. */
function readJson(file: string): Values {
  let value: unknown
  try {
    value = parseJson(readSmallFile(file, CONFIG_LIMIT, 'a config file'), file)
  } catch (error) {
    if (error instanceof ImageError && error.code === 'LIMIT') throw error
    const reason =
      error instanceof ImageError ? `is not JSON: ${error.message}` : `cannot be read: ${systemErrorCode(error) ?? String(error)}`
    throw usage(`config file ${file} ${reason}`)
  }
  if (!isObject(value)) throw usage(`config file ${file} must hold a JSON object`)
  return value
}

function fromEnvironment(rows: readonly NamedRow[], environment: Environment): Values {
  const values: Record<string, unknown> = {}
  for (const { key, row } of rows) {
    const text = row.variable === undefined ? undefined : environment[row.variable]
    if (row.variable !== undefined && text !== undefined && text !== '') values[key] = row.type.parse(text, row.variable)
  }
  return values
}
