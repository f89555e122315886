/** The system of a closure: the store path that carries boot.json. */
import { lstatSync } from 'node:fs'
import { printable } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import { Turns } from '../io/turns.ts'
import { contentBytes } from '../tree/content.ts'
import { unreadableError } from '../tree/host-file.ts'
import { type Bootspec, parseBootspec } from './bootspec.ts'
import { type Closure, type ClosurePath, listedPath } from './closure.ts'
import { badInput } from './listing.ts'
import { resolveInStore } from './resolve.ts'
import { compareNames, parseStorePath, STORE_DIRECTORY, storePath } from './store-path.ts'
import { hostStorePath, type StoreFiles, storeFiles } from './store-tree.ts'

const BOOT_FILE = 'boot.json'

/** No boot.json is larger, in bytes. */
const BOOT_FILE_LIMIT = 16 * 1024 ** 2

/**
 * The full path of the system: `given`, or the one listed path that carries boot.json and to which no other
 * path refers (a system refers to its specialisations, which carry one as well). Throws NOT_FOUND (none, or
 * `given` is not listed or carries none), BAD_INPUT (several).
 */
export function findToplevel(closure: Closure, files: StoreFiles, given?: string): string {
  if (given !== undefined) return checkGiven(closure, files, given)
  const carriers = closure.paths.filter(({ baseName }) => hasBootFile(files, baseName)).map(({ path }) => path)
  const [only] = carriers
  if (only === undefined) {
    throw new ImageError('NOT_FOUND', `none of the ${closure.paths.length} listed paths carries ${BOOT_FILE}, so none is a NixOS system`)
  }
  if (carriers.length === 1) return only
  const referred = new Set(closure.paths.flatMap(({ path, references }) => references.filter((reference) => reference !== path)))
  const roots = carriers.filter((path) => !referred.has(path))
  const [toplevel] = roots
  if (roots.length === 1 && toplevel !== undefined) return toplevel
  const why = closure.referencesKnown ? '' : ' (the listing has no references, which would tell a system from its specialisations)'
  const choices = (roots.length === 0 ? carriers : roots).join('\n  ')
  throw new ImageError('BAD_INPUT', `several listed paths carry ${BOOT_FILE}${why}; choose the system with --toplevel:\n  ${choices}`)
}

/**
 * Read and check the boot.json of `toplevel`. Throws NOT_FOUND, UNREADABLE, LIMIT, UNSUPPORTED, and
 * BAD_INPUT, also where boot.json names another toplevel.
 */
export function loadBootspec(toplevel: string, closure: Closure, files: StoreFiles): Bootspec {
  const where = `${toplevel}/${BOOT_FILE}`
  const { size, content } = resolveInStore(where, closure, files)
  if (content === undefined) throw badInput(where, 'is not a file')
  if (size > BOOT_FILE_LIMIT) throw new ImageError('LIMIT', `${where}: ${size} bytes, the limit is ${BOOT_FILE_LIMIT}`, { path: where })
  const bootspec = parseBootspec(contentBytes({ content, size }, where), where)
  if (bootspec.toplevel !== toplevel) throw badInput(where, `says that its toplevel is ${bootspec.toplevel}`)
  return bootspec
}

/**
 * The store paths that hold the initrds of all systems in the closure, by their boot.json, sorted. A boot.json that
 * cannot be read as one names none.
 */
export async function systemInitrds(closure: Closure, files: StoreFiles, signal?: AbortSignal): Promise<string[]> {
  const turns = new Turns(signal, 'cancelled while systems were looked for')
  const carriers: ClosurePath[] = []
  for (const entry of closure.paths) {
    if (hasBootFile(files, entry.baseName)) carriers.push(entry)
    if (turns.isOver(LOOK_STEPS)) await turns.next()
  }
  const initrds = carriers.flatMap(({ path }) => {
    try {
      const { initrd, specialisations } = loadBootspec(path, closure, files)
      return [initrd, ...[...specialisations.values()].map((system) => system.initrd)]
    } catch (error) {
      if (error instanceof ImageError) return []
      throw error
    }
  })
  const names = initrds.flatMap((path) => path?.slice(STORE_DIRECTORY.length + 1).split('/', 1) ?? [])
  return [...new Set(names)]
    .filter((name) => listedPath(closure, name) !== undefined)
    .sort(compareNames)
    .map(storePath)
}

/** Steps of a turn that a look at the host counts as. */
const LOOK_STEPS = 100

function checkGiven(closure: Closure, files: StoreFiles, given: string): string {
  const baseName = parseStorePath(given.replace(/\/+$/, ''), 'toplevel')
  const entry = listedPath(closure, baseName)
  if (entry === undefined) throw new ImageError('NOT_FOUND', `toplevel ${given} is not in the listing`, { path: given })
  if (!hasBootFile(files, baseName)) throw new ImageError('NOT_FOUND', `toplevel ${given} carries no ${BOOT_FILE}`, { path: given })
  return entry.path
}

/** Looks at the path itself, never through a link: an output that is a link may lead anywhere on the host. */
function hasBootFile(files: StoreFiles, baseName: string): boolean {
  const { root, overlay } = storeFiles(files)
  const node = overlay.get(baseName)
  if (node !== undefined) return node.kind === 'directory' && node.entries.some(({ name }) => printable(name) === BOOT_FILE)
  const path = storePath(baseName)
  const hostPath = hostStorePath(root, path)
  try {
    if (lstatSync(hostPath, { throwIfNoEntry: false })?.isDirectory() !== true) return false
    return lstatSync(`${hostPath}/${BOOT_FILE}`, { throwIfNoEntry: false }) !== undefined
  } catch (cause) {
    throw unreadableError(path, cause)
  }
}
