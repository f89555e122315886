/** Checksums of metadata (checksums: "Checksums"): CRC-32C, begun with the UUID so that stale blocks do not pass. */
import { crc32c } from '../../bytes/crc32c.ts'

const REGISTER_START = 0xffffffff
const number = new Uint8Array(8)
const numberView = new DataView(number.buffer)

/** What all checksums but the superblock's begin with. */
export function checksumSeed(uuid: Uint8Array): number {
  return crc32c(REGISTER_START, uuid)
}

export function superblockChecksum(bytes: Uint8Array, end: number): number {
  return crc32c(REGISTER_START, bytes, 0, end)
}

/** `register` after a 32-bit number, little endian. */
export function withU32(register: number, value: number): number {
  numberView.setUint32(0, value, true)
  return crc32c(register, number, 0, 4)
}

/** `register` after a 64-bit number, little endian. */
export function withU64(register: number, value: number): number {
  numberView.setBigUint64(0, BigInt(value), true)
  return crc32c(register, number)
}

/** What checksums of an inode and its metadata blocks begin with: number and generation, which is always 0 here. */
export function inodeChecksumSeed(seed: number, inode: number): number {
  return withU32(withU32(seed, inode), 0)
}
