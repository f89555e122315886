/** One directory tree spread over the datasets by their places. */
import { utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { DirectoryNode, Entry } from '../../tree/tree.ts'
import type { DatasetSpec } from './datasets.ts'

/** A directory that may still lose and get entries. */
interface Draft {
  readonly own: DirectoryNode
  readonly entries: Map<string, Entry>
}

/**
 * The tree of each dataset, in the order of the list: what lies below its place and is in no other; a directory
 * without entries stands where another is mounted. Throws USAGE when parts of the tree are in no dataset.
 */
export function spreadTree(root: DirectoryNode, datasets: readonly DatasetSpec[]): DirectoryNode[] {
  const { uid, gid, mtimeSeconds } = root
  const empty: DirectoryNode = { kind: 'directory', mode: 0o755, uid, gid, mtimeSeconds, entries: [] }
  const trees = datasets.map(() => empty)
  const mounted = datasets.flatMap(({ mount, name }, index) => (mount === undefined ? [] : [{ mount, name, index }]))
  const twin = mounted.find(({ mount }, at) => mounted.findIndex((other) => other.mount === mount) !== at)
  if (twin !== undefined)
    throw new ImageError(
      'USAGE',
      `zfs: ${twin.name}: another dataset is for ${twin.mount} too; give one of them canmount=off or mountpoint=none`,
    )
  // The deepest first, so that what remains above is what the others get.
  mounted.sort((a, b) => b.mount.length - a.mount.length)
  let rest = root
  for (const { mount, index, name } of mounted) {
    const names = mount.split('/').filter((part) => part !== '')
    const taken = take(rest, names, empty, name)
    trees[index] = taken.taken
    rest = taken.rest
  }
  if (!mounted.some(({ mount }) => mount === '/') && hasContent(rest)) {
    throw new ImageError('USAGE', 'zfs: a part of the tree is in no dataset; give one of them the mount point /')
  }
  return trees
}

function take(
  tree: DirectoryNode,
  names: readonly string[],
  empty: DirectoryNode,
  dataset: string,
): { taken: DirectoryNode; rest: DirectoryNode } {
  const [name, ...below] = names
  if (name === undefined) return { taken: tree, rest: { ...tree, entries: [] } }
  const draft: Draft = { own: tree, entries: new Map(tree.entries.map((entry) => [Buffer.from(entry.name).toString('hex'), entry])) }
  const bytes = utf8(name)
  const key = Buffer.from(bytes).toString('hex')
  const child = draft.entries.get(key)?.node ?? empty
  if (child.kind !== 'directory') throw new ImageError('USAGE', `zfs: ${dataset}: '${name}' in its mount point is a ${child.kind}`)
  const { taken, rest } = take(child, below, empty, dataset)
  draft.entries.set(key, { name: bytes, node: rest })
  return { taken, rest: { ...tree, entries: [...draft.entries.values()] } }
}

function hasContent(tree: DirectoryNode): boolean {
  return tree.entries.some(({ node }) => node.kind !== 'directory' || hasContent(node))
}
