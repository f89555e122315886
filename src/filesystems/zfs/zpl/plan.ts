/** A tree as the objects of one file system: numbered, counted and checked. No content is read. */
import { printable } from '../../../bytes/text.ts'
import { ImageError } from '../../../errors.ts'
import { entryNameProblem, type Problem } from '../../../tree/limits.ts'
import { type DirectoryNode, type Entry, sortedEntries, type TreeNode } from '../../../tree/tree.ts'
import { layoutKey, placeAttributes } from './attributes.ts'
import { nodeProblem } from './limits.ts'
import { type NameRules, rulesProblem, uniqueForm } from './name-rules.ts'

/** Objects that every file system has; the first number is fixed, the others are found through it. */
export const SYSTEM_OBJECT = { masterNode: 1, attributeMaster: 2, deleteQueue: 3, registration: 4, layouts: 5, root: 6 } as const

/** Layouts are numbered from here on (OpenZFS `module/zfs/sa.c`: 0 and 1 mean older forms). */
export const FIRST_LAYOUT = 2

export interface PlannedNode {
  readonly node: TreeNode
  /** Of the one directory, or the first of several. */
  readonly parent: number
  links: number
  /** Where it stands first, for errors. */
  readonly path: string
  /** Of a directory: sorted entries, and their objects. */
  readonly entries?: readonly Entry[]
  readonly children?: Float64Array
}

export interface FileSystemPlan {
  /** From the root on, in the order of their numbers: depth first, by name. */
  readonly nodes: readonly PlannedNode[]
  /** Numbers of layouts by `layoutKey`. */
  readonly layouts: ReadonlyMap<string, number>
  readonly hasProjects: boolean
  readonly names: NameRules
}

export interface FileSystemRules {
  /** Whether files and directories have a project. */
  readonly hasProjects: boolean
  readonly names: NameRules
}

interface Frame {
  readonly object: number
  readonly path: string
  readonly entries: readonly Entry[]
  readonly children: Float64Array
  next: number
}

/** Throws USAGE, LIMIT or UNSUPPORTED with the path in the tree. */
export function planFileSystem(root: DirectoryNode, { hasProjects, names }: FileSystemRules): FileSystemPlan {
  const nodes: PlannedNode[] = []
  const known = new Map<TreeNode, number>()
  const layouts = new Map<string, number>()
  const stack: Frame[] = []
  const plainKinds = new Set<TreeNode['kind']>()
  const noteLayouts = (node: TreeNode): void => {
    // All nodes of a kind have the same layout, but for those with something of variable size.
    const isPlain = node.kind !== 'symlink' && (node.xattrs ?? []).length === 0
    if (isPlain && plainKinds.has(node.kind)) return
    if (isPlain) plainKinds.add(node.kind)
    const placed = placeAttributes(node, { size: 0, parent: 0, links: 0, generation: 0, hasProjects })
    for (const attributes of [placed.bonus, placed.spill]) {
      const key = layoutKey(attributes)
      if (attributes.length > 0 && !layouts.has(key)) layouts.set(key, FIRST_LAYOUT + layouts.size)
    }
  }
  const add = (node: TreeNode, parent: number, path: string): number => {
    const problem = nodeProblem(node)
    if (problem !== undefined) fail(path, problem)
    const object = SYSTEM_OBJECT.root + nodes.length
    known.set(node, object)
    if (node.kind === 'directory') {
      const entries = checkedEntries(node, path, names)
      const children = new Float64Array(entries.length)
      const links = 2 + entries.filter((entry) => entry.node.kind === 'directory').length
      nodes.push({ node, parent: parent === 0 ? object : parent, links, path, entries, children })
      stack.push({ object, path, entries, children, next: 0 })
    } else nodes.push({ node, parent, links: 1, path })
    noteLayouts(node)
    return object
  }
  add(root, 0, '/')
  for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
    const index = frame.next++
    const entry = frame.entries[index]
    if (entry === undefined) {
      stack.pop()
      continue
    }
    const path = `${frame.path === '/' ? '' : frame.path}/${printable(entry.name)}`
    const before = known.get(entry.node)
    if (before !== undefined && entry.node.kind === 'directory') {
      fail(path, { code: 'USAGE', message: 'the directory stands in the tree twice; only other nodes can be hard links' })
    }
    const twin = before === undefined ? undefined : nodes[before - SYSTEM_OBJECT.root]
    if (twin !== undefined) twin.links++
    frame.children[index] = before ?? add(entry.node, frame.object, path)
  }
  return { nodes, layouts, hasProjects, names }
}

function checkedEntries(directory: DirectoryNode, path: string, rules: NameRules): readonly Entry[] {
  const entries = sortedEntries(directory)
  const place = (name: Uint8Array): string => `${path === '/' ? '' : path}/${printable(name)}`
  for (const [index, { name }] of entries.entries()) {
    const problem = entryNameProblem(name, entries[index - 1]?.name) ?? rulesProblem(name, rules)
    if (problem !== undefined) fail(place(name), problem)
  }
  if (rules.normalization === 0 && rules.caseSensitivity === 0) return entries
  const known = new Map<string, Uint8Array>()
  for (const { name } of entries) {
    const form = Buffer.from(uniqueForm(name, rules)).toString('hex')
    const twin = known.get(form)
    if (twin !== undefined) {
      fail(place(name), { code: 'USAGE', message: `to its dataset the name is the same as '${printable(twin)}'; rename one of them` })
    }
    known.set(form, name)
  }
  return entries
}

function fail(path: string, { code, message }: Problem): never {
  throw new ImageError(code, `zfs: ${path}: ${message}`, { path })
}
