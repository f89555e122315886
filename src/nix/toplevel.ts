/** The system of a closure: the store path that carries boot.json. */
import { lstatSync, readFileSync } from 'node:fs'
import { ImageError } from '../errors.ts'
import { unreadableError } from '../tree/host-file.ts'
import { type Bootspec, parseBootspec } from './bootspec.ts'
import { type Closure, listedPath } from './closure.ts'
import { badInput } from './listing.ts'
import { resolveInStore } from './resolve.ts'
import { parseStorePath } from './store-path.ts'
import { hostStorePath } from './store-tree.ts'

const BOOT_FILE = 'boot.json'

/** No boot.json is larger, in bytes. */
const BOOT_FILE_LIMIT = 16 * 1024 ** 2

/**
 * The full path of the system: `given`, or the one listed path that carries boot.json and to which no other
 * path refers (a system refers to its specialisations, which carry one as well). Throws NOT_FOUND (none, or
 * `given` is not listed or carries none), BAD_INPUT (several).
 */
export function findToplevel(closure: Closure, root: string, given?: string): string {
  if (given !== undefined) return checkGiven(closure, root, given)
  const carriers = closure.paths.filter(({ path }) => hasBootFile(root, path)).map(({ path }) => path)
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
export function loadBootspec(toplevel: string, closure: Closure, root: string): Bootspec {
  const where = `${toplevel}/${BOOT_FILE}`
  const file = resolveInStore(where, closure, root)
  if (file.kind !== 'file') throw badInput(where, 'is not a file')
  if (file.size > BOOT_FILE_LIMIT)
    throw new ImageError('LIMIT', `${where}: ${file.size} bytes, the limit is ${BOOT_FILE_LIMIT}`, { path: where })
  let bytes: Uint8Array
  try {
    bytes = readFileSync(Buffer.from(file.hostPath))
  } catch (cause) {
    throw unreadableError(where, cause)
  }
  const bootspec = parseBootspec(bytes, where)
  if (bootspec.toplevel !== toplevel) throw badInput(where, `says that its toplevel is ${bootspec.toplevel}`)
  return bootspec
}

function checkGiven(closure: Closure, root: string, given: string): string {
  const baseName = parseStorePath(given.replace(/\/+$/, ''), 'toplevel')
  const entry = listedPath(closure, baseName)
  if (entry === undefined) throw new ImageError('NOT_FOUND', `toplevel ${given} is not in the listing`, { path: given })
  if (!hasBootFile(root, entry.path)) throw new ImageError('NOT_FOUND', `toplevel ${given} carries no ${BOOT_FILE}`, { path: given })
  return entry.path
}

/** Looks at the path itself, never through a link: an output that is a link may lead anywhere on the host. */
function hasBootFile(root: string, path: string): boolean {
  const hostPath = hostStorePath(root, path)
  try {
    if (lstatSync(hostPath, { throwIfNoEntry: false })?.isDirectory() !== true) return false
    return lstatSync(`${hostPath}/${BOOT_FILE}`, { throwIfNoEntry: false }) !== undefined
  } catch (cause) {
    throw unreadableError(path, cause)
  }
}
