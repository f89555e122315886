/** The headers of an OVA's members: ustar (POSIX.1-2024, pax, "ustar Interchange Format"). */

import { struct } from '../../bytes/struct.ts'
import { ascii } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'

export const BLOCK_SIZE = 512
/** Two blocks of zeros end an archive. */
export const END_SIZE = 2 * BLOCK_SIZE

const header = struct('ustar header', BLOCK_SIZE, {
  name: [0, 'bytes', 100],
  mode: [100, 'bytes', 8],
  uid: [108, 'bytes', 8],
  gid: [116, 'bytes', 8],
  size: [124, 'bytes', 12],
  mtime: [136, 'bytes', 12],
  checksum: [148, 'bytes', 8],
  typeFlag: [156, 'bytes', 1],
  magic: [257, 'bytes', 6],
  version: [263, 'bytes', 2],
})

/** The largest size in octal digits; above it 11 bytes hold a number behind 0x80, as GNU tar and all OVF tools have it. */
const OCTAL_LIMIT = 8 ** 11

/** The header of a regular file that anyone may read. */
export function fileHeader(name: string, size: number, mtimeSeconds: number): Uint8Array {
  const octal = (value: number, digits: number): Uint8Array => ascii(value.toString(8).padStart(digits, '0'), 'tar field')
  const record = header.encode({
    name: ascii(name, 'tar name'),
    mode: octal(0o644, 7),
    uid: octal(0, 7),
    gid: octal(0, 7),
    size: size < OCTAL_LIMIT ? octal(size, 11) : binary(size),
    mtime: octal(mtimeSeconds, 11),
    checksum: ascii(' '.repeat(8), 'tar field'),
    typeFlag: ascii('0', 'tar field'),
    magic: ascii('ustar', 'tar field'),
    version: ascii('00', 'tar field'),
  })
  const sum = record.reduce((total, byte) => total + byte, 0)
  header.write(record, 0, { checksum: ascii(`${sum.toString(8).padStart(6, '0')}\0 `, 'tar field') })
  return record
}

function binary(value: number): Uint8Array {
  const bytes = Buffer.alloc(12)
  bytes.writeBigUInt64BE(BigInt(value), 4)
  bytes[0] = 0x80
  return bytes
}

export interface Member {
  readonly name: string
  /** Where its content begins. */
  readonly start: number
  /** Bytes. */
  readonly size: number
}

/** What the header at `position` says, or undefined where the archive ends. Throws BAD_INPUT for what is no header. */
export function memberOf(block: Uint8Array, position: number): Member | undefined {
  const bytes = Buffer.from(block.buffer, block.byteOffset, block.length)
  if (bytes.every((byte) => byte === 0)) return undefined
  const { name, size, magic } = header.fields
  const field = ([offset, , length = 0]: readonly [number, unknown, number?]): Buffer => bytes.subarray(offset, offset + length)
  const text = field(size)
    .toString('latin1')
    .replace(/[\0 ]+$/, '')
  const octal = /^ *[0-7]{1,12}$/.test(text) ? Number.parseInt(text, 8) : undefined
  const length = field(size)[0] === 0x80 ? Number(field(size).readBigUInt64BE(4)) : octal
  if (field(magic).toString('latin1', 0, 5) !== 'ustar' || length === undefined || !Number.isSafeInteger(length)) {
    throw new ImageError('BAD_INPUT', `ova: there is no tar header at byte ${position}`)
  }
  return { name: field(name).toString('latin1').replace(/\0.*$/s, ''), start: position + BLOCK_SIZE, size: length }
}
