/** Packed lists of names and values, XDR (OpenZFS `module/nvpair/nvpair.c`). */

export type NvValue = true | bigint | string | Buffer | NvList | readonly NvList[]
export interface NvList {
  readonly [name: string]: NvValue
}

const HEADER = Buffer.from('01010000', 'hex')

class Cursor {
  readonly #bytes: Buffer
  at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  u32(): number {
    this.at += 4
    return this.#bytes.readUInt32BE(this.at - 4)
  }

  u64(): bigint {
    this.at += 8
    return this.#bytes.readBigUInt64BE(this.at - 8)
  }

  opaque(length: number): Buffer {
    const start = this.at
    this.at += Math.ceil(length / 4) * 4
    if (this.at > this.#bytes.length) throw new Error('a packed list is cut off')
    return this.#bytes.subarray(start, start + length)
  }

  text(): string {
    return this.opaque(this.u32()).toString()
  }
}

/** The list at the start of `bytes`, and how many bytes it has. */
export function readNvlist(bytes: Buffer): { readonly list: NvList; readonly size: number } {
  if (!bytes.subarray(0, 4).equals(HEADER)) throw new Error('not a packed list of XDR')
  const cursor = new Cursor(bytes, 4)
  const list = readList(cursor)
  return { list, size: cursor.at }
}

function readList(cursor: Cursor): NvList {
  if (cursor.u32() !== 0 || cursor.u32() !== 1) throw new Error('a list of another version, or whose names are not unique')
  const list: Record<string, NvValue> = {}
  for (;;) {
    const start = cursor.at
    const encoded = cursor.u32()
    const decoded = cursor.u32()
    if (encoded === 0 && decoded === 0) return list
    const name = cursor.text()
    const { value, size } = readValue(cursor, cursor.u32(), cursor.u32())
    if (cursor.at !== start + encoded) throw new Error(`the pair ${name} has ${cursor.at - start} bytes, not ${encoded}`)
    const wanted = align8(17 + Buffer.byteLength(name)) + align8(size)
    if (decoded !== wanted) throw new Error(`the pair ${name} says that it takes ${decoded} bytes, not ${wanted}`)
    if (name in list) throw new Error(`the name ${name} stands twice`)
    list[name] = value
  }
}

/** `size`: what the value takes in memory, where a list takes 24 bytes and a pointer to one 8. */
function readValue(cursor: Cursor, type: number, count: number): { readonly value: NvValue; readonly size: number } {
  if (type === 1 && count === 0) return { value: true, size: 0 }
  if (type === 8 && count === 1) return { value: cursor.u64(), size: 8 }
  if (type === 9 && count === 1) {
    const value = cursor.text()
    return { value, size: Buffer.byteLength(value) + 1 }
  }
  if (type === 10) return { value: cursor.opaque(count), size: count }
  if (type === 19 && count === 1) return { value: readList(cursor), size: 24 }
  if (type === 20) return { value: Array.from({ length: count }, () => readList(cursor)), size: 32 * count }
  throw new Error(`${count} values of type ${type}`)
}

function align8(size: number): number {
  return Math.ceil(size / 8) * 8
}

export function nvNumber(list: NvList, name: string): number {
  const value = list[name]
  if (typeof value !== 'bigint') throw new Error(`${name} is no number`)
  return Number(value)
}

export function nvList(list: NvList, name: string): NvList {
  const value = list[name]
  if (typeof value !== 'object' || Array.isArray(value) || Buffer.isBuffer(value)) throw new Error(`${name} is no list`)
  return value as NvList
}
