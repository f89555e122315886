/**
 * Which paths of a closure are rewritten when some of them are replaced, by the rules of nixpkgs' replace-dependencies.nix:
 * a path is what it is replaced with, or left alone if it is a cut-off, or rewritten if it refers to one that changes.
 * What takes the place of a path is itself rewritten like any other.
 */
import { badInput, ImageError } from '../../errors.ts'
import { Turns } from '../../io/turns.ts'
import { type Closure, listedIndex, listedPath } from '../listing/closure.ts'
import { NO_PATH, referenceEdges } from '../listing/graph.ts'
import { parseStorePath, storePath } from '../store/store-path.ts'

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
  readonly signal?: AbortSignal | undefined
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
 * have to be rewritten), ABORTED.
 */
export async function planReplacement(closure: Closure, options: ReplaceOptions): Promise<ReplacePlan> {
  if (!closure.referencesKnown)
    throw new ImageError('USAGE', 'replacing needs the references of the closure; rebuild its registration first')
  const turns = new Turns(options.signal, 'cancelled while the replacement was planned')
  const warnings: string[] = []
  const standIns = standInsOf(closure, options.replacements, warnings)
  const cutoffs = new Set((options.cutoffs ?? []).map((path) => parseStorePath(path, 'a cut-off')))
  for (const name of cutoffs) {
    if (listedPath(closure, name) === undefined) warnings.push(`${storePath(name)}: is to be left alone, but is not in the closure`)
  }
  const graph = await replaceGraph(closure, standIns, cutoffs, turns)
  const changes = await changesOf(graph, turns)
  const roots = rootsOf(closure, options, standIns)
  const rootIndexes = roots.map((name) => listedIndex(closure, name) ?? NO_PATH)
  const nameOf = (index: number): string => closure.paths[index]?.baseName ?? ''
  // One may be referred to by what replaces another.
  const reached = await reach(
    graph,
    rootIndexes,
    (index, add) => [...graph.edges(index), graph.standIns[index] as number].forEach(add),
    turns,
  )
  const used = await usedPaths(graph, rootIndexes, changes, turns)
  const notReplaced = rootIndexes.filter((index) => graph.standIns[index] === NO_PATH)
  const without = await reach(graph, notReplaced, (index, add) => graph.edges(index).forEach(add), turns)
  const effects = { graph, roots: new Set(rootIndexes), reached, rewritten: used.rewritten, without }
  for (const [from, to] of standIns) {
    const warning = warningOfNothing(effects, from, to)
    if (warning !== undefined) warnings.push(warning)
  }
  const rewritten = Array.from(
    changes.order.filter((index) => used.rewritten[index] === 1),
    nameOf,
  )
  const derivation = rewritten.find((name) => name.endsWith('.drv'))
  if (derivation !== undefined) {
    throw new ImageError(
      'UNSUPPORTED',
      (option) =>
        `${storePath(derivation)}: refers to a replaced path, but a derivation cannot be rewritten: its outputs have their paths from it; leave it alone with ${option('cutoffs')}`,
      { path: storePath(derivation) },
    )
  }
  const kept = closure.paths.filter((_, index) => used.kept[index] === 1).map(({ baseName }) => baseName)
  return { rewritten, kept, standIns, roots, warnings }
}

/** What comes of replacements; of all paths by index. */
interface Effects {
  readonly graph: ReplaceGraph
  readonly roots: ReadonlySet<number>
  /** By references and replacements, from the roots. */
  readonly reached: Uint8Array
  readonly rewritten: Uint8Array
  /** By references alone, from the roots that are not replaced. */
  readonly without: Uint8Array
}

/** Of a replacement that changes nothing: what was probably meant. */
function warningOfNothing({ graph, roots, reached, rewritten, without }: Effects, from: string, to: string): string | undefined {
  const [own, other] = [listedIndex(graph.closure, from) ?? NO_PATH, listedIndex(graph.closure, to) ?? NO_PATH]
  if (reached[own] !== 1) return `${storePath(from)}: is to be replaced, but nothing in the closure refers to it`
  const isReferredTo = (isCounted: (index: number) => boolean): boolean =>
    graph.closure.paths.some((_, index) => isCounted(index) && graph.edges(index).includes(own))
  if (isReferredTo((index) => rewritten[index] === 1) || graph.standIns.includes(own)) return undefined
  if (isReferredTo((index) => without[index] === 1)) {
    return `${storePath(from)}: is to be replaced with ${storePath(to)}, but all that refers to it is left alone, so nothing changes`
  }
  if (!roots.has(own) || without[other] !== 1) return undefined
  return (
    `${storePath(from)}: is to be replaced with ${storePath(to)}, but nothing refers to it, and the closure refers to that already; ` +
    `the other way round it is ${storePath(to)}=${storePath(from)}`
  )
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

/** The references of a closure and what is asked for, by index of its paths. */
interface ReplaceGraph {
  readonly closure: Closure
  /** What a path is replaced with, or `NO_PATH`. */
  readonly standIns: Uint32Array
  /** 1 for paths that are left as they are. */
  readonly cutoffs: Uint8Array
  /** References, without the path itself. */
  edges(index: number): Uint32Array
}

async function replaceGraph(
  closure: Closure,
  standIns: ReadonlyMap<string, string>,
  cutoffs: ReadonlySet<string>,
  turns: Turns,
): Promise<ReplaceGraph> {
  const { starts, targets } = await referenceEdges(closure.paths, turns)
  for (const [index, { path, references }] of closure.paths.entries()) {
    const others = (starts[index + 1] as number) - (starts[index] as number)
    if (references.length > others && references.length !== others + (references.includes(path) ? 1 : 0))
      throw unlisted(closure, references)
    if (turns.isOver()) await turns.next()
  }
  const standInIndexes = new Uint32Array(closure.paths.length).fill(NO_PATH)
  for (const [from, to] of standIns) standInIndexes[listedIndex(closure, from) ?? NO_PATH] = listedIndex(closure, to) ?? NO_PATH
  const isCutoff = new Uint8Array(closure.paths.length)
  for (const name of cutoffs) isCutoff[listedIndex(closure, name) ?? NO_PATH] = 1
  return { closure, standIns: standInIndexes, cutoffs: isCutoff, edges: (index) => targets.subarray(starts[index], starts[index + 1]) }
}

function unlisted(closure: Closure, references: readonly string[]): ImageError {
  const path = references.find((reference) => listedPath(closure, reference.slice(storePath('').length)) === undefined) ?? ''
  return new ImageError('NOT_FOUND', `${path}: is not in the listing`, { path })
}

/** What becomes of a path; 0 is not known yet. */
const [SAME, REPLACED, REWRITTEN, ON_TRAIL] = [1, 2, 3, 4] as const

interface Changes {
  readonly of: Uint8Array
  /** What a path depends on stands before it. */
  readonly order: Uint32Array
}

/** What becomes of each path. No recursion: chains may be long. */
async function changesOf(graph: ReplaceGraph, turns: Turns): Promise<Changes> {
  const count = graph.closure.paths.length
  const changes = new Uint8Array(count)
  const order = new Uint32Array(count)
  let end = 0
  const dependencies = (index: number): Uint32Array => {
    const standIn = graph.standIns[index] as number
    if (standIn !== NO_PATH) return Uint32Array.of(standIn)
    return graph.cutoffs[index] === 1 ? NOTHING : graph.edges(index)
  }
  const trail: { readonly index: number; readonly next: Uint32Array; at: number }[] = []
  const enter = (index: number): void => {
    if (changes[index] === ON_TRAIL) throw circleError(graph, [...trail.map((step) => step.index), index])
    if (changes[index] !== 0) return
    changes[index] = ON_TRAIL
    trail.push({ index, next: dependencies(index), at: 0 })
  }
  for (let start = 0; start < count; start++) {
    enter(start)
    for (let top = trail.at(-1); top !== undefined; top = trail.at(-1)) {
      if (turns.isOver(4)) await turns.next()
      const next = top.next[top.at++]
      if (next !== undefined) {
        enter(next)
        continue
      }
      const isReplaced = graph.standIns[top.index] !== NO_PATH
      changes[top.index] = isReplaced ? REPLACED : top.next.some((reference) => changes[reference] !== SAME) ? REWRITTEN : SAME
      order[end++] = top.index
      trail.pop()
    }
  }
  return { of: changes, order }
}

const NOTHING = new Uint32Array(0)

/** Without replacements references have no circle, so there is one in this. */
function circleError({ closure, standIns }: ReplaceGraph, trail: readonly number[]): ImageError {
  const circle = trail.slice(trail.indexOf(trail.at(-1) ?? NO_PATH))
  const pathOf = (index: number | undefined): string => closure.paths[index ?? NO_PATH]?.path ?? ''
  const steps = circle.map((index, step) => {
    if (step === 0) return pathOf(index)
    const isReplaced = standIns[circle[step - 1] ?? NO_PATH] === index
    return `${isReplaced ? 'is replaced with' : 'refers to'} ${pathOf(index)}`
  })
  const left = steps.length - 2 * NAMED_STEPS
  const shown = left > 1 ? [...steps.slice(0, NAMED_STEPS), `(${left} more)`, ...steps.slice(-NAMED_STEPS)] : steps
  return badInput(
    pathOf(circle[0]),
    (option) =>
      `a replacement refers to what it replaces, so it would have to refer to itself; build one that does not, or leave it alone with ${option('cutoffs')}:\n  ${shown.join('\n  ')}`,
  )
}

/** Steps of a circle that a message names at either end; the others are counted. */
const NAMED_STEPS = 10

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
  const referred = new Set<string>()
  for (const { path, references } of closure.paths) for (const reference of references) if (reference !== path) referred.add(reference)
  return closure.paths.filter(({ path }) => !referred.has(path)).map(({ baseName }) => baseName)
}

/**
 * The paths of the new closure by index, 1 for each: those that stay, and those that are rewritten. A path may be among both, where a
 * cut-off refers to it as it was.
 */
async function usedPaths(
  graph: ReplaceGraph,
  roots: readonly number[],
  changes: Changes,
  turns: Turns,
): Promise<{ readonly kept: Uint8Array; readonly rewritten: Uint8Array }> {
  const final = (index: number): number => {
    let last = index
    for (let next = graph.standIns[last]; next !== undefined && next !== NO_PATH; next = graph.standIns[last]) last = next
    return last
  }
  const isRewritten = (index: number): boolean => changes.of[index] === REWRITTEN
  const reached = await reach(
    graph,
    roots.map(final),
    (index, add) => {
      if (isRewritten(index)) for (const reference of graph.edges(index)) add(final(reference))
    },
    turns,
  )
  const rewritten = reached.map((is, index) => (is === 1 && isRewritten(index) ? 1 : 0))
  const staying = Array.from(reached.keys()).filter((index) => reached[index] === 1 && !isRewritten(index))
  return { kept: await reach(graph, staying, (index, add) => graph.edges(index).forEach(add), turns), rewritten }
}

/** The path that stands in for `name` in the end: what replaces a path may be replaced as well. */
export function finalStandIn(name: string, standIns: ReadonlyMap<string, string>): string {
  let last = name
  for (let next = standIns.get(last); next !== undefined; next = standIns.get(last)) last = next
  return last
}

/** By index 1 for what is reached from `roots`, themselves included; `visit` adds what follows on an index. `NO_PATH` is nothing. */
async function reach(
  { closure }: ReplaceGraph,
  roots: readonly number[],
  visit: (index: number, add: (next: number) => void) => void,
  turns: Turns,
): Promise<Uint8Array> {
  const reached = new Uint8Array(closure.paths.length)
  const open: number[] = []
  const add = (index: number): void => {
    if (reached[index] !== 0) return
    reached[index] = 1
    open.push(index)
  }
  roots.forEach(add)
  for (let index = open.pop(); index !== undefined; index = open.pop()) {
    visit(index, add)
    if (turns.isOver(4)) await turns.next()
  }
  return reached
}
