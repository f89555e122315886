/** The headers of an OVA's members: ustar (POSIX.1-2024, pax, "ustar Interchange Format"). */
import { MAGIC_AND_VERSION, MTIME_WIDTH, numberField, SIZE_WIDTH, tarHeader, writeChecksum } from '../../archives/tar/disk.ts'
import { ascii } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'

export { BLOCK_SIZE, END_SIZE } from '../../archives/tar/disk.ts'

const { mode, uid, gid } = tarHeader.fields

/** The header of a regular file that anyone may read. A size beyond 11 octal digits is written as GNU tar and all OVF tools do. */
export function fileHeader(name: string, size: number, mtimeSeconds: number): Uint8Array {
  const record = tarHeader.encode({
    name: ascii(name, 'tar name'),
    mode: numberField(0o644, mode[2]),
    uid: numberField(0, uid[2]),
    gid: numberField(0, gid[2]),
    size: numberField(size, SIZE_WIDTH),
    mtime: numberField(mtimeSeconds, MTIME_WIDTH),
    checksum: new Uint8Array(0),
    typeflag: ascii('0', 'tar field'),
    linkname: new Uint8Array(0),
    magicAndVersion: MAGIC_AND_VERSION.pax,
    userName: new Uint8Array(0),
    groupName: new Uint8Array(0),
    deviceMajor: new Uint8Array(0),
    deviceMinor: new Uint8Array(0),
    prefix: new Uint8Array(0),
  })
  writeChecksum(record)
  return record
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
  const { name, size, magicAndVersion } = tarHeader.fields
  const field = ([offset, , length = 0]: readonly [number, unknown, number?]): Buffer => bytes.subarray(offset, offset + length)
  const text = field(size)
    .toString('latin1')
    .replace(/[\0 ]+$/, '')
  const octal = /^ *[0-7]{1,12}$/.test(text) ? Number.parseInt(text, 8) : undefined
  const length = field(size)[0] === 0x80 ? Number(field(size).readBigUInt64BE(4)) : octal
  if (field(magicAndVersion).toString('latin1', 0, 5) !== 'ustar' || length === undefined || !Number.isSafeInteger(length)) {
    throw new ImageError('BAD_INPUT', `ova: there is no tar header at byte ${position}`)
  }
  return { name: field(name).toString('latin1').replace(/\0.*$/s, ''), start: position + tarHeader.size, size: length }
}
