/** Block pointers (OpenZFS `include/sys/spa.h`, `blkptr_t`). */
import { isZero, number64 } from './device.ts'

export const POINTER_SIZE = 128
const SECTOR = 512

/** One place of a block, in bytes behind the front labels. */
export interface Copy {
  readonly place: number
  readonly size: number
}

export interface Pointer {
  readonly isHole: boolean
  /** The content of a small block stands in the pointer. */
  readonly payload: Buffer | undefined
  readonly copies: readonly Copy[]
  readonly logicalSize: number
  /** 0 for an embedded block. */
  readonly physicalSize: number
  readonly compression: number
  readonly checksum: number
  readonly type: number
  readonly level: number
  readonly birthTxg: number
  /** 1 for an embedded block. */
  readonly fill: number
  readonly checksumWords: Buffer
}

/** What a block takes: all copies; one copy as it is stored; and that before compression, for contents of files. */
export interface Space {
  readonly used: number
  readonly compressed: number
  readonly uncompressed: number
}

export const NO_SPACE: Space = { used: 0, compressed: 0, uncompressed: 0 }

export function addSpace(a: Space, b: Space): Space {
  return { used: a.used + b.used, compressed: a.compressed + b.compressed, uncompressed: a.uncompressed + b.uncompressed }
}

export function showSpace({ used, compressed, uncompressed }: Space): string {
  return `${used}/${compressed}/${uncompressed}`
}

const HOLE: Pointer = {
  isHole: true,
  payload: undefined,
  copies: [],
  logicalSize: 0,
  physicalSize: 0,
  compression: 0,
  checksum: 0,
  type: 0,
  level: 0,
  birthTxg: 0,
  fill: 0,
  checksumWords: Buffer.alloc(32),
}

/** Throws for what no pool of one device has, or no writer sets. */
export function readPointer(bytes: Buffer, at: number): Pointer {
  const word = bytes.subarray(at, at + POINTER_SIZE)
  const isEmbedded = (word.readUInt8(52) & 0x80) !== 0
  if (!isEmbedded && isZero(word.subarray(0, 16))) {
    if (!isZero(word.subarray(16, 48)) || !isZero(word.subarray(88))) throw new Error('a hole with something in it')
    return HOLE
  }
  const flags = word.readUInt8(55)
  if ((flags & 0x80) === 0) throw new Error('a block of big-endian words')
  if ((flags & 0x60) !== 0) throw new Error('a block that is encrypted or deduplicated')
  const shared = {
    isHole: false,
    compression: word.readUInt8(52) & 0x7f,
    type: word.readUInt8(54),
    level: flags & 0x1f,
    birthTxg: number64(word, 80),
  }
  return isEmbedded ? { ...shared, ...embeddedPart(word) } : { ...shared, ...storedPart(word) }
}

function embeddedPart(word: Buffer): Omit<Pointer, 'isHole' | 'compression' | 'type' | 'level' | 'birthTxg'> {
  const sizes = word.readUInt32LE(48)
  const length = (sizes >>> 25) + 1
  const all = Buffer.concat([word.subarray(0, 48), word.subarray(56, 80), word.subarray(88)])
  if (length > all.length || word.readUInt8(53) !== 0) throw new Error('an embedded block of another kind')
  if (!isZero(all.subarray(length))) throw new Error('an embedded block with more than its bytes')
  const payload = all.subarray(0, length)
  return {
    payload,
    copies: [],
    logicalSize: (sizes & 0x1ffffff) + 1,
    physicalSize: 0,
    checksum: 0,
    fill: 1,
    checksumWords: Buffer.alloc(0),
  }
}

function storedPart(word: Buffer): Omit<Pointer, 'isHole' | 'compression' | 'type' | 'level' | 'birthTxg'> {
  const copies: Copy[] = []
  for (const at of [0, 16, 32]) {
    if (isZero(word.subarray(at, at + 16))) continue
    if (copies.length < at / 16) throw new Error('a copy behind one that is missing')
    if (word.readUIntLE(at + 3, 5) !== 0 || (word.readUInt8(at + 15) & 0x80) !== 0) throw new Error('a gang block, or another device')
    copies.push({ size: word.readUIntLE(at, 3) * SECTOR, place: number64(word, at + 8) * SECTOR })
  }
  const physicalBirth = number64(word, 72)
  if (!isZero(word.subarray(56, 72)) || (physicalBirth !== 0 && physicalBirth !== number64(word, 80))) {
    throw new Error('a pointer with something where nothing belongs')
  }
  return {
    payload: undefined,
    copies,
    logicalSize: (word.readUInt16LE(48) + 1) * SECTOR,
    physicalSize: (word.readUInt16LE(50) + 1) * SECTOR,
    checksum: word.readUInt8(53),
    fill: number64(word, 88),
    checksumWords: word.subarray(96),
  }
}

/** `DMU_OT_IS_METADATA`: of the types with numbers, what files contain is not. */
export function isMetadata(type: number): boolean {
  return type >= 0x80 ? (type & 0x40) !== 0 : type !== 19
}

export function spaceOf({ isHole, copies, level, type, physicalSize, logicalSize }: Pointer): Space {
  if (isHole) return NO_SPACE
  const counted = level > 0 || isMetadata(type) ? physicalSize : logicalSize
  return { used: copies.reduce((sum, { size }) => sum + size, 0), compressed: physicalSize, uncompressed: counted }
}
