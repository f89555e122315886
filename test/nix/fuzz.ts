/**
 * Damaged NARs and listings. Readers may refuse them, with an error of their own; what they take has to be what it says:
 * every rule is checked by a second reader, and by what comes out again.
 *
 * A seed is a number that gives the same inputs each time, so that a finding can be looked at.
 */
import { readFileSync } from 'node:fs'
import { ImageError } from '../../src/errors.ts'
import { bytesSource } from '../../src/io/source.ts'
import type { Closure } from '../../src/nix/listing/closure.ts'
import { readClosure } from '../../src/nix/listing/read.ts'
import { formatRegistration } from '../../src/nix/listing/registration.ts'
import { narChunks } from '../../src/nix/nar/dump.ts'
import { readNar as readNarStream } from '../../src/nix/nar/read.ts'
import { narTree } from '../../src/nix/nar/tree.ts'
import { randomNumbers } from '../faults/support.ts'
import { readNar as readNarStrictly } from '../readers/nar-reader.ts'
import { chunksOf, entry, fileNode, folderNode, linkNode, nar, nested, words } from './nar/words.ts'

/** What went wrong, and the input it went wrong with. */
export class Finding extends Error {
  readonly input: Uint8Array

  constructor(message: string, input: Uint8Array, cause?: unknown) {
    super(message, { cause })
    this.input = input
  }
}

export interface FuzzCounts {
  taken: number
  refused: number
}

const NARS: readonly Buffer[] = [
  nar(folderNode()),
  nar(fileNode('contents', true)),
  nar(linkNode('../target')),
  nar(
    folderNode(
      entry('a', fileNode('x')),
      entry('b', folderNode(entry('\xff', fileNode('', true)), entry('\xff\x01', linkNode('\xfe')))),
      entry('c', fileNode('12345678')),
    ),
  ),
  nar(folderNode(...['.a', 'A', 'a', 'a-', 'aa', 'b'].map((name) => entry(name, fileNode(name))))),
  nar(nested(5, fileNode('deep'))),
  nar(nested(64)),
]

/** Words of the format, which land in one another's place. */
const WORDS = [
  'nix-archive-1',
  '(',
  ')',
  'type',
  'regular',
  'symlink',
  'directory',
  'executable',
  "''",
  'contents',
  'target',
  'entry',
  'name',
  'node',
].map(words)

type Chance = (limit: number) => number

function chance(seed: number): Chance {
  const next = randomNumbers(seed)
  return (limit) => Math.floor(next() * limit)
}

const BYTES = [0, 1, 2, 7, 8, 9, 0x2e, 0x2f, 0x7f, 0x80, 0xff]

/** One to four changes, mostly one; places are multiples of `step` most of the time. */
function damaged(original: Uint8Array, others: readonly Uint8Array[], pieces: readonly Uint8Array[], step: number, next: Chance): Buffer {
  let bytes = Buffer.from(original)
  const place = (): number => {
    const at = next(bytes.length + 1)
    return next(4) === 0 ? at : at - (at % step)
  }
  const splice = (start: number, end: number, inner: Uint8Array): void => {
    bytes = Buffer.concat([bytes.subarray(0, start), inner, bytes.subarray(end)])
  }
  for (let count = 1 + next(1 + next(4)); count > 0; count--) {
    const start = place()
    const end = Math.min(bytes.length, start + step * next(8))
    switch (next(8)) {
      case 0:
        bytes[start] = BYTES[next(BYTES.length)] ?? 0
        break
      case 1:
        bytes[start] = (bytes[start] ?? 0) ^ (1 << next(8))
        break
      case 2:
        splice(start, end, Buffer.alloc(0))
        break
      case 3:
        splice(start, start, bytes.subarray(start, end))
        break
      case 4:
        splice(start, end, pieces[next(pieces.length)] ?? Buffer.alloc(0))
        break
      case 5:
        splice(start, start, pieces[next(pieces.length)] ?? Buffer.alloc(0))
        break
      case 6: {
        const other = others[next(others.length)] ?? original
        const from = next(other.length)
        splice(start, end, other.subarray(from - (from % step), from - (from % step) + step * next(40)))
        break
      }
      default:
        bytes = bytes.subarray(0, next(4) === 0 ? start : bytes.length)
    }
  }
  return bytes
}

/** Rules that the second reader does not know. */
const RULES_OF_ONE_READER = /the limit is|levels deep|holds a NUL|a link target is empty/

/** Damage NARs `rounds` times. Throws a `Finding`. */
export async function fuzzNars(seed: number, rounds: number): Promise<FuzzCounts> {
  const next = chance(seed)
  const counts = { taken: 0, refused: 0 }
  for (let round = 0; round < rounds; round++) {
    const bytes = damaged(NARS[next(NARS.length)] ?? Buffer.alloc(0), NARS, WORDS, 8, next)
    const error = await errorOf(bytes, async () => {
      for await (const _event of readNarStream(chunksOf(bytes, 1 + next(200))));
    })
    const sameError = await errorOf(bytes, async () => {
      await narTree(bytesSource(bytes))
    })
    if (error?.message !== sameError?.message) throw new Finding(`as a stream: ${error?.message}; as a file: ${sameError?.message}`, bytes)
    const strict = strictly(bytes)
    if (error !== undefined) {
      counts.refused++
      if (error.code !== 'BAD_INPUT') throw new Finding(`refused with ${error.code}`, bytes, error)
      if (strict === undefined && !RULES_OF_ONE_READER.test(error.message))
        throw new Finding(`refused without a reason: ${error.message}`, bytes)
      continue
    }
    counts.taken++
    if (strict !== undefined) throw new Finding(`taken, but ${strict}`, bytes)
    const again: Uint8Array[] = []
    for await (const chunk of narChunks(await narTree(bytesSource(bytes)), 'x')) again.push(chunk)
    if (!Buffer.concat(again).equals(bytes)) throw new Finding('another NAR comes out again', bytes)
  }
  return counts
}

function strictly(bytes: Buffer): string | undefined {
  try {
    readNarStrictly(bytes)
    return undefined
  } catch (error) {
    return String(error)
  }
}

/** The ImageError that `action` ends with, if it does; any other error is a finding. */
async function errorOf(input: Uint8Array, action: () => Promise<unknown>): Promise<ImageError | undefined> {
  try {
    await action()
    return undefined
  } catch (error) {
    if (error instanceof ImageError) return error
    throw new Finding(`an error that is no ImageError: ${String(error)}`, input, error)
  }
}

const LISTINGS: readonly Buffer[] = [
  'attrs.json',
  'closure-info/registration',
  'dump-db.txt',
  'path-info-format-1.json',
  'path-info-format-2.json',
  'path-info-nix-2.26.json',
  'path-info-nix-2.8.json',
  'path-list.txt',
  'references-graph.txt',
].map((name) => readFileSync(new URL(`../../fixtures/listings/${name}`, import.meta.url)))

const LISTING_PIECES = [
  '\n',
  '\r\n',
  '0\n',
  '1\n',
  '-1',
  '1e9',
  '\0',
  '"',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  'null',
  'true',
  '[]',
  '{}',
  '/nix/store/',
  'sha256:',
  '"path"',
  '"ca":',
  '\u00e9',
  '9007199254740993',
].map((text) => Buffer.from(text))

const LISTING_ERRORS = ['BAD_INPUT', 'NOT_FOUND', 'LIMIT', 'UNSUPPORTED']

/** Damage listings `rounds` times. What is taken comes out of its registration again. Throws a `Finding`. */
export async function fuzzListings(seed: number, rounds: number): Promise<FuzzCounts> {
  const next = chance(seed)
  const counts = { taken: 0, refused: 0 }
  for (let round = 0; round < rounds; round++) {
    const bytes = damaged(LISTINGS[next(LISTINGS.length)] ?? Buffer.alloc(0), LISTINGS, LISTING_PIECES, 1, next)
    let closure: Closure | undefined
    const error = await errorOf(bytes, async () => {
      closure = await readClosure('-', { stdin: chunksOf(bytes, 1 + next(5000)) })
    })
    if (closure === undefined) {
      counts.refused++
      if (!LISTING_ERRORS.includes(error?.code ?? '')) throw new Finding(`refused with ${error?.code}`, bytes, error)
      continue
    }
    counts.taken++
    if (!closure.hashesKnown || !closure.referencesKnown) continue
    const registration = formatRegistration(closure)
    const again = await readClosure('-', { stdin: chunksOf(registration) })
    if (!Buffer.from(formatRegistration(again)).equals(registration))
      throw new Finding('another closure comes out of its registration', bytes)
  }
  return counts
}
