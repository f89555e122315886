/** The headers of an OVA's members: ustar (POSIX.1-2024, pax, "ustar Interchange Format"). */
import { MAGIC_AND_VERSION, MTIME_WIDTH, numberField, SIZE_WIDTH, tarHeader, writeChecksum } from '../../archives/tar/disk.ts'
import { ascii } from '../../bytes/text.ts'

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
