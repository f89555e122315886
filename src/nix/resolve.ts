/** Files of the store by the path a running system would use, and never outside the listing. */
import { lstatSync, readlinkSync, type Stats } from 'node:fs'
import { printable } from '../bytes/text.ts'
import { ImageError, systemErrorCode } from '../errors.ts'
import type { Content, TreeNode } from '../tree/tree.ts'
import { type Closure, listedPath } from './closure.ts'
import { badInput } from './listing.ts'
import { STORE_DIRECTORY } from './store-path.ts'
import { hostStorePath, type StoreFiles, storeFiles } from './store-tree.ts'

export interface ResolvedPath {
  /** `/nix/store/...` with all links followed; bytes, as file names need not be UTF-8. */
  readonly path: Uint8Array
  readonly kind: 'file' | 'directory'
  /** Bytes of a file, 0 for a directory. */
  readonly size: number
  readonly executable: boolean
  /** Of a file. */
  readonly content: Content | undefined
  /** Where it lies on the host, unless it is in the overlay. */
  readonly hostPath: Uint8Array | undefined
}

/** As many links as Linux follows (`include/linux/namei.h`, MAXSYMLINKS). */
const LINK_LIMIT = 40

/**
 * Follow `path`, a file or directory in the store such as `/nix/store/<base name>/bzImage`, through symbolic
 * links: absolute ones count from the root, and every step has to stay within listed paths.
 *
 * Throws NOT_FOUND (not there, dangling, or leads to a path that is not listed or out of the store),
 * BAD_INPUT (links in a circle), UNREADABLE, UNSUPPORTED (a device, pipe or socket).
 */
export function resolveInStore(path: string | Uint8Array, closure: Closure, files: StoreFiles): ResolvedPath {
  const text = Buffer.from(path).toString('latin1')
  const where = shown(text)
  const look = viewOf(files, where)
  let rest = belowStore(text, where)
  let done: string[] = []
  let links = 0
  let seen: Seen | undefined
  for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
    if (part === '' || part === '.') continue
    if (part === '..') {
      if (done.pop() === undefined) throw notFound(where, `leads out of ${STORE_DIRECTORY}`)
      seen = undefined
      continue
    }
    done.push(part)
    if (done.length === 1 && listedPath(closure, part) === undefined) {
      throw notFound(where, `leads to ${STORE_DIRECTORY}/${shown(part)}, which is not in the listing`)
    }
    seen = look(done)
    if (seen.kind === 'link') {
      if (++links > LINK_LIMIT)
        throw badInput(where, `more than ${LINK_LIMIT} symbolic links, probably in a circle, the last one ${shown(done.join('/'))}`)
      const { target } = seen
      if (target.startsWith('/')) done = []
      else done.pop()
      rest = [...(target.startsWith('/') ? belowStore(target, where) : target.split('/')), ...rest]
      seen = undefined
    } else if (rest.length > 0 && seen.kind !== 'directory') {
      throw notFound(where, `${shown(done.join('/'))} is not a directory`)
    }
  }
  if (done.length === 0) throw notFound(where, 'is the store directory itself')
  const found = seen ?? look(done)
  if (found.kind === 'other' || found.kind === 'link')
    throw new ImageError('UNSUPPORTED', `${where}: is neither a file nor a directory`, { path: where })
  const { kind, hostPath } = found
  const file = found.kind === 'file' ? found : { size: 0, executable: found.executable, content: undefined }
  const { size, executable, content } = file
  return { path: Buffer.from([STORE_DIRECTORY, ...done].join('/'), 'latin1'), kind, size, executable, content, hostPath }
}

/** What is found at a place of the store. */
type Seen =
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'directory'; readonly executable: boolean; readonly hostPath: Uint8Array | undefined }
  | {
      readonly kind: 'file'
      readonly size: number
      readonly executable: boolean
      readonly content: Content
      readonly hostPath: Uint8Array | undefined
    }
  | { readonly kind: 'other' }

/** Looks at the names of a path below the store directory (bytes as latin1), of which all but the last are folders. */
function viewOf(files: StoreFiles, where: string): (names: readonly string[]) => Seen {
  const { root, overlay } = storeFiles(files)
  const storeFolder = Buffer.from(hostStorePath(root, STORE_DIRECTORY)).toString('latin1')
  return (names) => {
    const node = overlay.get(names[0] ?? '')
    if (node !== undefined) return inOverlay(node, names, where)
    return onHost(Buffer.from([storeFolder, ...names].join('/'), 'latin1'), where)
  }
}

function onHost(hostPath: Buffer, where: string): Seen {
  const stats: Stats = guarded(hostPath, where, (path) => lstatSync(path))
  const executable = (stats.mode & 0o100) !== 0
  if (stats.isSymbolicLink()) return { kind: 'link', target: guarded(hostPath, where, (link) => readlinkSync(link, 'latin1')) }
  if (stats.isDirectory()) return { kind: 'directory', executable, hostPath }
  if (stats.isFile()) return { kind: 'file', size: stats.size, executable, content: { kind: 'hostFile', path: hostPath }, hostPath }
  return { kind: 'other' }
}

function inOverlay(top: TreeNode, names: readonly string[], where: string): Seen {
  let node: TreeNode | undefined = top
  for (const name of names.slice(1)) {
    const bytes = Buffer.from(name, 'latin1')
    node = node?.kind === 'directory' ? node.entries.find((entry) => bytes.equals(entry.name))?.node : undefined
  }
  if (node === undefined) throw notFound(where, `there is no ${STORE_DIRECTORY}/${shown(names.join('/'))}`)
  const executable = (node.mode & 0o100) !== 0
  if (node.kind === 'symlink') return { kind: 'link', target: Buffer.from(node.target).toString('latin1') }
  if (node.kind === 'directory') return { kind: 'directory', executable, hostPath: undefined }
  if (node.kind === 'file') return { kind: 'file', size: node.size, executable, content: node.content, hostPath: undefined }
  return { kind: 'other' }
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
