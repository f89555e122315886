/**
 * Which paths of a closure are rewritten when some of them are replaced, by the rules of nixpkgs' replace-dependencies.nix:
 * a path is what it is replaced with, or left alone if it is a cut-off, or rewritten if it refers to one that changes.
 * What takes the place of a path is itself rewritten like any other.
 */
import { ImageError } from '../errors.ts'
import { type Closure, listedPath } from './closure.ts'
import { badInput } from './listing.ts'
import { compareNames, parseStorePath, storePath } from './store-path.ts'

/** Full paths. */
export interface Replacement {
  readonly oldPath: string
  readonly newPath: string
}

export interface ReplaceOptions {
  readonly replacements: readonly Replacement[]
  /** Full paths that are left as they are, whatever they refer to. */
  readonly cutoffs?: readonly string[]
  /**
   * Full paths that the closure is of. Default: the listed paths to which no other refers, but for those that replace
   * others.
   */
  readonly roots?: readonly string[]
}

/** Plain data; all names are base names. */
export interface ReplacePlan {
  /** What is rewritten; what a path refers to stands before it. */
  readonly rewritten: readonly string[]
  /** What is in the new closure as it was. */
  readonly kept: readonly string[]
  /** For each path that becomes another: that other as it is listed, which may be rewritten in its turn. */
  readonly standIns: ReadonlyMap<string, string>
  readonly roots: readonly string[]
  readonly warnings: readonly string[]
}

/**
 * Throws USAGE (names of different lengths, a path with two replacements), NOT_FOUND (a replacement or root that is not
 * listed), BAD_INPUT (no store path; a replacement that refers to what it replaces), UNSUPPORTED (a derivation would
 * have to be rewritten).
 */
export function planReplacement(closure: Closure, options: ReplaceOptions): ReplacePlan {
  if (!closure.referencesKnown)
    throw new ImageError('USAGE', 'replacing needs the references of the closure; rebuild its registration first')
  const warnings: string[] = []
  const standIns = standInsOf(closure, options.replacements, warnings)
  const cutoffs = new Set((options.cutoffs ?? []).map((path) => parseStorePath(path, 'a cut-off')))
  for (const name of cutoffs) {
    if (listedPath(closure, name) === undefined) warnings.push(`${storePath(name)}: is to be left alone, but is not in the closure`)
  }
  const changes = changesOf(closure, standIns, cutoffs)
  const roots = rootsOf(closure, options, standIns)
  // One may be referred to by what replaces another.
  const reached = reach(roots, (name) => [...referencesOf(closure, name), standIns.get(name) ?? name])
  for (const name of standIns.keys()) {
    if (!reached.has(name)) warnings.push(`${storePath(name)}: is to be replaced, but nothing in the closure refers to it`)
  }
  const used = usedPaths(closure, roots, standIns, changes)
  const rewritten = [...changes.keys()].filter((name) => used.rewritten.has(name))
  const derivation = rewritten.find((name) => name.endsWith('.drv'))
  if (derivation !== undefined) {
    throw new ImageError(
      'UNSUPPORTED',
      `${storePath(derivation)}: refers to a replaced path, but a derivation cannot be rewritten: its outputs have their paths from it; leave it alone with --cutoff`,
      { path: storePath(derivation) },
    )
  }
  return { rewritten, kept: [...used.kept].sort(compareNames), standIns, roots, warnings }
}

function standInsOf(closure: Closure, replacements: readonly Replacement[], warnings: string[]): Map<string, string> {
  const standIns = new Map<string, string>()
  for (const { oldPath, newPath } of replacements) {
    const from = parseStorePath(oldPath, 'a path to replace')
    const to = parseStorePath(newPath, 'a replacement')
    if (from.length !== to.length) {
      throw new ImageError(
        'USAGE',
        `${storePath(from)} (name of ${from.length} characters) cannot be replaced with ${storePath(to)} (${to.length}): references are overwritten in place, so both names have to be equally long`,
        { path: oldPath },
      )
    }
    const earlier = standIns.get(from)
    if (earlier !== undefined && earlier !== to) {
      throw new ImageError('USAGE', `${storePath(from)} is to be replaced with ${storePath(earlier)} and with ${storePath(to)}; name one`, {
        path: oldPath,
      })
    }
    if (from === to) {
      warnings.push(`${storePath(from)}: is to be replaced with itself, which changes nothing`)
    } else if (listedPath(closure, from) === undefined) {
      warnings.push(`${storePath(from)}: is to be replaced, but is not in the closure`)
    } else if (listedPath(closure, to) === undefined) {
      throw new ImageError(
        'NOT_FOUND',
        `${storePath(to)}: is to replace ${storePath(from)}, but is not in the listing; list the closure of both (nix path-info -r --json SYSTEM NEW)`,
        { path: newPath },
      )
    } else {
      standIns.set(from, to)
    }
  }
  return standIns
}

type Change = 'same' | 'replaced' | 'rewritten'

/** What becomes of each path, in an order in which what a path depends on stands before it. No recursion: chains may be long. */
function changesOf(closure: Closure, standIns: ReadonlyMap<string, string>, cutoffs: ReadonlySet<string>): Map<string, Change> {
  const changes = new Map<string, Change>()
  const dependencies = (name: string): string[] => {
    const standIn = standIns.get(name)
    if (standIn !== undefined) return [standIn]
    return cutoffs.has(name) ? [] : referencesOf(closure, name)
  }
  const changeOf = (name: string): Change => {
    if (standIns.has(name)) return 'replaced'
    return dependencies(name).some((reference) => changes.get(reference) !== 'same') ? 'rewritten' : 'same'
  }
  for (const { baseName: start } of closure.paths) {
    const trail: { readonly name: string; readonly rest: string[] }[] = []
    const onTrail = new Set<string>()
    const enter = (name: string): void => {
      if (changes.has(name)) return
      if (onTrail.has(name)) throw circleError([...trail.map((step) => step.name), name], standIns)
      trail.push({ name, rest: dependencies(name) })
      onTrail.add(name)
    }
    enter(start)
    for (let top = trail.at(-1); top !== undefined; top = trail.at(-1)) {
      const next = top.rest.shift()
      if (next !== undefined) {
        enter(next)
        continue
      }
      changes.set(top.name, changeOf(top.name))
      onTrail.delete(top.name)
      trail.pop()
    }
  }
  return changes
}

/** Without replacements references have no circle, so there is one in this. */
function circleError(trail: readonly string[], standIns: ReadonlyMap<string, string>): ImageError {
  const circle = trail.slice(trail.indexOf(trail.at(-1) ?? ''))
  const steps = circle.map((name, index) => {
    if (index === 0) return storePath(name)
    const isReplaced = standIns.get(circle[index - 1] ?? '') === name
    return `${isReplaced ? 'is replaced with' : 'refers to'} ${storePath(name)}`
  })
  return badInput(
    storePath(trail.at(-1) ?? ''),
    `a replacement refers to what it replaces, so it would have to refer to itself; build one that does not, or leave it alone with --cutoff:\n  ${steps.join('\n  ')}`,
  )
}

function rootsOf(closure: Closure, { roots }: ReplaceOptions, standIns: ReadonlyMap<string, string>): string[] {
  if (roots !== undefined) {
    return roots.map((path) => {
      const name = parseStorePath(path, 'a root')
      if (listedPath(closure, name) !== undefined) return name
      throw new ImageError('NOT_FOUND', `${path}: is not in the listing`, { path })
    })
  }
  const tops = closureRoots(closure)
  const replacing = new Set(standIns.values())
  const own = tops.filter((name) => !replacing.has(name))
  return own.length > 0 ? own : tops
}

/** Base names of the paths to which no other refers. */
export function closureRoots(closure: Closure): string[] {
  const referred = new Set(closure.paths.flatMap(({ path, references }) => references.filter((reference) => reference !== path)))
  return closure.paths.filter(({ path }) => !referred.has(path)).map(({ baseName }) => baseName)
}

/** All that `roots` refer to, directly or not, and themselves. */
function closureOf(closure: Closure, roots: readonly string[]): Set<string> {
  return reach(roots, (name) => referencesOf(closure, name))
}

/**
 * The paths of the new closure: those that stay, and those that are rewritten. A path may be among both, where a cut-off
 * refers to it as it was.
 */
function usedPaths(
  closure: Closure,
  roots: readonly string[],
  standIns: ReadonlyMap<string, string>,
  changes: ReadonlyMap<string, Change>,
): { readonly kept: ReadonlySet<string>; readonly rewritten: ReadonlySet<string> } {
  const final = (name: string): string => finalStandIn(name, standIns)
  const isRewritten = (name: string): boolean => changes.get(name) === 'rewritten'
  const reached = reach(roots.map(final), (name) => (isRewritten(name) ? referencesOf(closure, name).map(final) : []))
  const kept = closureOf(
    closure,
    [...reached].filter((name) => !isRewritten(name)),
  )
  return { kept, rewritten: new Set([...reached].filter(isRewritten)) }
}

/** The path that stands in for `name` in the end: what replaces a path may be replaced as well. */
export function finalStandIn(name: string, standIns: ReadonlyMap<string, string>): string {
  let last = name
  for (let next = standIns.get(last); next !== undefined; next = standIns.get(last)) last = next
  return last
}

function reach(roots: readonly string[], next: (name: string) => readonly string[]): Set<string> {
  const reached = new Set(roots)
  for (const name of reached) for (const other of next(name)) reached.add(other)
  return reached
}

/** Base names, without the path itself. */
function referencesOf(closure: Closure, name: string): string[] {
  const references = listedPath(closure, name)?.references ?? []
  return references.map((path) => path.slice(storePath('').length)).filter((reference) => reference !== name)
}
