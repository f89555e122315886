/** What all parts of the reader have in common: the device, its geometry, and a list of what is wrong. */
import { checksumOf } from './checksums.ts'
import { decompress } from './compression.ts'
import type { Device } from './device.ts'
import type { Pointer } from './pointer.ts'

/** Blocks are placed behind the first two labels and the boot area. */
export const FRONT_SIZE = 4 << 20

export interface Pool {
  readonly device: Device
  /** Units of space, as a power of two. */
  readonly ashift: number
  /** Sentences; the reader goes on after each. */
  readonly problems: string[]
}

/** Where a block is pointed to from. */
export interface BlockNode {
  readonly pointer: Pointer
  /** The block in which the pointer stands; undefined for that of the uberblock. */
  readonly holder: BlockNode | undefined
  /** And where in its content. */
  readonly at: number
  /** A name such as `mos`, `tank/home` or `tank/home@blank`. */
  readonly objset: string
  readonly object: number
  /** -1: the head of the set. */
  readonly level: number
  /** Among the blocks of its level; -1 for a spill block. */
  readonly index: number
}

export function nameOf({ objset, object, level, index }: BlockNode): string {
  return `${objset} object ${object} L${level} block ${index}`
}

/** Call `use`; what it throws is a problem. */
export function attempt<T>(pool: Pool, where: string, use: () => T): T | undefined {
  try {
    return use()
  } catch (error) {
    pool.problems.push(`${where}: ${(error as Error).message}`)
    return undefined
  }
}

/** The content of a block. All copies are read; undefined when none is good. */
export function readBlock(pool: Pool, node: BlockNode): Buffer | undefined {
  const { pointer } = node
  const where = nameOf(node)
  if (pointer.payload !== undefined) {
    const { payload } = pointer
    return attempt(pool, where, () => decompress(payload, pointer.compression, pointer.logicalSize))
  }
  let good: Buffer | undefined
  for (const { place } of pointer.copies) {
    const stored = attempt(pool, where, () => pool.device.read(FRONT_SIZE + place, pointer.physicalSize))
    if (stored === undefined) continue
    const words = checksumOf(pointer.checksum, stored)
    if (words?.equals(pointer.checksumWords)) good ??= stored
    else pool.problems.push(`${where}: the copy at ${place} has another checksum`)
  }
  const stored = good
  return stored && attempt(pool, where, () => decompress(stored, pointer.compression, pointer.logicalSize))
}
