/** The headers of an OVA's members: ustar (POSIX.1-2024, pax, "ustar Interchange Format"). */

import { struct } from '../../bytes/struct.ts'
import { ascii } from '../../bytes/text.ts'

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
