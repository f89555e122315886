/**
 * Standard output, of which an error counts: every command writes to it by these functions alone, and waits. They go through
 * the thread pool and not through process.stdout, which forgets errors and leaves a pipe non-blocking for whoever has it next.
 *
 * Images, JSON and the one line that names a result are for programs, and are written as they are; a terminal gets what is
 * printable of the line, and never an image. All other lines are for people, and always printable.
 *
 * A descriptor that was closed before the command began is /dev/null: Node opens that in its place.
 */
import { write } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { isatty } from 'node:tty'
import { promisify } from 'node:util'
import { printableJson, printableText } from '../bytes/text.ts'
import { ImageError, systemErrorCode } from '../errors.ts'
import { writeError } from '../io/write-error.ts'

/** Its descriptor. */
export const STDOUT = 1

/** In messages. */
export const STDOUT_LABEL = 'standard output'

const writeTo = promisify(write)

/** Characters that are written at once, about. */
const PIECE_LENGTH = 1 << 18

export function stdoutIsTerminal(): boolean {
  return isatty(STDOUT)
}

/** Lines for people. Throws WRITE_FAILED, ABORTED, and an EPIPE as it is. */
export function printLines(lines: Iterable<string>, signal?: AbortSignal): Promise<void> {
  return printPieces(printableLines(lines), signal)
}

function* printableLines(lines: Iterable<string>): Generator<string> {
  for (const line of lines) yield `${printableText(line)}\n`
}

/** Text that is printable already. However much it is, it is never one text. Throws likewise. */
export async function printPieces(pieces: Iterable<string>, signal?: AbortSignal): Promise<void> {
  const aborted = abortion(signal)
  let text = ''
  for (const piece of pieces) {
    text += piece
    if (text.length < PIECE_LENGTH) continue
    await writeText(text, signal, aborted)
    text = ''
  }
  await writeText(text, signal, aborted)
}

/** Throws likewise. */
export function printJson(value: unknown, indent: number | undefined, signal?: AbortSignal): Promise<void> {
  return writeText(`${printableJson(value, indent)}\n`, signal)
}

/**
 * The lines that name what was made, for programs. Throws likewise; an error says that `standing`, the path as the user wrote
 * it, is there all the same.
 */
export async function printResult(lines: readonly string[], standing: string | undefined, signal?: AbortSignal): Promise<void> {
  const isTerminal = stdoutIsTerminal()
  try {
    await writeText(lines.map((line) => `${isTerminal ? printableText(line) : line}\n`).join(''), signal)
  } catch (error) {
    if (standing === undefined || !(error instanceof ImageError) || error.code !== 'WRITE_FAILED') throw error
    throw new ImageError('WRITE_FAILED', `${error.message}; ${standing} is written and whole, only its name could not be printed`, {
      path: STDOUT_LABEL,
      cause: error,
    })
  }
}

/** A reader that pauses must not keep signals from being handled. */
async function writeText(text: string, signal: AbortSignal | undefined, aborted = abortion(signal)): Promise<void> {
  await Promise.race([writeAll(Buffer.from(text), signal), aborted])
}

/** Throws likewise, but nothing for a signal: it ends early then. */
export async function writeAll(chunk: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
  let done = 0
  while (done < chunk.length && !signal?.aborted) {
    try {
      const { bytesWritten } = await writeTo(STDOUT, chunk, done, chunk.length - done, null)
      done += bytesWritten
    } catch (error) {
      const code = systemErrorCode(error)
      if (code === 'EPIPE') throw error
      if (code !== 'EAGAIN') throw writeError(STDOUT_LABEL, error)
      // The other side made the pipe non-blocking, and it is full.
      await setTimeout(5)
    }
  }
}

/** Never resolves; rejects when the signal comes. */
export function abortion(signal: AbortSignal | undefined): Promise<never> {
  const promise = new Promise<never>((_, reject) => {
    const abort = (): void => reject(new ImageError('ABORTED', 'cancelled', { cause: signal?.reason }))
    if (signal?.aborted) abort()
    else signal?.addEventListener('abort', abort, { once: true })
  })
  // Nobody waits for it between two chunks.
  promise.catch(() => undefined)
  return promise
}
