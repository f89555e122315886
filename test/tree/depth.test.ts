/** Folders in folders: as deep as is allowed on half of the smallest stack, and no deeper anywhere. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { TREE_DEPTH_LIMIT } from '../../src/tree/depth.ts'
import { writeTree } from '../../src/tree/host-write.ts'
import { treeAt } from '../../src/tree/merge.ts'
import { HOST_ATTRIBUTES, scanHost } from '../../src/tree/scan.ts'
import { errorLine, kilnix } from '../faults/support.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'
import { runOk } from '../oracles/tools.ts'
import { deepTree, WALKERS } from './deep-trees.ts'

/** KiB; Node's own is 984, and threads have more. */
const HALF_STACK = 492

describe('depth of trees', () => {
  const scratch = scratchFolder()

  it('is no matter up to the limit, in the process and in threads', { timeout: 120_000 }, () => {
    const script = join(import.meta.dirname, 'deep-trees.ts')
    const { text } = runOk(process.execPath, [`--stack-size=${HALF_STACK}`, script])
    const expected = ['in the process', 'in a thread'].flatMap((where) => Object.keys(WALKERS).map((name) => `${name} ${where}`))
    expect(text.trimEnd().split('\n')).toEqual(expected)
  })

  // Squashfs keeps a stack of its own.
  const LIMITED = Object.keys(WALKERS).filter((name) => name !== 'squashfs')

  it.each(LIMITED)('is refused beyond: %s', async (name) => {
    for (const levels of [TREE_DEPTH_LIMIT + 1, 20_000]) {
      await failure(() => WALKERS[name]?.(deepTree(levels)), 'LIMIT', /^\/a(\/a){7}\/\.\.\.: folders nest deeper than 512 levels/)
    }
  })

  it('is no matter at all to squashfs', async () => {
    await WALKERS.squashfs?.(deepTree(20_000))
  })

  it('is refused in circles', async () => {
    const tree = deepTree(1)
    const entries = [...tree.entries]
    const circle = { ...tree, entries }
    entries.push({ name: Buffer.from('again'), node: circle })
    for (const name of LIMITED) await failure(() => WALKERS[name]?.(circle), 'LIMIT', /folders nest deeper/)
    await failure(() => WALKERS.squashfs?.(circle), 'USAGE', /stands in the tree twice/)
  })

  it('is refused in the path of what is added', async () => {
    const path = Array(100_000).fill('x').join('/')
    await failure(async () => treeAt(path, deepTree(0), deepTree(0)), 'LIMIT', /^\/x(\/x){7}\/\.\.\.: folders nest deeper/)
  })

  it('is refused on the host, by commands too', { timeout: 60_000 }, async () => {
    const path = scratch('deep')
    await writeTree(deepTree(TREE_DEPTH_LIMIT), path)
    scanHost(path, HOST_ATTRIBUTES)
    mkdirSync(join(path, ...Array(TREE_DEPTH_LIMIT).fill('a'), 'b'))
    await failure(async () => scanHost(path, HOST_ATTRIBUTES), 'LIMIT', /deep(\/a)+.*\.\.\.: folders nest deeper than 512 levels/)
    mkdirSync(join(path, ...Array(1900).fill('b')), { recursive: true })
    for (const args of [
      ['nar', 'dump', path],
      ['nar', 'hash', path],
      ['initrd', '--add', `/x=${path}`, '-o', '-'],
    ]) {
      const { status, stdout, stderr } = await kilnix(args)
      expect(stderr).toMatch(
        errorLine('LIMIT', 'folders nest deeper than 512 levels, the limit for trees; move what is in them up, or leave it out'),
      )
      expect({ status, size: stdout.length }).toEqual({ status: 1, size: 0 })
    }
  })
})
