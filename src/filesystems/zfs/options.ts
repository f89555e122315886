/** What a caller may choose, with defaults, and the checks of what stands by itself. */
import { deriveBytes } from '../../bytes/guid.ts'
import { ImageError } from '../../errors.ts'
import { featuresOf, type ZfsCompatibility } from './compatibility.ts'
import { LABEL_SIZE, POOL_SIZE_MAXIMUM, POOL_SIZE_MINIMUM } from './constants.ts'
import { FEATURE, type Feature, hasFeature } from './features.ts'
import type { Geometry } from './geometry.ts'
import { splitPoolProperties, type ZfsPoolProperties } from './pool-properties.ts'
import type { ZfsProperties } from './properties.ts'

/** A snapshot of a dataset as it was made, without content, or as the image has it. */
export interface ZfsSnapshot {
  /** What follows the `@`. */
  readonly name: string
  readonly state: 'empty' | 'populated'
}

export interface ZfsDataset {
  /** With that of the pool: `tank/system/root`. Missing parents are made, as `zfs create -p` does. */
  readonly name: string
  /**
   * The part of the tree that goes into it: an absolute path. Without it that is what lies where ZFS will mount the
   * dataset, by a property `mountpoint` of its own or inherited, with canmount=on; else nothing.
   */
  readonly mount?: string
  readonly properties?: ZfsProperties
  /** In the order in which they are taken: the empty ones before the populated ones. */
  readonly snapshots?: readonly ZfsSnapshot[]
}

export interface ZfsPoolOptions {
  readonly name: string
  /** All identifiers are derived from it. */
  readonly seed: string
  /** Bytes of the device; what lies beyond a multiple of 256 KiB is not used. `auto`: as many as the content and `freeSize` need. */
  readonly size: number | 'auto'
  /** Bytes that users get beside the content when the size is `auto`: without what OpenZFS keeps for itself. */
  readonly freeSize?: number
  /** The size is a multiple of so many bytes when it is `auto`; itself one of 256 KiB. */
  readonly roundTo?: number
  /** Blocks are allocated in units of so many bytes, as a power of two: 9 to 14. */
  readonly ashift?: number
  readonly compatibility?: ZfsCompatibility
  /** Of the pool's own dataset, which the others inherit. */
  readonly properties?: ZfsProperties
  /** As `zpool create -o` takes them, `ashift`, `compatibility` and `feature@NAME` among them. */
  readonly poolProperties?: ZfsPoolProperties
  /** In any order. The pool's own dataset may be among them. */
  readonly datasets?: readonly ZfsDataset[]
  /** Of the pool and its datasets. */
  readonly timeSeconds?: number
  /** Where the device is expected; an import elsewhere corrects it. */
  readonly devicePath?: string
  /** The device is the first partition of a disk that belongs to ZFS, laid out as ZFS does it. */
  readonly isWholeDisk?: boolean
}

export const ZFS_DEFAULTS = {
  freeSize: 0,
  roundTo: 1 << 20,
  ashift: 12,
  compatibility: 'openzfs-2.1-linux',
  properties: {},
  poolProperties: {},
  datasets: [],
  timeSeconds: 0,
  devicePath: '/dev/vda1',
  isWholeDisk: false,
} as const

/** What is counted by owner beside space, which always is. */
export interface Accounts {
  /** Objects by user and group. */
  readonly objects: boolean
  /** Space by project, and objects when those are counted. */
  readonly projects: boolean
}

export interface CheckedOptions extends Required<ZfsPoolOptions> {
  readonly features: readonly Feature[]
  readonly accounts: Accounts
  readonly poolGuid: bigint
  readonly deviceGuid: bigint
}

export interface ResolvedOptions extends CheckedOptions {
  /** Of a size that is `auto`, what is known before the content: the metaslabs are of this size, and there are no more. */
  readonly geometry: Geometry
}

const ASHIFT_MINIMUM = 9
const ASHIFT_MAXIMUM = 14
const POOL_NAME = /^[a-zA-Z][a-zA-Z0-9_.: -]{0,238}$/
/** zpool(8): these would read as kinds of devices. */
const RESERVED_NAME = /^(mirror|raidz|draid|spare|log$|c[0-9])/

/** Throws USAGE, LIMIT or UNSUPPORTED. */
export function resolveOptions(options: ZfsPoolOptions): CheckedOptions {
  const { featureStates, poolProperties, ...fromProperties } = splitPoolProperties(options.poolProperties ?? {})
  for (const name of ['ashift', 'compatibility'] as const) {
    const [own, other] = [options[name], fromProperties[name]]
    if (own !== undefined && other !== undefined && own !== other) {
      throw new ImageError('USAGE', `zfs: ${name} is ${own}, and ${other} as a property of the pool; give one of them`)
    }
  }
  const all = { ...ZFS_DEFAULTS, ...fromProperties, ...options, poolProperties }
  if (!POOL_NAME.test(all.name) || RESERVED_NAME.test(all.name)) {
    throw new ImageError('USAGE', `zfs: '${all.name}' cannot be the name of a pool; use letters, digits, _ . : - and begin with a letter`)
  }
  if (!Number.isInteger(all.ashift) || all.ashift < ASHIFT_MINIMUM || all.ashift > ASHIFT_MAXIMUM) {
    throw new ImageError('USAGE', `zfs: ashift is ${all.ashift}, it can be ${ASHIFT_MINIMUM} to ${ASHIFT_MAXIMUM}`)
  }
  const { size, freeSize, roundTo } = all
  if (size !== 'auto' && (!Number.isSafeInteger(size) || size < POOL_SIZE_MINIMUM || size > POOL_SIZE_MAXIMUM)) {
    throw new ImageError('LIMIT', `zfs: the size is ${size} bytes, this writer makes pools of ${POOL_SIZE_MINIMUM} to ${POOL_SIZE_MAXIMUM}`)
  }
  if (!Number.isSafeInteger(freeSize) || freeSize < 0 || freeSize > POOL_SIZE_MAXIMUM) {
    throw new ImageError('USAGE', `zfs: freeSize is ${freeSize}, it can be 0 to ${POOL_SIZE_MAXIMUM} bytes`)
  }
  if (!Number.isSafeInteger(roundTo) || roundTo < LABEL_SIZE || roundTo % LABEL_SIZE !== 0) {
    throw new ImageError('USAGE', `zfs: roundTo is ${roundTo}, it must be a multiple of ${LABEL_SIZE} bytes`)
  }
  if (!Number.isSafeInteger(all.timeSeconds) || all.timeSeconds < 0) {
    throw new ImageError('USAGE', `zfs: timeSeconds is ${all.timeSeconds}, it must be whole seconds since 1970`)
  }
  const features = featuresOf(all.compatibility, featureStates)
  return {
    ...all,
    features,
    accounts: { objects: hasFeature(features, FEATURE.accountsObjects), projects: hasFeature(features, FEATURE.projects) },
    poolGuid: deriveId(all.seed, 'pool'),
    deviceGuid: deriveId(all.seed, 'device'),
  }
}

/** An identifier that is not 0. */
export function deriveId(seed: string, purpose: string): bigint {
  const bytes = deriveBytes(seed, `zfs ${purpose}`, 8)
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0) | 1n
}

/** `fsid` identifiers have 56 bits. */
const FILE_SYSTEM_GUID_MASK = (1n << 56n) - 1n

export function deriveFileSystemId(seed: string, purpose: string): bigint {
  return deriveId(seed, purpose) & FILE_SYSTEM_GUID_MASK
}
