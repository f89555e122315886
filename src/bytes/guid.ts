/**
 * GUIDs as 16 bytes in the order in which a disk holds them: the first three groups little endian
 * (UEFI 2.10, appendix A).
 */
import { hash } from 'node:crypto'
import { ImageError } from '../errors.ts'

const PATTERN = /^([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$/i

/** `'C12A7328-F81F-11D2-BA4B-00A0C93EC93B'` to the 16 bytes on disk. */
export function guidFromText(text: string): Uint8Array {
  const groups = PATTERN.exec(text)
  if (!groups) throw new ImageError('USAGE', `GUID '${text}' is not of the form 8-4-4-4-12 hex digits`)
  const bytes = Buffer.from(groups.slice(1).join(''), 'hex')
  bytes.subarray(0, 4).reverse()
  bytes.subarray(4, 6).reverse()
  bytes.subarray(6, 8).reverse()
  return new Uint8Array(bytes)
}

/** The 16 bytes on disk to upper-case text. */
export function guidToText(guid: Uint8Array): string {
  const bytes = Buffer.from(guid)
  bytes.subarray(0, 4).reverse()
  bytes.subarray(4, 6).reverse()
  bytes.subarray(6, 8).reverse()
  const hex = bytes.toString('hex').toUpperCase()
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/**
 * An identifier of `length` bytes (at most 32) derived from a seed and the purpose it serves: the same
 * seed gives the same image, and no two identifiers of an image are alike.
 */
export function deriveBytes(seed: string, purpose: string, length: number): Uint8Array {
  const digest = hash('sha256', `kilnix\0${purpose}\0${seed}`, 'buffer')
  return new Uint8Array(digest.subarray(0, length))
}

/** A GUID derived from a seed; version and variant bits of a name-based UUID, version 8 (RFC 9562, 5.8). */
export function deriveGuid(seed: string, purpose: string): Uint8Array {
  const bytes = deriveBytes(seed, purpose, 16)
  // Byte 7 holds the version because the third group is little endian on disk.
  bytes[7] = ((bytes[7] ?? 0) & 0x0f) | 0x80
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return bytes
}
