/** Running `kilnix closure`: what is in a closure, and whether it is right. */
import { ImageError } from '../errors.ts'
import { loadClosure } from '../images/store.ts'
import { type Closure, readClosure } from '../nix/closure.ts'
import { checkClosure } from '../nix/inspect/check.ts'
import { closureDifference } from '../nix/inspect/diff.ts'
import { type ReferenceHolder, referenceHolders } from '../nix/inspect/holders.ts'
import { pathByName } from '../nix/inspect/names.ts'
import { closureSizes, type PathSizes } from '../nix/inspect/sizes.ts'
import { referenceChain, referenceChains } from '../nix/inspect/why.ts'
import { compareNames, STORE_DIRECTORY } from '../nix/store-path.ts'
import { hostStorePath, storePolicy } from '../nix/store-tree.ts'
import { scanHost } from '../tree/scan.ts'
import { chainText, checkText, differenceText, type NamedHolders, sizesText } from './closure-text.ts'
import type { ClosureCommand, Settings } from './options.ts'
import { progressOf } from './run-common.ts'
import { withSignals } from './signals.ts'
import { standardInput } from './standard-input.ts'
import { printJson, printLines } from './stdout.ts'
import { usage } from './values.ts'

/** What a command prints, as data and as text, and its exit status. */
interface Answer {
  readonly json: unknown
  text(): readonly string[]
  readonly status?: number
}

/** Resolves to the exit status, which is 1 for a closure that is not as its listing says. Throws what reading throws. */
export function runClosure(command: ClosureCommand, settings: Settings): Promise<number> {
  return withSignals(async (signal) => {
    const { json, text, status = 0 } = await answer(command, settings, signal)
    if (settings.json) await printJson(json, 2, signal)
    else await printLines(text(), signal)
    return status
  })
}

function answer(command: ClosureCommand, settings: Settings, signal: AbortSignal): Promise<Answer> {
  switch (command) {
    case 'closure show':
      return show(settings, signal)
    case 'closure why':
      return why(settings, signal)
    case 'closure diff':
      return diff(settings, signal)
    case 'closure check':
      return check(settings, signal)
  }
}

async function show(settings: Settings, signal: AbortSignal): Promise<Answer> {
  const closure = await load(settings.closure ?? '', settings, signal)
  const { narSize, paths } = closureSizes(closure)
  const sorted = [...paths].sort(ORDERS[settings.sort])
  const shown = sorted.slice(0, settings.top)
  return {
    json: { pathCount: paths.length, narSize, paths: shown },
    text: () => sizesText({ pathCount: paths.length, narSize, paths: shown }),
  }
}

/** The largest first; the same size by name. */
const ORDERS: Readonly<Record<Settings['sort'], (a: PathSizes, b: PathSizes) => number>> = {
  name: (a, b) => compareNames(a.path, b.path),
  size: (a, b) => b.narSize - a.narSize || compareNames(a.path, b.path),
  closure: (a, b) => b.closureSize - a.closureSize || compareNames(a.path, b.path),
  added: (a, b) => b.addedSize - a.addedSize || compareNames(a.path, b.path),
}

async function why(settings: Settings, signal: AbortSignal): Promise<Answer> {
  const closure = await load(settings.closure ?? '', settings, signal)
  const from = pathByName(closure, settings.fromPath ?? '').path
  const to = pathByName(closure, settings.toPath ?? '').path
  const chain = referenceChain(closure, from, to)
  if (chain === undefined)
    throw new ImageError('NOT_FOUND', `${from} does not refer to ${to}, neither itself nor by others`, { path: from })
  const edges = settings.all
    ? referenceChains(closure, from, to)
    : new Map(chain.map((path, index) => [path, chain.slice(index + 1, index + 2)]))
  const holders = settings.precise ? await holdersOf(edges, settings, signal) : undefined
  const references = [...edges].map(([path, list]) => ({
    path,
    references: list.map((reference) => ({ path: reference, ...(holders && { holders: holders(path, reference) }) })),
  }))
  return { json: { from, to, chain, references }, text: () => chainText(from, edges, holders) }
}

/** Looks through each path that refers to others once. */
async function holdersOf(
  edges: ReadonlyMap<string, readonly string[]>,
  { root, caseHack }: Settings,
  signal: AbortSignal,
): Promise<NamedHolders> {
  const found = new Map<string, ReadonlyMap<string, readonly ReferenceHolder[]>>()
  for (const [path, references] of edges) {
    if (references.length === 0) continue
    const node = scanHost(hostStorePath(root, path), storePolicy(1, caseHack))
    found.set(path, await referenceHolders(node, references.map(baseNameOf), path, signal))
  }
  return (path, reference) => found.get(path)?.get(baseNameOf(reference)) ?? []
}

function baseNameOf(path: string): string {
  return path.slice(STORE_DIRECTORY.length + 1)
}

async function diff(settings: Settings, signal: AbortSignal): Promise<Answer> {
  const { oldClosure = '', newClosure = '' } = settings
  if (oldClosure === '-' && newClosure === '-') throw usage('only one of OLD and NEW can be standard input')
  const difference = closureDifference(await load(oldClosure, settings, signal), await load(newClosure, settings, signal))
  return { json: difference, text: () => differenceText(difference) }
}

async function check(settings: Settings, signal: AbortSignal): Promise<Answer> {
  const progress = progressOf(settings)
  try {
    const stdin = settings.closure === '-' ? { stdin: standardInput(signal) } : {}
    const closure = await readClosure(settings.closure ?? '', { ...stdin, allowMissing: true })
    const { root, caseHack, contents, jobs } = settings
    const options = { root, caseHack, contents, signal, onProgress: progress.listener, ...(jobs !== undefined && { jobs }) }
    const report = await checkClosure(closure, options)
    return { json: report, text: () => checkText(report), status: report.problems.length === 0 ? 0 : 1 }
  } finally {
    progress.clear()
  }
}

/** With sizes and references, which are found in the store where the listing has none. */
async function load(listing: string, { root, caseHack }: Settings, signal: AbortSignal): Promise<Closure> {
  const stdin = listing === '-' ? { stdin: standardInput(signal) } : {}
  const { closure } = await loadClosure({ closure: listing, root, caseHack, signal, ...stdin })
  return closure
}
