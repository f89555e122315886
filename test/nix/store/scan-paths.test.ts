/** Store paths scanned in threads: the same trees as scanned here, the same errors, and no thread is left but those that are kept. */
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import type { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { isWorthThreads, type ScannedPath, type ScanPathsOptions, scanHere, scanInThreads } from '../../../src/nix/store/scan-paths.ts'
import { storeTree } from '../../../src/nix/store/store-tree.ts'
import { endKeptThreads } from '../../../src/threads/thread.ts'
import type { TreeNode } from '../../../src/tree/tree.ts'
import { makeNastyTree } from '../nasty-tree.ts'
import { failure, scratchFolder } from '../scratch.ts'

const started: Worker[] = []
vi.mock(import('node:worker_threads'), async (original) => {
  const real = await original()
  return {
    ...real,
    Worker: class extends real.Worker {
      constructor(...given: ConstructorParameters<typeof real.Worker>) {
        super(...given)
        started.push(this)
      }
    },
  }
})

afterEach(async () => {
  await endKeptThreads()
  expect(started.filter((worker) => worker.threadId !== -1)).toEqual([])
  started.length = 0
})

const OPTIONS: ScanPathsOptions = { mtimeSeconds: 1, caseHack: false, jobs: 3, signal: undefined, cancelled: 'cancelled at noon' }

type Scan = typeof scanHere

async function all(scan: Scan, paths: readonly ScannedPath[], options: Partial<ScanPathsOptions> = {}): Promise<TreeNode[]> {
  const nodes: TreeNode[] = []
  for await (const node of scan(paths, { ...OPTIONS, ...options })) nodes.push(node)
  return nodes
}

/** All that a node says, and where its bytes are. */
function described(node: TreeNode): unknown {
  if (node.kind === 'directory') return { ...node, entries: node.entries.map((entry) => [hex(entry.name), described(entry.node)]) }
  if (node.kind === 'symlink') return { ...node, target: hex(node.target) }
  if (node.kind !== 'file' || node.content.kind !== 'hostFile') throw new Error(`a scan gave ${node.kind}`)
  return { ...node, content: hex(node.content.path) }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('in threads', () => {
  const scratch = scratchFolder()
  const at = (name: string): ScannedPath => ({ path: scratch(name), narSize: 1000 })

  it('gives the same trees, in the order of the paths', async () => {
    makeNastyTree(scratch('folder'))
    writeFileSync(scratch('file'), 'x')
    chmodSync(scratch('file'), 0o755)
    symlinkSync('../elsewhere/\u00e9', scratch('link'))
    mkdirSync(scratch('empty-\u8a9e'))
    writeFileSync(scratch('empty-\u8a9e', 'f'), '')
    const names = ['link', 'folder', 'file', 'empty-\u8a9e', 'folder', ...Array.from({ length: 700 }, () => 'file')]
    const paths = names.map(at)
    const here = await all(scanHere, paths)
    expect(started).toHaveLength(0)
    for (const jobs of [1, 3]) {
      const there = await all(scanInThreads, paths, { jobs })
      expect(there.map(described)).toEqual(here.map(described))
    }
    // The first has kept its thread.
    expect(started).toHaveLength(3)
    expect(await all(scanInThreads, [])).toEqual([])
  })

  it('takes attributes and names as it is told', async () => {
    mkdirSync(scratch('hacked', 'Sub'), { recursive: true })
    for (const name of ['b', 'a~nix~case~hack~1', 'Sub/x~nix~case~hack~1', 'Sub/x']) writeFileSync(scratch('hacked', name), name)
    const options = { mtimeSeconds: 0, caseHack: true }
    await failure(() => all(scanInThreads, [at('hacked')], options), 'BAD_INPUT', /hacked\/Sub: two entries are named x once/)
    rmSync(scratch('hacked', 'Sub/x'))
    const [here, there] = [await all(scanHere, [at('hacked')], options), await all(scanInThreads, [at('hacked')], options)]
    expect(there.map(described)).toEqual(here.map(described))
    expect(there[0]).toMatchObject({
      mtimeSeconds: 0,
      entries: [{ name: new Uint8Array(Buffer.from('Sub')) }, { name: new Uint8Array(Buffer.from('a')) }, {}],
    })
  })

  it('names the first path that cannot be scanned, with the words of a scan here', async () => {
    mkdirSync(scratch('none'))
    writeFileSync(scratch('none', 'file'), '')
    const paths = [at('none'), at('gone-1'), at('none'), at('gone-2')]
    const [here, there] = await Promise.all(
      [scanHere, scanInThreads].map((scan) => failure(() => all(scan, paths), 'NOT_FOUND', /gone-1: is not there/)),
    )
    expect(there).toMatchObject({ message: here?.message, path: here?.path, code: here?.code })
  })

  it('can be cancelled, before and meanwhile', async () => {
    await failure(() => all(scanInThreads, [at('file')], { signal: AbortSignal.abort() }), 'ABORTED', /cancelled at noon/)
    const controller = new AbortController()
    const nodes = scanInThreads([at('file'), at('folder')], { ...OPTIONS, signal: controller.signal })
    await nodes.next()
    controller.abort()
    await failure(async () => nodes.next(), 'ABORTED', /cancelled at noon/)
  })

  it('is what a large store takes, by what is listed of it', async () => {
    const size = (narSize: number | undefined): { narSize: number | undefined } => ({ narSize })
    expect(isWorthThreads([size(2 ** 28 - 1), size(undefined)])).toBe(false)
    expect(isWorthThreads([size(2 ** 27), size(2 ** 27)])).toBe(true)
    const name = `${'a'.repeat(32)}-a`
    mkdirSync(scratch('root/nix/store', name), { recursive: true })
    writeFileSync(scratch('root/nix/store', name, 'f'), 'x')
    const listing = scratch('listing')
    writeFileSync(listing, `/nix/store/${name}\n${'0'.repeat(64)}\n${2 ** 28}\n\n0\n`)
    const closure = await readClosure(listing)
    const tree = await storeTree(closure, { root: scratch('root'), jobs: 2 })
    expect(started).toHaveLength(1)
    expect(tree.entries.map((entry) => described(entry.node))).toEqual((await all(scanHere, [at(`root/nix/store/${name}`)])).map(described))
    await failure(() => storeTree(closure, { root: scratch('root'), jobs: 0 }), 'USAGE', /jobs is 0/)
  })
})
