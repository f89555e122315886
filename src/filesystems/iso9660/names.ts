/**
 * File identifiers of the primary tree (ECMA-119 7.5, 7.6, interchange level 3) and of Joliet.
 * Names that do not fit are changed; those which then collide get a number, in the order of the names.
 */
import { compareBytes } from '../../bytes/order.ts'
import { utf16 } from '../../bytes/text.ts'

export interface NamedEntry {
  readonly name: Uint8Array
  readonly isDirectory: boolean
}

/** The identifier as it is written, and what it is sorted by. */
export interface Identifier {
  readonly bytes: Uint8Array
  readonly name: string
  readonly extension: string
}

/** A file's name and extension together (ECMA-119 7.5.1). */
const FILE_LIMIT = 30
/** ECMA-119 7.6.3. */
const DIRECTORY_LIMIT = 31
/** Enough for `squashfs`; a longer one leaves too little of the name. */
const EXTENSION_LIMIT = 8
/** Joliet: 64 characters of two bytes. */
const JOLIET_LIMIT = 64
const JOLIET_EXTENSION_LIMIT = 16
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Identifiers of a directory's entries, in the order given. */
export function isoIdentifiers(entries: readonly NamedEntry[]): Identifier[] {
  const mangled = entries.map((entry) => mangle(entry))
  return numberCollisions(entries, mangled, (base, index, digits) => {
    const limit = entries[index]?.isDirectory ? DIRECTORY_LIMIT : FILE_LIMIT - base.extension.length
    return { name: base.name.slice(0, limit - digits.length) + digits, extension: base.extension }
  }).map(({ name, extension }, index) => ({
    bytes: new TextEncoder().encode(entries[index]?.isDirectory ? name : `${name}.${extension};1`),
    name,
    extension,
  }))
}

function mangle({ name, isDirectory }: NamedEntry): Parts {
  const text = Buffer.from(name).toString('latin1')
  if (isDirectory) return { name: dCharacters(text).slice(0, DIRECTORY_LIMIT), extension: '' }
  const dot = text.lastIndexOf('.')
  // A dot in front belongs to the name, as in `.profile`.
  const hasExtension = dot > 0
  const extension = hasExtension ? dCharacters(text.slice(dot + 1)).slice(0, EXTENSION_LIMIT) : ''
  const stem = dCharacters(hasExtension ? text.slice(0, dot) : text)
  return { name: stem.slice(0, FILE_LIMIT - extension.length), extension }
}

function dCharacters(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9_]/g, '_').toUpperCase()
}

/** Joliet identifiers: UCS-2, no `* / : ; ? \`, no version (as mkisofs and xorriso write them). */
export function jolietIdentifiers(entries: readonly NamedEntry[]): Identifier[] {
  const mangled = entries.map((entry) => jolietParts(entry))
  return numberCollisions(entries, mangled, (base, _index, digits) => {
    const limit = JOLIET_LIMIT - base.extension.length - digits.length
    return { name: base.name.slice(0, limit) + digits, extension: base.extension }
  }).map(({ name, extension }) => ({ bytes: utf16(name + extension, 'be'), name: name + extension, extension: '' }))
}

/** `extension` with its dot here. Bytes that are not UTF-8 and characters beyond U+FFFF become `_`. */
function jolietParts({ name, isDirectory }: NamedEntry): Parts {
  let text = ''
  for (const character of decoder.decode(name)) {
    const code = character.codePointAt(0) ?? 0
    const bad = code < 0x20 || code > 0xffff || code === 0xfffd || '*/:;?\\'.includes(character)
    text += bad ? '_' : character
  }
  const dot = isDirectory ? -1 : text.lastIndexOf('.')
  const split = dot > 0 && text.length - dot <= JOLIET_EXTENSION_LIMIT ? dot : text.length
  const extension = text.slice(split)
  return { name: text.slice(0, Math.min(split, JOLIET_LIMIT - extension.length)), extension }
}

interface Parts {
  readonly name: string
  readonly extension: string
}

/**
 * Make all parts different. The first of a group, by its original name, keeps its form; a number never
 * takes a form that some entry has by itself, so that adding a file renames few others.
 */
function numberCollisions(
  entries: readonly NamedEntry[],
  mangled: readonly Parts[],
  numbered: (base: Parts, index: number, digits: string) => Parts,
): Parts[] {
  const key = (parts: Parts): string => `${parts.name}.${parts.extension}`
  const taken = new Set(mangled.map(key))
  const firsts = new Set<string>()
  const counters = new Map<string, number>()
  const result = [...mangled]
  const order = entries.map((entry, index) => ({ name: entry.name, index })).sort((a, b) => compareBytes(a.name, b.name))
  for (const { index } of order) {
    const base = mangled[index]
    if (base === undefined) continue
    const baseKey = key(base)
    if (!firsts.has(baseKey)) {
      firsts.add(baseKey)
      continue
    }
    let count = counters.get(baseKey) ?? 0
    let candidate: Parts
    do {
      count++
      candidate = numbered(base, index, String(count).padStart(3, '0'))
    } while (taken.has(key(candidate)))
    counters.set(baseKey, count)
    taken.add(key(candidate))
    result[index] = candidate
  }
  return result
}

/** ECMA-119 9.3: by name, then by extension, the shorter one padded with spaces. */
export function compareIdentifiers(a: Identifier, b: Identifier): number {
  return comparePadded(a.name, b.name) || comparePadded(a.extension, b.extension)
}

/** UTF-16 code units in order, padded with U+0000, which sorts d-characters as a padding of spaces does. */
function comparePadded(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
