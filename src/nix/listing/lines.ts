/** Lines of a text listing, read without ever holding more than one line and one chunk. */
import { ImageError } from '../../errors.ts'
import type { Turns } from '../../io/turns.ts'

/** No line of a listing is longer, in bytes: a path has at most 255. */
export const LINE_LIMIT = 64 * 1024

const [LF, CR] = [0x0a, 0x0d] as const

/** Bytes of lines that are taken before others get their turn. */
const TURN_SIZE = 64 * 1024

/**
 * Split at LF and call `take` with each line, one character a byte, printable ASCII only, and its number from 1 on. A CR before the
 * LF is dropped and the last line may lack its LF: neither can change what a listing says. Any other byte outside printable ASCII is
 * BAD_INPUT (store paths, hashes and numbers have none), a line beyond `LINE_LIMIT` is LIMIT. `name` names the file in messages.
 * Throws what `take` and `turns` throw.
 */
export async function readLines(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
  take: (text: string, number: number) => void,
  turns: Turns,
): Promise<void> {
  let number = 0
  let rest = Buffer.alloc(0)
  for await (const chunk of chunks) {
    for (let from = 0; from < chunk.length; from += TURN_SIZE) {
      const piece = chunk.subarray(from, from + TURN_SIZE)
      const data = rest.length === 0 ? Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength) : Buffer.concat([rest, piece])
      let start = 0
      for (let end = data.indexOf(LF, start); end !== -1; end = data.indexOf(LF, start)) {
        number++
        take(lineText(data, start, end, number, name), number)
        start = end + 1
      }
      if (data.length - start > LINE_LIMIT) throw tooLong(name, number + 1)
      rest = Buffer.from(data.subarray(start))
      if (turns.isOver(piece.length)) await turns.next()
    }
  }
  if (rest.length > 0) take(lineText(rest, 0, rest.length, number + 1, name), number + 1)
}

function lineText(data: Buffer, start: number, end: number, number: number, name: string): string {
  if (end - start > LINE_LIMIT) throw tooLong(name, number)
  const last = end > start && data[end - 1] === CR ? end - 1 : end
  for (let index = start; index < last; index++) {
    const byte = data[index] as number
    if (byte < 0x20 || byte > 0x7e) {
      throw new ImageError(
        'BAD_INPUT',
        `${name}:${number}: byte ${index - start + 1} is 0x${byte.toString(16).padStart(2, '0')}; a listing is text and holds printable ASCII only`,
        { path: name },
      )
    }
  }
  return data.toString('latin1', start, last)
}

function tooLong(name: string, number: number): ImageError {
  return new ImageError('LIMIT', `${name}:${number}: the line is longer than ${LINE_LIMIT} bytes; this is no closure listing`, {
    path: name,
  })
}
