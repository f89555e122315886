/**
 * Name and value lists in their XDR encoding (OpenZFS `module/nvpair/nvpair.c`, RFC 4506): big endian, all padded
 * to four bytes.
 */
import { alignUp } from '../../bytes/align.ts'
import { utf8 } from '../../bytes/text.ts'

export type NvValue =
  | { readonly kind: 'flag' }
  | { readonly kind: 'number'; readonly value: number | bigint }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'bytes'; readonly value: Uint8Array }
  | { readonly kind: 'list'; readonly value: NvList }
  | { readonly kind: 'lists'; readonly value: readonly NvList[] }

/** In the order in which they are written. */
export type NvList = readonly (readonly [name: string, value: NvValue])[]

export const nvFlag: NvValue = { kind: 'flag' }
export const nvNumber = (value: number | bigint): NvValue => ({ kind: 'number', value })
export const nvText = (value: string): NvValue => ({ kind: 'text', value })
export const nvBytes = (value: Uint8Array): NvValue => ({ kind: 'bytes', value })
export const nvList = (value: NvList): NvValue => ({ kind: 'list', value })
export const nvLists = (value: readonly NvList[]): NvValue => ({ kind: 'lists', value })

/** nvpair.h, `data_type_t`. */
const DATA_TYPE: Record<NvValue['kind'], number> = { flag: 1, number: 8, text: 9, bytes: 10, list: 19, lists: 20 }
/** XDR, by a little-endian host, and two reserved bytes. */
const STREAM_HEADER = [1, 1, 0, 0]
/** `NV_UNIQUE_NAME`. */
const UNIQUE_NAMES = 1
/** `sizeof (nvpair_t)` and `sizeof (nvlist_t)` in memory. */
const PAIR_SIZE = 16
const LIST_SIZE = 24
const POINTER_SIZE = 8

/** A list with the four bytes that say how it is encoded. */
export function encodeNvlist(list: NvList): Uint8Array {
  const bytes = [...STREAM_HEADER]
  putList(bytes, list)
  return Uint8Array.from(bytes)
}

function putList(out: number[], list: NvList): void {
  putU32(out, 0)
  putU32(out, UNIQUE_NAMES)
  for (const [name, value] of list) putPair(out, utf8(name), value)
  putU32(out, 0)
  putU32(out, 0)
}

function putPair(out: number[], name: Uint8Array, value: NvValue): void {
  const pair: number[] = []
  putOpaque(pair, name, true)
  putU32(pair, DATA_TYPE[value.kind])
  putU32(pair, elements(value))
  putValue(pair, value)
  putU32(out, 8 + pair.length)
  // The reader takes memory by this size: that of the pair as it has it.
  putU32(out, alignUp(PAIR_SIZE + name.length + 1, 8) + alignUp(decodedSize(value), 8))
  for (const byte of pair) out.push(byte)
}

function elements(value: NvValue): number {
  if (value.kind === 'flag') return 0
  return value.kind === 'bytes' || value.kind === 'lists' ? value.value.length : 1
}

function putValue(out: number[], value: NvValue): void {
  switch (value.kind) {
    case 'flag':
      return
    case 'number': {
      const bits = BigInt(value.value)
      putU32(out, Number(bits >> 32n))
      putU32(out, Number(bits & 0xffffffffn))
      return
    }
    case 'text':
      putOpaque(out, utf8(value.value), true)
      return
    case 'bytes':
      putOpaque(out, value.value, false)
      return
    case 'list':
      putList(out, value.value)
      return
    case 'lists':
      for (const list of value.value) putList(out, list)
  }
}

function decodedSize(value: NvValue): number {
  switch (value.kind) {
    case 'flag':
      return 0
    case 'number':
      return 8
    case 'text':
      return utf8(value.value).length + 1
    case 'bytes':
      return value.value.length
    case 'list':
      return LIST_SIZE
    case 'lists':
      return value.value.length * (POINTER_SIZE + LIST_SIZE)
  }
}

function putOpaque(out: number[], bytes: Uint8Array, hasLength: boolean): void {
  if (hasLength) putU32(out, bytes.length)
  for (const byte of bytes) out.push(byte)
  for (let length = bytes.length; length % 4 !== 0; length++) out.push(0)
}

function putU32(out: number[], value: number): void {
  out.push((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)
}
