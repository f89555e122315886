/**
 * Compressed streams back to what they hold, as binary caches have them. The bytes are nobody's word: memory is bounded whatever
 * they say, and chunks come one at a time, so that whoever reads can stop a stream that holds more than it should.
 *
 * Not supported: xz streams that ask for more than 192 MiB, LZ4 frames with a dictionary, the old randomised blocks of bzip2.
 */
import { createBrotliDecompress, createGunzip, createZstdDecompress } from 'node:zlib'
import { unpackBzip2 } from './bzip2.ts'
import { unpackLz4 } from './lz4.ts'
import { unpackZlib } from './node-zlib.ts'
import { unpackXz } from './xz.ts'

/** As narinfo files name them. */
export const UNPACKERS = ['none', 'xz', 'zstd', 'gzip', 'bzip2', 'br', 'lz4'] as const

export type Unpacker = (typeof UNPACKERS)[number]

/** Bytes that Node's zlib hands on at a time. */
const CHUNK_SIZE = 256 << 10

/**
 * What `packed` holds. A chunk is good until the next one is asked for. Several members, frames or streams that follow each other are
 * taken together. Throws BAD_INPUT for what is damaged or cut short, with `what` in front, UNSUPPORTED where `xz` lacks its package,
 * and what the input throws.
 */
export function unpackStream(kind: Unpacker, packed: AsyncIterable<Uint8Array>, what: string): AsyncIterable<Uint8Array> {
  switch (kind) {
    case 'none':
      return packed
    case 'xz':
      return unpackXz(packed, what)
    case 'zstd':
      return unpackZlib(packed, () => createZstdDecompress({ chunkSize: CHUNK_SIZE }), what)
    case 'gzip':
      return unpackZlib(packed, () => createGunzip({ chunkSize: CHUNK_SIZE }), what)
    case 'br':
      return unpackZlib(packed, () => createBrotliDecompress({ chunkSize: CHUNK_SIZE }), what)
    case 'bzip2':
      return unpackBzip2(packed, what)
    case 'lz4':
      return unpackLz4(packed, what)
  }
}
