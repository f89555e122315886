/** From arguments, a config file and the environment to checked settings. */
import { dirname, resolve } from 'node:path'
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { nearest } from '../bytes/nearest.ts'
import { ImageError, systemErrorCode } from '../errors.ts'
import { readSmallFile } from '../io/small-file.ts'
import { isObject, parseJson } from '../json/parse.ts'
import { type CommandName, OPTIONS, type Option, type OptionKey, optionList, type Settings } from './options.ts'
import { usage } from './values.ts'

type Values = Partial<Record<OptionKey, unknown>>

export type Environment = Readonly<Record<string, string | undefined>>

/** Undefined when help was asked for. Throws USAGE. */
export function readSettings(command: CommandName, args: readonly string[], environment: Environment): Settings | undefined {
  const given = fromArguments(command, args)
  if (given.help) return undefined
  const config = given.config === undefined ? {} : fromConfig(command, String(given.config))
  const values: Values = { ...fromEnvironment(environment), ...config, ...given }
  for (const { key, name, option, isRequired } of optionList(command)) {
    if (isRequired && values[key] === undefined && !(key === 'output' && values.dryRun === true))
      throw usage(`${option.positional ? option.type.placeholder : `--${name}`} is missing`)
  }
  const settings: Values = {}
  for (const key of Object.keys(OPTIONS) as OptionKey[]) settings[key] = values[key] ?? defaultOf(key, values)
  return checked(command, settings as Settings)
}

/** `timeout` may be null on purpose; a dry run needs no output. */
function defaultOf(key: OptionKey, values: Values): unknown {
  if (values[key] === null) return null
  if (key === 'output' && values.output === undefined) return '-'
  return (OPTIONS[key] as Option).default
}

function checked(command: CommandName, settings: Settings): Settings {
  const isWriter = (OPTIONS.dryRun.commands as readonly CommandName[]).includes(command)
  if (isWriter && settings.json && !settings.dryRun) throw usage('--json goes with --dry-run')
  if ((settings.blockSize & (settings.blockSize - 1)) !== 0) throw usage(`--block-size is ${settings.blockSize}, it must be a power of two`)
  const targets = new Set<string>()
  for (const { target } of [...settings.add, ...settings.link]) {
    if (targets.has(target)) throw usage(`the target /${target} is named twice, by --add or --link`)
    targets.add(target)
  }
  if (settings.piecesLimit !== undefined && settings.pieces === undefined) throw usage('--pieces-limit goes with --pieces')
  return settings
}

function fromArguments(command: CommandName, args: readonly string[]): Values {
  const table = optionList(command)
  const options: ParseArgsOptionsConfig = {}
  for (const { name, option } of table) {
    options[name] = {
      type: option.type.placeholder === '' ? 'boolean' : 'string',
      ...(option.short && { short: option.short }),
      ...(option.repeatable && { multiple: true }),
    }
  }
  const { values: parsed, positionals: given } = parse(args, options)
  // What has no name on the command line may be given by name all the same.
  const places = table.filter(({ name, option }) => option.positional && parsed[name] === undefined)
  const extra = given[places.length]
  if (extra !== undefined) throw usage(`'${extra}' is not expected; options begin with --`)
  const values: Values = {}
  for (const [index, argument] of given.entries()) {
    const row = places[index]
    if (row !== undefined) values[row.key] = row.option.type.parse(argument, row.option.type.placeholder)
  }
  for (const { key, name, option } of table) {
    const value = parsed[name]
    if (value === undefined) continue
    if (typeof value === 'boolean') values[key] = value
    else if (Array.isArray(value)) values[key] = value.map((item) => option.type.parse(String(item), `--${name}`))
    else values[key] = option.type.parse(value, `--${name}`)
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
    if (unknown === undefined) throw usage(message.split(/[.\n]/)[0]?.replace(/^Option /, '') ?? message)
    const near = nearest(unknown.replace(/^-+/, ''), Object.keys(options))
    throw usage(`there is no option ${unknown}${near === undefined ? '' : `; did you mean --${near}?`}`)
  }
  return { values: parsed.values, positionals: parsed.positionals }
}

function fromConfig(command: CommandName, file: string): Values {
  const folder = dirname(resolve(file))
  const table = new Map(optionList().map((row) => [row.key as string, row]))
  const values: Values = {}
  for (const [key, value] of Object.entries(readJson(file))) {
    if (key === '$schema') continue
    const row = table.get(key)
    if (!row || row.option.configurable === false) {
      const near = nearest(key, [...table.keys()])
      throw usage(`${file}: there is no option '${key}'${near === undefined ? '' : `; did you mean '${near}'?`}`)
    }
    if (!row.option.commands.includes(command)) throw usage(`${file}: '${key}' is no option of kilnix ${command}`)
    values[row.key] = fromJson(row.option, value, `${file}: '${key}'`, folder)
  }
  return values
}

function fromJson(option: Option, value: unknown, name: string, folder: string): unknown {
  if (!option.repeatable) return option.type.fromJson(value, name, folder)
  if (!Array.isArray(value)) throw usage(`${name} must be a list`)
  return value.map((item, index) => option.type.fromJson(item, `${name}[${index}]`, folder))
}

/** No config file is larger, in bytes: there are some hundred options. */
const CONFIG_LIMIT = 1024 ** 2

/** Throws USAGE, and LIMIT for what is too large or nests too deep. */
function readJson(file: string): Readonly<Record<string, unknown>> {
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

/** https://reproducible-builds.org/specs/source-date-epoch/ */
function fromEnvironment(environment: Environment): Values {
  const epoch = environment.SOURCE_DATE_EPOCH
  return epoch === undefined || epoch === '' ? {} : { mtime: OPTIONS.mtime.type.parse(epoch, 'SOURCE_DATE_EPOCH') }
}
