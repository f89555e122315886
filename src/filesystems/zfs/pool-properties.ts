/** Properties of pools (OpenZFS `module/zcommon/zpool_prop.c`). */
import { nearest } from '../../bytes/nearest.ts'
import { utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { parseCompatibility, parseFeatureState, type ZfsCompatibility } from './compatibility.ts'
import { POOL_VERSION } from './constants.ts'

export type ZfsPoolProperties = Readonly<Record<string, string>>

const ON_OFF: Readonly<Record<string, number>> = { off: 0, on: 1 }

const CHOICES: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  autoexpand: ON_OFF,
  autoreplace: ON_OFF,
  autotrim: ON_OFF,
  delegation: ON_OFF,
  failmode: { wait: 0, continue: 1, panic: 2 },
  listsnapshots: ON_OFF,
  multihost: ON_OFF,
}

/** The other names that the commands take: the titles of columns. */
const ALIASES: Readonly<Record<string, string>> = { expand: 'autoexpand', replace: 'autoreplace', listsnaps: 'listsnapshots' }

/** Kept elsewhere than among the properties, or not at all. */
const OTHERS = ['altroot', 'ashift', 'bootfs', 'cachefile', 'comment', 'compatibility', 'version'] as const

/** Properties that cannot be set here, and why. */
const UNSUPPORTED: Readonly<Record<string, string>> = {
  readonly: 'it is for an import, and not kept in the pool',
  dedup_table_quota: 'this writer does not deduplicate; set it on the installed system',
  dedupditto: 'no OpenZFS since 2.0 has it',
}

const FEATURE_PREFIX = 'feature@'
const COMMENT = /^[\x20-\x7e]{0,32}$/
const USER_NAME = /^[a-z0-9:_.-]{1,255}$/
/** `ZAP_MAXVALUELEN`, which includes a zero byte. */
const USER_VALUE_SIZE_MAXIMUM = 8191
/** `zpool create -o ashift=0`: what the device wants. */
const ASHIFT_DEFAULT = '0'

/** What `zpool create -o` takes, sorted out. */
export interface SplitPoolProperties {
  readonly ashift?: number
  readonly compatibility?: ZfsCompatibility
  /** By name. */
  readonly featureStates: Readonly<Record<string, boolean>>
  /** The others, under their full names. */
  readonly poolProperties: ZfsPoolProperties
}

/** Throws USAGE or UNSUPPORTED. */
export function splitPoolProperties(properties: ZfsPoolProperties): SplitPoolProperties {
  const featureStates: Record<string, boolean> = {}
  const poolProperties: Record<string, string> = {}
  let ashift: number | undefined
  let compatibility: ZfsCompatibility | undefined
  for (const [name, value] of Object.entries(properties)) {
    const full = ALIASES[name] ?? name
    if (full !== name && properties[full] !== undefined) throw new ImageError('USAGE', `zfs: ${full} is given twice, also as ${name}`)
    if (full === 'ashift') {
      if (!/^\d{1,2}$/.test(value)) throw new ImageError('USAGE', `zfs: ashift=${value} is no whole number`)
      if (value !== ASHIFT_DEFAULT) ashift = Number(value)
    } else if (full === 'compatibility') compatibility = parseCompatibility(value)
    else if (full.startsWith(FEATURE_PREFIX)) {
      const feature = full.slice(FEATURE_PREFIX.length)
      featureStates[feature] = parseFeatureState(feature, value)
    } else poolProperties[full] = value
  }
  return {
    ...(ashift !== undefined && { ashift }),
    ...(compatibility !== undefined && { compatibility }),
    featureStates,
    poolProperties,
  }
}

/**
 * What the pool keeps among its properties; undefined when it is kept elsewhere. `headOf` gives the object of a dataset by
 * name. Throws USAGE, LIMIT or UNSUPPORTED.
 */
export function storedPoolProperty(
  name: string,
  value: string,
  headOf: (dataset: string) => number | undefined,
): number | string | undefined {
  const choices = CHOICES[name]
  if (choices !== undefined) {
    const number = choices[value]
    if (number !== undefined) return number
    throw new ImageError('USAGE', `zfs: ${name}=${value} is none of ${Object.keys(choices).join(', ')}`)
  }
  const other = OTHERS.find((known) => known === name)
  if (other !== undefined) return otherProperty(other, value, headOf)
  const problem = UNSUPPORTED[name]
  if (problem !== undefined) throw new ImageError('UNSUPPORTED', `zfs: the pool property ${name}: ${problem}`)
  if (name.includes(':') && USER_NAME.test(name)) return checkedUserValue(name, value)
  const near = nearest(name, [...Object.keys(CHOICES), ...OTHERS, ...Object.keys(ALIASES)])
  const hint = near === undefined ? `this writer has ${[...Object.keys(CHOICES), ...OTHERS].join(', ')}` : `did you mean '${near}'?`
  throw new ImageError('USAGE', `zfs: there is no pool property '${name}'; ${hint}`)
}

function otherProperty(
  name: (typeof OTHERS)[number],
  value: string,
  headOf: (dataset: string) => number | undefined,
): number | string | undefined {
  switch (name) {
    case 'bootfs': {
      const head = headOf(value)
      if (head !== undefined) return head
      throw new ImageError('USAGE', `zfs: bootfs=${value}: there is no such dataset in the pool`)
    }
    case 'comment':
      if (COMMENT.test(value)) return undefined
      throw new ImageError('LIMIT', `zfs: the comment '${value}': ZFS allows 32 printable ASCII characters`)
    case 'cachefile':
      if (value === 'none' || value === '') return undefined
      throw new ImageError('UNSUPPORTED', `zfs: cachefile=${value}: the file is one of the host that imports the pool; give none`)
    case 'altroot':
      // Where the host that makes a pool mounts it; a pool does not keep it.
      if (value.startsWith('/')) return undefined
      throw new ImageError('USAGE', `zfs: altroot=${value} is no absolute path`)
    case 'version':
      if (value === String(POOL_VERSION)) return undefined
      throw new ImageError('UNSUPPORTED', `zfs: version=${value}: this writer makes pools of version ${POOL_VERSION}`)
    case 'ashift':
    case 'compatibility':
      throw new ImageError('USAGE', `zfs: ${name} is no property of the pool here but an option of its own`)
  }
}

function checkedUserValue(name: string, value: string): string {
  const size = utf8(value).length
  if (size <= USER_VALUE_SIZE_MAXIMUM && !value.includes('\0') && value.isWellFormed()) return value
  throw new ImageError(
    'LIMIT',
    `zfs: the value of ${name} has ${size} bytes; ZFS allows ${USER_VALUE_SIZE_MAXIMUM} of UTF-8 and none of them zero`,
  )
}
