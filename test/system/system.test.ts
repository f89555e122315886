/** A closure opened as a system, and its store as a tree that is checked. */
import { readFileSync, writeFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { type SmallClosure, unpackSmall } from '../../fixtures/unpack.ts'
import { imageSha256 } from '../../src/io/digest.ts'
import { checkedStore, loadClosure } from '../../src/system/store.ts'
import { openSystem, systemOf, systemText } from '../../src/system/system.ts'
import { contentExtents } from '../../src/tree/content.ts'
import type { TreeNode } from '../../src/tree/tree.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'
import { runOk } from '../oracles/tools.ts'

const scratch = scratchFolder()
let small: SmallClosure
const input = () => ({ closure: small.folder, root: small.root })

beforeAll(async () => {
  small = await unpackSmall(scratch('small'))
})

/** Reads all files in the order of the tree, as a format that lays them out so does. */
async function readAll(node: TreeNode): Promise<void> {
  if (node.kind === 'file') await imageSha256({ size: node.size, extents: contentExtents(node, 0, 'file') })
  if (node.kind === 'directory') for (const entry of node.entries) await readAll(entry.node)
}

describe('openSystem', () => {
  it('finds the toplevel, its bootspec and its texts', async () => {
    const system = await openSystem(input())
    expect(system.toplevel).toBe(small.toplevel)
    expect(system.bootspec.toplevel).toBe(small.toplevel)
    expect(await systemText(system, 'nixos-version')).toMatch(/^\d\d\.\d\d/)
    expect(await systemText(system, 'no/such/file')).toBeUndefined()
  })

  it('takes one by name, and says when it is none', async () => {
    expect((await openSystem({ ...input(), toplevel: `${small.toplevel}/` })).toplevel).toBe(small.toplevel)
    const other = small.storePaths.find((path) => path !== small.toplevel) ?? ''
    await failure(
      () => openSystem({ ...input(), toplevel: other }),
      'NOT_FOUND',
      /carries neither boot.json nor kernel-params, so it is no NixOS system/,
    )
    await failure(() => openSystem({ ...input(), toplevel: '/nix/store/none' }), 'BAD_INPUT', /toplevel/)
  })

  it('scans nothing but what it looks at where the store is not', async () => {
    const system = await systemOf(await loadClosure(input()), {})
    expect(system.toplevel).toBe(small.toplevel)
    expect(system.store.scanned).toBeUndefined()
  })
})

describe('checkedStore', () => {
  it('leaves the check to the format, or to whoever reads all in order', async () => {
    const { store } = await openSystem(input())
    const byFormat = checkedStore(store, 'byFormat')
    expect(byFormat.root).toBe(store.scanned)
    expect(byFormat.digests.map(({ name }) => name)).toEqual(store.closure.paths.map(({ path }) => path))
    const inOrder = checkedStore(store, 'inOrder')
    expect(inOrder.digests).toEqual([])
    await readAll(inOrder.root)
    const unchecked = await openSystem({ ...input(), verify: false })
    expect(checkedStore(unchecked.store, 'inOrder').root).toEqual(unchecked.store.scanned)
  })

  it('says which path is not what is listed', async () => {
    const damaged = await unpackSmall(scratch('damaged'))
    const file = `${damaged.root}${damaged.toplevel}/nixos-version`
    const { store } = await openSystem({ closure: damaged.folder, root: damaged.root, verify: true })
    runOk('chmod', ['u+w', file])
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^\d/, 'X'))
    const { root } = checkedStore(store, 'inOrder')
    const entry = root.entries.find(({ name }) => damaged.toplevel.endsWith(Buffer.from(name).toString()))
    await failure(() => readAll(entry?.node as TreeNode), 'HASH_MISMATCH', /its files hash to/)
  })
})
