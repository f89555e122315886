/** The system of a closure: the store path that carries boot.json. */
import { badInput, ImageError } from '../errors.ts'
import { Turns } from '../io/turns.ts'
import { listedPath } from '../nix/listing/closure.ts'
import { resolveInStore } from '../nix/store/resolve.ts'
import { compareNames, parseStorePath, STORE_DIRECTORY, storePath } from '../nix/store/store-path.ts'
import { hasEntry, type StoreTrees } from '../nix/store/store-trees.ts'
import { contentBytes } from '../tree/content.ts'
import { type Bootspec, parseBootspec } from './bootspec.ts'

export const BOOT_FILE = 'boot.json'

/** No boot.json is larger, in bytes. */
const BOOT_FILE_LIMIT = 16 * 1024 ** 2

/**
 * The full path of the system: `given`, or the one listed path that carries boot.json and to which no other
 * path refers (a system refers to its specialisations, which carry one as well). Throws NOT_FOUND (none, or
 * `given` is not listed or carries none), BAD_INPUT (several), and what `trees` throws.
 */
export async function findToplevel(trees: StoreTrees, given?: string): Promise<string> {
  if (given !== undefined) return checkGiven(trees, given)
  const { closure } = trees
  const carriers = await bootCarriers(trees)
  const [only] = carriers
  if (only === undefined) {
    throw new ImageError('NOT_FOUND', `none of the ${closure.paths.length} listed paths carries ${BOOT_FILE}, so none is a NixOS system`)
  }
  const referred = new Set(closure.paths.flatMap(({ path, references }) => references.filter((reference) => reference !== path)))
  const roots = carriers.filter((path) => !referred.has(path))
  const [toplevel] = carriers.length === 1 ? carriers : roots
  if (toplevel !== undefined && (carriers.length === 1 || roots.length === 1)) {
    // What would have been another choice has not carried one unseen.
    for (const { path, baseName, references } of closure.paths) {
      const isOther = closure.referencesKnown ? !referred.has(path) || references.includes(toplevel) : false
      if (path === toplevel || isOther) await trees.confirm(baseName, BOOT_FILE)
    }
    return toplevel
  }
  const why = closure.referencesKnown ? '' : ' (the listing has no references, which would tell a system from its specialisations)'
  const choices = (roots.length === 0 ? carriers : roots).join('\n  ')
  throw new ImageError(
    'BAD_INPUT',
    (option) => `several listed paths carry ${BOOT_FILE}${why}; choose the system with ${option('toplevel')}:\n  ${choices}`,
  )
}

/** Full paths that look like systems: they carry boot.json. */
export async function bootCarriers(trees: StoreTrees, signal?: AbortSignal): Promise<string[]> {
  const turns = new Turns(signal, 'cancelled while systems were looked for')
  const carriers: string[] = []
  for (const { path, baseName } of trees.closure.paths) {
    if (trees.seemsToHave(baseName, BOOT_FILE)) carriers.push(path)
    if (turns.isOver(LOOK_STEPS)) await turns.next()
  }
  return carriers
}

/** Steps of a turn that a look at the host counts as. */
const LOOK_STEPS = 100

/**
 * Read and check the boot.json of `toplevel`. Throws NOT_FOUND, LIMIT, UNSUPPORTED, what `trees` throws, and
 * BAD_INPUT, also where boot.json names another toplevel.
 */
export async function loadBootspec(toplevel: string, trees: StoreTrees): Promise<Bootspec> {
  const where = `${toplevel}/${BOOT_FILE}`
  const { size, content } = await resolveInStore(where, trees)
  if (content === undefined) throw badInput(where, 'is not a file')
  if (size > BOOT_FILE_LIMIT) throw new ImageError('LIMIT', `${where}: ${size} bytes, the limit is ${BOOT_FILE_LIMIT}`, { path: where })
  const bootspec = parseBootspec(contentBytes({ content, size }, where), where)
  if (bootspec.toplevel !== toplevel) throw badInput(where, `says that its toplevel is ${bootspec.toplevel}`)
  return bootspec
}

/** Whether a store path is a system, by its tree. */
export function isBootCarrier(node: Parameters<typeof hasEntry>[0]): boolean {
  return hasEntry(node, BOOT_FILE)
}

/** What a boot.json ends in that is none, or leads nowhere. */
const NO_BOOTSPEC = ['BAD_INPUT', 'NOT_FOUND', 'UNSUPPORTED', 'LIMIT']

/**
 * The store paths that hold the initrds of all systems in the closure, by their boot.json, sorted. A boot.json that
 * is none names none. Throws what `trees` throws, and ABORTED.
 */
export async function systemInitrds(trees: StoreTrees, signal?: AbortSignal): Promise<string[]> {
  const names = new Set<string>()
  for (const path of await bootCarriers(trees, signal)) {
    for (const initrd of await initrdsOf(path, trees)) names.add(initrd.slice(STORE_DIRECTORY.length + 1).split('/', 1)[0] ?? '')
  }
  return [...names]
    .filter((name) => listedPath(trees.closure, name) !== undefined)
    .sort(compareNames)
    .map(storePath)
}

async function initrdsOf(path: string, trees: StoreTrees): Promise<string[]> {
  try {
    const { initrd, specialisations } = await loadBootspec(path, trees)
    return [initrd, ...[...specialisations.values()].map((system) => system.initrd)].filter((file) => file !== undefined)
  } catch (error) {
    if (error instanceof ImageError && NO_BOOTSPEC.includes(error.code)) return []
    throw error
  }
}

async function checkGiven(trees: StoreTrees, given: string): Promise<string> {
  const baseName = parseStorePath(given.replace(/\/+$/, ''), 'toplevel')
  const entry = listedPath(trees.closure, baseName)
  if (entry === undefined) throw new ImageError('NOT_FOUND', `toplevel ${given} is not in the listing`, { path: given })
  if (!trees.seemsToHave(baseName, BOOT_FILE))
    throw new ImageError('NOT_FOUND', `toplevel ${given} carries no ${BOOT_FILE}`, { path: given })
  return entry.path
}
