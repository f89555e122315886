/** Our NARs and restored folders against those of the real Nix, path by path of closures full of traps. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../../fixtures/unpack.ts'
import { bytesSource, FileSource } from '../../../src/io/source.ts'
import { hashNar } from '../../../src/nix/nar/digest.ts'
import { narChunks } from '../../../src/nix/nar/dump.ts'
import { listingMember, narListing, narListingJson, narListingLines } from '../../../src/nix/nar/list.ts'
import { hashNarStream } from '../../../src/nix/nar/read.ts'
import { restoreNar } from '../../../src/nix/nar/restore.ts'
import { narTree, readNarFile, treeMember } from '../../../src/nix/nar/tree.ts'
import { formatHash } from '../../../src/nix/store/hash.ts'
import { storePolicy } from '../../../src/nix/store/store-policy.ts'
import { contentExtents } from '../../../src/tree/content.ts'
import { scanHost } from '../../../src/tree/scan.ts'
import type { TreeNode } from '../../../src/tree/tree.ts'
import { generatedClosure } from '../../e2e/closures.ts'
import { oracle, run, runOk } from '../../oracles/tools.ts'
import { removeTree } from '../../remove-tree.ts'
import { chunksOf, entry, fileNode, folderNode, nar } from './words.ts'

/** Paths that have more than this are dumped only, and not listed, to be quick. */
const RESTORED_BYTES = 4 << 20
const RESTORED_NODES = 500

function nodeCount(node: TreeNode): number {
  return node.kind === 'directory' ? node.entries.reduce((sum, entry) => sum + nodeCount(entry.node), 1) : 1
}

function isSmall(path: string, bytes: Uint8Array): boolean {
  return bytes.length <= RESTORED_BYTES && nodeCount(scanHost(path, storePolicy())) <= RESTORED_NODES
}

async function ourNar(path: string): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const chunk of narChunks(scanHost(path, storePolicy()), path)) parts.push(Uint8Array.from(chunk))
  return Buffer.concat(parts)
}

let work = ''
let small = ''
const traps = generatedClosure('traps')
const environment = (): Record<string, string> => ({
  HOME: work,
  NIX_CONF_DIR: work,
  NIX_REMOTE: '',
  NIX_CONFIG: 'experimental-features = nix-command\nbuild-users-group =\n',
})

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'kilnix-nar-'))
  small = join((await unpackSmall(join(work, 'small'))).root, 'nix/store')
})
afterAll(() => removeStore(work))

describe.skipIf(oracle('nix-store', 'nix').skip).each([
  ['traps', traps.skip, () => traps.store],
  ['small', false, () => small],
])('the closure %s', (_name, skip, folder) => {
  const paths = (): string[] =>
    readdirSync(folder())
      .filter((name) => /^[a-z0-9]{32}-/.test(name))
      .map((name) => join(folder(), name))

  it.skipIf(skip)('dumps are byte-equal, and each restores what the other wrote', { timeout: 120_000 }, async () => {
    let restored = 0
    for (const path of paths()) {
      const theirs = runOk('nix-store', ['--dump', path], { env: environment() }).stdout
      const ours = await ourNar(path)
      expect(ours.equals(theirs), path).toBe(true)
      if (!isSmall(path, ours)) continue
      restored++
      const byUs = join(work, 'by-us')
      await restoreNar(chunksOf(theirs, 100_000), byUs)
      expect(runOk('nix-store', ['--dump', byUs], { env: environment() }).stdout.equals(theirs), path).toBe(true)
      removeTree(byUs)
      const byThem = join(work, 'by-them')
      runOk('nix-store', ['--restore', byThem], { env: environment(), input: ours })
      expect((await ourNar(byThem)).equals(ours), path).toBe(true)
      removeTree(byThem)
    }
    expect(restored).toBeGreaterThan(paths().length / 2)
  })

  it.skipIf(skip)('hashes are those of nix hash path', { timeout: 60_000 }, async () => {
    const all = paths()
    const ours = { sri: [] as string[], base32: [] as string[] }
    for (const path of all) {
      const { hash } = await hashNar(scanHost(path, storePolicy()), path)
      ours.sri.push(formatHash('sha256', hash, 'sri'))
      ours.base32.push(formatHash('sha256', hash, 'base32'))
    }
    const theirs = (...options: string[]) =>
      runOk('nix', ['hash', 'path', ...options, ...all], { env: environment() })
        .text.trim()
        .split('\n')
    expect(ours.sri).toEqual(theirs())
    expect(ours.base32).toEqual(theirs('--base32'))
  })

  it.skipIf(skip)('listings are those of nix nar ls, contents those of nix nar cat', { timeout: 120_000 }, async () => {
    let compared = 0
    let contents = 0
    for (const path of paths()) {
      const bytes = await ourNar(path)
      if (!isSmall(path, bytes)) continue
      const file = join(work, 'listed.nar')
      writeFileSync(file, bytes)
      const theirs = runOk('nix', ['nar', 'ls', '--json', '-R', file, '/'], { env: environment() }).stdout
      // Nix prints names that are no UTF-8 as they are, which is no JSON.
      if (!theirs.equals(Buffer.from(theirs.toString('utf8')))) continue
      const source = await FileSource.open(file)
      const listing = await narListing(readNarFile(source))
      expect(narListingJson(listing, { recursive: true }), path).toEqual(JSON.parse(theirs.toString()))
      compared++
      const tree = await narTree(source)
      if (tree.kind === 'directory' && contents < 10) {
        const first = tree.entries.find(({ node }) => node.kind === 'file' && node.size > 0)
        const name = first && Buffer.from(first.name).toString()
        if (first?.node.kind === 'file' && name !== undefined && /^[\w.-]+$/.test(name)) {
          const parts: Uint8Array[] = []
          for (const extent of contentExtents(first.node, 0, name)) for await (const chunk of extent.read()) parts.push(chunk)
          const cat = runOk('nix', ['nar', 'cat', file, `/${name}`], { env: environment() }).stdout
          expect(Buffer.concat(parts).equals(cat), `${path}/${name}`).toBe(true)
          contents++
        }
      }
      await source.close()
    }
    expect(compared).toBeGreaterThan(5)
    expect(contents).toBeGreaterThan(2)
  })
})

describe.skipIf(oracle('nix-store', 'nix').skip)('Nix', () => {
  it('prints the same lines, long and recursive', async () => {
    const bytes = nar(
      folderNode(entry('a', fileNode('x')), entry('b', folderNode(entry('c', fileNode('yy', true)), entry('d', folderNode())))),
    )
    const file = join(work, 'lines.nar')
    writeFileSync(file, bytes)
    const listing = await narListing(readNarFile(bytesSource(bytes)))
    for (const [options, path] of [
      [['-R', '-l'], '/'],
      [['-l'], '/'],
      [['-R'], '/b'],
      [[], '/b'],
      [['-l'], '/b/c'],
    ] as const) {
      const ours = narListingLines(listingMember(listing, path, 'x'), path.split('/').at(-1) ?? '', {
        recursive: (options as readonly string[]).includes('-R'),
        long: (options as readonly string[]).includes('-l'),
      })
      expect([...ours].join('\n')).toBe(runOk('nix', ['nar', 'ls', ...options, file, path], { env: environment() }).text.trimEnd())
    }
  })

  it.each(['sha1', 'sha512', 'md5'] as const)('hashes with %s', async (algorithm) => {
    const path = join(work, 'hashed')
    mkdirSync(path)
    writeFileSync(join(path, 'file'), 'x'.repeat(3_000_000))
    const { hash } = await hashNar(scanHost(path, storePolicy()), path, { algorithm })
    const stream = await hashNarStream(chunksOf(await ourNar(path), 1 << 16), { algorithm })
    const theirs = runOk('nix', ['hash', 'path', '--type', algorithm, path], { env: environment() }).text.trim()
    expect([formatHash(algorithm, hash, 'sri'), formatHash(algorithm, stream.hash, 'sri')]).toEqual([theirs, theirs])
    rmSync(path, { recursive: true })
  })

  it('gives the same names with its case hack', async () => {
    const names = ['DIR', 'Dir', 'README', 'ReadMe', 'dir', 'readme', 'É', 'é']
    const bytes = nar(folderNode(...names.map((name) => entry(name, fileNode(name)))))
    const [ours, theirs] = [join(work, 'ours'), join(work, 'theirs')]
    await restoreNar(chunksOf(bytes), ours, { caseHack: true })
    runOk('nix-store', ['--option', 'use-case-hack', 'true', '--restore', theirs], { env: environment(), input: bytes })
    expect(readdirSync(ours, 'latin1').sort()).toEqual(readdirSync(theirs, 'latin1').sort())
    const dumped = runOk('nix-store', ['--option', 'use-case-hack', 'true', '--dump', ours], { env: environment() }).stdout
    expect(dumped.equals(bytes)).toBe(true)
  })

  it('refuses the NAR of a member that is changed: the comparison can fail', async () => {
    const bytes = nar(folderNode(entry('a', folderNode(entry('b', fileNode('xyz'))))))
    const parts: Uint8Array[] = []
    for await (const chunk of narChunks(treeMember(await narTree(bytesSource(bytes)), 'a', 'x'), 'x')) parts.push(chunk)
    const member = Buffer.concat(parts)
    const restored = join(work, 'member')
    runOk('nix-store', ['--restore', restored], { env: environment(), input: member })
    expect(readdirSync(restored)).toEqual(['b'])
    member[member.indexOf('xyz') + 3] = 1
    expect(run('nix-store', ['--restore', join(work, 'damaged')], { env: environment(), input: member }).status).not.toBe(0)
  })
})
