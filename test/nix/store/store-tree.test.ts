import { chmodSync, linkSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Closure } from '../../../src/nix/listing/closure.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { rebuildRegistration } from '../../../src/nix/listing/rebuild.ts'
import { storeTree } from '../../../src/nix/store/store-tree.ts'
import type { TreeNode } from '../../../src/tree/tree.ts'
import { treeTotals } from '../../tree/totals.ts'
import { makeNastyTree } from '../nasty-tree.ts'
import { failure, scratchFolder } from '../scratch.ts'

const base = (letter: string): string => `${letter.repeat(32)}-${letter}`

function listOf(...letters: readonly string[]): Promise<Closure> {
  const text = letters.map((letter) => `/nix/store/${base(letter)}\n`).join('')
  return readClosure('-', {
    stdin: (async function* () {
      yield Buffer.from(text)
    })(),
  })
}

describe('storeTree', () => {
  const scratch = scratchFolder()
  const store = (root: string, ...parts: string[]): string => scratch(root, 'nix/store', ...parts)

  it('has the listed paths and nothing else, as Nix would have left them', async () => {
    mkdirSync(store('root'), { recursive: true })
    makeNastyTree(store('root', base('b')))
    writeFileSync(store('root', base('a')), 'x')
    chmodSync(store('root', base('a')), 0o754)
    symlinkSync('../b', store('root', base('c')))
    writeFileSync(store('root', base('d')), 'not listed')
    linkSync(store('root', base('a')), store('root', '.links'))
    const tree = await storeTree(await listOf('c', 'a', 'b'), { root: scratch('root/') })
    expect(tree).toMatchObject({ kind: 'directory', mode: 0o555, uid: 0, gid: 0, mtimeSeconds: 1 })
    expect(tree.entries.map((entry) => Buffer.from(entry.name).toString())).toEqual([base('a'), base('b'), base('c')])
    const check = (node: TreeNode): void => {
      const mode = node.kind === 'symlink' ? [0o777] : node.kind === 'file' ? [0o444, 0o555] : [0o555]
      expect(mode).toContain(node.mode)
      expect([node.uid, node.gid, node.mtimeSeconds, node.xattrs]).toEqual([0, 0, 1, undefined])
      if (node.kind === 'directory') for (const entry of node.entries) check(entry.node)
    }
    check(tree)
    expect(tree.entries[0]?.node.mode).toBe(0o555)
    expect(treeTotals(tree).files).toBeGreaterThan(50)
    expect((await storeTree(await listOf('a'), { root: scratch('root'), mtimeSeconds: 0 })).entries[0]?.node.mtimeSeconds).toBe(0)
  })

  it('takes the execute bit of the owner alone', async () => {
    mkdirSync(store('bits', base('a')), { recursive: true })
    const modes = [0o000, 0o001, 0o010, 0o100, 0o444, 0o644, 0o755, 0o677, 0o4711]
    for (const mode of modes) {
      writeFileSync(store('bits', base('a'), mode.toString(8)), '')
      chmodSync(store('bits', base('a'), mode.toString(8)), mode)
    }
    const [entry] = (await storeTree(await listOf('a'), { root: scratch('bits') })).entries
    const found = entry?.node.kind === 'directory' ? entry.node.entries : []
    expect(found).toHaveLength(modes.length)
    for (const { name, node } of found)
      expect(node.mode, Buffer.from(name).toString()).toBe((Number.parseInt(Buffer.from(name).toString(), 8) & 0o100) === 0 ? 0o444 : 0o555)
  })

  it('counts all missing paths and names the first ten, before it looks at any other', async () => {
    mkdirSync(store('few'), { recursive: true })
    const letters = [...'0123456789abcdf']
    writeFileSync(store('few', base('3')), '')
    const error = await failure(
      async () => storeTree(await listOf(...letters), { root: scratch('few') }),
      'NOT_FOUND',
      /^14 of 15 listed paths are not below .*few/,
    )
    expect(error.message).toContain('and 4 more')
    expect(error.message.split('\n').filter((line) => line.includes('/nix/store/'))).toHaveLength(10)
    await failure(async () => storeTree(await listOf('a'), { root: scratch('no-such-root') }), 'NOT_FOUND', /1 of 1/)
  })

  it('can be cancelled', async () => {
    mkdirSync(store('few'), { recursive: true })
    writeFileSync(store('few', base('3')), '')
    await failure(async () => storeTree(await listOf('3'), { root: scratch('few'), signal: AbortSignal.abort() }), 'ABORTED', /cancelled/)
  })
})

describe('rebuildRegistration', () => {
  const scratch = scratchFolder()
  const store = (...parts: string[]): string => scratch('nix/store', ...parts)

  it('finds references in contents, names and link targets, also across its buffer', async () => {
    mkdirSync(store(), { recursive: true })
    const hash = (letter: string): string => letter.repeat(32)
    for (const letter of 'bcdf') writeFileSync(store(base(letter)), letter)
    mkdirSync(store(base('a')))
    // The framing before the content of the only file is shorter than 1 KiB; the hash part of c crosses each of 300 offsets around 1 MiB.
    writeFileSync(
      store(base('a'), 'content'),
      Buffer.concat([Buffer.alloc(2 ** 20 - 700, '.'), Buffer.from(Array.from({ length: 18 }, () => `${hash('c')}.`).join(''))]),
    )
    symlinkSync(`/nix/store/${base('b')}/x`, store(base('a'), 'link'))
    writeFileSync(store(base('a'), `name-${hash('d')}`), '')
    const closure = await listOf('a', 'b', 'c', 'd', 'f')
    const tree = await storeTree(closure, { root: scratch() })
    const done: number[] = []
    const rebuilt = await rebuildRegistration(closure, tree, { onBytes: (bytes) => done.push(bytes) })
    expect(rebuilt).toMatchObject({ hashesKnown: true, referencesKnown: true })
    expect(rebuilt.paths.map((path) => path.references)).toEqual([
      ['b', 'c', 'd'].map((letter) => `/nix/store/${base(letter)}`),
      [],
      [],
      [],
      [],
    ])
    expect(done.at(-1)).toBe(rebuilt.paths.reduce((sum, path) => sum + (path.narSize ?? 0), 0))
  })

  it('finds a hash part at every place around the end of its buffer', async () => {
    mkdirSync(store(base('h')), { recursive: true })
    writeFileSync(store(base('g')), '')
    const closure = await listOf('g', 'h')
    for (let offset = -40; offset <= 8; offset += 3) {
      // The NAR of a directory with one file: 288 bytes of framing before its content.
      writeFileSync(store(base('h'), 'f'), Buffer.concat([Buffer.alloc(2 ** 20 - 288 + offset, '.'), Buffer.from('g'.repeat(32))]))
      const rebuilt = await rebuildRegistration(closure, await storeTree(closure, { root: scratch() }))
      expect(rebuilt.paths[1]?.references, `offset ${offset}`).toEqual([`/nix/store/${base('g')}`])
    }
  })

  it('says so when a file changed or vanished, or references form a cycle', async () => {
    for (const letter of 'jk') writeFileSync(store(base(letter)), `to ${(letter === 'j' ? 'k' : 'j').repeat(32)}`)
    const closure = await listOf('j', 'k')
    await failure(
      async () => rebuildRegistration(closure, await storeTree(closure, { root: scratch() })),
      'BAD_INPUT',
      /cycle: \S+j-j -> \S+k-k -> \S+j-j/,
    )
    const one = await listOf('j')
    const tree = await storeTree(one, { root: scratch() })
    await failure(() => rebuildRegistration(one, tree, { signal: AbortSignal.abort() }), 'ABORTED', /cancelled/)
    for (const text of ['', 'short', 'x'.repeat(3_000_000)]) {
      writeFileSync(store(base('j')), text)
      await failure(() => rebuildRegistration(one, tree), 'CHANGED', /j-j: /)
    }
    rmSync(store(base('j')))
    await failure(() => rebuildRegistration(one, tree), 'CHANGED', /j-j: /)
  })
})
