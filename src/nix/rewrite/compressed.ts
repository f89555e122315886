/** Compressed content, in which references cannot be seen and not be replaced in place. */
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { contentBytes } from '../../tree/content.ts'
import type { FileNode } from '../../tree/tree.ts'
import type { RewriteFinder } from './rewrite.ts'

/** What files of a kind begin with. */
const KINDS: readonly (readonly [kind: string, magic: Uint8Array])[] = [
  // RFC 1952, 2.3.1: the one method there is.
  ['gzip', Uint8Array.of(0x1f, 0x8b, 0x08)],
  ['xz', Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)],
  // RFC 8878, 3.1.1.
  ['zstd', Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd)],
  ['bzip2', Uint8Array.of(0x42, 0x5a, 0x68)],
  ['lz4', Uint8Array.of(0x04, 0x22, 0x4d, 0x18)],
  // The only one that Linux unpacks.
  ['lz4', Uint8Array.of(0x02, 0x21, 0x4c, 0x18)],
  ['lzip', latin1('LZIP')],
  ['lzop', Uint8Array.of(0x89, 0x4c, 0x5a, 0x4f)],
  ['7z', Uint8Array.of(0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c)],
  ['zip', Uint8Array.of(0x50, 0x4b, 0x03, 0x04)],
  ['squashfs', latin1('hsqs')],
  // Archives themselves are not compressed, but in an initrd others stand behind them that are.
  ['cpio', latin1('070701')],
  ['cpio', latin1('070702')],
]

/** The kind of a file that begins with `head`, or undefined where it is not known as compressed. */
export function compressedKind(head: Uint8Array): string | undefined {
  return KINDS.find(([, magic]) => Buffer.compare(head.subarray(0, magic.length), magic) === 0)?.[0]
}

/** Larger ones are not unpacked; bytes, packed and unpacked. */
const PACKED_LIMIT = 8 << 20
const UNPACKED_LIMIT = 64 << 20

/**
 * Whether a file that is compressed as a whole holds what `finder` looks for; undefined where that is not known. Throws
 * CHANGED or UNREADABLE.
 */
export function holdsCompressed({ content, size }: FileNode, kind: string, finder: RewriteFinder): boolean | undefined {
  if (size > PACKED_LIMIT || content.kind === 'image' || (kind !== 'gzip' && kind !== 'zstd')) return undefined
  const packed = contentBytes({ content, size }, 'a compressed file')
  let unpacked: Buffer
  try {
    unpacked = kind === 'gzip' ? gunzipSync(packed, { maxOutputLength: UNPACKED_LIMIT }) : unpackedFrames(packed)
  } catch {
    return undefined
  }
  // A tarball may hold compressed files in its turn.
  if (compressedKind(unpacked) !== undefined) return undefined
  let isFound = false
  finder.find(unpacked, () => {
    isFound = true
  })
  return isFound
}

/** All frames of zstd: Node ends behind the first without a word, and says how far it came. Throws for what is damaged or too large. */
function unpackedFrames(packed: Uint8Array): Buffer {
  const frames: Buffer[] = []
  let room = UNPACKED_LIMIT
  for (let position = 0; position < packed.length; ) {
    // With `info` it returns both, which its types do not say.
    const { buffer, engine } = zstdDecompressSync(packed.subarray(position), { maxOutputLength: room, info: true }) as unknown as {
      readonly buffer: Buffer
      readonly engine: { readonly bytesWritten: number }
    }
    if (engine.bytesWritten === 0) throw new RangeError('a frame without bytes')
    frames.push(buffer)
    position += engine.bytesWritten
    // A limit of 0 is none that Node takes.
    room = Math.max(1, room - buffer.length)
  }
  return Buffer.concat(frames)
}

function latin1(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'latin1'))
}
