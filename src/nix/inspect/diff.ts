/** What differs between two closures, by package, as `nix store diff-closures` has it (`nix/diff-closures.cc`). */
import { ImageError } from '../../errors.ts'
import { sortedInTurns, Turns } from '../../io/turns.ts'
import type { Closure, ClosurePath } from '../listing/closure.ts'
import { compareNames } from '../store/store-path.ts'
import { packageName } from './names.ts'
import type { InspectOptions } from './sizes.ts'

export interface PackageDifference {
  /** Of the package. */
  readonly name: string
  /** `rebuilt`: the versions are the same, the paths are not. */
  readonly kind: 'added' | 'removed' | 'changed' | 'rebuilt'
  /** Versions of one side only; an empty text is a path without a version. */
  readonly oldVersions: readonly string[]
  readonly newVersions: readonly string[]
  /** Bytes of the NARs of all paths of the package. */
  readonly oldSize: number
  readonly newSize: number
  /** Paths of one side only. */
  readonly oldPaths: readonly string[]
  readonly newPaths: readonly string[]
}

export interface ClosureTotals {
  readonly pathCount: number
  readonly narSize: number
}

export interface ClosureDifference {
  readonly old: ClosureTotals
  readonly new: ClosureTotals
  /** By name. Packages all of whose paths are in both closures are left out. */
  readonly packages: readonly PackageDifference[]
}

/** Paths are the same when their names are. Throws USAGE for listings without sizes, ABORTED. */
export async function closureDifference(
  old: Closure,
  next: Closure,
  { signal }: Pick<InspectOptions, 'signal'> = {},
): Promise<ClosureDifference> {
  const turns = new Turns(signal, 'cancelled while closures were compared')
  const oldPackages = await packagesOf(old, turns)
  const newPackages = await packagesOf(next, turns)
  const names = await sortedInTurns([...new Set([...oldPackages.keys(), ...newPackages.keys()])], compareNames, turns)
  const packages: PackageDifference[] = []
  for (const name of names) {
    const [oldMembers, newMembers] = [oldPackages.get(name) ?? [], newPackages.get(name) ?? []]
    const difference = packageDifference(name, oldMembers, newMembers)
    if (difference !== undefined) packages.push(difference)
    if (turns.isOver(MEMBER_STEPS * (oldMembers.length + newMembers.length))) await turns.next()
  }
  return { old: totalsOf(old), new: totalsOf(next), packages }
}

/** Steps of a turn that looking at a path counts as. */
const MEMBER_STEPS = 32

interface Member extends Pick<ClosurePath, 'path' | 'narSize'> {
  readonly version: string
}

async function packagesOf(closure: Closure, turns: Turns): Promise<Map<string, Member[]>> {
  const packages = new Map<string, Member[]>()
  for (const { path, baseName, narSize } of closure.paths) {
    const { name, version } = packageName(baseName)
    const member: Member = narSize === undefined ? { path, version } : { path, version, narSize }
    const members = packages.get(name)
    if (members === undefined) packages.set(name, [member])
    else members.push(member)
    if (turns.isOver(MEMBER_STEPS)) await turns.next()
  }
  return packages
}

function packageDifference(name: string, old: readonly Member[], next: readonly Member[]): PackageDifference | undefined {
  const oldPaths = onlyIn(old, next, ({ path }) => path)
  const newPaths = onlyIn(next, old, ({ path }) => path)
  if (oldPaths.length === 0 && newPaths.length === 0) return undefined
  const oldVersions = onlyIn(old, next, ({ version }) => version)
  const newVersions = onlyIn(next, old, ({ version }) => version)
  const isSame = oldVersions.length === 0 && newVersions.length === 0
  const kind = old.length === 0 ? 'added' : next.length === 0 ? 'removed' : isSame ? 'rebuilt' : 'changed'
  return { name, kind, oldVersions, newVersions, oldSize: sizeOf(old), newSize: sizeOf(next), oldPaths, newPaths }
}

function onlyIn(own: readonly Member[], other: readonly Member[], keyOf: (member: Member) => string): string[] {
  const taken = new Set(other.map(keyOf))
  return [...new Set(own.map(keyOf))].filter((key) => !taken.has(key)).sort(compareNames)
}

function totalsOf({ paths }: Closure): ClosureTotals {
  return { pathCount: paths.length, narSize: sizeOf(paths) }
}

function sizeOf(paths: readonly Pick<ClosurePath, 'path' | 'narSize'>[]): number {
  return paths.reduce((sum, { path, narSize }) => {
    if (narSize === undefined)
      throw new ImageError('USAGE', `${path}: the listing has no size for it; rebuild the registration first`, { path })
    return sum + narSize
  }, 0)
}
