/**
 * The records of a tar archive: POSIX.1-2024, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar
 * manual, "Basic Tar Format".
 */
import { struct } from '../../bytes/struct.ts'
import { ascii } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'

/** Headers are one block, content is padded to whole blocks, and two blocks of zeros end the archive. */
export const BLOCK_SIZE = 512
/** Readers of tapes expect whole records of 20 blocks, and some tools warn when the last one is short. */
export const RECORD_SIZE = 20 * BLOCK_SIZE
export const END_SIZE = 2 * BLOCK_SIZE

/** Numbers are digits of base 8 with a zero byte behind them. Fields of bytes that fill their place have no zero. */
export const tarHeader = struct('tar header', BLOCK_SIZE, {
  name: [0, 'bytes', 100],
  mode: [100, 'bytes', 8],
  uid: [108, 'bytes', 8],
  gid: [116, 'bytes', 8],
  size: [124, 'bytes', 12],
  mtime: [136, 'bytes', 12],
  checksum: [148, 'bytes', 8],
  typeflag: [156, 'bytes', 1],
  linkname: [157, 'bytes', 100],
  /** GNU's magic and version are one string of eight bytes. */
  magicAndVersion: [257, 'bytes', 8],
  userName: [265, 'bytes', 32],
  groupName: [297, 'bytes', 32],
  deviceMajor: [329, 'bytes', 8],
  deviceMinor: [337, 'bytes', 8],
  /** What stands before the name, without the slash between; not in GNU's format. */
  prefix: [345, 'bytes', 155],
})

export const PREFIX_LIMIT = tarHeader.fields.prefix[2]

export type TarFormat = 'pax' | 'gnu'

export const MAGIC_AND_VERSION: Readonly<Record<TarFormat, Uint8Array>> = {
  pax: ascii('ustar\x0000', 'magic'),
  gnu: ascii('ustar  \0', 'magic'),
}

/** Bytes of a name or of a link target; GNU's format has a zero behind them. */
export function nameLimit(format: TarFormat): number {
  const { name } = tarHeader.fields
  return format === 'pax' ? name[2] : name[2] - 1
}

/** Typeflags of what an archive holds. */
export type MemberType =
  | '0' // file
  | '1' // hard link
  | '2' // symbolic link
  | '3' // character device
  | '4' // block device
  | '5' // directory
  | '6' // fifo

/** Typeflags of what stands before a member and says what its header cannot. */
export type ExtensionType =
  | 'x' // pax: records for the next member
  | 'L' // GNU: path of the next member
  | 'K' // GNU: link target of the next member

/** Widths of the numbers in a header. */
export const ID_WIDTH = tarHeader.fields.uid[2]
export const SIZE_WIDTH = tarHeader.fields.size[2]
export const MTIME_WIDTH = tarHeader.fields.mtime[2]
export const DEVICE_WIDTH = tarHeader.fields.deviceMajor[2]

/** The largest number that a field of `width` bytes holds in base 8. */
export function octalLimit(width: number): number {
  return 8 ** (width - 1) - 1
}

/**
 * A number as the field has it: in base 8 where that suffices, else as GNU tar (manual, "Basic Tar Format") and
 * star write it, which all of today's readers take: the first bit set, then two's complement, big endian.
 */
export function numberField(value: number, width: number): Uint8Array {
  if (!Number.isSafeInteger(value)) throw new ImageError('LIMIT', `tar header: ${value} is not a whole number`)
  if (value >= 0 && value <= octalLimit(width)) return ascii(`${value.toString(8).padStart(width - 1, '0')}\0`, 'number')
  const bytes = Buffer.from(
    BigInt.asUintN(8 * width, BigInt(value))
      .toString(16)
      .padStart(2 * width, '0'),
    'hex',
  )
  bytes[0] = (bytes[0] ?? 0) | 0x80
  return new Uint8Array(bytes)
}

/** The sum of the header's bytes, its own field counted as blanks; six digits, a zero byte and a blank. */
export function writeChecksum(header: Uint8Array): void {
  tarHeader.write(header, 0, { checksum: ascii(' '.repeat(8), 'checksum') })
  let sum = 0
  for (const byte of header) sum += byte
  tarHeader.write(header, 0, { checksum: ascii(`${sum.toString(8).padStart(6, '0')}\0 `, 'checksum') })
}
