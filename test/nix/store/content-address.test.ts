import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { unpackSmall } from '../../../fixtures/unpack.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { hashNar } from '../../../src/nix/nar/digest.ts'
import { narPieces } from '../../../src/nix/nar/serialize.ts'
import { type ContentAddressedPath, contentAddressed } from '../../../src/nix/store/content-address.ts'
import { formatHex, formatSri } from '../../../src/nix/store/hash.ts'
import { storeTree } from '../../../src/nix/store/store-tree.ts'
import type { TreeNode } from '../../../src/tree/tree.ts'
import { generatedClosure } from '../../e2e/closures.ts'
import { runOk } from '../../oracles/tools.ts'
import { nixTools, skipNix } from '../nix-tools.ts'
import { failure } from '../scratch.ts'
import { base, file, folder, hashOf, link, textOf } from '../store-samples.ts'

const OWN = base('self')
const OTHER = base('other-1.0')
const NEWER = base('other-2.0')

function nar(tree: TreeNode): Buffer {
  const parts = [...narPieces(tree)].map((piece) => {
    if (!('kind' in piece)) return piece
    if (piece.content.kind !== 'bytes') throw new Error(piece.content.kind)
    return piece.content.bytes
  })
  return Buffer.concat(parts)
}

/** The hash of Nix's HashModuloSink, the plain way. */
function moduloHash(bytes: Buffer, hashPart: string): string {
  const hash = createHash('sha256')
  const positions: number[] = []
  const copy = Buffer.from(bytes)
  for (let at = copy.indexOf(hashPart); at !== -1; at = copy.indexOf(hashPart, at)) {
    positions.push(at)
    copy.fill(0, at, at + hashPart.length)
  }
  hash.update(copy)
  for (const position of positions) hash.update(`|${position}`)
  return hash.digest('hex')
}

describe('contentAddressed', () => {
  const selfish = folder({
    bin: folder({ run: file(`#!/nix/store/${OTHER}/bin/sh\nexec /nix/store/${OWN}/lib/x\n`, 0o555) }),
    [`${OWN}.txt`]: link(`/nix/store/${OWN}/bin`),
    plain: file('nothing'),
  })

  it('rewrites itself and others in contents, targets and names, and hashes as Nix does', async () => {
    const made = await contentAddressed({
      name: 'self',
      tree: selfish,
      references: [`/nix/store/${NEWER}`],
      selfReference: OWN,
      rewrites: new Map([[OTHER, NEWER]]),
    })
    const text = await textOf(made.tree)
    expect(text).toContain(`#!/nix/store/${NEWER}/bin/sh\nexec ${made.path}/lib/x`)
    expect(text).toContain(`${made.baseName}.txt: -> ${made.path}/bin`)
    expect(text).not.toMatch(new RegExp(`${hashOf('self')}|${hashOf('other-1.0')}`))
    expect(made.references).toEqual([`/nix/store/${NEWER}`, made.path].sort())
    const { hash, size } = await hashNar(made.tree, 'made')
    expect([formatHex(made.narHash), made.narSize]).toEqual([formatHex(hash), size])
    // The result is what it is made from: its own content modulo its own hash part gives its path.
    const again = await contentAddressed({ name: 'self', tree: made.tree, references: made.references, selfReference: made.baseName })
    expect(again.path).toBe(made.path)
    expect(again.ca).toBe(made.ca)
    const modulo = moduloHash(nar(made.tree), made.baseName.slice(0, 32))
    const { formatSha256 } = await import('../../../src/nix/store/hash.ts')
    expect(made.ca).toBe(`fixed:r:${formatSha256(Buffer.from(modulo, 'hex'))}`)
    // Nothing but what was changed is another object.
    expect((made.tree as typeof selfish).entries[2]).toBe(selfish.entries[2])
  })

  it('keeps to one path whatever the own hash part was, and gives others for other references', async () => {
    const treeFor = (own: string): TreeNode => {
      const hash = own.slice(0, 32)
      return folder({ a: file(`${'x'.repeat(100)}/nix/store/${hash}-n/a`), b: link(`${hash}-n`) })
    }
    const of = (own: string, references: string[] = []) =>
      contentAddressed({ name: 'n', tree: treeFor(own), references, selfReference: own })
    const first = await of(base('one'))
    expect((await of(base('two'))).path).toBe(first.path)
    expect((await of(base('one'), [`/nix/store/${OTHER}`])).path).not.toBe(first.path)
    const unregistered = await contentAddressed({
      name: 'n',
      tree: treeFor(base('one')),
      references: [],
      selfReference: base('one'),
      refersToItself: false,
    })
    expect(unregistered.path).not.toBe(first.path)
    expect(unregistered.references).toEqual([])
    // Zeros in place of the hash part are another content.
    const zeroed = await contentAddressed({ name: 'n', tree: treeFor('\0'.repeat(32)), references: [], refersToItself: true })
    expect(zeroed.ca).not.toBe(first.ca)
  })

  it('finds hash parts across the borders of what is read at a time, in memory, images and host files', async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'kilnix-ca-'))
    try {
      for (const offset of [0, 1, 31, 32, 33, 41, 42]) {
        for (const at of [(1 << 20) - offset, 1.5 * (1 << 20) - 36]) {
          const bytes = Buffer.alloc(1.5 * (1 << 20), 'abc ')
          bytes.write(OTHER, at - 60 < 0 ? 0 : at - 60, 'latin1')
          bytes.write(`${OWN}`, at, 'latin1')
          const path = join(scratch, 'file')
          writeFileSync(path, bytes)
          const hosted: TreeNode = { ...file(bytes), content: { kind: 'hostFile', path: Buffer.from(path) } }
          const rewrites = new Map([[OTHER, NEWER]])
          const input = { name: 'self', references: [`/nix/store/${NEWER}`], selfReference: OWN, rewrites }
          const inMemory = await contentAddressed({ ...input, tree: file(bytes) })
          const onHost = await contentAddressed({ ...input, tree: hosted })
          expect(onHost.path).toBe(inMemory.path)
          const expected = Buffer.from(bytes)
          expected.write(NEWER, at - 60 < 0 ? 0 : at - 60, 'latin1')
          expected.write(inMemory.baseName.slice(0, 32), at, 'latin1')
          for (const { tree } of [inMemory, onHost]) expect((await textOf(tree)) === `${expected.toString('latin1')}\n`).toBe(true)
        }
      }
    } finally {
      rmSync(scratch, { recursive: true })
    }
  })

  it('replaces the hash part alone where the name behind it is another, also at the end', async () => {
    const hash = hashOf('other-1.0')
    const tree = folder({ a: file(`${hash}-other-1.0 ${hash} ${hash}-other-1.`), b: file(hash), c: file(`${hash}-other-1`) })
    const made = await contentAddressed({ name: 'n', tree, references: [], rewrites: new Map([[OTHER, NEWER]]) })
    const newer = hashOf('other-2.0')
    expect(await textOf(made.tree)).toBe(`a: ${newer}-other-2.0 ${newer} ${newer}-other-1.\nb: ${newer}\nc: ${newer}-other-1\n`)
  })

  it('keeps the order of a NAR when names hold hash parts, and refuses names that become equal', async () => {
    let refused = 0
    for (let round = 0; round < 20; round++) {
      const own = base(`order-${round}`)
      const tree = folder({ [`${own}.a`]: file('1'), hhh: file('2'), [hashOf(`fence-${round}`)]: file('3'), x: file(own) })
      const made = await contentAddressed({ name: 'n', tree, references: [], selfReference: own }).catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'UNSUPPORTED', message: expect.stringMatching(/names of files in it hold its own hash part/) })
      })
      refused += made === undefined ? 1 : 0
      if (made === undefined) continue
      const again = await contentAddressed({ name: 'n', tree: made.tree, references: made.references, selfReference: made.baseName })
      expect(again.path).toBe(made.path)
    }
    // In some an order gives another in every case: there is no such path.
    expect(refused).toBeLessThan(10)
    const tree = folder({ [OTHER]: file('1'), [NEWER]: file('2') })
    await failure(
      () => contentAddressed({ name: 'n', tree, references: [], rewrites: new Map([[OTHER, NEWER]]) }),
      'BAD_INPUT',
      /two entries named/,
    )
  })

  it('compares with the registration in the same reading, also where names change', async () => {
    const { hash, size } = await hashNar(selfish, 'self')
    const path = `/nix/store/${OWN}`
    const input = { name: 'self', tree: selfish, references: [], selfReference: OWN, rewrites: new Map([[OTHER, NEWER]]) }
    await contentAddressed({ ...input, registered: { path, hash, size } })
    const wrong = Uint8Array.from(hash)
    wrong[0] = (wrong[0] ?? 0) ^ 1
    await failure(() => contentAddressed({ ...input, registered: { path, hash: wrong, size } }), 'HASH_MISMATCH', /its files hash to/)
    await failure(() => contentAddressed({ ...input, registered: { path, hash, size: size + 8 } }), 'HASH_MISMATCH', /its NAR is/)
    // Names that sort otherwise afterwards.
    const [low, high] = [`${'0'.repeat(32)}-a`, `${'z'.repeat(32)}-a`]
    const moved = folder({ [low]: file('1'), m: file(low) })
    const listed = await hashNar(moved, 'moved')
    const renamed = { name: 'n', tree: moved, references: [], rewrites: new Map([[low, high]]) }
    await contentAddressed({ ...renamed, registered: { path, ...listed } })
    await failure(
      () => contentAddressed({ ...renamed, registered: { path, ...listed, hash: wrong } }),
      'HASH_MISMATCH',
      /its files hash to/,
    )
  })

  it('refuses names, and ends when it is cancelled', async () => {
    await failure(() => contentAddressed({ name: 'a/b', tree: selfish, references: [] }), 'BAD_INPUT', /the name 'a\/b'/)
    await failure(() => contentAddressed({ name: 'n', tree: selfish, references: ['/etc'] }), 'BAD_INPUT', /not a path below/)
    const signal = AbortSignal.abort()
    await failure(
      () => contentAddressed({ name: 'n', tree: file(Buffer.alloc(17 << 20)), references: [] }, { signal }),
      'ABORTED',
      /cancelled/,
    )
  })
})

describe.skipIf(skipNix)('contentAddressed and nix store make-content-addressed', () => {
  let scratch = ''
  beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), 'kilnix-ca-'))
  })
  afterAll(() => rmSync(scratch, { recursive: true, force: true }))

  it('agree on every path of a closure: path, ca, NAR hash, size and references', async () => {
    const small = await unpackSmall(join(scratch, 'small'))
    await agree(small.folder, small.root, 'small')
  }, 60_000)

  const traps = generatedClosure('traps')
  it.skipIf(traps.skip)(
    'agree on the closure full of traps',
    async () => {
      const root = join(scratch, 'traps')
      mkdirSync(root)
      // Nix writes the new paths beside the old.
      runOk('cp', ['-a', join(traps.root, 'nix'), root])
      runOk('rm', ['-rf', join(root, 'nix/var')])
      await agree(traps.folder, root, 'traps')
    },
    120_000,
  )

  async function agree(listing: string, root: string, kind: string): Promise<void> {
    const closure = await readClosure(listing)
    const store = await storeTree(closure, { root })
    const { formatRegistration } = await import('../../../src/nix/listing/registration.ts')
    const nix = nixTools(join(scratch, `home-${kind}`))
    nix.ok(root, 'nix-store', ['--load-db'], formatRegistration(closure))
    const all = closure.paths.map(({ path }) => path)
    const { rewrites } = JSON.parse(nix.ok(root, 'nix', ['store', 'make-content-addressed', '--json', ...all]).text) as {
      rewrites: Record<string, string>
    }
    const nodes = new Map(store.entries.map(({ name, node }) => [Buffer.from(name).toString(), node]))
    const made = new Map<string, ContentAddressedPath>()
    const make = async (path: string): Promise<ContentAddressedPath> => {
      const before = made.get(path)
      if (before !== undefined) return before
      const { baseName, references } = closure.paths[all.indexOf(path)] ?? { baseName: '', references: [] }
      const others: ContentAddressedPath[] = []
      const rewritten = new Map<string, string>()
      for (const reference of references) {
        if (reference === path) continue
        const other = await make(reference)
        others.push(other)
        rewritten.set(reference.slice('/nix/store/'.length), other.baseName)
      }
      const result = await contentAddressed({
        name: baseName.slice(33),
        tree: nodes.get(baseName) as TreeNode,
        references: others.map((other) => other.path),
        selfReference: baseName,
        rewrites: rewritten,
      })
      made.set(path, result)
      return result
    }
    for (const path of all) expect((await make(path)).path, path).toBe(rewrites[path])
    const infos = JSON.parse(nix.ok(root, 'nix', ['path-info', '--json', ...Object.values(rewrites)]).text) as {
      path: string
      ca?: string
      narHash: string
      narSize: number
      references: string[]
    }[]
    const ours = new Map([...made.values()].map((one) => [one.path, one]))
    expect(infos.length).toBe(all.length)
    for (const { path, ca, narHash, narSize, references } of infos) {
      const one = ours.get(path) as ContentAddressedPath
      expect({ ca: one.ca, narHash: formatSri(one.narHash), narSize: one.narSize, references: one.references }).toEqual({
        ca: ca ?? one.ca,
        narHash,
        narSize,
        references: [...references].sort(),
      })
    }
    expect(
      infos.some(({ path, references }) => references.includes(path)),
      'one refers to itself',
    ).toBe(true)
  }
})
