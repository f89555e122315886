/** Store paths that take the place of others in tests: copies of them, with a change or none. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Closure } from '../../src/nix/listing/closure.ts'
import { formatPathInfo } from '../../src/nix/listing/path-info.ts'
import { readClosure } from '../../src/nix/listing/read.ts'
import type { Replacement } from '../../src/nix/rewrite/replace.ts'
import { contentAddressed } from '../../src/nix/store/content-address.ts'
import { hostStorePath } from '../../src/nix/store/listed-tree.ts'
import { storePolicy } from '../../src/nix/store/store-policy.ts'
import { writeTree } from '../../src/tree/host-write.ts'
import { scanHost } from '../../src/tree/scan.ts'
import type { TreeNode } from '../../src/tree/tree.ts'

export interface Twin extends Replacement {
  /** For `--closure`: the closure with the twin. */
  readonly listing: string
  /** Of the command line: `OLD=NEW`. */
  readonly pair: string
}

/** A copy by its content of the path of `name` in the closure `listing`, changed by `change`, put into the store below `root`. */
export async function addTwin(
  { listing, root, into }: { readonly listing: string; readonly root: string; readonly into: string },
  name: string,
  change: (tree: TreeNode) => TreeNode = (tree) => tree,
): Promise<Twin> {
  const closure = await readClosure(listing)
  const old = closure.paths.find(({ baseName }) => baseName.slice(33) === name)
  if (old === undefined) throw new Error(`${listing}: no ${name}`)
  const { tree, ...made } = await contentAddressed({
    name,
    tree: change(scanHost(hostStorePath(root, old.path), storePolicy())),
    references: old.references.filter((path) => path !== old.path),
    selfReference: old.baseName,
  })
  if (made.path === old.path) throw new Error(`${old.path} is a copy of itself`)
  await writeTree(tree, hostStorePath(root, made.path))
  const paths = [...closure.paths, made].sort((a, b) => (a.baseName < b.baseName ? -1 : 1))
  const file = join(into, `with-${name}.json`)
  writeFileSync(file, formatPathInfo({ ...closure, paths } satisfies Closure))
  return { listing: file, oldPath: old.path, newPath: made.path, pair: `${old.path}=${made.path}` }
}
