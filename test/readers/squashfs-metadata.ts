/** Metadata blocks and lookup tables, for the SquashFS reader. */

/** Random access to an image; `read` returns exactly `length` bytes. */
export interface Source {
  readonly size: number
  read(position: number, length: number): Uint8Array
}

/** Decode one block; more than `maximum` bytes is an error. */
export type Decoder = (bytes: Uint8Array, maximum: number) => Uint8Array

export function check(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new Error(message())
}

const BLOCK_SIZE = 8192

/** All metadata blocks between two positions, decoded. */
export class Metadata {
  readonly bytes: Uint8Array
  /** From a block's position (from the first one's) to where its bytes begin in `bytes`. */
  readonly blocks = new Map<number, number>()

  /** Every block but the last must hold 8192 bytes, and the last must end at `end`. */
  constructor(source: Source, decode: Decoder, name: string, start: number, end: number) {
    const parts: Uint8Array[] = []
    let length = 0
    for (let position = start; position < end; ) {
      check(length % BLOCK_SIZE === 0, () => `${name}: a block before ${position} is shorter than ${BLOCK_SIZE} bytes`)
      const header = source.read(position, 2)
      const word = ((header[1] as number) << 8) | (header[0] as number)
      const size = word & 0x7fff
      check(
        size > 0 && size <= BLOCK_SIZE && position + 2 + size <= end,
        () => `${name}: the block at ${position} has ${size} bytes, the table ends at ${end}`,
      )
      const content = source.read(position + 2, size)
      const plain = word & 0x8000 ? content : decode(content, BLOCK_SIZE)
      check(plain.length > 0 && plain.length <= BLOCK_SIZE, () => `${name}: the block at ${position} decodes to ${plain.length} bytes`)
      check(word & 0x8000 ? true : plain.length > size, () => `${name}: the block at ${position} is compressed and not smaller`)
      this.blocks.set(position - start, length)
      parts.push(plain)
      length += plain.length
      position += 2 + size
    }
    this.bytes = Buffer.concat(parts)
  }

  /** Where a reference (block position and offset) points to in `bytes`. */
  resolve(block: number, offset: number, name: string): number {
    const start = this.blocks.get(block)
    check(
      start !== undefined && offset < BLOCK_SIZE && start + offset <= this.bytes.length,
      () => `${name}: no metadata at block ${block}, offset ${offset}`,
    )
    return start + offset
  }
}

export interface LookupTable {
  readonly bytes: Uint8Array
  /** Of the first metadata block. */
  readonly start: number
  /** After the last location. */
  readonly end: number
}

/** A table of `count` records; `position` is that of its list of locations. */
export function readLookupTable(
  source: Source,
  decode: Decoder,
  name: string,
  position: number,
  count: number,
  recordSize: number,
): LookupTable {
  const blockCount = Math.ceil((count * recordSize) / BLOCK_SIZE)
  check(position + blockCount * 8 <= source.size, () => `${name}: ${count} records at ${position} do not fit into the image`)
  const list = source.read(position, blockCount * 8)
  const view = new DataView(list.buffer, list.byteOffset, list.length)
  const locations = Array.from({ length: blockCount }, (_, i) => Number(view.getBigUint64(i * 8, true)))
  const start = locations[0] ?? position
  check(start <= position, () => `${name}: its first block at ${start} comes after its locations at ${position}`)
  const metadata = new Metadata(source, decode, name, start, position)
  const found = [...metadata.blocks.keys()].map((block) => start + block)
  check(
    found.length === blockCount && found.every((block, i) => block === locations[i]),
    () => `${name}: blocks lie at ${found}, the locations are ${locations}`,
  )
  check(metadata.bytes.length === count * recordSize, () => `${name}: ${metadata.bytes.length} bytes for ${count} records of ${recordSize}`)
  return { bytes: metadata.bytes, start, end: position + blockCount * 8 }
}
