/**
 * The records of a newc archive (Linux, Documentation/driver-api/early-userspace/buffer-format.rst; cpio(5),
 * "New ASCII Format"): a header of hexadecimal text, the name with a zero byte, the data; header with name,
 * and data, each padded with zeros to a multiple of 4.
 */
import { ascii } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'

/** Records and data begin at multiples of this, counted from the beginning of the archive. */
export const ALIGNMENT = 4

export const HEADER_SIZE = 110

const MAGIC = ascii('070701', 'magic')
/** Every field is this many hexadecimal digits, most significant first. */
const DIGITS = 8

/** Field to its offset in the header; the names of the specification are beside. */
const HEADER = {
  /** c_ino. With the device numbers it tells which records are one file. */
  inode: 6,
  /** c_mode: the kind of the file (`FILE_KINDS`) and its permission bits. */
  mode: 14,
  /** c_uid */
  userId: 22,
  /** c_gid */
  groupId: 30,
  /** c_nlink */
  linkCount: 38,
  /** c_mtime, seconds since 1970; Linux takes it as unsigned. */
  mtimeSeconds: 46,
  /** c_filesize, bytes of the data: content of a file, target of a symbolic link. */
  fileSize: 54,
  /** c_maj and c_min: the device that the file lay on. */
  deviceMajor: 62,
  deviceMinor: 70,
  /** c_rmaj and c_rmin: the device that the file is. */
  ownMajor: 78,
  ownMinor: 86,
  /** c_namesize, bytes of the name with its zero byte. */
  nameSize: 94,
  /** c_chksum, 0 in newc. */
  checksum: 102,
} as const

export type HeaderField = keyof typeof HEADER
export type HeaderValues = Readonly<Partial<Record<HeaderField, number>>>

const FIELDS = Object.entries(HEADER) as readonly (readonly [HeaderField, number])[]

/** Bits of `mode` that say what a file is (POSIX, S_IFMT). */
export const FILE_KINDS = {
  socket: 0o140000,
  symlink: 0o120000,
  file: 0o100000,
  blockDevice: 0o060000,
  directory: 0o040000,
  characterDevice: 0o020000,
  fifo: 0o010000,
} as const

/** The largest number of 8 hexadecimal digits. */
export const FIELD_MAXIMUM = 0xffffffff

/** GNU cpio and the kernel's own gen_init_cpio write capitals; readers take both. */
const HEX_DIGITS = ascii('0123456789ABCDEF', 'digits')

/** Write a header at `offset`; fields that are not given are 0. Throws LIMIT, naming the field that does not hold its value. */
export function writeHeader(target: Uint8Array, offset: number, values: HeaderValues): void {
  target.set(MAGIC, offset)
  for (const [field, at] of FIELDS) {
    const value = values[field] ?? 0
    if (!Number.isInteger(value) || value < 0 || value > FIELD_MAXIMUM) {
      throw new ImageError('LIMIT', `newc header: ${field} is ${value}, the field holds 0 to ${FIELD_MAXIMUM}`)
    }
    writeHex(target, offset + at, value)
  }
}

function writeHex(target: Uint8Array, offset: number, value: number): void {
  let rest = value
  for (let digit = DIGITS - 1; digit >= 0; digit--) {
    target[offset + digit] = HEX_DIGITS[rest & 0xf] ?? 0
    rest >>>= 4
  }
}

/** The name of the record that ends an archive; no file can have it. */
export const TRAILER_NAME = ascii('TRAILER!!!', 'trailer')

/** Bytes of the trailer with its padding. */
export const TRAILER_SIZE = 124

/** The last record. All of it is 0 but the link count, as GNU cpio writes it. */
export function writeTrailer(target: Uint8Array, offset: number): void {
  writeHeader(target, offset, { linkCount: 1, nameSize: TRAILER_NAME.length + 1 })
  target.set(TRAILER_NAME, offset + HEADER_SIZE)
}
