/** Reads records that are declared as `struct` tables. */
import { ImageError } from '../errors.ts'
import type { Fields, Struct } from './struct.ts'

/** Scalars as numbers; 64-bit values above 2^53 lose their low bits, so compare those with limits only. */
export type Decoded<F extends Fields> = { readonly [K in keyof F]: F[K][1] extends 'bytes' ? Uint8Array : number }

/** The fields of `record` at `offset` of `bytes`; throws BAD_INPUT naming `what` when the bytes end before it does. */
export function decode<F extends Fields>(record: Struct<F>, bytes: Uint8Array, offset: number, what: string): Decoded<F> {
  if (offset + record.size > bytes.length) {
    throw new ImageError('BAD_INPUT', `${what}: ends after ${bytes.length} bytes, within a record of ${record.size} at ${offset}`)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, record.size)
  const values: Record<string, number | Uint8Array> = {}
  for (const [key, field] of Object.entries(record.fields)) {
    values[key] = field[1] === 'bytes' ? bytes.slice(offset + field[0], offset + field[0] + field[2]) : scalar(view, field[0], field[1])
  }
  return values as Decoded<F>
}

function scalar(view: DataView, at: number, type: Exclude<Fields[string][1], 'bytes'>): number {
  switch (type) {
    case 'u8':
      return view.getUint8(at)
    case 'u16le':
    case 'u16both':
      return view.getUint16(at, true)
    case 'u16be':
      return view.getUint16(at)
    case 'u32le':
    case 'u32both':
      return view.getUint32(at, true)
    case 'u32be':
      return view.getUint32(at)
    case 'i64le':
      return Number(view.getBigInt64(at, true))
    case 'u64le':
      return Number(view.getBigUint64(at, true))
    case 'u64be':
      return Number(view.getBigUint64(at))
  }
}
