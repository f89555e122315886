/**
 * Fixed records as typed tables: a format declares each record once, offsets beside the spec section,
 * and writes it by field name. A value that does not fit is an error that names the field.
 */
import { ImageError } from '../errors.ts'

type Scalar =
  | 'u8'
  | 'u16le'
  | 'u16be'
  | 'u32le'
  | 'u32be'
  | 'i64le'
  | 'u64le'
  | 'u64be'
  /** Both byte orders after each other (ECMA-119 7.2.3, 7.3.3). */
  | 'u16both'
  | 'u32both'

/** `[offset, type]` for a scalar, `[offset, 'bytes', length]` for a byte field (shorter values are zero padded). */
export type Field = readonly [offset: number, type: Scalar] | readonly [offset: number, type: 'bytes', length: number]

export type Fields = Readonly<Record<string, Field>>

type ValueOf<F extends Field> = F[1] extends 'bytes' ? Uint8Array : F[1] extends 'u64le' | 'u64be' | 'i64le' ? number | bigint : number

export type StructValues<F extends Fields> = { readonly [K in keyof F]?: ValueOf<F[K]> }

export interface Struct<F extends Fields> {
  /** Bytes of the whole record. */
  readonly size: number
  readonly fields: F
  /** Write `values` at `offset`; fields that are not given stay as they are (zero in a new buffer). */
  write(target: Uint8Array, offset: number, values: StructValues<F>): void
  /** A new zeroed buffer with `values`. */
  encode(values: StructValues<F>): Uint8Array
}

const WIDTH: Record<Scalar, number> = {
  u8: 1,
  u16le: 2,
  u16be: 2,
  u32le: 4,
  u32be: 4,
  i64le: 8,
  u64le: 8,
  u64be: 8,
  u16both: 4,
  u32both: 8,
}
const LIMIT: Record<Scalar, bigint> = {
  u8: 0xffn,
  u16le: 0xffffn,
  u16be: 0xffffn,
  u16both: 0xffffn,
  u32le: 0xffffffffn,
  u32be: 0xffffffffn,
  u32both: 0xffffffffn,
  i64le: 0x7fffffffffffffffn,
  u64le: 0xffffffffffffffffn,
  u64be: 0xffffffffffffffffn,
}
/** The same as far as numbers are exact. */
const NUMBER_LIMIT: Record<Scalar, number> = {
  u8: 0xff,
  u16le: 0xffff,
  u16be: 0xffff,
  u16both: 0xffff,
  u32le: 0xffffffff,
  u32be: 0xffffffff,
  u32both: 0xffffffff,
  i64le: Number.MAX_SAFE_INTEGER,
  u64le: Number.MAX_SAFE_INTEGER,
  u64be: Number.MAX_SAFE_INTEGER,
}

/**
 * Declare a record of `size` bytes. Throws when a field lies outside the record or overlaps another,
 * so that a typing error in a table fails at import.
 */
export function struct<const F extends Fields>(name: string, size: number, fields: F): Struct<F> {
  const used = new Uint8Array(size)
  for (const [key, field] of Object.entries(fields)) {
    const width = field[1] === 'bytes' ? field[2] : WIDTH[field[1]]
    if (field[0] < 0 || field[0] + width > size) throw new RangeError(`struct ${name}: ${key} lies outside the record`)
    for (let i = field[0]; i < field[0] + width; i++) {
      if (used[i]) throw new RangeError(`struct ${name}: ${key} overlaps another field`)
      used[i] = 1
    }
  }
  const write = (target: Uint8Array, offset: number, values: StructValues<F>): void => {
    for (const key in values) {
      const field = fields[key]
      const value = values[key]
      if (field === undefined) throw new RangeError(`struct ${name}: no field ${key}`)
      if (value === undefined) continue
      if (field[1] === 'bytes') writeBytes(target, offset + field[0], field[2], value as Uint8Array, name, key)
      else writeScalar(target, offset + field[0], field[1], value as number | bigint, name, key)
    }
  }
  const encode = (values: StructValues<F>): Uint8Array => {
    const target = new Uint8Array(size)
    write(target, 0, values)
    return target
  }
  return { size, fields, write, encode }
}

function writeBytes(target: Uint8Array, at: number, length: number, value: Uint8Array, name: string, key: string): void {
  if (value.length > length) throw new ImageError('LIMIT', `${name}: ${key} is ${value.length} bytes, the field holds ${length}`)
  target.set(value, at)
  if (value.length < length) target.fill(0, at + value.length, at + length)
}

function writeScalar(target: Uint8Array, at: number, type: Scalar, value: number | bigint, name: string, key: string): void {
  // There are many of these: plain numbers go byte by byte, without a view and without bigints.
  if (typeof value === 'number' && value >= 0 && value <= NUMBER_LIMIT[type] && Number.isSafeInteger(value)) {
    switch (type) {
      case 'u8':
        target[at] = value
        return
      case 'u16le':
        writeLittle16(target, at, value)
        return
      case 'u16be':
        writeBig16(target, at, value)
        return
      case 'u32le':
        writeLittle32(target, at, value)
        return
      case 'u32be':
        writeBig32(target, at, value)
        return
      case 'i64le':
      case 'u64le':
        writeLittle32(target, at, value % 2 ** 32)
        writeLittle32(target, at + 4, Math.floor(value / 2 ** 32))
        return
      case 'u64be':
        writeBig32(target, at, Math.floor(value / 2 ** 32))
        writeBig32(target, at + 4, value % 2 ** 32)
        return
      case 'u16both':
        writeLittle16(target, at, value)
        writeBig16(target, at + 2, value)
        return
      case 'u32both':
        writeLittle32(target, at, value)
        writeBig32(target, at + 4, value)
        return
    }
  }
  const least = type === 'i64le' ? -(2n ** 63n) : 0n
  if ((typeof value === 'number' && !Number.isSafeInteger(value)) || value < least || value > LIMIT[type]) {
    throw new ImageError('LIMIT', `${name}: ${key} is ${value}, the field holds ${least} to ${LIMIT[type]}`)
  }
  if (WIDTH[type] < 8 || type === 'u32both') writeScalar(target, at, type, Number(value), name, key)
  else new DataView(target.buffer, target.byteOffset, target.byteLength).setBigInt64(at, BigInt.asIntN(64, BigInt(value)), type !== 'u64be')
}

function writeLittle16(target: Uint8Array, at: number, value: number): void {
  target[at] = value
  target[at + 1] = value >>> 8
}

function writeBig16(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 8
  target[at + 1] = value
}

function writeLittle32(target: Uint8Array, at: number, value: number): void {
  target[at] = value
  target[at + 1] = value >>> 8
  target[at + 2] = value >>> 16
  target[at + 3] = value >>> 24
}

function writeBig32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24
  target[at + 1] = value >>> 16
  target[at + 2] = value >>> 8
  target[at + 3] = value
}
