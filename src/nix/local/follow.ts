/** From what a user names to a store path: `./result` and `/run/current-system` are links to one. */
import { lstatSync, readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, join, posix, resolve } from 'node:path'
import { printableText } from '../../bytes/text.ts'
import { ImageError, systemErrorCode } from '../../errors.ts'
import { hostStorePath } from '../store/listed-tree.ts'
import { baseNameFault, STORE_DIRECTORY, storePath } from '../store/store-path.ts'

/** As many links as Linux follows (`include/linux/namei.h`, MAXSYMLINKS). */
const LINK_LIMIT = 40

/**
 * The full store path that `given` is, or that the links at it lead to; `root` is the folder in which `nix/store` lies. A link in a
 * store path that leads to another one counts as a link. What lies within a store path is refused, since an image has whole ones.
 *
 * Throws NOT_FOUND (nothing is there, a link leads nowhere or out of every store), BAD_INPUT (no name of a store path, within a store
 * path, links in a circle), UNREADABLE.
 */
export function followToStore(given: string, root: string): string {
  const where = printableText(given)
  const realStore = realPath(hostStorePath(root, STORE_DIRECTORY))
  // On Windows as well `/nix/store` is what it is.
  let path = given.startsWith('/') ? posix.resolve(given) : resolve(given)
  for (let links = 0; links <= LINK_LIMIT; links++) {
    const inStore = belowStore(path, realStore)
    const host = inStore === undefined ? path : hostStorePath(root, join(STORE_DIRECTORY, ...inStore))
    if (inStore?.length === 0) throw noStorePath(where, 'is the store itself, not a path in it')
    // Links in front of the store path are of the host; the store path itself is not looked into.
    const next =
      inStore?.length === 1
        ? undefined
        : followed(host, { from: inStore === undefined ? undefined : hostStorePath(root, STORE_DIRECTORY), where, isLed: links > 0 })
    if (next !== undefined) {
      path = next
      continue
    }
    if (inStore === undefined) throw noStorePath(where, `is not in ${STORE_DIRECTORY}, and no link to a path in it`)
    const [baseName = '', ...within] = inStore
    const fault = baseNameFault(baseName)
    if (fault !== undefined)
      throw new ImageError('BAD_INPUT', `${where}: ${printableText(storePath(baseName))} is no store path: ${fault}`, { path: given })
    if (within.length === 0) return storePath(baseName)
    throw new ImageError('BAD_INPUT', `${where}: lies within ${storePath(baseName)}, and images have whole store paths; give that one`, {
      path: given,
    })
  }
  throw new ImageError('BAD_INPUT', `${where}: more than ${LINK_LIMIT} symbolic links, probably in a circle`, { path: given })
}

/** The names of `path` below the store, which goes by its own name and by that of its files. */
function belowStore(path: string, realStore: string | undefined): string[] | undefined {
  for (const store of [STORE_DIRECTORY, realStore]) {
    if (store === undefined || (path !== store && !path.startsWith(`${store}/`))) continue
    return path
      .slice(store.length)
      .split('/')
      .filter((part) => part !== '')
  }
  return undefined
}

interface Following {
  /** Links are looked for behind that only. */
  readonly from: string | undefined
  /** What the user gave. */
  readonly where: string
  /** Links were followed already. */
  readonly isLed: boolean
}

/** The path with its first link replaced by what it says, undefined where it has none. */
function followed(path: string, { from, ...given }: Following): string | undefined {
  const start = from === undefined ? 0 : from.split('/').length
  const parts = path.split('/')
  for (let count = Math.max(start, 1) + 1; count <= parts.length; count++) {
    const prefix = parts.slice(0, count).join('/')
    const target = targetOf(prefix, given)
    if (target === undefined) continue
    return resolve(dirname(prefix), target, ...parts.slice(count))
  }
  return undefined
}

function targetOf(path: string, { where, isLed }: Omit<Following, 'from'>): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined
  } catch (cause) {
    const code = systemErrorCode(cause)
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      const what = isLed ? `leads to ${printableText(path)}, where nothing is` : 'no such file'
      throw new ImageError('NOT_FOUND', `${where}: ${what}`, { path, cause })
    }
    throw new ImageError('UNREADABLE', `${where}: cannot be followed at ${printableText(path)} (${code ?? String(cause)})`, { path, cause })
  }
}

function noStorePath(where: string, what: string): ImageError {
  return new ImageError('NOT_FOUND', `${where}: ${what}; give a store path, or a link to one such as ./result`, { path: where })
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    // The last part alone may be missing, and links before it still count.
    try {
      return join(realpathSync(dirname(path)), basename(path))
    } catch {
      return undefined
    }
  }
}
