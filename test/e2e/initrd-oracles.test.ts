/**
 * Other people's readers list every member of the initrds of the closure full of traps, and find what the store has: names of
 * 255 bytes, names that are no UTF-8, names that differ in case only, deep folders.
 */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../fixtures/unpack.ts'
import { oracle, run, runOk } from '../oracles/tools.ts'
import { readZstdFrame } from '../readers/zstd-frame-reader.ts'
import { generatedClosure, storePaths } from './closures.ts'
import { kilnix } from './kilnix.ts'

const traps = generatedClosure('traps')
const skip = traps.skip || oracle('cpio', 'bsdcpio', 'busybox', 'find').skip

/** Commands that list the names of an archive on standard input. */
const LISTERS: Readonly<Record<string, readonly [tool: string, ...args: string[]]>> = {
  'GNU cpio': ['cpio', '--quiet', '-it'],
  bsdcpio: ['bsdcpio', '-it'],
  'busybox cpio': ['busybox', 'cpio', '-t'],
}

const DECOMPRESSORS = { 'zstd:3': 'zstd', 'gzip:1': 'gzip', 'xz:0': 'xz', lz4: 'lz4' } as const

/** As bytes, one character each; tools that escape what is not printable are asked not to by the locale C.UTF-8. */
function names(lister: readonly [string, ...string[]], archive: Buffer): string[] {
  const [tool, ...args] = lister
  const { stdout, status } = run(tool, args, { input: archive })
  if (status !== 0) throw new Error(`${tool}: exit status ${status}`)
  return stdout.toString('latin1').split('\n').slice(0, -1)
}

describe.skipIf(skip)('initrds of the traps', () => {
  let work: string
  const out = (name: string): string => join(work, name)
  const input = ['--closure', traps.folder, '--root', traps.root]
  /** Names below the store, sorted; a line feed in a name would make two lines of it, so such names stay out on both sides. */
  let expected: string[]
  let plain: Buffer
  const comparable = (found: readonly string[]): string[] => found.filter((name) => name.startsWith('nix/store/')).sort()

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-initrd-'))
    await kilnix('initrd', ...input, '--compression', 'none', '-o', out('plain'))
    plain = readFileSync(out('plain'))
    const listed = storePaths(traps.folder).map((path) => path.slice(1))
    const found = runOk('find', [...listed, '-print'], { cwd: traps.root })
    expected = comparable(found.stdout.toString('latin1').split('\n').slice(0, -1))
  }, 300_000)
  afterAll(() => rm(work, { recursive: true, force: true }))

  it.each(Object.entries(LISTERS))('are listed by %s as the store is', (_name, lister) => {
    const found = comparable(names(lister, plain))
    expect(found.length).toBeGreaterThan(10_000)
    expect(found).toEqual(expected)
  })

  it('differ from the store when a byte of a name is another', () => {
    const bytes = Buffer.from(plain)
    const at = bytes.indexOf(Buffer.from(expected[expected.length >> 1] ?? '', 'latin1'))
    bytes[at + 12] = (bytes[at + 12] ?? 0) ^ 1
    for (const lister of Object.values(LISTERS)) expect(comparable(names(lister, bytes))).not.toEqual(expected)
  })
})

describe.skipIf(oracle('zstd', 'gzip', 'xz', 'lz4').skip)('the initrd of the small closure', () => {
  it('is the same archive when it is compressed', async () => {
    const work = await mkdtemp(join(tmpdir(), 'kilnix-initrd-'))
    try {
      const { folder, root } = await unpackSmall(join(work, 'closure'))
      const build = async (compression: string): Promise<string> => {
        const file = join(work, compression)
        await kilnix('initrd', '--closure', folder, '--root', root, '--compression', compression, '-o', file)
        return file
      }
      const plain = readFileSync(await build('none'))
      for (const [compression, tool] of Object.entries(DECOMPRESSORS))
        expect(runOk(tool, ['-dc', await build(compression)]).stdout.equals(plain), compression).toBe(true)
    } finally {
      await removeStore(work)
    }
  }, 120_000)
})

const live = generatedClosure('live')

describe.skipIf(live.skip || oracle('cpio', 'bsdcpio', 'busybox').skip)('the initrd of the live system, an archive a store path', () => {
  it('is read member by member, and all together are the store', async () => {
    const work = await mkdtemp(join(tmpdir(), 'kilnix-initrd-'))
    try {
      await kilnix(
        'netboot',
        '--closure',
        live.folder,
        '--root',
        live.root,
        '--style',
        'per-path',
        '--compression',
        'zstd:1',
        '-o',
        join(work, 'out'),
      )
      const members = zstdMembers(readFileSync(join(work, 'out/initrd')))
      const listed = storePaths(live.folder).map((path) => path.slice(1))
      expect(members).toHaveLength(1 + listed.length)
      const store = runOk('find', [...listed, '-print'], { cwd: live.root })
        .stdout.toString('latin1')
        .split('\n')
        .slice(0, -1)
      const own = ['nix', 'nix/.nix-netboot-serve-db', 'nix/.nix-netboot-serve-db/register', 'nix/store', 'nix/store/nix-path-registration']
      for (const lister of Object.values(LISTERS)) {
        const found = members.flatMap((member) => names(lister, member))
        expect(found.sort()).toEqual([...own, ...store].sort())
      }
    } finally {
      await rm(work, { recursive: true, force: true })
    }
  }, 120_000)
})

function zstdMembers(initrd: Buffer): Buffer[] {
  const members: Buffer[] = []
  for (let at = 0; at < initrd.length; ) {
    const { frameSize } = readZstdFrame(initrd.subarray(at))
    members.push(zstdDecompressSync(initrd.subarray(at, at + frameSize)))
    at = Math.ceil((at + frameSize) / 4) * 4
  }
  return members
}
