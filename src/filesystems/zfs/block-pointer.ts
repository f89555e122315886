/** Block pointers (OpenZFS `include/sys/spa.h`). */

import type { BlockChecksum } from './checksum.ts'
import { BLOCK_POINTER_SIZE, isMetadata, SECTOR_SIZE } from './constants.ts'
import { BLOCK_POINTER, BLOCK_POINTER_FLAGS, EMBEDDED_FLAG, EMBEDDED_PAYLOAD_SIZES, EMBEDDED_POINTER } from './disk.ts'

/** What a block takes, in the three ways in which ZFS counts. */
export interface Space {
  /** All copies, in whole units of the device. */
  readonly used: number
  /** One copy as it is stored. */
  readonly compressed: number
  /** File contents before compression; metadata count as they are stored. */
  readonly uncompressed: number
}

export const NO_SPACE: Space = { used: 0, compressed: 0, uncompressed: 0 }

export function addSpace(a: Space, b: Space): Space {
  return { used: a.used + b.used, compressed: a.compressed + b.compressed, uncompressed: a.uncompressed + b.uncompressed }
}

export interface BlockPointer extends Space {
  /** 128 bytes. */
  readonly bytes: Uint8Array
  /** Blocks of data below, or objects in blocks of dnodes. */
  readonly fill: number
}

export interface BlockIdentity {
  readonly type: number
  /** 0 for data, above it for blocks of pointers. */
  readonly level: number
  readonly birthTxg: number
  readonly fill: number
}

export const HOLE: BlockPointer = { ...NO_SPACE, bytes: new Uint8Array(BLOCK_POINTER_SIZE), fill: 0 }

/** The block lies on the device: `places` of its copies in bytes, `unitSize` bytes each. */
export function storedPointer(
  identity: BlockIdentity,
  sizes: { readonly logical: number; readonly physical: number; readonly onDisk: number },
  places: readonly number[],
  how: { readonly compression: number; readonly checksum: BlockChecksum; readonly checksumWords: Uint8Array },
): BlockPointer {
  const { type, level, birthTxg, fill } = identity
  const bytes = BLOCK_POINTER.encode({
    logicalSectors: sizes.logical / SECTOR_SIZE - 1,
    physicalSectors: sizes.physical / SECTOR_SIZE - 1,
    compression: how.compression,
    checksum: how.checksum,
    type,
    level: level | BLOCK_POINTER_FLAGS.littleEndian,
    birthTxg,
    fill,
    checksumWords: how.checksumWords,
  })
  // There are many pointers, and most have one copy: objects whose fields are not known before are slow.
  const allocatedSectors = sizes.onDisk / SECTOR_SIZE
  const sectorOf = (copy: number): number => (places[copy] as number) / SECTOR_SIZE
  if (places.length > 0) BLOCK_POINTER.write(bytes, 0, { allocatedSectors0: allocatedSectors, sector0: sectorOf(0) })
  if (places.length > 1) BLOCK_POINTER.write(bytes, 0, { allocatedSectors1: allocatedSectors, sector1: sectorOf(1) })
  if (places.length > 2) BLOCK_POINTER.write(bytes, 0, { allocatedSectors2: allocatedSectors, sector2: sectorOf(2) })
  const countsCompressed = level > 0 || isMetadata(type)
  return {
    bytes,
    fill,
    used: places.length * sizes.onDisk,
    compressed: sizes.physical,
    uncompressed: countsCompressed ? sizes.physical : sizes.logical,
  }
}

/** The block is so small that the pointer holds it. */
export function embeddedPointer(identity: BlockIdentity, logicalSize: number, compression: number, payload: Uint8Array): BlockPointer {
  const [first, second] = EMBEDDED_PAYLOAD_SIZES
  const { type, level, birthTxg } = identity
  const bytes = EMBEDDED_POINTER.encode({
    payload0: payload.subarray(0, first),
    sizes: ((logicalSize - 1) | ((payload.length - 1) << 25)) >>> 0,
    compression: compression | EMBEDDED_FLAG,
    type,
    level: level | BLOCK_POINTER_FLAGS.littleEndian,
    payload1: payload.subarray(first, first + second),
    birthTxg,
    payload2: payload.subarray(first + second),
  })
  return { bytes, fill: 1, used: 0, compressed: 0, uncompressed: isMetadata(type) ? 0 : logicalSize }
}
