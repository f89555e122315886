/**
 * The grammar of a NAR once more, for those whose bytes are at hand: without steps to ask for more, and a word at a time. It takes
 * nothing that `narSteps` does not take, and leaves it to that to say what is wrong.
 */
import { type NarNodeEvent, nameFault } from './grammar.ts'
import { NAR_DEPTH_LIMIT, NAR_NAME_LIMIT, NAR_TARGET_LIMIT, narStrings, padding } from './serialize.ts'

/** Bytes of a NAR one after the other, with leaps. All that is taken is a multiple of 8, and so are leaps. */
export interface NarWindow {
  /** Begins at a multiple of 4 of its memory. */
  readonly memory: Buffer
  /** Have `count` bytes, at most 4104, from the place in hand on; where they lie in the memory, or -1 where the NAR ends before. */
  have(count: number): number
  /** Go on; false where the NAR ends before. */
  leap(count: number): boolean
  /** Of the place in hand, in the NAR. */
  readonly position: number
}

/** As 32-bit words of this machine, which are compared and nothing else. */
function words(...texts: string[]): Int32Array {
  return new Int32Array(Uint8Array.from(narStrings(...texts)).buffer)
}

const MAGIC = words('nix-archive-1')
const NODE = words('(', 'type')
const DIRECTORY = words('directory')
const FILE = words('regular', 'contents')
const EXECUTABLE = words('regular', 'executable', '', 'contents')
const SYMLINK = words('symlink', 'target')
const ENTRY = words('entry', '(', 'name')
const ENTRY_NODE = words('node')
const CLOSE = words(')')

const NO_NAME = new Uint8Array(0)

/** Hand on what is in the NAR, as `narSteps` does. False, and some of it may be handed on by then, where anything is wrong with it. */
export function readNarFast(window: NarWindow, add: (event: NarNodeEvent) => void): boolean {
  const { memory } = window
  const view = new Int32Array(memory.buffer, memory.byteOffset, memory.length >> 2)
  const take = (expected: Int32Array): boolean => {
    const start = window.have(expected.length * 4) / 4
    if (start < 0) return false
    for (let index = 0; index < expected.length; index++) if (view[start + index] !== expected[index]) return false
    return window.leap(expected.length * 4)
  }
  const length = (): number => {
    const at = window.have(8)
    if (at < 0) return -1
    const count = memory.readUInt32LE(at) + memory.readUInt32LE(at + 4) * 2 ** 32
    window.leap(8)
    return count
  }
  const string = (limit: number): Buffer | undefined => {
    const count = length()
    if (count < 0 || count > limit) return undefined
    const whole = count + padding(count)
    const at = window.have(whole)
    if (at < 0 || !isZero(memory, at + count, at + whole)) return undefined
    const text = Buffer.from(memory.subarray(at, at + count))
    window.leap(whole)
    return text
  }
  const content = (size: number): boolean => {
    const rest = size % 8
    if (!window.leap(size - rest)) return false
    if (rest === 0) return true
    const at = window.have(8)
    return at >= 0 && isZero(memory, at + rest, at + 8) && window.leap(8)
  }
  /** Of a file or a link. */
  const leaf = (name: Uint8Array): boolean => {
    const isPlain = take(FILE)
    const isExecutable = !isPlain && take(EXECUTABLE)
    if (isPlain || isExecutable) {
      const size = length()
      if (size < 0 || !Number.isSafeInteger(window.position + size)) return false
      add({ kind: 'file', name, isExecutable, size, contentOffset: window.position })
      return content(size)
    }
    if (!take(SYMLINK)) return false
    const target = string(NAR_TARGET_LIMIT)
    if (target === undefined || target.length === 0 || target.includes(0)) return false
    add({ kind: 'symlink', name, target })
    return true
  }

  if (!take(MAGIC)) return false
  let name: Uint8Array = NO_NAME
  /** The last name in each open directory. */
  const lastNames: (Uint8Array | undefined)[] = []
  for (;;) {
    if (lastNames.length + 1 > NAR_DEPTH_LIMIT || !take(NODE)) return false
    if (take(DIRECTORY)) {
      add({ kind: 'directory', name })
      lastNames.push(undefined)
    } else {
      if (!leaf(name) || !take(CLOSE)) return false
      if (lastNames.length === 0) return true
      if (!take(CLOSE)) return false
    }
    while (!take(ENTRY)) {
      if (!take(CLOSE)) return false
      add({ kind: 'end' })
      lastNames.pop()
      if (lastNames.length === 0) return true
      if (!take(CLOSE)) return false
    }
    const next = string(NAR_NAME_LIMIT)
    if (next === undefined || nameFault(next, lastNames.at(-1)) !== undefined || !take(ENTRY_NODE)) return false
    lastNames[lastNames.length - 1] = next
    name = next
  }
}

function isZero(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] !== 0) return false
  return true
}
