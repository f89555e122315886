/** Inputs that are compressed as a whole, by gzip or zstd: unpacked into a scratch file, since containers are read in any order. */
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { ImageError, systemErrorCode, throwIfAborted } from '../../errors.ts'
import { openSpool } from '../../io/file-target.ts'
import type { RandomAccessSource } from '../../io/source.ts'

export interface OpenSource extends RandomAccessSource {
  close(): Promise<void>
}

const CHUNK_SIZE = 1 << 20
const ZEROS = Buffer.alloc(CHUNK_SIZE)

/** RFC 1952 and RFC 8878, 3.1.1 and 3.1.2 (skippable frames): what a file begins with, and how one member or frame is unpacked. */
const KINDS = [
  { name: 'gzip', isOf: (start: string): boolean => start.startsWith('\x1f\x8b\x08'), open: createGunzip },
  {
    name: 'zstd',
    isOf: (start: string): boolean => start === '\x28\xb5\x2f\xfd' || (start.charCodeAt(0) >> 4 === 5 && start.endsWith('\x2a\x4d\x18')),
    open: createZstdDecompress,
  },
] as const

/** The file in a compressed one; undefined for others. Throws BAD_INPUT for a damaged one, WRITE_FAILED, ABORTED, and what the source throws. */
export async function unpacked(source: RandomAccessSource, label: string, signal?: AbortSignal): Promise<OpenSource | undefined> {
  const start = Buffer.from(await source.read(0, Math.min(4, source.size))).toString('latin1')
  const kind = KINDS.find(({ isOf }) => isOf(start))
  if (kind === undefined) return undefined
  const { target, close } = await openSpool()
  try {
    let size = 0
    let position = 0
    // Node ends behind the first frame of zstd, and says how far it came.
    while (position < source.size) {
      const unpacker = kind.open()
      const feeding = feed(source, position, unpacker, signal)
      try {
        for await (const chunk of unpacker as AsyncIterable<Buffer>) {
          throwIfAborted(signal)
          // Zeros are left out, so that a sparse disk does not fill the folder of scratch files.
          if (Buffer.compare(chunk, ZEROS.subarray(0, chunk.length)) !== 0) await target.write(size, chunk)
          size += chunk.length
        }
        await feeding
      } catch (error) {
        throw await feeding.then(
          () => unpackError(error, kind.name, label),
          (failure: unknown) => failure,
        )
      }
      if (unpacker.bytesWritten === 0) throw unpackError(undefined, kind.name, label)
      position += unpacker.bytesWritten
    }
    await target.setSize(size)
    return { size, read: (at, length) => target.read(at, length), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** All from `position` on, as long as the unpacker takes it. */
async function feed(
  source: RandomAccessSource,
  position: number,
  unpacker: ReturnType<(typeof KINDS)[number]['open']>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const isOver = (): boolean => unpacker.destroyed || unpacker.readableEnded
  let wake = (): void => undefined
  for (const event of ['drain', 'end', 'close', 'error']) unpacker.on(event, () => wake())
  try {
    for (let at = position; at < source.size && !isOver(); ) {
      throwIfAborted(signal)
      const bytes = await source.read(at, Math.min(CHUNK_SIZE, source.size - at))
      at += bytes.length
      if (isOver()) return
      if (!unpacker.write(bytes)) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
    if (!isOver()) unpacker.end()
  } catch (error) {
    unpacker.destroy()
    throw error
  }
}

function unpackError(error: unknown, name: string, label: string): unknown {
  if (error instanceof ImageError) return error
  const why = error instanceof Error ? (systemErrorCode(error) ?? error.message) : 'it has no end'
  return new ImageError('BAD_INPUT', `${label}: cannot be unpacked (${name}: ${why}); it is damaged or was cut short`, {
    path: label,
    cause: error,
  })
}
