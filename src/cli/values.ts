/**
 * The kinds of values that options take: how each is written on a command line, how in JSON, and its
 * JSON Schema, side by side so that they agree.
 */
import { resolve } from 'node:path'
import type { CodecSpec } from '../codecs/codec.ts'
import { parseCodecSpec } from '../codecs/spec.ts'
import { ImageError } from '../errors.ts'
import type { Replacement } from '../nix/rewrite/replace.ts'
import { fromWorkingFolder } from './working-folder.ts'

export type JsonSchema = { readonly [key: string]: unknown }

export interface ValueType<T> {
  /** Stands for the value in help texts; empty for a flag, which takes none. */
  readonly placeholder: string
  readonly schema: JsonSchema
  /** The value of `text`. Throws USAGE; `option` is how the user wrote the option's name. */
  parse(text: string, option: string): T
  /** The value in a config file; relative paths count from `folder`. Throws USAGE. */
  fromJson(value: unknown, option: string, folder: string): T
}

export function usage(message: string): ImageError {
  return new ImageError('USAGE', message)
}

function requireText(value: unknown, option: string): string {
  if (typeof value !== 'string') throw usage(`${option} is ${shown(value)}, it must be a string`)
  return value
}

/** Short enough for a message of one line. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 40 ? `${text.slice(0, 40)}...` : text
}

export function flag(): ValueType<boolean> {
  return {
    placeholder: '',
    schema: { type: 'boolean' },
    parse: () => true,
    fromJson: (value, option) => {
      if (typeof value !== 'boolean') throw usage(`${option} is ${shown(value)}, it must be true or false`)
      return value
    },
  }
}

export function text(placeholder: string): ValueType<string> {
  return { placeholder, schema: { type: 'string' }, parse: (value) => value, fromJson: requireText }
}

/** A path on the host; `-` stays, for standard input or output. */
export function path(placeholder: string): ValueType<string> {
  const check = (value: string, option: string): string => {
    if (value === '') throw usage(`${option} is empty, it must be a path`)
    return value
  }
  return {
    placeholder,
    schema: { type: 'string', minLength: 1 },
    parse: (value, option) => fromWorkingFolder(check(value, option), option),
    fromJson: (value, option, folder) => {
      const given = check(requireText(value, option), option)
      return given === '-' ? given : resolve(folder, given)
    },
  }
}

/** One of `choices`, which stand for the value in help texts unless a shorter word does. */
export function choice<const C extends string>(choices: readonly C[], placeholder = choices.join('|')): ValueType<C> {
  const parse = (value: string, option: string): C => {
    const found = choices.find((candidate) => candidate === value)
    if (found === undefined) throw usage(`${option} is '${value}', it must be one of ${choices.join(', ')}`)
    return found
  }
  return {
    placeholder,
    schema: { enum: choices },
    parse,
    fromJson: (value, option) => parse(requireText(value, option), option),
  }
}

export function integer(placeholder: string, minimum: number, maximum: number): ValueType<number> {
  const check = (value: unknown, option: string): number => {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= minimum && value <= maximum) return value
    throw usage(`${option} is ${shown(value)}, it must be a whole number from ${minimum} to ${maximum}`)
  }
  return {
    placeholder,
    schema: { type: 'integer', minimum, maximum },
    parse: (value, option) => check(decimal(value), option),
    fromJson: check,
  }
}

/** One of a few numbers. */
export function numberChoice<const C extends number>(choices: readonly C[]): ValueType<C> {
  const check = (value: unknown, option: string): C => {
    const found = choices.find((candidate) => candidate === value)
    if (found === undefined) throw usage(`${option} is ${shown(value)}, it must be ${choices.join(' or ')}`)
    return found
  }
  return {
    placeholder: choices.join('|'),
    schema: { enum: choices },
    parse: (value, option) => check(decimal(value), option),
    fromJson: check,
  }
}

/** A number where `value` is one without sign, point or exponent, else the text itself. */
function decimal(value: string): number | string {
  return /^\d{1,15}$/.test(value) ? Number(value) : value
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 }

/** `131072`, `128K`, `1.5G`. */
const SIZE = /^(\d{1,15})(?:\.(\d{1,9}))?(?:([KMGT])(?:iB)?)?$/i

/** Bytes, with units of 1024; a fraction of a unit has to be whole bytes. */
export function size(
  minimum: number,
  maximum: number,
  { isPowerOfTwo = false }: { readonly isPowerOfTwo?: boolean } = {},
): ValueType<number> {
  const parse = (value: string, option: string): number => {
    const [, whole = '', fraction = '', letter = ''] = SIZE.exec(value) ?? []
    const unit = UNITS[letter.toUpperCase()] ?? Number.NaN
    const part = fraction === '' ? 0 : Number(`0.${fraction}`) * unit
    const bytes = whole === '' ? Number.NaN : Number(whole) * unit + part
    if (part !== Math.floor(part) && bytes >= minimum && bytes <= maximum) {
      const next = unit === 1 ? `${Number(whole) + 1}` : formatSize(Math.ceil(bytes / (unit / 1024)) * (unit / 1024))
      throw usage(`${option} is '${value}', which is no whole number of bytes; give ${next}`)
    }
    if (!(bytes >= minimum && bytes <= maximum)) {
      throw usage(`${option} is '${value}', it must be a size from ${formatSize(minimum)} to ${formatSize(maximum)}, such as 128K or 1M`)
    }
    if (isPowerOfTwo && (bytes & (bytes - 1)) !== 0) throw usage(`${option} is ${bytes}, it must be a power of two`)
    return bytes
  }
  return {
    placeholder: 'SIZE',
    schema: {
      anyOf: [
        { type: 'integer', minimum, maximum },
        { type: 'string', pattern: '^[0-9]{1,15}((\\.[0-9]{1,9})?[KMGTkmgt]([iI][bB])?)?$' },
      ],
    },
    parse,
    fromJson: (value, option) => parse(typeof value === 'number' ? String(value) : requireText(value, option), option),
  }
}

/** The same, or `auto`. */
export function sizeOrAuto(minimum: number, maximum: number): ValueType<number | 'auto'> {
  const bytes = size(minimum, maximum)
  return {
    placeholder: `${bytes.placeholder}|auto`,
    schema: { anyOf: [bytes.schema, { const: 'auto' }] },
    parse: (value, option) => (value === 'auto' ? value : bytes.parse(value, option)),
    fromJson: (value, option, folder) => (value === 'auto' ? value : bytes.fromJson(value, option, folder)),
  }
}

/** 8-4-4-4-12 hex digits. */
export function uuid(): ValueType<string> {
  const parse = (value: string, option: string): string => {
    if (UUID.test(value)) return value
    throw usage(`${option} is '${value}', it must be 8-4-4-4-12 hex digits, such as f222513b-ded1-49fa-b591-20ce86a2fe7f`)
  }
  return {
    placeholder: 'UUID',
    schema: { type: 'string', pattern: UUID.source },
    parse,
    fromJson: (value, option) => parse(requireText(value, option), option),
  }
}

const UUID = /^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/

/** `1M` for 1048576: the largest unit that divides. */
export function formatSize(bytes: number): string {
  for (const unit of ['T', 'G', 'M', 'K']) {
    const factor = UNITS[unit] ?? 1
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`
  }
  return String(bytes)
}

/** A codec and its level. */
export function compression(): ValueType<CodecSpec> {
  return {
    placeholder: 'CODEC[:LEVEL]',
    schema: { type: 'string', pattern: '^(zstd(:[0-9]{1,2})?|gzip(:[1-9])?|xz(:[0-9])?|lz4(:hc)?|none)$' },
    parse: (value) => parseCodecSpec(value),
    fromJson: (value, option) => parseCodecSpec(requireText(value, option)),
  }
}

/** Seconds since 1970, or a date such as 2026-11-21 or 2026-11-21T05:00:00Z. ISO 9660 and FAT both hold 1980 to 2107. */
export function time(): ValueType<number> {
  const check = (seconds: number, value: unknown, option: string): number => {
    if (Number.isSafeInteger(seconds) && seconds >= 0 && seconds <= 0xffffffff) return seconds
    throw usage(`${option} is ${shown(value)}, it must be seconds since 1970 (0 to 4294967295) or a date such as 2026-11-21T05:00:00Z`)
  }
  const parse = (value: string, option: string): number => {
    const date = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?$/.test(value)
    return check(date ? Date.parse(value) / 1000 : Number(/^\d{1,15}$/.test(value) ? value : Number.NaN), value, option)
  }
  return {
    placeholder: 'TIME',
    schema: {
      anyOf: [
        { type: 'integer', minimum: 0, maximum: 0xffffffff },
        { type: 'string', pattern: '^([0-9]{1,15}|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?)$' },
      ],
    },
    parse,
    fromJson: (value, option) => (typeof value === 'number' ? check(value, value, option) : parse(requireText(value, option), option)),
  }
}

/** Whole seconds, or `none` (null in JSON) to wait for ever. */
export function timeout(): ValueType<number | null> {
  const seconds = integer('SECONDS|none', 0, 3599)
  return {
    placeholder: seconds.placeholder,
    schema: { anyOf: [seconds.schema, { type: 'null' }] },
    parse: (value, option) => {
      if (value === 'none') return null
      if (decimal(value) === value) throw usage(`${option} is '${value}', it must be a number of seconds, or none`)
      return seconds.parse(value, option)
    },
    fromJson: (value, option, folder) => (value === null ? null : seconds.fromJson(value, option, folder)),
  }
}

export interface Addition {
  /** Path in the image, without a leading slash; `/` for its root. */
  readonly target: string
  /** Path on the host. */
  readonly source: string
  /** Permission bits. */
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
}

/** `TARGET=SOURCE`; an equals sign within TARGET is written `\=`, a backslash `\\`. */
export function hostAddition(): ValueType<Addition> {
  return additionOf('TARGET=SOURCE', (target, source) => ({ target, source }))
}

/** `TARGET=SOURCE:MODE[:UID[:GID]]` as well, where a colon and what looks like a mode end SOURCE. */
export function addition(): ValueType<Addition> {
  return additionOf('TARGET=SOURCE[:MODE[:UID[:GID]]]', (target, rest) => {
    const [, source = '', mode, uid, gid] = /^(.+?):([0-7]{3,4})(?::([0-9]{1,10})(?::([0-9]{1,10}))?)?$/s.exec(rest) ?? []
    if (mode === undefined) return { target, source: rest }
    return {
      target,
      source,
      mode: Number.parseInt(mode, 8),
      ...(uid !== undefined && { uid: Number(uid) }),
      ...(gid !== undefined && { gid: Number(gid) }),
    }
  })
}

function additionOf(placeholder: string, make: (target: string, rest: string) => Addition): ValueType<Addition> {
  const split = (value: string, option: string): Addition => {
    const [, rest] = /^\/+=(.+)$/s.exec(value) ?? []
    // The content of a folder, at the root.
    if (rest !== undefined && !rest.includes('\0')) return make('/', rest)
    return make(...splitTarget(value, option, placeholder, '/docs/README=./README.md'))
  }
  return {
    placeholder,
    schema: { type: 'string', pattern: TARGET_PATTERN },
    parse: (value, option) => {
      const given = split(value, option)
      return { ...given, source: fromWorkingFolder(given.source, option) }
    },
    fromJson: (value, option, folder) => {
      const given = split(requireText(value, option), option)
      return { ...given, source: resolve(folder, given.source) }
    },
  }
}

export interface Link {
  /** Path in the image, without a leading slash. */
  readonly target: string
  /** What the link says, as it is. */
  readonly destination: string
}

/** `TARGET=DESTINATION`, written as an addition is. */
export function linkage(): ValueType<Link> {
  const parse = (value: string, option: string): Link => {
    const [target, destination] = splitTarget(value, option, 'TARGET=DESTINATION', '/init=/nix/store/.../bin/init')
    return { target, destination }
  }
  return {
    placeholder: 'TARGET=DESTINATION',
    schema: { type: 'string', pattern: TARGET_PATTERN },
    parse,
    fromJson: (value, option) => parse(requireText(value, option), option),
  }
}

export const TARGET_PATTERN = '^(?:[^\\\\=]|\\\\[\\\\=])+=.+$'

export function splitTarget(value: string, option: string, form: string, example: string): [target: string, rest: string] {
  const parts = /^((?:[^\\=]|\\[\\=])+)=(.+)$/s.exec(value)
  const target = (parts?.[1] ?? '').replace(/\\([\\=])/g, '$1').replace(/^\/+/, '')
  const clean = target.split('/').every((name) => name !== '' && name !== '.' && name !== '..' && !name.includes('\0'))
  if (parts && clean && !parts[2]?.includes('\0')) return [target, parts[2] ?? '']
  throw usage(`${option} is '${value}', it must be ${form} with TARGET a path in the image, such as ${example}`)
}

/** `HOST:PORT`; an IPv6 address stands in brackets. Stays text, of which `splitAddress` makes the two. */
export function address(): ValueType<string> {
  const parse = (value: string, option: string): string => {
    const { host, port } = splitAddress(value)
    if (host !== '' && port <= 65535) return value
    throw usage(`${option} is '${value}', it must be ADDRESS:PORT with a port up to 65535, such as 127.0.0.1:8080 or [::1]:0`)
  }
  return {
    placeholder: 'ADDRESS:PORT',
    schema: { type: 'string', pattern: ADDRESS.source },
    parse,
    fromJson: (value, option) => parse(requireText(value, option), option),
  }
}

/** A name under which others reach this machine, without a port. */
export function hostName(): ValueType<string> {
  const parse = (value: string, option: string): string => {
    if (HOST_NAME.test(value)) return value
    throw usage(`${option} is '${value}', it must be the name of a host without a port, such as boot.example.org`)
  }
  return {
    placeholder: 'NAME',
    schema: { type: 'string', pattern: HOST_NAME.source },
    parse,
    fromJson: (value, option) => parse(requireText(value, option), option),
  }
}

const HOST_NAME = /^(?=.{1,253}$)[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*$/

const ADDRESS = /^(\[[0-9A-Fa-f:.%a-z]+\]|[0-9A-Za-z.-]+):([0-9]{1,5})$/

/** Of what `address` has accepted; an IPv6 address without its brackets. */
export function splitAddress(value: string): { readonly host: string; readonly port: number } {
  const [, host = '', port] = ADDRESS.exec(value) ?? []
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port ?? Number.NaN) }
}

/** `OLD=NEW`. No store path has an equals sign before its name, where a first one may be; the second begins with a slash. */
export function replacement(): ValueType<Replacement> {
  const parse = (value: string, option: string): Replacement => {
    const [, oldPath, newPath] = PAIR.exec(value) ?? []
    if (oldPath !== undefined && newPath !== undefined) return { oldPath, newPath }
    throw usage(
      `${option} is '${value}', it must be OLD=NEW, two store paths such as /nix/store/...-openssl-3.0.13=/nix/store/...-openssl-3.0.14`,
    )
  }
  return {
    placeholder: 'OLD=NEW',
    schema: { type: 'string', pattern: PAIR.source },
    parse,
    fromJson: (value, option) => parse(requireText(value, option), option),
  }
}

/** A trailing slash, as completion leaves it, is dropped. */
const PAIR = /^(\/nix\/store\/[^/]+)\/?=(\/nix\/store\/[^/]+)\/?$/
