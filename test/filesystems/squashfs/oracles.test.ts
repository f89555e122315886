import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openCodec } from '../../../src/codecs/open.ts'
import type { SquashfsOptions } from '../../../src/filesystems/squashfs/format.ts'
import type { DirectoryNode, Entry, TreeNode } from '../../../src/tree/tree.ts'
import { oracle, run, runOk } from '../../oracles/tools.ts'
import { bytesSource, readSquashfs } from '../../readers/squashfs-reader.ts'
import { folderDifferences } from './folder.ts'
import { buildImage, differences, directory, everything, file, noise, symlink } from './support.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-squashfs-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let count = 0
function store(image: Uint8Array): string {
  const path = join(folder, `image-${count++}.squashfs`)
  writeFileSync(path, image)
  return path
}

const root = process.getuid?.() === 0
if (!root) console.warn('skipped: extracting devices and owners needs root')

/** Kernel mounts need root, a loop device and the squashfs module. */
function mountReason(): string | undefined {
  if (!root) return 'mounting needs root'
  const scratch = mkdtempSync(join(tmpdir(), 'kilnix-mount-'))
  // An image that mksquashfs made: should ours not mount, that is a failure and no reason to skip.
  const image = join(scratch, 'probe.squashfs')
  mkdirSync(join(scratch, 'it'))
  const made = run('sh', [
    '-c',
    `mksquashfs "${scratch}/it" "${image}" -quiet && mount -t squashfs -o loop,ro "${image}" "${scratch}/it" && umount "${scratch}/it"`,
  ])
  rmSync(scratch, { recursive: true, force: true })
  return made.status === 0 ? undefined : `the kernel mounts no squashfs here: ${made.stderr.trim()}`
}

const CODECS: SquashfsOptions[] = [
  { codec: { name: 'gzip', level: 9 }, blockSize: 4096 },
  { codec: { name: 'gzip', level: 4 }, blockSize: 131072, exportable: false },
  { codec: { name: 'zstd', level: 19 }, blockSize: 2 ** 20 },
  { codec: { name: 'xz' }, blockSize: 4096 },
  { codec: { name: 'xz' }, blockSize: 65536 },
  { codec: { name: 'lz4' }, blockSize: 131072 },
  { codec: { name: 'none' }, blockSize: 8192, fragments: false },
]

/** Directories, names and links at which readers stumble. */
function awkward(): DirectoryNode {
  const linked = file('linked')
  const many: Entry[] = Array.from({ length: 1500 }, (_, i) => ({
    name: Buffer.from(`${i}-${'n'.repeat(i % 100)}`),
    node: i % 50 ? file('') : linked,
  }))
  const odd: Entry[] = [
    Uint8Array.of(0xff, 0xfe),
    noise(255, 5).map((byte) => byte | 0x80),
    Buffer.from(' '),
    Buffer.from('-rf'),
    Buffer.from('a\nb'),
  ].map((name) => ({
    name,
    node: file(name),
  }))
  const compressible = Buffer.from('The quick brown fox jumps over the lazy dog. '.repeat(30000))
  return directory({
    many: directory(many),
    odd: directory(odd),
    linked,
    one: directory({ two: directory({ three: directory({ linked }) }) }),
    big: file(compressible),
  })
}

const ours = (tree: DirectoryNode, options: SquashfsOptions): Promise<Uint8Array> => buildImage(tree, options, openCodec)
const titled = CODECS.map((options) => [`${options.codec?.name} ${options.codec?.level ?? ''} ${options.blockSize}`, options] as const)

describe.skipIf(oracle('unsquashfs').skip || !root)('unsquashfs', () => {
  it.each(titled)('extracts what went in: %s', async (_title, options) => {
    for (const tree of options === CODECS[0] ? [everything(), awkward()] : [everything()]) {
      const out = join(folder, `out-${count++}`)
      const result = runOk('unsquashfs', ['-no-progress', '-strict-errors', '-d', out, store(await ours(tree, options))])
      expect(result.stderr).toBe('')
      expect(folderDifferences(tree, out, { mounted: false })).toEqual([])
      rmSync(out, { recursive: true })
    }
  })

  it('lists what went in', async () => {
    const lines = runOk('unsquashfs', ['-lln', store(await ours(everything(), {}))]).text.split('\n')
    expect(lines).toContain('-rwsr-xr-x 0/0                   43000 1970-01-01 00:00 squashfs-root/text')
    expect(lines).toContain('-r--r--r-- 1000/100                  1 2106-02-07 06:28 squashfs-root/one')
    expect(lines).toContain('drwxrwxrwt 0/0                       3 1970-01-01 00:00 squashfs-root/no-entries')
    expect(lines).toContain('lrwxrwxrwx 0/0                       9 1970-01-01 00:00 squashfs-root/sub/deeper/up -> ../../one')
    expect(lines.filter((line) => line !== '').length).toBe(29)
  })

  it('reads the superblock', async () => {
    const { text } = runOk('unsquashfs', ['-s', store(await ours(everything(), { codec: { name: 'gzip', level: 4 }, timeSeconds: 86400 }))])
    for (const line of [
      'last append time Fri Jan  2 00:00:00 1970',
      'compression-level 4',
      'window-size 15',
      'Block size 4096',
      'Number of inodes 27',
      'exportable via NFS',
      'Number of ids 5',
      'Number of xattr ids 7',
    ]) {
      expect(text).toContain(line)
    }
  })

  it('refuses an image with a wrong table', async () => {
    const image = await ours(everything(), { codec: { name: 'none' } })
    const { superblock } = readSquashfs(bytesSource(image))
    // The magic number, the place of the id table, the type of the first inode, the count of the first directory header.
    for (const at of [0, 50, superblock.inodeTable + 2, superblock.directoryTable + 3]) {
      const mutated = Uint8Array.from(image)
      mutated[at] = (mutated[at] as number) ^ 0x40
      const result = run('unsquashfs', ['-no-progress', '-strict-errors', '-d', join(folder, `bad-${at}`), store(mutated)])
      expect(`${at}: ${result.status === 0}`).toBe(`${at}: false`)
    }
  })
})

describe.skipIf(oracle('rdsquashfs', 'sqfsdiff', 'mksquashfs').skip)('squashfs-tools-ng', () => {
  it('reads every attribute', async () => {
    const image = store(await ours(everything(), {}))
    const xattrs = (path: string): string => runOk('rdsquashfs', ['-x', path, image]).text.trim()
    for (const name of ['file', 'same-set']) {
      expect(xattrs(`xattrs/${name}`)).toBe('security.capability=0x0100000200200000000000000000000000000000\nuser.comment=grüße')
    }
    expect(xattrs('xattrs/symlink')).toBe('trusted.note=on a link')
    expect(xattrs('xattrs/fifo')).toBe('trusted.note=on a fifo')
    expect(xattrs('xattrs/socket')).toBe('trusted.note=on a socket')
    expect(xattrs('xattrs/character')).toBe('trusted.note=c')
    expect(xattrs('one')).toBe('')
  })

  it('describes what went in', async () => {
    const { text } = runOk('rdsquashfs', ['-d', store(await ours(everything(), {}))])
    for (const line of [
      'nod disk 0600 0 6 b 4095 1048575',
      'nod console 0600 0 0 c 5 1',
      'sock socket 0600 0 0',
      'pipe sub/fifo 0644 0 0',
      'dir no-entries 01777 0 0',
      'slink link 0777 0 0 sub/deeper/up',
    ]) {
      expect(text.split('\n')).toContain(line)
    }
  })

  it.runIf(root)('finds no difference to an image that mksquashfs made of the same files', async () => {
    const tree = directory({
      ...Object.fromEntries(everything().entries.map(({ name, node }) => [Buffer.from(name).toString(), node])),
      awkward: awkward(),
    })
    const image = store(await ours(tree, { codec: { name: 'zstd', level: 3 }, blockSize: 131072 }))
    const out = join(folder, 'for-mksquashfs')
    runOk('unsquashfs', ['-no-progress', '-d', out, image])
    const theirs = join(folder, 'theirs.squashfs')
    runOk('mksquashfs', [out, theirs, '-quiet', '-no-progress', '-comp', 'gzip', '-b', '131072'])
    expect(runOk('sqfsdiff', ['-T', '-a', theirs, '-b', image]).text).toBe('')
    // Our reader on their image: it agrees with tools that we did not write.
    const read = readSquashfs(bytesSource(readFileSync(theirs)), { sparseUncounted: true })
    expect(differences(tree, read)).toEqual([])
    // And a difference of one byte is found.
    const changed = directory({
      ...Object.fromEntries(tree.entries.map(({ name, node }) => [Buffer.from(name).toString(), node])),
      one: file('y', { uid: 1000, gid: 100 }),
    })
    expect(run('sqfsdiff', ['-a', theirs, '-b', store(await ours(changed, {}))])).toMatchObject({
      status: 1,
      text: expect.stringContaining('/one'),
    })
  })
})

const noMount = mountReason()
if (noMount !== undefined) console.warn(`skipped: ${noMount}`)

describe.skipIf(noMount !== undefined)('the kernel', () => {
  function mounted(image: Uint8Array, use: (at: string) => void): void {
    const at = join(folder, `mount-${count++}`)
    mkdirSync(at)
    runOk('mount', ['-t', 'squashfs', '-o', 'loop,ro', store(image), at])
    try {
      use(at)
    } finally {
      runOk('umount', [at])
    }
  }

  it.each(titled)('mounts and reads: %s', async (_title, options) => {
    for (const tree of options === CODECS[0] ? [everything(), awkward(), directory({})] : [everything()]) {
      mounted(await ours(tree, options), (at) => expect(folderDifferences(tree, at, { mounted: true })).toEqual([]))
    }
  })

  it('counts blocks of sparse files, and finds names that are not there', async () => {
    mounted(await ours(everything(), { blockSize: 4096, codec: { name: 'gzip' } }), (at) => {
      expect(statSync(join(at, 'zeros')).blocks).toBe(8)
      expect(statSync(join(at, 'sparse')).blocks).toBe(9)
      expect(statSync(join(at, 'nothing'), { throwIfNoEntry: false })).toBeUndefined()
    })
  })

  it('lists 100,000 names, and finds them by the index', { timeout: 180_000 }, async () => {
    const names = Array.from({ length: 100_000 }, (_, i) => `${(i * 7919) % 100_000}-${'n'.repeat(i % 30)}`)
    const tree = directory({
      it: directory(names.map((name, i) => ({ name: Buffer.from(name), node: i % 500 === 0 ? symlink(name) : file('') }))),
    })
    mounted(await ours(tree, { codec: { name: 'lz4' } }), (at) => {
      expect(readdirSync(join(at, 'it')).sort().join('\n') === [...names].sort().join('\n')).toBe(true)
      // Each lookup costs the kernel 0.15 ms in a directory of this size, by the index of mksquashfs as by ours.
      for (let i = 0; i < names.length; i += 500) expect(readlinkSync(join(at, 'it', names[i] as string))).toBe(names[i])
      expect(statSync(join(at, 'it', '5-'), { throwIfNoEntry: false })).toBeUndefined()
    })
  })

  it.skipIf(oracle('getfattr').skip)('gives back attributes', async () => {
    const xattrs = new Map<string, TreeNode>(everything().entries.map(({ name, node }) => [Buffer.from(name).toString(), node]))
    mounted(await ours(everything(), {}), (at) => {
      const { text } = runOk('getfattr', ['-h', '-d', '-m', '-', '-e', 'hex', '-R', '--absolute-names', at])
      expect(text).toContain('security.capability=0x0100000200200000000000000000000000000000')
      expect(text.match(/^trusted\.note=/gm)?.length).toBe(5)
      const value = xattrs.get('xattrs')?.xattrs?.[0]?.value ?? new Uint8Array(0)
      expect(text).toContain(`user.on-a-directory=0x${Buffer.from(value).toString('hex')}`)
    })
  })
})
