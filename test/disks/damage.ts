/** Damaged files, and sources that look at how they are read. */
import type { Image } from '../../src/io/image.ts'
import type { RandomAccessSource } from '../../src/io/source.ts'

/** No reader takes more at once: the largest packed block is one of 2 MiB. */
const READ_LIMIT = 4 << 20
/** So much of a disk is read; a damaged size may claim 2^53 bytes. */
const DATA_LIMIT = 8 << 20

/** Where metadata lies, so that most changes hit some: the places that are not zero and not the disk's own data. */
export function interesting(bytes: Uint8Array, limit: number): number[] {
  const places: number[] = []
  for (let at = 0; at < bytes.length && places.length < limit; at++) if (bytes[at] !== 0) places.push(at)
  return places
}

const VALUES = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff]

export interface Damage {
  /** Of the same memory as what was damaged. */
  readonly bytes: Uint8Array
  mend(): void
}

export function damage(bytes: Uint8Array, places: readonly number[], next: (limit: number) => number): Damage {
  const kept: { readonly at: number; readonly bytes: Uint8Array }[] = []
  for (let count = 1 + next(4); count > 0; count--) {
    const place = places[next(next(2) === 0 ? Math.min(160, places.length) : places.length)] ?? 0
    const at = Math.max(0, place - next(4))
    const width = [1, 1, 4, 8][next(4)] ?? 1
    const value = next(3) === 0 ? next(256) : (VALUES[next(VALUES.length)] ?? 0)
    kept.unshift({ at, bytes: Uint8Array.from(bytes.subarray(at, at + width)) })
    bytes.fill(value, at, Math.min(bytes.length, at + width))
  }
  return {
    bytes: next(10) === 0 ? bytes.subarray(0, next(bytes.length)) : bytes,
    mend: () => {
      for (const { at, bytes: before } of kept) bytes.set(before, at)
    },
  }
}

/** Counts what is read, and refuses to be read beyond its end or in too large pieces. */
export function guarded(bytes: Uint8Array): RandomAccessSource & { reads: number } {
  return {
    size: bytes.length,
    reads: 0,
    async read(position, length) {
      if (++this.reads > 20_000) throw new Error('the reader does not come to an end')
      if (!(position >= 0 && length >= 0 && position + length <= bytes.length))
        throw new Error(`read ${length} at ${position} of ${bytes.length}`)
      if (length > READ_LIMIT) throw new Error(`read ${length} bytes at once`)
      return Uint8Array.from(bytes.subarray(position, position + length))
    },
  }
}

export async function readSome(image: Image): Promise<void> {
  let total = 0
  for (const extent of image.extents) {
    for await (const chunk of extent.read()) {
      total += chunk.length
      if (total > DATA_LIMIT) return
    }
  }
}
