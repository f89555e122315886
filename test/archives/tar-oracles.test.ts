/** GNU tar, bsdtar and busybox read our archives; GNU tar writes the same bytes where it can be told to. */
import { existsSync, linkSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type TarFormat, tar } from '../../src/archives/tar/index.ts'
import { bytesExtent } from '../../src/io/image.ts'
import { HOST_ATTRIBUTES, scanHost } from '../../src/tree/scan.ts'
import type { DirectoryNode, TreeNode, Xattr } from '../../src/tree/tree.ts'
import { folderDifferences } from '../filesystems/squashfs/folder.ts'
import { makeNastyTree } from '../nix/nasty-tree.ts'
import { scratchFolder } from '../nix/scratch.ts'
import { oracle, run, runOk } from '../oracles/tools.ts'
import { readTar } from '../readers/tar-reader.ts'
import { archiveOf, directory, file, randomTree } from './tar-trees.ts'

/** Only root can give files away and make devices; without, trees have neither. */
const root = process.getuid?.() === 0
const scratch = scratchFolder()

interface Extractor {
  readonly tool: string
  readonly args: readonly string[]
  readonly xattrs: boolean
  readonly env?: Record<string, string>
  /** What the tool cannot do, whatever the archive says. */
  readonly forgives?: (difference: string) => boolean
}

const GNU: Extractor = { tool: 'tar', args: ['--numeric-owner', '--xattrs', '--xattrs-include=*', '-xpf'], xattrs: true }
// In the C locale libarchive complains of UTF-8 in pax records, and extracts them all the same.
const BSD: Extractor = { tool: 'bsdtar', args: ['--numeric-owner', '--xattrs', '-xpf'], xattrs: true, env: { LC_ALL: 'C.UTF-8' } }
// It sets neither times of folders and links nor owners of links.
const BUSYBOX: Extractor = {
  tool: 'busybox',
  args: ['tar', '-xpf'],
  xattrs: false,
  forgives(difference) {
    const [, path = '', what] = /^(.*): (owner|mtime) is [^:]*$/s.exec(difference) ?? []
    if (what === undefined) return false
    const stats = lstatSync(Buffer.from(path, 'latin1'))
    return stats.isSymbolicLink() || (what === 'mtime' && stats.isDirectory())
  },
}
const EXTRACTORS: readonly Extractor[] = [GNU, BSD, BUSYBOX]

/** Where `top` of an archive was extracted. */
function extract({ tool, args, env = {} }: Extractor, archive: string, name: string): string {
  const folder = scratch(name)
  mkdirSync(folder)
  runOk(tool, [...args, archive, '-C', folder], { env })
  return join(folder, 'top')
}

/** Extended attributes of all files that should have some, in one call of getfattr; it shows them in the order of its arguments. */
function expectXattrs(top: DirectoryNode, folder: string): number {
  const files = filesWithXattrs(top, Buffer.from(folder))
  if (files.length === 0) return 0
  const wanted = files.map(({ xattrs }) => xattrs.map(({ name, value }) => `${name}=0x${Buffer.from(value).toString('hex')}`).sort())
  // A path as bytes cannot be an argument of spawn, but can stand in a script.
  const paths = files.map(({ path }) => `$'${[...path].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')}'`)
  const { text } = runOk('bash', ['-c', `getfattr -h -d -m - -e hex -- ${paths.join(' ')}`], { env: { LC_ALL: 'C.UTF-8' } })
  const shown = text.split('\n\n').slice(0, -1)
  const lines = shown.map((block) => block.split('\n').filter((line) => !line.startsWith('#')))
  expect(lines.map((block) => block.map((line) => (line.includes('=') ? line : `${line}=0x`)).sort())).toEqual(wanted)
  return files.length
}

function filesWithXattrs(node: TreeNode, path: Buffer): { path: Buffer; xattrs: readonly Xattr[] }[] {
  if (node.kind === 'directory') {
    return node.entries.flatMap((entry) => filesWithXattrs(entry.node, Buffer.concat([path, Buffer.from('/'), entry.name])))
  }
  return node.xattrs === undefined || node.xattrs.length === 0 ? [] : [{ path, xattrs: node.xattrs }]
}

describe.each(EXTRACTORS)('tar by $tool', (extractor) => {
  const { skip } = oracle(...new Set([extractor.tool, 'getfattr']))

  // busybox clears some permissions for all but root.
  it.skipIf(skip || (!root && extractor === BUSYBOX)).each(['pax', 'gnu'] as const)('random trees, extracted: %s', async (format) => {
    // Nobody but root can set attributes of a file that is read-only.
    const xattrs = root && extractor.xattrs && format === 'pax'
    let attributed = 0
    for (let seed = 100; seed < 112; seed++) {
      const top = randomTree(seed, { root, xattrs })
      const name = `${extractor.tool}-${format}-${seed}`
      await writeFile(scratch(`${name}.tar`), await archiveOf(directory({ top }), { format }))
      const folder = extract(extractor, scratch(`${name}.tar`), name)
      const differences = folderDifferences(top, folder, { mounted: false }).filter((line) => !extractor.forgives?.(line))
      expect(differences, `seed ${seed}`).toEqual([])
      if (xattrs) attributed += expectXattrs(top, folder)
    }
    if (xattrs) expect(attributed).toBeGreaterThan(10)
  })

  // Some of its files nobody but root can read.
  it.skipIf(skip || !root)('the tree of traps', async () => {
    if (!existsSync(scratch('nasty'))) makeNastyTree(scratch('nasty'))
    const top = scanHost(scratch('nasty'), { ...HOST_ATTRIBUTES, hardLinks: true }) as DirectoryNode
    const name = `${extractor.tool}-nasty`
    await writeFile(scratch(`${name}.tar`), await archiveOf(directory({ top })))
    const folder = extract(extractor, scratch(`${name}.tar`), name)
    expect(runOk('diff', ['-r', '--no-dereference', scratch('nasty'), folder]).text).toBe('')
  })

  it.skipIf(skip)('notices a changed header and a cut archive', async () => {
    const archive = await archiveOf(directory({ top: directory({ a: file('a'.repeat(6000)), b: file('b') }) }))
    const broken = Buffer.from(archive)
    broken[512 + 3] = 0x78
    const cut = archive.subarray(0, 4000)
    for (const [i, bytes] of [archive, broken, cut].entries()) {
      const name = `${extractor.tool}-broken-${i}`
      await writeFile(scratch(`${name}.tar`), bytes)
      mkdirSync(scratch(name))
      // bsdtar skips what it cannot read, and says so.
      const { status, stderr } = run(extractor.tool, [...extractor.args, scratch(`${name}.tar`), '-C', scratch(name)])
      expect(status === 0 && stderr === '', name).toBe(i === 0)
    }
  })

  it.skipIf(skip).each(['pax', 'gnu'] as const)('a disk of 8 GiB, and what comes behind it: %s', async (format) => {
    for (const size of [8 * 2 ** 30 - 1, 8 * 2 ** 30, 100 * 2 ** 30]) {
      const path = scratch(`${extractor.tool}-${format}-${size}.tar`)
      await writeDisk(path, size, format)
      const args = extractor.tool === 'busybox' ? ['tar', '-tvf'] : ['--numeric-owner', '-tvf']
      const listing = runOk(extractor.tool, [...args, path]).text
      expect(listing).toMatch(new RegExp(`^-rw-r--r--.* ${size} .* disk\\.raw\n-rw-r--r--.* 4 .* manifest\n$`))
    }
  })
})

/** An archive of a disk that is all holes but for its end, written as a file of holes. */
async function writeDisk(path: string, size: number, format: TarFormat): Promise<void> {
  const image = { size, extents: [bytesExtent(size - 3, Buffer.from('end'))] }
  const disk = { ...file(''), size, content: { kind: 'image', image } } as const
  const archive = tar(directory({ 'disk.raw': disk, manifest: file('list') }), { format })
  const handle = await open(path, 'w')
  try {
    await handle.truncate(archive.size)
    for (const extent of archive.extents) {
      for await (const chunk of extent.read()) await handle.write(chunk, 0, chunk.length, extent.start)
    }
  } finally {
    await handle.close()
  }
}

describe.skipIf(oracle('tar').skip)('the bytes of GNU tar', () => {
  const GNU_OPTIONS = ['--sort=name', '--numeric-owner', '--owner=0', '--group=0', '--mtime=@1', '--no-recursion', '--null', '-T', '-']
  const fixed = {
    hardLinks: true,
    attributes: (_: string, { mode }: { mode: number }) => ({ mode, uid: 0, gid: 0, mtimeSeconds: 1 }),
  } as const

  it.each(['ustar', 'oldgnu'])('%s', async (format) => {
    const folder = scratch(`same-${format}`)
    // GNU tar's ustar leaves out what does not fit.
    if (format === 'ustar') makeHostTree(folder, [1, 50, 98], [1, 50, 99, 100])
    else makeHostTree(folder, [1, 50, 99, 100, 120, 155, 255], [1, 44, 50, 98, 99, 100, 101, 255])
    const tree = scanHost(folder, fixed) as DirectoryNode
    const archive = await archiveOf(tree, { format: format === 'oldgnu' ? 'gnu' : 'pax' })
    const paths = readTar(archive).map(({ path }) => path)
    const input = Buffer.concat(paths.flatMap((path) => [path, Buffer.from([0])]))
    const made = runOk('tar', ['-C', folder, `--format=${format}`, ...GNU_OPTIONS, '-c'], { input })
    expect(Buffer.compare(made.stdout, archive)).toBe(0)
  })

  /** Folders with files, links and hard links, with names of these lengths. */
  function makeHostTree(folder: string, folderLengths: readonly number[], lengths: readonly number[]): void {
    mkdirSync(folder)
    for (const folderLength of folderLengths) {
      const inner = join(folder, 'o'.repeat(folderLength))
      mkdirSync(inner)
      for (const length of lengths) {
        writeFileSync(join(inner, 'f'.repeat(length)), 'x'.repeat(length * 10))
        symlinkSync('t'.repeat(length), join(inner, 's'.repeat(length)))
      }
      linkSync(join(inner, 'f'), join(inner, 'g'))
    }
  }
})
