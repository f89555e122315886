/**
 * The grammar of a NAR (Nix manual, "Nix Archive (NAR) Format"; `libutil/archive.cc`), every rule of it:
 *
 *     archive   = "nix-archive-1" node
 *     node      = "(" "type" ( regular | symlink | directory ) ")"
 *     regular   = "regular" [ "executable" "" ] "contents" bytes
 *     symlink   = "symlink" "target" bytes
 *     directory = "directory" { "entry" "(" "name" bytes "node" node ")" }
 *
 * where a string is a 64-bit little endian length, bytes, and zeros up to a multiple of 8.
 */
import { compareBytes } from '../../bytes/order.ts'
import { printable } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { NAR_DEPTH_LIMIT, NAR_NAME_LIMIT, NAR_TARGET_LIMIT, narStrings, padding } from './serialize.ts'

/** What a NAR holds, in its order. `name` is that of the entry, empty for the root; names and targets are bytes. */
export type NarNodeEvent =
  | { readonly kind: 'directory'; readonly name: Uint8Array }
  /** `size` bytes of content follow, from byte `contentOffset` of the NAR on, and then padding. */
  | {
      readonly kind: 'file'
      readonly name: Uint8Array
      readonly isExecutable: boolean
      readonly size: number
      readonly contentOffset: number
    }
  | { readonly kind: 'symlink'; readonly name: Uint8Array; readonly target: Uint8Array }
  /** The directory that began last has no more entries. */
  | { readonly kind: 'end' }

/** A number asks for so many bytes. After a file event whoever drives the grammar takes its content from the input itself. */
export type NarSteps = Generator<number | NarNodeEvent, void, Buffer>

/** The longest word of the grammar is "nix-archive-1". */
const WORD_LIMIT = 16

const MAGIC = narStrings('nix-archive-1')
const NODE = narStrings('(', 'type')
const EMPTY = narStrings('')
const TARGET = narStrings('target')
const ENTRY = narStrings('(', 'name')
const ENTRY_NODE = narStrings('node')
const CLOSE = narStrings(')')

const NO_NAME = new Uint8Array(0)

/**
 * The steps of reading one NAR. Throws BAD_INPUT with the offset in the NAR and the path in it; `where` names the NAR.
 * Needs memory for the names above the current node only, and asks for 4096 bytes at most.
 */
export function* narSteps(where: string): NarSteps {
  /** Names of the open directories, and of the node in hand. */
  const names: Uint8Array[] = []
  /** The last name in each open directory. */
  const lastNames: (Uint8Array | undefined)[] = []
  let offset = 0

  const fail = (what: string, at = offset): ImageError => badNar(where, at, names, what)
  function* bytes(length: number): Generator<number, Buffer, Buffer> {
    const taken = yield length
    offset += length
    return taken
  }
  function* length(): Generator<number, number, Buffer> {
    const taken = yield* bytes(8)
    // A length of 2^53 or more is not exact here, and too long wherever it stands.
    return taken.readUInt32LE(0) + taken.readUInt32LE(4) * 2 ** 32
  }
  function* pad(count: number): Generator<number, void, Buffer> {
    const rest = padding(count)
    if (rest === 0) return
    const taken = yield* bytes(rest)
    if (taken.some((byte) => byte !== 0)) throw fail(`the ${rest} padding bytes after a string are not zero`, offset - rest)
  }
  function* string(limit: number, what: string): Generator<number, Buffer, Buffer> {
    const start = offset
    const count = yield* length()
    if (count > limit) throw fail(`${what} has ${count} bytes, the limit is ${limit}`, start)
    const taken = yield* bytes(count)
    // The memory is the driver's, who reads on in it.
    const text = Buffer.from(taken)
    yield* pad(count)
    return text
  }
  function* words(expected: Buffer): Generator<number, void, Buffer> {
    const taken = yield* bytes(expected.length)
    if (taken.equals(expected)) return
    const { start, left } = firstDifference(taken, expected)
    throw fail(`something else stands where ${left} should be`, offset - expected.length + start)
  }
  function* word(choices: string): Generator<number, string, Buffer> {
    const start = offset
    const count = yield* length()
    if (count > WORD_LIMIT) throw fail(`a string of ${count} bytes stands where ${choices} should be`, start)
    const taken = yield* bytes(count)
    const text = taken.toString('latin1')
    yield* pad(count)
    return text
  }
  const unknown = (text: string, choices: string): ImageError => {
    const size = 8 + text.length + padding(text.length)
    return fail(`'${printable(Buffer.from(text, 'latin1'))}' stands where ${choices} should be`, offset - size)
  }

  yield* words(MAGIC)
  let name: Uint8Array = NO_NAME
  for (;;) {
    if (lastNames.length + 1 > NAR_DEPTH_LIMIT) throw fail(`lies ${lastNames.length + 1} levels deep, the limit is ${NAR_DEPTH_LIMIT}`)
    yield* words(NODE)
    const type = yield* word("'regular', 'symlink' or 'directory'")
    if (type === 'directory') {
      yield { kind: 'directory', name }
      lastNames.push(undefined)
    } else {
      if (type === 'regular') {
        let key = yield* word("'executable' or 'contents'")
        const isExecutable = key === 'executable'
        if (isExecutable) {
          yield* words(EMPTY)
          key = yield* word("'contents'")
        }
        if (key !== 'contents') throw unknown(key, isExecutable ? "'contents'" : "'executable' or 'contents'")
        const start = offset
        const size = yield* length()
        if (!Number.isSafeInteger(offset + size)) throw fail(`a file of ${size} bytes, the limit is 2^53`, start)
        const contentOffset = offset
        offset += size
        yield { kind: 'file', name, isExecutable, size, contentOffset }
        yield* pad(size)
      } else if (type === 'symlink') {
        yield* words(TARGET)
        const start = offset
        const target = yield* string(NAR_TARGET_LIMIT, 'a link target')
        if (target.length === 0 || target.includes(0)) throw fail(`a link target is empty or holds a NUL`, start)
        yield { kind: 'symlink', name, target }
      } else {
        throw unknown(type, "'regular', 'symlink' or 'directory'")
      }
      yield* words(CLOSE)
      if (lastNames.length === 0) return
      names.pop()
      yield* words(CLOSE)
    }
    // The next entry, after the ends of as many directories as end here.
    for (;;) {
      const key = yield* word("'entry' or ')'")
      if (key === 'entry') break
      if (key !== ')') throw unknown(key, "'entry' or ')'")
      yield { kind: 'end' }
      lastNames.pop()
      if (lastNames.length === 0) return
      names.pop()
      yield* words(CLOSE)
    }
    yield* words(ENTRY)
    const start = offset
    name = yield* string(NAR_NAME_LIMIT, 'the name of an entry')
    const fault = nameFault(name, lastNames.at(-1))
    if (fault !== undefined) throw fail(fault, start)
    lastNames[lastNames.length - 1] = name
    names.push(name)
    yield* words(ENTRY_NODE)
  }
}

/** Why `name` cannot come after `last` in a directory. */
export function nameFault(name: Uint8Array, last: Uint8Array | undefined): string | undefined {
  const shown = (): string => `'${printable(name)}'`
  if (name.length === 0) return 'the name of an entry is empty'
  if (name.length <= 2 && name.every((byte) => byte === 0x2e)) return `an entry is named ${shown()}`
  if (name.includes(0x2f)) return `the name ${shown()} holds a '/'`
  if (name.includes(0)) return `the name ${shown()} holds a NUL`
  const order = last === undefined ? 1 : compareBytes(name, last)
  if (order === 0) return `there are two entries named ${shown()}`
  return order < 0 ? `the entry ${shown()} comes after '${printable(last ?? NO_NAME)}': entries are not sorted by bytes` : undefined
}

/** BAD_INPUT at byte `offset` of the NAR `where`, in the node that `names` lead to. */
export function badNar(where: string, offset: number, names: readonly Uint8Array[], what: string): ImageError {
  const path = `/${names.map(printable).join('/')}`
  return new ImageError('BAD_INPUT', `${where}: no valid NAR: at byte ${offset}, in ${path}: ${what}`, { path: where })
}

/** Where the first word begins that is not as expected, and what is expected from there on, such as `'(' 'type'`. */
function firstDifference(taken: Buffer, expected: Buffer): { readonly start: number; readonly left: string } {
  let start = 0
  const texts: string[] = []
  for (let at = 0; at < expected.length; ) {
    const count = expected.readUInt32LE(at)
    const end = at + 8 + count + padding(count)
    if (texts.length === 0 && taken.subarray(at, end).equals(expected.subarray(at, end))) start = end
    else texts.push(`'${expected.toString('latin1', at + 8, at + 8 + count)}'`)
    at = end
  }
  return { start, left: texts.join(' ') }
}
