/**
 * JSON as input that may be hostile (RFC 8259): read piece by piece without ever holding the whole text, no deeper than a limit, no
 * key twice in an object, syntax errors with their place. The values are those of `JSON.parse`.
 */
import { ImageError } from '../errors.ts'
import { JsonReader } from './reader.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/**
 * No document that is read at once is larger, in bytes: boot.json and specs have some kilobytes, with scripts and certificates in
 * them a few megabytes.
 */
export const JSON_DOCUMENT_LIMIT = 64 * 1024 ** 2

/**
 * Parse UTF-8 JSON. Throws BAD_INPUT, and LIMIT for more than `sizeLimit` bytes (default 64 MiB), for text or numbers that are too
 * long, and for what nests too deep. `name` names the file in messages.
 */
export function parseJson(bytes: Uint8Array, name: string, sizeLimit = JSON_DOCUMENT_LIMIT): unknown {
  if (bytes.length > sizeLimit) throw tooLarge(name, sizeLimit, 'a JSON document')
  const reader = new JsonReader(name)
  reader.add(bytes)
  return reader.finish()
}

/** Bytes that are parsed before others get their turn. */
const TURN_SIZE = 64 * 1024

/** The same for JSON of any size that comes in `chunks`. Stops at the first error; `onTurn` is awaited every now and then. */
export async function readJson(chunks: AsyncIterable<Uint8Array>, name: string, onTurn: () => Promise<void>): Promise<unknown> {
  const reader = new JsonReader(name)
  for await (const chunk of chunks) {
    for (let start = 0; start < chunk.length; start += TURN_SIZE) {
      reader.add(chunk.subarray(start, start + TURN_SIZE))
      await onTurn()
    }
  }
  return reader.finish()
}

/** LIMIT for a file of more than `limit` bytes. */
export function tooLarge(name: string, limit: number, what: string): ImageError {
  return new ImageError('LIMIT', `${name}: larger than ${limit} bytes, the limit for ${what}; is this the right file?`, { path: name })
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
