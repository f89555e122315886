/** Files of the store by the path a running system would use, and never outside the listing. */
import { printable } from '../../bytes/text.ts'
import { badInput, ImageError } from '../../errors.ts'
import type { Content, TreeNode } from '../../tree/tree.ts'
import { listedPath } from '../listing/closure.ts'
import { STORE_DIRECTORY } from './store-path.ts'
import type { StoreTrees } from './store-trees.ts'

export interface ResolvedPath {
  /** `/nix/store/...` with all links followed; bytes, as file names need not be UTF-8. */
  readonly path: Uint8Array
  readonly kind: 'file' | 'directory'
  /** Bytes of a file, 0 for a directory. */
  readonly size: number
  readonly executable: boolean
  /** Of a file. */
  readonly content: Content | undefined
}

/** As many links as Linux follows (`include/linux/namei.h`, MAXSYMLINKS). */
const LINK_LIMIT = 40

/**
 * Follow `path`, a file or directory in the store such as `/nix/store/<base name>/bzImage`, through symbolic
 * links: absolute ones count from the root, and every step has to stay within listed paths.
 *
 * Throws NOT_FOUND (not there, dangling, or leads to a path that is not listed or out of the store),
 * BAD_INPUT (links in a circle), UNSUPPORTED (a device, pipe or socket), and what the trees throw: all that is
 * walked through is proven.
 */
export async function resolveInStore(path: string | Uint8Array, trees: StoreTrees): Promise<ResolvedPath> {
  const text = Buffer.from(path).toString('latin1')
  const where = shown(text)
  let rest = belowStore(text, where)
  let done: string[] = []
  let links = 0
  let node: TreeNode | undefined
  for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
    if (part === '' || part === '.') continue
    if (part === '..') {
      if (done.pop() === undefined) throw notFound(where, `leads out of ${STORE_DIRECTORY}`)
      node = undefined
      continue
    }
    done.push(part)
    node = await nodeAt(done, trees, where)
    if (node.kind === 'symlink') {
      if (++links > LINK_LIMIT)
        throw badInput(where, `more than ${LINK_LIMIT} symbolic links, probably in a circle, the last one ${shown(done.join('/'))}`)
      const target = Buffer.from(node.target).toString('latin1')
      if (target.startsWith('/')) done = []
      else done.pop()
      rest = [...(target.startsWith('/') ? belowStore(target, where) : target.split('/')), ...rest]
      node = undefined
    } else if (rest.length > 0 && node.kind !== 'directory') {
      throw notFound(where, `${shown(done.join('/'))} is not a directory`)
    }
  }
  if (done.length === 0) throw notFound(where, 'is the store directory itself')
  const found = node ?? (await nodeAt(done, trees, where))
  const executable = (found.mode & 0o100) !== 0
  const own = { path: Buffer.from([STORE_DIRECTORY, ...done].join('/'), 'latin1'), executable }
  if (found.kind === 'directory') return { ...own, kind: 'directory', size: 0, content: undefined }
  if (found.kind === 'file') return { ...own, kind: 'file', size: found.size, content: found.content }
  throw new ImageError('UNSUPPORTED', `${where}: is neither a file nor a directory`, { path: where })
}

/** The node at the names of a path below the store directory (bytes as latin1), of which all but the last are folders. */
async function nodeAt(names: readonly string[], trees: StoreTrees, where: string): Promise<TreeNode> {
  const [baseName = '', ...inner] = names
  if (listedPath(trees.closure, baseName) === undefined)
    throw notFound(where, `leads to ${STORE_DIRECTORY}/${shown(baseName)}, which is not in the listing`)
  let node: TreeNode | undefined = await treeOf(baseName, trees, where)
  for (const name of inner) {
    const bytes = Buffer.from(name, 'latin1')
    node = node?.kind === 'directory' ? node.entries.find((entry) => bytes.equals(entry.name))?.node : undefined
  }
  if (node === undefined) throw notFound(where, `there is no ${STORE_DIRECTORY}/${shown(names.join('/'))}`)
  return node
}

async function treeOf(baseName: string, trees: StoreTrees, where: string): Promise<TreeNode> {
  try {
    return await trees.tree(baseName)
  } catch (error) {
    if (error instanceof ImageError && error.code === 'NOT_FOUND') throw notFound(where, `there is no ${error.path ?? baseName}`)
    throw error
  }
}

/** The parts of an absolute path below the store directory. */
function belowStore(path: string, where: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (!path.startsWith('/') || parts[0] !== 'nix' || parts[1] !== 'store')
    throw notFound(where, `leads to ${shown(path)}, which is not below ${STORE_DIRECTORY}`)
  // A slash or dot at the end demands a directory, as the system has it.
  return [...parts.slice(2), ...(/\/\.?$/.test(path) ? [''] : [])]
}

function notFound(where: string, what: string): ImageError {
  return new ImageError('NOT_FOUND', `${where}: ${what}`, { path: where })
}

function shown(path: string): string {
  return printable(Buffer.from(path, 'latin1'))
}
