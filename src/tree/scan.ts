/**
 * A folder, file or link of the host as a tree. Names are bytes; entries come out sorted, so the order of
 * `readdir` does not show.
 *
 * Not supported: devices, pipes and sockets; extended attributes and access control lists are left out.
 *
 * Calls are synchronous: for some ten thousand small system calls that is several times faster than a
 * promise each. Host paths are kept as byte strings (one character a byte, latin1), which cost half of a
 * Buffer and sort by bytes.
 */
import { lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs'
import { printable } from '../bytes/text.ts'
import { ImageError, systemErrorCode } from '../errors.ts'
import { undoCaseHack } from './case-hack.ts'
import { TREE_DEPTH_LIMIT, tooDeep } from './depth.ts'
import { HostContent, HostEntry, type HostPlace, placeOf, small } from './host-content.ts'
import type { Attributes, DirectoryNode, Entry, FileNode, TreeNode } from './tree.ts'

export interface ScanPolicy {
  /**
   * What the node carries, from what the host says of the file. Called once a node, so it may return the same object each
   * time. `path` is a byte string, one character a byte.
   */
  readonly attributes: (kind: 'file' | 'directory' | 'symlink', host: Attributes, path: string) => Attributes
  /**
   * Undo what Nix does on file systems that ignore case (`use-case-hack`): cut names at
   * `~nix~case~hack~`. Off by default.
   */
  readonly caseHack?: boolean
  /** Paths that are one file of the host become one node. Off by default: each path is a node of its own. */
  readonly hardLinks?: boolean
}

/** Owner, group, mode and time as the host has them. */
export const HOST_ATTRIBUTES: ScanPolicy = { attributes: (_kind, host) => host }

/**
 * Scan `path` (bytes, or text in UTF-8). Throws NOT_FOUND if there is nothing, UNREADABLE, UNSUPPORTED (a
 * device, pipe or socket), CHANGED (something vanished meanwhile), BAD_INPUT (two names become one by the
 * case hack), LIMIT (folders in folders beyond `TREE_DEPTH_LIMIT`).
 */
export function scanHost(path: Uint8Array | string, policy: ScanPolicy): TreeNode {
  const text = Buffer.from(path).toString('latin1')
  const stats = guarded(text, 'NOT_FOUND', () => lstatSync(hostPath(text)))
  return scanNode(text, stats, { ...policy, root: text, linked: policy.hardLinks === true ? new Map() : undefined })
}

interface Scan extends ScanPolicy {
  /** What is scanned. */
  readonly root: string
  /** Files with several names, by device and inode; undefined where hard links are not looked at. */
  readonly linked: Map<string, FileNode> | undefined
}

/** Bytes of a path that is too long for a message, from the root of the scan on. */
const SHOWN_LENGTH = 80

function scanNode(path: string, stats: Stats, policy: Scan, place?: HostPlace, level = 0): TreeNode {
  const host: Attributes = { mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid, mtimeSeconds: Math.floor(stats.mtimeMs / 1000) }
  if (stats.isFile()) {
    return scanFile(path, stats, policy, policy.attributes('file', host, path), place ?? placeOf(Buffer.from(path, 'latin1')))
  }
  if (stats.isDirectory()) {
    return { kind: 'directory', ...policy.attributes('directory', host, path), entries: scanEntries(path, policy, level) }
  }
  if (stats.isSymbolicLink()) {
    const target = guarded(path, 'CHANGED', () => readlinkSync(hostPath(path), 'latin1'))
    return { kind: 'symlink', ...policy.attributes('symlink', host, path), target: Buffer.from(target, 'latin1') }
  }
  const kind = stats.isFIFO() ? 'a pipe' : stats.isSocket() ? 'a socket' : 'a device'
  throw new ImageError('UNSUPPORTED', `${shown(path)}: is ${kind}; only files, directories and symbolic links can be taken from the host`, {
    path: shown(path),
  })
}

function scanFile(path: string, stats: Stats, { linked }: Scan, attributes: Attributes, place: HostPlace): FileNode {
  const { mode, uid, gid, mtimeSeconds } = attributes
  const size = small(stats.size)
  const node: FileNode = { kind: 'file', mode, uid, gid, mtimeSeconds: small(mtimeSeconds), size, content: new HostContent(place) }
  if (linked === undefined || stats.nlink < 2) return node
  // As numbers, two inodes beyond 2^53 might look the same.
  const { dev, ino } = guarded(path, 'CHANGED', () => lstatSync(hostPath(path), { bigint: true }))
  const key = `${dev}:${ino}`
  const first = linked.get(key)
  if (first === undefined) linked.set(key, node)
  return first ?? node
}

function scanEntries(path: string, policy: Scan, level: number): DirectoryNode['entries'] {
  if (level > TREE_DEPTH_LIMIT) throw tooDeep(`${shown(path.slice(0, policy.root.length + SHOWN_LENGTH))}...`)
  const names = guarded(path, 'CHANGED', () => readdirSync(hostPath(path), 'latin1')).sort(compareByteStrings)
  const folder = Buffer.from(`${path}/`, 'latin1')
  const bytes = new Uint8Array(Buffer.from(names.join(''), 'latin1'))
  const entries: Entry[] = new Array(names.length)
  let start = 0
  for (const [index, text] of names.entries()) {
    const entry = new HostEntry(folder, bytes, start, start + text.length)
    start += text.length
    const child = `${path}/${text}`
    const stats = guarded(child, 'CHANGED', () => lstatSync(hostPath(child)))
    entry.node = scanNode(child, stats, policy, entry, level + 1)
    entries[index] = entry
  }
  return policy.caseHack === true ? undoCaseHack(entries, shown(path)) : entries
}

/** Run a system call on `path`; `missing` is the code if nothing is there. */
function guarded<T>(path: string, missing: 'NOT_FOUND' | 'CHANGED', call: () => T): T {
  try {
    return call()
  } catch (cause) {
    const where = shown(path)
    const code = systemErrorCode(cause)
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      const what = missing === 'CHANGED' ? 'vanished while its folder was listed' : 'is not there'
      throw new ImageError(missing, `${where}: ${what}`, { path: where, cause })
    }
    const remedy = code === 'ENAMETOOLONG' ? '; the system takes no longer path, reach the folder by a shorter one' : ''
    throw new ImageError('UNREADABLE', `${where}: cannot be read (${code ?? String(cause)})${remedy}`, { path: where, cause })
  }
}

/** A byte string as the system calls take it: text where UTF-8 says the same, which Node handles fastest. */
function hostPath(path: string): string | Buffer {
  return /[\u0080-\u00ff]/.test(path) ? Buffer.from(path, 'latin1') : path
}

function compareByteStrings(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function shown(path: string): string {
  return printable(Buffer.from(path, 'latin1'))
}
