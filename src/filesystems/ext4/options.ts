/** What a caller may choose, checked and with defaults filled in. */
import { utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { BLOCK_COUNT_MAXIMUM, BLOCK_SIZE } from './disk.ts'

export interface Ext4Options {
  /** Bytes, a multiple of 4096; `auto` (the default) is the smallest that holds the tree and `freeSize`. */
  readonly size?: number | 'auto'
  /** Bytes that stay free, root's reserve among them. */
  readonly freeSize?: number
  /** A size that is computed is a multiple of this many bytes, itself a multiple of 4096. */
  readonly roundTo?: number
  /** Up to 16 bytes. */
  readonly label?: string
  /** 8-4-4-4-12 hex digits. */
  readonly uuid: string
  /** 8-4-4-4-12 hex digits, mixed into the hashes of names in large directories. */
  readonly hashSeed: string
  /** Of the file system itself: creation, last write, last check; also of `lost+found` and the special inodes. */
  readonly mtimeSeconds?: number
  /**
   * Inodes in all, rounded up to fill the tables. Without it as mke2fs has by size, or more when the tree
   * needs more: then free space keeps its share.
   */
  readonly inodeCount?: number
  /** Share of the blocks that only root can use, 0 to 50. */
  readonly reservedPercent?: number
  /** With it the file system has at least 8 MiB. */
  readonly journal?: boolean
}

export const EXT4_DEFAULTS = {
  size: 'auto',
  freeSize: 0,
  roundTo: BLOCK_SIZE,
  label: '',
  mtimeSeconds: 0,
  reservedPercent: 5,
  journal: true,
} as const

export interface ResolvedExt4Options {
  /** Undefined: to be computed. */
  readonly deviceBlockCount: number | undefined
  readonly freeBlockCount: number
  readonly roundToBlockCount: number
  readonly label: Uint8Array
  readonly uuid: Uint8Array
  readonly hashSeed: Uint8Array
  readonly timeSeconds: number
  readonly inodeCount: number | undefined
  readonly reservedPercent: number
  readonly journal: boolean
}

const LABEL_MAXIMUM = 16
/** The superblock has unsigned 32 bits for them that every kernel reads. */
const SUPERBLOCK_TIME_MAXIMUM = 0xffffffff
const UUID_PATTERN = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** Throws USAGE for options that are malformed, LIMIT for what the format cannot hold. */
export function resolveOptions(options: Ext4Options): ResolvedExt4Options {
  const all = { ...EXT4_DEFAULTS, ...options }
  checkRange('freeSize', all.freeSize, 0, Number.MAX_SAFE_INTEGER)
  if (all.inodeCount !== undefined) checkRange('inodeCount', all.inodeCount, 1, 0xffffffff)
  if (!(all.reservedPercent >= 0 && all.reservedPercent <= 50)) {
    throw new ImageError('USAGE', `ext4: reservedPercent is ${all.reservedPercent}, it can be 0 to 50`)
  }
  return {
    deviceBlockCount: all.size === 'auto' ? undefined : blocksOf('size', all.size),
    freeBlockCount: Math.ceil(all.freeSize / BLOCK_SIZE),
    roundToBlockCount: blocksOf('roundTo', all.roundTo),
    label: labelBytes(all.label),
    uuid: uuidBytes('uuid', all.uuid),
    hashSeed: uuidBytes('hashSeed', all.hashSeed),
    timeSeconds: checkRange('mtimeSeconds', all.mtimeSeconds, 0, SUPERBLOCK_TIME_MAXIMUM),
    inodeCount: all.inodeCount,
    reservedPercent: all.reservedPercent,
    journal: all.journal,
  }
}

function blocksOf(name: string, bytes: number): number {
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % BLOCK_SIZE !== 0) {
    throw new ImageError('USAGE', `ext4: ${name} is ${bytes} bytes, it must be a multiple of the block size, ${BLOCK_SIZE}`)
  }
  const blocks = bytes / BLOCK_SIZE
  if (blocks > BLOCK_COUNT_MAXIMUM) {
    throw new ImageError(
      'LIMIT',
      `ext4: ${name} is ${bytes} bytes, this writer makes file systems of less than 16 TiB, and Linux grows them; choose a smaller size`,
    )
  }
  return blocks
}

function labelBytes(label: string): Uint8Array {
  const bytes = utf8(label)
  if (bytes.length > LABEL_MAXIMUM) {
    throw new ImageError('LIMIT', `ext4: label '${label}' is ${bytes.length} bytes, ext4 allows ${LABEL_MAXIMUM}; shorten it`)
  }
  if (bytes.includes(0)) throw new ImageError('USAGE', 'ext4: the label holds a zero byte')
  // libblkid, and with it udev's /dev/disk/by-label, drops it.
  if (label.endsWith(' ')) throw new ImageError('USAGE', `ext4: label '${label}' ends with a blank, by which nobody finds it; leave it out`)
  return bytes
}

/** In the order of the text (RFC 9562, section 4), which is how ext4 holds them. */
function uuidBytes(name: string, text: string): Uint8Array {
  if (!UUID_PATTERN.test(text)) throw new ImageError('USAGE', `ext4: ${name} '${text}' is not of the form 8-4-4-4-12 hex digits`)
  return new Uint8Array(Buffer.from(text.replaceAll('-', ''), 'hex'))
}

function checkRange(name: string, value: number, least: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value
  throw new ImageError('USAGE', `ext4: ${name} is ${value}, it must be an integer from ${least} to ${most}`)
}
