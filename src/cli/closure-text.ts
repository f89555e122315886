/** What is known of closures, as text for people. */
import type { ClosureReport } from '../nix/inspect/check.ts'
import type { ClosureDifference, PackageDifference } from '../nix/inspect/diff.ts'
import type { ReferenceHolder } from '../nix/inspect/holders.ts'
import type { ClosureSizes } from '../nix/inspect/sizes.ts'
import { formatBytes } from './units.ts'

/** Where the reference from one path to another stands. */
export type NamedHolders = (path: string, reference: string) => readonly ReferenceHolder[]

/** One line a path, and the sum. */
export function sizesText({ pathCount, narSize, paths }: ClosureSizes & { readonly pathCount: number }): string[] {
  const rows = paths.map((entry) => [formatBytes(entry.narSize), formatBytes(entry.closureSize), formatBytes(entry.addedSize), entry.path])
  const table = columns([['own', 'with closure', 'added by it', 'path'], ...rows])
  const shown = paths.length < pathCount ? `${paths.length} of ${countOf(pathCount, 'path')}` : countOf(pathCount, 'path')
  return [...table, `${shown}, ${formatBytes(narSize)} in all`]
}

/** The first columns to the right, the last as it is. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) => row.map((cell, column) => (column === row.length - 1 ? cell : cell.padStart(widths[column] ?? 0))).join('  '))
}

/** Places of a reference that are shown; the others are counted. */
const SHOWN_HOLDERS = 5

/** A tree of references from `from` on. What stands below a path is shown where the path comes first. */
export function chainText(from: string, edges: ReadonlyMap<string, readonly string[]>, holders: NamedHolders | undefined): string[] {
  const out = [from]
  const shown = new Set<string>()
  const addBelow = (path: string, indent: string): void => {
    shown.add(path)
    const references = edges.get(path) ?? []
    for (const [index, reference] of references.entries()) {
      const isLast = index === references.length - 1
      const isRepeated = shown.has(reference) && (edges.get(reference)?.length ?? 0) > 0
      const inner = `${indent}${isLast ? '    ' : '│   '}`
      out.push(`${indent}${isLast ? '└───' : '├───'}${reference}${isRepeated ? ' (see above)' : ''}`)
      const places = holders?.(path, reference) ?? []
      for (const place of places.slice(0, SHOWN_HOLDERS)) out.push(`${inner}by ${holderText(place)}`)
      if (places.length > SHOWN_HOLDERS) out.push(`${inner}and ${places.length - SHOWN_HOLDERS} more`)
      if (holders && places.length === 0) out.push(`${inner}by nothing that is found in it`)
      if (!isRepeated) addBelow(reference, inner)
    }
  }
  addBelow(from, '')
  return out
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
export function differenceText({ old, new: next, packages }: ClosureDifference): string[] {
  const changed = packages.flatMap((entry) => packageLine(entry))
  const rebuilt = packages.filter(({ kind }) => kind === 'rebuilt').length
  const added = packages.reduce((sum, { newPaths }) => sum + newPaths.length, 0)
  const removed = packages.reduce((sum, { oldPaths }) => sum + oldPaths.length, 0)
  const paths = `paths: ${old.pathCount} → ${next.pathCount} (${added} added, ${removed} removed)`
  const builds = rebuilt === 0 ? '' : `; ${countOf(rebuilt, 'package')} rebuilt in the same version`
  const size = `size: ${formatBytes(old.narSize)} → ${formatBytes(next.narSize)} (${signedBytes(next.narSize - old.narSize)})`
  return [...changed, `${paths}${builds}`, size]
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

/** A line a problem and a note, and the result. */
export function checkText({ pathCount, hashedBytes, problems, notes }: ClosureReport): string[] {
  const found = problems.length === 0 ? 'no problem' : countOf(problems.length, 'problem')
  const read = hashedBytes === 0 ? '' : `, ${formatBytes(hashedBytes)} read`
  return [
    ...problems.map(({ path, kind, message }) => `${path}: ${kind}: ${message}`),
    ...notes.map(({ path, kind, message }) => `${path}: note, ${kind}: ${message}`),
    `${countOf(pathCount, 'path')}${read}: ${found}`,
  ]
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
