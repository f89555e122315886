/** The system of a closure: the store path that carries boot.json, or is one from before it. */
import { badInput, ImageError } from '../errors.ts'
import { Turns } from '../io/turns.ts'
import { listedPath } from '../nix/listing/closure.ts'
import { resolveInStore } from '../nix/store/resolve.ts'
import { compareNames, parseStorePath, STORE_DIRECTORY, storePath } from '../nix/store/store-path.ts'
import { hasEntry, type StoreTrees } from '../nix/store/store-trees.ts'
import { contentBytes } from '../tree/content.ts'
import { type Bootspec, parseBootspec } from './bootspec.ts'
import { bootspecWithoutBootJson, PARAMETERS_FILE } from './without-boot-json.ts'

export const BOOT_FILE = 'boot.json'

/** No boot.json is larger, in bytes. */
const BOOT_FILE_LIMIT = 16 * 1024 ** 2

/** By these a store path is known for a system; a system has both, or the second alone where it is from before bootspec. */
const MARKS = [BOOT_FILE, PARAMETERS_FILE] as const

/**
 * The full path of the system: `given`, or the one listed path that carries boot.json and to which no other
 * path refers (a system refers to its specialisations, which carry one as well). Where none does, the same with
 * `kernel-params`, which systems from before bootspec have. Throws NOT_FOUND (none, or `given` is not listed or is no
 * system), BAD_INPUT (several), and what `trees` throws.
 */
export async function findToplevel(trees: StoreTrees, given?: string): Promise<string> {
  if (given !== undefined) return checkGiven(trees, given)
  const { closure } = trees
  const [mark, carriers] = await markedPaths(trees)
  const referred = new Set(closure.paths.flatMap(({ path, references }) => references.filter((reference) => reference !== path)))
  const roots = carriers.filter((path) => !referred.has(path))
  const [toplevel] = carriers.length === 1 ? carriers : roots
  if (toplevel !== undefined && (carriers.length === 1 || roots.length === 1)) {
    // What would have been another choice has not carried one unseen.
    for (const { path, baseName, references } of closure.paths) {
      const isOther = closure.referencesKnown ? !referred.has(path) || references.includes(toplevel) : false
      if (path === toplevel || isOther) await trees.confirm(baseName, mark)
    }
    return toplevel
  }
  const why = closure.referencesKnown ? '' : ' (the listing has no references, which would tell a system from its specialisations)'
  const choices = (roots.length === 0 ? carriers : roots).join('\n  ')
  throw new ImageError(
    'BAD_INPUT',
    (option) => `several listed paths carry ${mark}${why}; choose the system with ${option('toplevel')}:\n  ${choices}`,
  )
}

async function markedPaths(trees: StoreTrees): Promise<readonly [mark: string, paths: readonly string[]]> {
  for (const mark of MARKS) {
    const paths = await pathsWith(trees, [mark])
    if (paths.length > 0) return [mark, paths]
  }
  throw new ImageError(
    'NOT_FOUND',
    `none of the ${trees.closure.paths.length} listed paths carries ${BOOT_FILE}, nor ${PARAMETERS_FILE} as systems from before it do, so none is a NixOS system that can be started; ` +
      'list the closure of config.system.build.toplevel (that of a container has no kernel)',
  )
}

/** Full paths that look like systems. */
export function systemPaths(trees: StoreTrees, signal?: AbortSignal): Promise<string[]> {
  return pathsWith(trees, MARKS, signal)
}

async function pathsWith(trees: StoreTrees, marks: readonly string[], signal?: AbortSignal): Promise<string[]> {
  const turns = new Turns(signal, 'cancelled while systems were looked for')
  const found: string[] = []
  for (const { path, baseName } of trees.closure.paths) {
    if (marks.some((mark) => trees.seemsToHave(baseName, mark))) found.push(path)
    if (turns.isOver(LOOK_STEPS)) await turns.next()
  }
  return found
}

/** Steps of a turn that a look at the host counts as. */
const LOOK_STEPS = 100

/**
 * Read and check the boot.json of `toplevel`; where there is none, what it would say is taken from the files and links of the
 * toplevel, and `onNone` is told. Throws NOT_FOUND, LIMIT, UNSUPPORTED, what `trees` throws, and
 * BAD_INPUT, also where boot.json names another toplevel.
 */
export async function loadBootspec(toplevel: string, trees: StoreTrees, onNone?: () => void): Promise<Bootspec> {
  const baseName = parseStorePath(toplevel, 'toplevel')
  if (listedPath(trees.closure, baseName) !== undefined && !trees.seemsToHave(baseName, BOOT_FILE)) {
    await trees.confirm(baseName, BOOT_FILE)
    onNone?.()
    return bootspecWithoutBootJson(toplevel, trees, (path) => loadBootspec(path, trees))
  }
  const where = `${toplevel}/${BOOT_FILE}`
  const { size, content } = await resolveInStore(where, trees)
  if (content === undefined) throw badInput(where, 'is not a file')
  if (size > BOOT_FILE_LIMIT) throw new ImageError('LIMIT', `${where}: ${size} bytes, the limit is ${BOOT_FILE_LIMIT}`, { path: where })
  const bootspec = parseBootspec(contentBytes({ content, size }, where), where)
  if (bootspec.toplevel !== toplevel) throw badInput(where, `says that its toplevel is ${bootspec.toplevel}`)
  return bootspec
}

/** Whether a store path is a system, by its tree. */
export function isSystem(node: Parameters<typeof hasEntry>[0]): boolean {
  return MARKS.some((mark) => hasEntry(node, mark))
}

/** What a boot.json ends in that is none, or leads nowhere. */
const NO_BOOTSPEC = ['BAD_INPUT', 'NOT_FOUND', 'UNSUPPORTED', 'LIMIT']

/**
 * The store paths that hold the initrds of all systems in the closure, by their boot.json or in place of it, sorted. A boot.json that
 * is none names none. Throws what `trees` throws, and ABORTED.
 */
export async function systemInitrds(trees: StoreTrees, signal?: AbortSignal): Promise<string[]> {
  const names = new Set<string>()
  for (const path of await systemPaths(trees, signal)) {
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
  if (!MARKS.some((mark) => trees.seemsToHave(baseName, mark))) {
    const why =
      'so it is no NixOS system that can be started; name the path of config.system.build.toplevel (that of a container has no kernel)'
    throw new ImageError('NOT_FOUND', `toplevel ${given} carries neither ${BOOT_FILE} nor ${PARAMETERS_FILE}, ${why}`, { path: given })
  }
  return entry.path
}
