/** Checksums of blocks and of the parts of a label. */
import { createHash } from 'node:crypto'
import { CHECKSUM } from './constants.ts'
import { CHECKSUM_VERIFIER, EMBEDDED_CHECKSUM, EMBEDDED_CHECKSUM_MAGIC } from './disk.ts'
import { fletcher4 } from './fletcher4.ts'

export type BlockChecksum = typeof CHECKSUM.fletcher4 | typeof CHECKSUM.sha256

/** The 32 bytes that a block pointer has of a block. */
export function blockChecksum(kind: BlockChecksum, bytes: Uint8Array): Uint8Array {
  return kind === CHECKSUM.fletcher4 ? fletcher4(bytes) : sha256Words(bytes)
}

/**
 * Fill in the checksum at the end of `part` of a label, which lies `offset` bytes into the device. Its own place is
 * in the sum, so that a part that is read from elsewhere does not pass (OpenZFS `module/zfs/zio_checksum.c`).
 */
export function sealLabelPart(part: Uint8Array, offset: number): void {
  const at = part.length - EMBEDDED_CHECKSUM.size
  EMBEDDED_CHECKSUM.write(part, at, { magic: EMBEDDED_CHECKSUM_MAGIC, checksum: CHECKSUM_VERIFIER.encode({ offset }) })
  EMBEDDED_CHECKSUM.write(part, at, { checksum: sha256Words(part) })
}

/** SHA-256 as four words, which are big endian in the digest and little endian on disk. */
function sha256Words(bytes: Uint8Array): Uint8Array {
  const digest = createHash('sha256').update(bytes).digest()
  return new Uint8Array(digest.swap64())
}
