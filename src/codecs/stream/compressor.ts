/** The same streams in one thread, chunk by chunk, for worker threads that make many of them. */
import type { CodecSpec } from '../codec.ts'
import { type Frame, NOTHING, type StreamFormat } from './format.ts'
import { streamFormat } from './formats.ts'
import { gathered } from './gathered.ts'

const SMALLEST_ROOM = 64 << 10

/** Makes one stream after another. Results are valid until the next call. */
export interface StreamCompressor {
  /** More content; what has become ready of the stream, maybe nothing. */
  push(chunk: Uint8Array): Uint8Array
  /** The rest of the stream. The next `push` begins a new one. */
  end(): Uint8Array
  /** Forget a stream that was begun and will not be finished. */
  reset(): void
  /** Give memory back at once; nothing may be called afterwards. */
  close(): void
}

/**
 * Open a compressor in this thread; it is meant to be kept, since opening one costs more than a small stream. The streams are
 * those of `compressedImage`, byte by byte, but for zstd with a content of more than 1 MiB: it has no threads here, and does
 * not know the size of the content when it begins.
 *
 * @throws ImageError USAGE for a level that the codec does not have, UNSUPPORTED for xz without its optional package.
 */
export async function openStreamCompressor(codec: CodecSpec): Promise<StreamCompressor> {
  const format = streamFormat(codec)
  if (format === undefined) return { push: (chunk) => chunk, end: () => NOTHING, reset() {}, close() {} }
  return blockCompressor(format)
}

async function blockCompressor(format: StreamFormat): Promise<StreamCompressor> {
  const { blockSize, historySize, isSequential } = format
  const encoder = await format.openEncoder()
  let content = new Uint8Array(historySize)
  const output = gathered()
  let frame: Frame | undefined
  let historyLength = 0
  let length = 0

  const begin = (): Frame => {
    if (frame !== undefined) return frame
    frame = format.startFrame()
    output.append(frame.head)
    return frame
  }
  const encode = (isLast: boolean): void => {
    const block = content.subarray(historySize, historySize + length)
    const encoded = encoder.encode(block, content.subarray(historySize - historyLength, historySize), isLast)
    output.append(begin().add(block, encoded))
    output.append(encoded)
    content.copyWithin(0, length, length + historySize)
    historyLength = historySize
    length = 0
  }
  /** Room for `count` more bytes of the block: many streams are smaller than one. */
  const grow = (count: number): void => {
    const needed = historySize + length + count
    if (needed <= content.length) return
    const larger = new Uint8Array(Math.min(historySize + blockSize, Math.max(2 * content.length, SMALLEST_ROOM, needed)))
    larger.set(content)
    content = larger
  }
  const forget = (): void => {
    frame = undefined
    historyLength = 0
    length = 0
  }
  return {
    push(chunk) {
      begin()
      for (let at = 0; at < chunk.length; ) {
        // A full block waits until it is known whether it is the last.
        if (length === blockSize) encode(false)
        const count = Math.min(blockSize - length, chunk.length - at)
        grow(count)
        content.set(chunk.subarray(at, at + count), historySize + length)
        at += count
        length += count
      }
      return output.take()
    },
    end() {
      const ended = begin()
      if (length > 0 || isSequential) encode(true)
      output.append(ended.end())
      forget()
      return output.take()
    },
    reset() {
      encoder.reset()
      output.take()
      forget()
    },
    close: () => encoder.close(),
  }
}
