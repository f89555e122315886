/** Lines of a text listing, read without ever holding more than one line and one chunk. */
import { ImageError } from '../errors.ts'

/** No line of a listing is longer, in bytes: a path has at most 255. */
export const LINE_LIMIT = 64 * 1024

export interface Line {
  /** One character a byte; printable ASCII only. */
  readonly text: string
  /** From 1 on. */
  readonly number: number
}

const LF = 0x0a

/**
 * Split at LF. A CR before the LF is dropped and the last line may lack its LF: neither can change what a
 * listing says. Any other byte outside printable ASCII is BAD_INPUT (store paths, hashes and numbers have
 * none), a line beyond `LINE_LIMIT` is LIMIT. `name` names the file in messages.
 */
export async function* readLines(chunks: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Line> {
  let number = 0
  let rest = Buffer.alloc(0)
  for await (const chunk of chunks) {
    const data = rest.length === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength) : Buffer.concat([rest, chunk])
    let start = 0
    for (let end = data.indexOf(LF, start); end !== -1; end = data.indexOf(LF, start)) {
      number++
      yield lineOf(data.subarray(start, end), number, name)
      start = end + 1
    }
    if (data.length - start > LINE_LIMIT) throw tooLong(name, number + 1)
    rest = Buffer.from(data.subarray(start))
  }
  if (rest.length > 0) yield lineOf(rest, number + 1, name)
}

function lineOf(bytes: Buffer, number: number, name: string): Line {
  if (bytes.length > LINE_LIMIT) throw tooLong(name, number)
  const length = bytes.at(-1) === 0x0d ? bytes.length - 1 : bytes.length
  for (let index = 0; index < length; index++) {
    const byte = bytes[index] ?? 0
    if (byte < 0x20 || byte > 0x7e) {
      throw new ImageError(
        'BAD_INPUT',
        `${name}:${number}: byte ${index + 1} is 0x${byte.toString(16).padStart(2, '0')}; a listing is text and holds printable ASCII only`,
        { path: name },
      )
    }
  }
  return { text: bytes.toString('latin1', 0, length), number }
}

function tooLong(name: string, number: number): ImageError {
  return new ImageError('LIMIT', `${name}:${number}: the line is longer than ${LINE_LIMIT} bytes; this is no closure listing`, {
    path: name,
  })
}
