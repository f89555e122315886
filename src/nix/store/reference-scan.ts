/**
 * Finding references the way Nix does (`libstore/references.cc`): the hash parts of candidate paths,
 * anywhere in the NAR of a path.
 */

import { NIX32_ALPHABET } from './hash.ts'
import { HASH_PART_LENGTH, hashPart } from './store-path.ts'

/** Value of each byte as a nix32 digit, -1 if it is none. */
const DIGIT = new Int8Array(256).fill(-1)
for (let value = 0; value < NIX32_ALPHABET.length; value++) DIGIT[NIX32_ALPHABET.charCodeAt(value)] = value

/** Bytes that a scan keeps for the next: a hash part may lie across two pieces. */
export const SCAN_OVERLAP = HASH_PART_LENGTH - 1

/** Digits that make up the first, cheap test of a candidate: 20 bits. */
const PREFIX_DIGITS = 4

export interface HashPartScanner {
  /** Call `visit` with every hash part that stands in `bytes` and where it begins, in order; they may overlap. */
  scan(bytes: Buffer, visit: (hashPart: string, start: number) => void): void
}

/** A scanner for the 32 digits of each of `hashParts`. */
export function hashPartScanner(hashParts: Iterable<string>): HashPartScanner {
  const wanted = new Set(hashParts)
  const prefixes = new Uint8Array(1 << (5 * PREFIX_DIGITS))
  for (const hash of wanted) prefixes[prefixKey(Buffer.from(hash), 0)] = 1

  const test = (bytes: Buffer, start: number, visit: (hashPart: string, start: number) => void): void => {
    if (prefixes[prefixKey(bytes, start)] === 0) return
    const hash = bytes.toString('latin1', start, start + HASH_PART_LENGTH)
    if (wanted.has(hash)) visit(hash, start)
  }
  const scan: HashPartScanner['scan'] = (bytes, visit) => {
    const { length } = bytes
    // `end` is the last byte of a window of 32. It is read backwards: a byte that is no digit rules out
    // every window that holds it, so most bytes are never looked at.
    let end = HASH_PART_LENGTH - 1
    while (end < length) {
      const bad = lastForeign(bytes, end)
      if (bad !== -1) {
        end = bad + HASH_PART_LENGTH
        continue
      }
      test(bytes, end - SCAN_OVERLAP, visit)
      for (end++; end < length && isDigit(bytes, end); end++) test(bytes, end - SCAN_OVERLAP, visit)
      end += HASH_PART_LENGTH
    }
  }
  return { scan }
}

export interface ReferenceScanner {
  /** Add to `found` the base names whose hash part stands in `bytes`. */
  scan(bytes: Buffer, found: Set<string>): void
}

/** A scanner for the hash parts of `baseNames`. */
export function referenceScanner(baseNames: readonly string[]): ReferenceScanner {
  const byHash = new Map(baseNames.map((name) => [hashPart(name), name]))
  const scanner = hashPartScanner(byHash.keys())
  const scan = (bytes: Buffer, found: Set<string>): void =>
    scanner.scan(bytes, (hash) => {
      const name = byHash.get(hash)
      if (name !== undefined) found.add(name)
    })
  return { scan }
}

/** The last byte of the window ending at `end` that is no nix32 digit, or -1. */
function lastForeign(bytes: Buffer, end: number): number {
  for (let index = end; index > end - HASH_PART_LENGTH; index--) if (!isDigit(bytes, index)) return index
  return -1
}

function isDigit(bytes: Buffer, index: number): boolean {
  return (DIGIT[bytes[index] ?? 0] ?? -1) >= 0
}

function prefixKey(bytes: Buffer, start: number): number {
  let key = 0
  for (let index = start; index < start + PREFIX_DIGITS; index++) key = (key << 5) | (DIGIT[bytes[index] ?? 0] ?? 0)
  return key
}
