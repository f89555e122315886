/** What is known of closures, as text for people. */
import type { ClosureReport } from '../nix/inspect/check.ts'
import type { ClosureDifference, PackageDifference } from '../nix/inspect/diff.ts'
import type { ReferenceHolder } from '../nix/inspect/holders.ts'
import type { ClosureSizes, PathSizes } from '../nix/inspect/sizes.ts'
import { CONTENT_ADDRESS_SCHEMES, otherScheme, SCHEME_VERSIONS } from '../nix/store/address-scheme.ts'
import { formatBytes } from './units.ts'

/** Where the reference from one path to another stands. */
export type NamedHolders = (path: string, reference: string) => readonly ReferenceHolder[]

const SIZE_HEADS = ['own', 'with closure', 'added by it'] as const

/** One line a path, and the sum. */
export function* sizesLines({ pathCount, narSize, paths }: ClosureSizes & { readonly pathCount: number }): Generator<string> {
  const widths: number[] = SIZE_HEADS.map((head) => head.length)
  for (const entry of paths) {
    for (const [column, cell] of sizeCells(entry).entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length)
  }
  // Columns of sizes to the right, the path as it is.
  const row = (cells: readonly string[], last: string): string =>
    `${cells.map((cell, column) => `${cell.padStart(widths[column] ?? 0)}  `).join('')}${last}`
  yield row(SIZE_HEADS, 'path')
  for (const entry of paths) yield row(sizeCells(entry), entry.path)
  const shown = paths.length < pathCount ? `${paths.length} of ${countOf(pathCount, 'path')}` : countOf(pathCount, 'path')
  yield `${shown}, ${formatBytes(narSize)} in all`
}

function sizeCells({ narSize, closureSize, addedSize }: PathSizes): string[] {
  return [narSize, closureSize, addedSize].map(formatBytes)
}

/** Places of a reference that are shown; the others are counted. */
const SHOWN_HOLDERS = 5

/** Levels that are shown by indentation, four columns each; no real chain is longer. Deeper ones have their number instead. */
const INDENTED_LEVELS = 100

/** A tree of references from `from` on, line by line. What stands below a path is shown where the path comes first. */
export function* chainLines(
  from: string,
  edges: ReadonlyMap<string, readonly string[]>,
  holders: NamedHolders | undefined,
): Generator<string> {
  yield from
  const shown = new Set([from])
  const open = [{ path: from, references: edges.get(from) ?? [], next: 0, indent: '' }]
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const { path, references, indent } = top
    const reference = references[top.next++]
    if (reference === undefined) {
      open.pop()
      continue
    }
    const isLast = top.next === references.length
    const below = edges.get(reference) ?? []
    const isRepeated = shown.has(reference) && below.length > 0
    const level = open.length
    const inner = level > INDENTED_LEVELS ? `level ${level + 1}  ` : `${indent}${isLast ? '    ' : '│   '}`
    yield `${indent}${isLast ? '└───' : '├───'}${reference}${isRepeated ? ' (see above)' : ''}`
    const places = holders?.(path, reference) ?? []
    for (const place of places.slice(0, SHOWN_HOLDERS)) yield `${inner}by ${holderText(place)}`
    if (places.length > SHOWN_HOLDERS) yield `${inner}and ${places.length - SHOWN_HOLDERS} more`
    if (holders && places.length === 0) yield `${inner}by nothing that is found in it`
    if (isRepeated) continue
    shown.add(reference)
    open.push({ path: reference, references: below, next: 0, indent: inner })
  }
}

function holderText({ member, kind, offset }: ReferenceHolder): string {
  const name = member === '' ? 'the path itself' : member
  switch (kind) {
    case 'content':
      return `${name}, at byte ${offset}`
    case 'target':
      return `${name}, a link`
    case 'name':
      return `${name}, its name`
  }
}

/** Smaller differences in size say nothing where versions are the same (`nix/diff-closures.cc`). */
const SHOWN_DIFFERENCE = 8 << 10

/** A line a package that has other versions or another size, as `nix store diff-closures` has it, and the sums. */
export function* differenceLines({ old, new: next, packages }: ClosureDifference): Generator<string> {
  for (const entry of packages) yield* packageLine(entry)
  const rebuilt = packages.filter(({ kind }) => kind === 'rebuilt').length
  const added = packages.reduce((sum, { newPaths }) => sum + newPaths.length, 0)
  const removed = packages.reduce((sum, { oldPaths }) => sum + oldPaths.length, 0)
  const paths = `paths: ${old.pathCount} → ${next.pathCount} (${added} added, ${removed} removed)`
  const builds = rebuilt === 0 ? '' : `; ${countOf(rebuilt, 'package')} rebuilt in the same version`
  const size = `size: ${formatBytes(old.narSize)} → ${formatBytes(next.narSize)} (${signedBytes(next.narSize - old.narSize)})`
  yield `${paths}${builds}`
  yield size
}

function packageLine({ name, oldVersions, newVersions, oldSize, newSize }: PackageDifference): string[] {
  const delta = newSize - oldSize
  const items: string[] = []
  if (oldVersions.length + newVersions.length > 0) items.push(`${versionsText(oldVersions)} → ${versionsText(newVersions)}`)
  if (Math.abs(delta) >= SHOWN_DIFFERENCE) items.push(signedBytes(delta))
  return items.length === 0 ? [] : [`${name}: ${items.join(', ')}`]
}

function versionsText(versions: readonly string[]): string {
  return versions.length === 0 ? '∅' : versions.map((version) => version || 'ε').join(', ')
}

function signedBytes(delta: number): string {
  return `${delta < 0 ? '-' : '+'}${formatBytes(Math.abs(delta))}`
}

/** A line a problem and a note, one for each way in which paths that refer to themselves are addressed, and the result. */
export function* checkLines({ pathCount, hashedBytes, problems, notes, contentAddressSchemes }: ClosureReport): Generator<string> {
  const found = problems.length === 0 ? 'no problem' : countOf(problems.length, 'problem')
  const read = hashedBytes === 0 ? '' : `, ${formatBytes(hashedBytes)} read`
  for (const { path, kind, message } of problems) yield `${path}: ${kind}: ${message}`
  for (const { path, kind, message } of notes) yield `${path}: note, ${kind}: ${message}`
  for (const scheme of CONTENT_ADDRESS_SCHEMES) {
    const { length } = contentAddressSchemes[scheme]
    if (length === 0) continue
    const [what, them] = length === 1 ? ['1 path that refers to itself', 'it'] : [`${length} paths that refer to themselves`, 'them']
    const [whose, others] = [SCHEME_VERSIONS[scheme], SCHEME_VERSIONS[otherScheme(scheme)]]
    yield `${what}: addressed as ${whose} addresses ${them} ('${scheme}'); ${others} refuses to copy ${them}`
  }
  yield `${countOf(pathCount, 'path')}${read}: ${found}`
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
