/** Files of the store by the path a running system would use, read below a root and never outside the listing. */
import { lstatSync, readlinkSync, type Stats } from 'node:fs'
import { printable } from '../bytes/text.ts'
import { ImageError, systemErrorCode } from '../errors.ts'
import { type Closure, listedPath } from './closure.ts'
import { badInput } from './listing.ts'
import { STORE_DIRECTORY } from './store-path.ts'
import { hostStorePath } from './store-tree.ts'

export interface ResolvedPath {
  /** `/nix/store/...` with all links followed; bytes, as file names need not be UTF-8. */
  readonly path: Uint8Array
  /** Where it lies on the host. */
  readonly hostPath: Uint8Array
  readonly kind: 'file' | 'directory'
  /** Bytes of a file, 0 for a directory. */
  readonly size: number
  readonly executable: boolean
}

/** As many links as Linux follows (`include/linux/namei.h`, MAXSYMLINKS). */
const LINK_LIMIT = 40

/**
 * Follow `path`, a file or directory in the store such as `/nix/store/<base name>/bzImage`, through symbolic
 * links: absolute ones count from `root`, and every step has to stay within listed paths.
 *
 * Throws NOT_FOUND (not there, dangling, or leads to a path that is not listed or out of the store),
 * BAD_INPUT (links in a circle), UNREADABLE, UNSUPPORTED (a device, pipe or socket).
 */
export function resolveInStore(path: string | Uint8Array, closure: Closure, root: string): ResolvedPath {
  const text = Buffer.from(path).toString('latin1')
  const where = shown(text)
  const storeFolder = Buffer.from(hostStorePath(root, STORE_DIRECTORY)).toString('latin1')
  const hostOf = (parts: readonly string[]): Buffer => Buffer.from([storeFolder, ...parts].join('/'), 'latin1')
  let rest = belowStore(text, where)
  let done: string[] = []
  let links = 0
  let stats: Stats | undefined
  for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
    if (part === '' || part === '.') continue
    if (part === '..') {
      if (done.pop() === undefined) throw notFound(where, `leads out of ${STORE_DIRECTORY}`)
      stats = undefined
      continue
    }
    done.push(part)
    if (done.length === 1 && listedPath(closure, part) === undefined) {
      throw notFound(where, `leads to ${STORE_DIRECTORY}/${shown(part)}, which is not in the listing`)
    }
    stats = guarded(hostOf(done), where, (one) => lstatSync(one))
    if (stats.isSymbolicLink()) {
      if (++links > LINK_LIMIT)
        throw badInput(where, `more than ${LINK_LIMIT} symbolic links, probably in a circle, the last one ${shown(done.join('/'))}`)
      const target = guarded(hostOf(done), where, (link) => readlinkSync(link, 'latin1'))
      if (target.startsWith('/')) done = []
      else done.pop()
      rest = [...(target.startsWith('/') ? belowStore(target, where) : target.split('/')), ...rest]
      stats = undefined
    } else if (rest.length > 0 && !stats.isDirectory()) {
      throw notFound(where, `${shown(done.join('/'))} is not a directory`)
    }
  }
  if (done.length === 0) throw notFound(where, 'is the store directory itself')
  return describe(
    stats ?? guarded(hostOf(done), where, (one) => lstatSync(one)),
    Buffer.from([STORE_DIRECTORY, ...done].join('/'), 'latin1'),
    hostOf(done),
    where,
  )
}

function describe(stats: Stats, path: Uint8Array, hostPath: Uint8Array, where: string): ResolvedPath {
  const executable = (stats.mode & 0o100) !== 0
  if (stats.isFile()) return { path, hostPath, kind: 'file', size: stats.size, executable }
  if (stats.isDirectory()) return { path, hostPath, kind: 'directory', size: 0, executable }
  throw new ImageError('UNSUPPORTED', `${where}: is neither a file nor a directory`, { path: where })
}

/** The parts of an absolute path below the store directory. */
function belowStore(path: string, where: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (!path.startsWith('/') || parts[0] !== 'nix' || parts[1] !== 'store')
    throw notFound(where, `leads to ${shown(path)}, which is not below ${STORE_DIRECTORY}`)
  // A slash or dot at the end demands a directory, as the system has it.
  return [...parts.slice(2), ...(/\/\.?$/.test(path) ? [''] : [])]
}

function guarded<T>(hostPath: Buffer, where: string, call: (hostPath: Buffer) => T): T {
  try {
    return call(hostPath)
  } catch (cause) {
    const code = systemErrorCode(cause)
    if (code === 'ENOENT' || code === 'ENOTDIR') throw notFound(where, `there is no ${printable(hostPath)}`)
    throw new ImageError('UNREADABLE', `${where}: ${printable(hostPath)} cannot be read (${code ?? String(cause)})`, { path: where, cause })
  }
}

function notFound(where: string, what: string): ImageError {
  return new ImageError('NOT_FOUND', `${where}: ${what}`, { path: where })
}

function shown(path: string): string {
  return printable(Buffer.from(path, 'latin1'))
}
