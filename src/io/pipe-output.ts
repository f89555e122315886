/** Bytes in order, into a descriptor or a named pipe. */
import { close, constants, open, write } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { isatty } from 'node:tty'
import { promisify } from 'node:util'
import { ImageError, systemErrorCode, throwIfAborted } from '../errors.ts'
import { writeError } from './write-error.ts'

const calls = { open: promisify(open), write: promisify(write), close: promisify(close) }

/** Milliseconds until a pipe is tried again that nobody reads yet, or that is full. */
const PAUSE = 5

/** A descriptor of this process, or the path of a pipe or device. */
export type PipePlace = { readonly descriptor: number; readonly path: string } | { readonly path: string }

/**
 * All chunks, each in its turn. Waits for somebody who reads. Throws WRITE_FAILED, an EPIPE as it is, ABORTED, UNSUPPORTED for a terminal, and
 * what `chunks` throws.
 */
export async function writePipe(place: PipePlace, chunks: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
  const { path } = place
  const descriptor = 'descriptor' in place ? place.descriptor : await openPipe(path, signal)
  try {
    if (isatty(descriptor)) throw new ImageError('UNSUPPORTED', `${path}: is a terminal, to which no image is written`, { path })
    for await (const chunk of chunks) await writeChunk(descriptor, chunk, path, signal)
  } finally {
    if (!('descriptor' in place)) await calls.close(descriptor)
  }
}

/** Without O_NONBLOCK the call would wait for a reader, and no signal could end it. */
async function openPipe(path: string, signal: AbortSignal | undefined): Promise<number> {
  for (;;) {
    throwIfAborted(signal)
    try {
      return await calls.open(path, constants.O_WRONLY | constants.O_NONBLOCK)
    } catch (error) {
      if (systemErrorCode(error) !== 'ENXIO') throw writeError(path, error)
    }
    await setTimeout(PAUSE * 10)
  }
}

async function writeChunk(descriptor: number, chunk: Uint8Array, path: string, signal: AbortSignal | undefined): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    throwIfAborted(signal)
    try {
      done += (await calls.write(descriptor, chunk, done, chunk.length - done, null)).bytesWritten
    } catch (error) {
      const code = systemErrorCode(error)
      if (code === 'EPIPE') throw error
      if (code !== 'EAGAIN') throw writeError(path, error)
      await setTimeout(PAUSE)
    }
  }
}
