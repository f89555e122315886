/** Properties of datasets: how `zfs set` writes them is how they are stored (OpenZFS `lib/libzfs/libzfs_dataset.c`). */
import { nearest } from '../../bytes/nearest.ts'
import { utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { COMPRESSION_VALUES, compressionProperty, parseCompression } from './compression.ts'
import { BLOCK_SIZE_MAXIMUM, COMPRESSION, LARGE_BLOCK_SIZE_MAXIMUM, SECTOR_SIZE } from './constants.ts'
import { FEATURE } from './features.ts'
import {
  ALIASES,
  AT_CREATION,
  CHOICES,
  COMPUTED,
  LIMITS,
  OTHER_VALUES,
  OWNER_QUOTA,
  SIZES,
  type SizeProperty,
  TEXTS,
  UNSUPPORTED,
} from './property-table.ts'
import { isPowerOfTwo, parseBytes, parseCount } from './sizes.ts'
import type { NameRules } from './zpl/name-rules.ts'

export type { SizeProperty } from './property-table.ts'

export type ZfsProperties = Readonly<Record<string, string>>

const NOT_INHERITED: readonly string[] = [...SIZES, ...LIMITS, 'canmount', 'version']
const NUMBERS = ['compression', 'recordsize', 'special_small_blocks']
const ALL: readonly string[] = [...Object.keys({ ...CHOICES, ...AT_CREATION }), ...SIZES, ...LIMITS, ...TEXTS, ...NUMBERS]
/** `MAXPATHLEN`, which includes a zero byte. */
const TEXT_SIZE_MAXIMUM = 4095
/** `ZAP_MAXVALUELEN`, which includes a zero byte. */
const USER_VALUE_SIZE_MAXIMUM = 8191
const USER_NAME = /^[a-z0-9:_.-]{1,255}$/
const LIMIT_NONE = 2n ** 64n - 1n

/** The properties under their full names. Throws USAGE when one is given under two. */
export function canonicalProperties(properties: ZfsProperties): ZfsProperties {
  const result: Record<string, string> = {}
  for (const [name, value] of Object.entries(properties)) {
    const full = ALIASES[name] ?? name
    if (full !== name && properties[full] !== undefined) throw new ImageError('USAGE', `zfs: ${full} is given twice, also as ${name}`)
    result[full] = value
  }
  return result
}

/** The value that the property ZAP has; undefined when it is kept elsewhere. Throws USAGE, LIMIT or UNSUPPORTED. */
export function storedProperty(name: string, value: string): number | bigint | string | undefined {
  const choices = CHOICES[name] ?? AT_CREATION[name]
  if (choices !== undefined) return chosen(name, value, choices)
  if (name === 'compression') {
    refuseOtherValue(name, value, COMPRESSION_VALUES)
    return compressionProperty(value)
  }
  if (name === 'recordsize') return parseRecordSize(value)
  if (name === 'special_small_blocks') return parseSmallBlocks(value)
  if (isSizeProperty(name)) return parseSize(name, value)
  if (LIMITS.some((known) => known === name)) return parseLimit(name, value) ?? LIMIT_NONE
  const problem = OWNER_QUOTA.test(name) ? 'this writer does not have it; set it on the installed system' : UNSUPPORTED[name]
  if (problem !== undefined) throw new ImageError('UNSUPPORTED', `zfs: ${name}: ${problem}`)
  if (COMPUTED.includes(name)) throw new ImageError('USAGE', `zfs: ${name} is what ZFS works out; it cannot be set`)
  return checkedText(name, value)
}

function chosen(name: string, value: string, choices: Readonly<Record<string, number>>): number | undefined {
  const number = choices[value]
  if (number !== undefined) return AT_CREATION[name] === undefined ? number : undefined
  const problem = UNSUPPORTED[name]
  if (problem !== undefined) throw new ImageError('UNSUPPORTED', `zfs: ${name}=${value}: ${problem}`)
  refuseOtherValue(name, value, Object.keys(choices).join(', '))
  throw new ImageError('USAGE', `zfs: ${name}=${value} is none of ${Object.keys(choices).join(', ')}`)
}

/** Throws UNSUPPORTED for a value that OpenZFS has; `own` says which this writer has. */
function refuseOtherValue(name: string, value: string, own: string): void {
  const others = OTHER_VALUES[name]
  if (others === undefined || !Object.hasOwn(others, value)) return
  const feature = others[value] === undefined ? '' : ` (the pool feature ${others[value]})`
  throw new ImageError(
    'UNSUPPORTED',
    `zfs: ${name}=${value}${feature} is not written here, where there are ${own}; set it on the installed system, for what is written there`,
  )
}

function checkedText(name: string, value: string): string {
  const isUser = name.includes(':')
  if (isUser ? !USER_NAME.test(name) : !TEXTS.includes(name)) {
    const near = nearest(name, [...ALL, ...Object.keys(ALIASES)])
    const hint = near === undefined ? 'names of your own hold a colon and a-z, 0-9, : _ . -' : `did you mean '${near}'?`
    throw new ImageError('USAGE', `zfs: there is no property '${name}'; ${hint}`)
  }
  if (name === 'mountpoint') checkMountpoint(value)
  const size = utf8(value).length
  const maximum = isUser ? USER_VALUE_SIZE_MAXIMUM : TEXT_SIZE_MAXIMUM
  if (size > maximum || value.includes('\0') || !value.isWellFormed()) {
    throw new ImageError('LIMIT', `zfs: the value of ${name} has ${size} bytes; ZFS allows ${maximum} of UTF-8 and none of them zero`)
  }
  return value
}

function checkMountpoint(value: string): void {
  if (value === 'none' || value === 'legacy' || isPlainPath(value)) return
  throw new ImageError('USAGE', `zfs: mountpoint '${value}' is neither none, legacy nor a plain absolute path`)
}

/** Absolute, without empty parts, `.` or `..`. */
export function isPlainPath(path: string): boolean {
  if (path === '/') return true
  const parts = path.split('/').slice(1)
  return path.startsWith('/') && parts.every((part) => part !== '' && part !== '.' && part !== '..')
}

/** The feature that a pool needs for a property, by guid. The value is one that `storedProperty` takes. */
export function neededFeature(name: string, value: string): string | undefined {
  switch (name) {
    case 'compression':
      if (value === 'lz4') return FEATURE.lz4
      return parseCompression(value)?.id === COMPRESSION.zstd ? FEATURE.zstd : undefined
    case 'recordsize':
      return parseRecordSize(value) > BLOCK_SIZE_MAXIMUM ? FEATURE.largeBlocks : undefined
    case 'dnodesize':
      return value === 'legacy' ? undefined : FEATURE.largeDnodes
    case 'filesystem_limit':
    case 'snapshot_limit':
      return value === 'none' ? undefined : FEATURE.limits
    default:
      return undefined
  }
}

/** Whether a dataset has limits, which take counts in the directories from there on down. */
export function hasLimits(own: ZfsProperties): boolean {
  return LIMITS.some((name) => parseLimit(name, own[name] ?? 'none') !== undefined)
}

/** The rules for names that follow from the properties that hold for a dataset. Throws USAGE when they contradict. */
export function nameRulesOf(effective: ZfsProperties): NameRules {
  const value = (name: string, otherwise: string): number => AT_CREATION[name]?.[effective[name] ?? otherwise] ?? 0
  const normalization = value('normalization', 'none')
  if (normalization !== 0 && effective['utf8only'] === 'off') {
    throw new ImageError('USAGE', `zfs: normalization=${effective['normalization']} needs utf8only=on`)
  }
  const isUtf8Only = normalization !== 0 || value('utf8only', 'off') === 1
  return { isUtf8Only, normalization, caseSensitivity: value('casesensitivity', 'sensitive') }
}

export function isSizeProperty(name: string): name is SizeProperty {
  return SIZES.some((known) => known === name)
}

/** What holds for a dataset: its own, else those of the nearest dataset above it that has them. */
export function inheritedProperties(above: ZfsProperties, own: ZfsProperties): ZfsProperties {
  return { ...Object.fromEntries(Object.entries(above).filter(([name]) => !NOT_INHERITED.includes(name))), ...own }
}

/** Bytes of a record, from text such as `131072` or `128K`. */
export function parseRecordSize(text: string): number {
  const size = parseBytes(text)
  if (size !== undefined && size >= SECTOR_SIZE && size <= LARGE_BLOCK_SIZE_MAXIMUM && isPowerOfTwo(size)) return size
  throw new ImageError('USAGE', `zfs: recordsize=${text} is no power of two from 512 to 16M`)
}

const SMALL_BLOCKS_MAXIMUM = 1 << 20

function parseSmallBlocks(text: string): number {
  const size = parseBytes(text)
  if (size === 0 || (size !== undefined && size >= SECTOR_SIZE && size <= SMALL_BLOCKS_MAXIMUM && isPowerOfTwo(size))) return size
  throw new ImageError('USAGE', `zfs: special_small_blocks=${text} is neither 0 nor a power of two from 512 to 1M`)
}

/** Bytes of a quota or reservation; 0 for `none`. */
export function parseSize(name: SizeProperty, text: string): number {
  const size = text === 'none' ? 0 : parseBytes(text)
  if (size === undefined) throw new ImageError('USAGE', `zfs: ${name}=${text} is neither none nor a size such as 10G`)
  return size
}

/** Undefined for `none`. */
function parseLimit(name: string, text: string): number | undefined {
  if (text === 'none') return undefined
  const count = parseCount(text)
  if (count === undefined) throw new ImageError('USAGE', `zfs: ${name}=${text} is neither none nor a whole number`)
  return count
}
