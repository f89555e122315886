import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { lstat, readdir, readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type FatOptions, fat, planFat } from '../../../src/filesystems/fat/index.ts'
import { bytesExtent, type Image } from '../../../src/io/image.ts'
import type { DirectoryNode, FileNode } from '../../../src/tree/tree.ts'
import { oracle, run, runOk } from '../../oracles/tools.ts'
import { readFat } from '../../readers/fat-reader.ts'
import { directory, file, imageBytes, MTIME, noise, paths, withFolder, writeImageFile } from './support.ts'
import { TREES } from './trees.ts'

const VOLUMES: readonly FatOptions[] = [{ type: 12 }, { type: 16, label: 'KILNIX ESP' }, { type: 32, label: 'ESP', freeSize: 12345 }]
const CASES = Object.entries(TREES).flatMap(([name, tree]) =>
  VOLUMES.map((options) => [`${name}, ${JSON.stringify(options)}`, tree, options] as const),
)

async function hashOf(node: FileNode): Promise<string> {
  const bytes = node.content.kind === 'bytes' ? node.content.bytes : new Uint8Array(node.size)
  return createHash('sha256').update(bytes).digest('hex')
}

/** fsck.fat says so when the volume is clean and the counts are as planned. */
function expectClean(path: string, tree: DirectoryNode, options: FatOptions): void {
  const plan = planFat(tree, options)
  const result = run('fsck.fat', ['-n', '-v', path])
  expect(result.status, result.text + result.stderr).toBe(0)
  expect(result.stderr).toBe('')
  // The name of the folder is random, and may hold such a word.
  expect(result.text.replaceAll(path, '')).not.toMatch(/differ|wrong|bad|dirty|warning|error/i)
  const entries = plan.directories.length - 1 + plan.files.length + Number(plan.label !== undefined)
  expect(result.text).toContain(`${path}: ${entries} files, ${plan.usedClusterCount}/${plan.clusterCount} clusters`)
  expect(result.text).toContain(`2 FATs, ${plan.type} bit entries`)
}

describe.skipIf(oracle('fsck.fat').skip)('fat by fsck.fat', () => {
  it.each(CASES)('%s', async (_, tree, options) => {
    await withFolder(async (folder) => {
      const path = join(folder, 'fat.img')
      await writeImageFile(fat(tree, options), path)
      expectClean(path, tree, options)
    })
  })

  it.each([
    ['aligned, fixed size', { size: 40 << 20, alignData: true, label: 'A B' }],
    ['FAT32 of a partition size', { size: 1021 << 20, label: 'ESP', hiddenSectors: 2048 }],
    ['sectors of 4096 bytes', { sectorSize: 4096, type: 16 }],
    ['rounded to MiB', { roundTo: 2 ** 20, freeSize: 2 ** 20 }],
  ] as [string, FatOptions][])('%s', async (_, options) => {
    await withFolder(async (folder) => {
      const tree = TREES.esp as DirectoryNode
      const path = join(folder, 'fat.img')
      await writeImageFile(fat(tree, options), path)
      expectClean(path, tree, options)
    })
  })

  it('notices a flipped byte in the second FAT, an entry, FSInfo and the backup boot sector', async () => {
    const tree = directory({ 'long name.txt': file(noise(3000)), SUB: directory({ X: file('x') }) })
    const image = fat(tree, { type: 32, label: 'X' })
    const original = await imageBytes(image)
    const fatStart = 32 * 512
    const fatSize = original.readUInt32LE(36) * 512
    const root = fatStart + 2 * fatSize
    await withFolder(async (folder) => {
      const path = join(folder, 'fat.img')
      const check = async (at: number, value: number) => {
        const bytes = Buffer.from(original)
        bytes[at] = value
        await writeImageFile({ size: bytes.length, extents: [bytesExtent(0, bytes)] }, path)
        const result = run('fsck.fat', ['-n', '-v', path])
        return result.status === 0 && !/wrong|differences/i.test(result.text) ? 'clean' : result.text
      }
      expect(await check(0, original[0] ?? 0)).toBe('clean')
      expect(await check(fatStart + fatSize + 5 * 4, 0x77)).toContain('FATs differ')
      // Label, SUB, the long entry, LONGNA~1.TXT.
      expect(await check(root + 96 + 29, 1)).toContain('File size is 440 bytes, cluster chain length is > 512 bytes')
      expect(await check(root + 64 + 13, 0)).toMatch(/checksum/i)
      expect(await check(512 + 488, 1)).toMatch(/Free cluster summary wrong/)
      expect(await check(6 * 512 + 0x20, 1)).toMatch(/differences between boot sector and its backup/)
    })
  })
})

describe.skipIf(oracle('mdir', 'mcopy', 'minfo').skip)('fat by mtools', () => {
  /** mtools 4.0.32 shows each unit of a surrogate pair as `_`. */
  const shown = (name: string) => name.replace(/[\u{10000}-\u{10ffff}]/gu, '__')
  // mtools writes names in the encoding of LC_ALL.
  const env = { LC_ALL: 'C.UTF-8', MTOOLS_SKIP_CHECK: '0' }

  // It lists no empty volume, and thousands of files take it seconds: once is enough for those.
  const cases = CASES.filter(([name, tree, options]) => {
    if (name.startsWith('many')) return options.type === (name.includes('root') ? 12 : name.includes('short') ? 32 : 16)
    return tree.entries.length > 0
  })

  it.each(cases)('%s', async (_, tree, options) => {
    await withFolder(async (folder) => {
      const path = join(folder, 'fat.img')
      await writeImageFile(fat(tree, options), path)
      const listed = runOk('mdir', ['-/', '-b', '-a', '-i', path, '::'], { env }).text.trim().split('\n')
      const expected = [...paths(tree)].map(([child, node]) => `::${shown(child)}${node.kind === 'directory' ? '/' : ''}`)
      expect(listed.sort()).toEqual(expected.sort())

      const out = join(folder, 'out')
      runOk('mkdir', [out])
      runOk('mcopy', ['-s', '-p', '-m', '-i', path, '::*', out], { env })
      for (const [child, node] of paths(tree)) {
        const stats = await lstat(join(out, shown(child)))
        expect(stats.isDirectory()).toBe(node.kind === 'directory')
        if (node.kind !== 'file') continue
        expect(
          createHash('sha256')
            .update(await readFile(join(out, shown(child))))
            .digest('hex'),
        ).toBe(await hashOf(node))
        expect(Math.floor(stats.mtimeMs / 1000)).toBe(MTIME)
      }
      expect((await readdir(out)).length).toBe(tree.entries.length)
    })
  })

  it('reads label, serial number and short names', async () => {
    await withFolder(async (folder) => {
      const path = join(folder, 'fat.img')
      await writeImageFile(fat(TREES['alias collisions'] as DirectoryNode, { label: 'KILNIX', volumeSerial: 0x12345678 }), path)
      const text = runOk('mdir', ['-i', path, '-a', '::/'], { env }).text
      expect(text).toMatch(/Volume in drive : is KILNIX/)
      expect(text).toMatch(/Volume Serial Number is 1234-5678/)
      expect(text).toMatch(/^UPPER {4}TXT +5 2021-05-06 {3}7:08 *$/m)
      expect(text).toMatch(/^COLLIS~1 TEX .*\d *$/m)
      expect(text).toMatch(/^COLLIS~2 TEX .* \.collision\.text *$/m)
      expect(text).toMatch(/^COLLIS~4 TEX .* collision 0\.text *$/m)
      expect(text).toMatch(/^(COLLIS~3 TEX|collis~3 tex) .* collis~3\.tex *$/m)
      expect(runOk('minfo', ['-i', path, '::'], { env }).text).toMatch(/disk label="KILNIX {5}"/)
    })
  })

  it('notices a flipped name and a flipped content byte', async () => {
    await withFolder(async (folder) => {
      const path = join(folder, 'fat.img')
      const bytes = await imageBytes(fat(directory({ 'A.TXT': file('hello') }), { type: 12, rootEntryCount: 16, clusterSize: 512 }))
      bytes[3 * 512] = 0x42
      bytes[4 * 512] = 0x48
      await writeImageFile({ size: bytes.length, extents: [bytesExtent(0, bytes)] }, path)
      expect(runOk('mdir', ['-b', '-i', path, '::'], { env }).text.trim()).toBe('::/B.TXT')
      expect(runOk('mcopy', ['-i', path, '::B.TXT', '-'], { env }).text).toBe('Hello')
    })
  })
})

describe.skipIf(oracle('blkid').skip)('fat by blkid', () => {
  it.each([12, 16, 32] as const)('names type, label and serial number of FAT%i', async (type) => {
    await withFolder(async (folder) => {
      const path = join(folder, 'fat.img')
      await writeImageFile(fat(TREES.esp as DirectoryNode, { type, label: 'KILNIX ESP', volumeSerial: 0xabcd0123 }), path)
      const text = runOk('blkid', ['-p', '-o', 'export', path]).text
      expect(text).toMatch(/^LABEL=KILNIX\\? ESP$/m)
      expect(text).toContain('UUID=ABCD-0123\n')
      expect(text).toContain(`VERSION=FAT${type}\n`)
      expect(text).toContain('TYPE=vfat\n')
    })
  })
})

interface FatFs {
  readdir(path: string, done: (error: Error | null, names: string[]) => void): void
  readFile(path: string, done: (error: Error | null, bytes: Buffer) => void): void
}

/** The npm package fatfs: another independent reader, of FAT16 and FAT32. */
function openByFatfs(bytes: Buffer): Promise<FatFs> {
  const { createFileSystem } = createRequire(import.meta.url)('fatfs')
  return new Promise((resolve, reject) => {
    const volume = {
      sectorSize: 512,
      numSectors: bytes.length / 512,
      readSectors(first: number, target: Buffer, done: (error: Error | null, bytes: Buffer) => void) {
        bytes.copy(target, 0, first * 512, first * 512 + target.length)
        done(null, target)
      },
    }
    const fs = createFileSystem(volume, { ro: true }, (error: Error | null) => (error ? reject(error) : resolve(fs)))
  })
}

describe('fat by the npm package fatfs', () => {
  const names = ['esp', 'file sizes about a cluster', 'many in a directory', 'nested', 'long names', 'alias collisions']
  for (const type of [16, 32] as const) {
    it.each(names)(`%s, FAT${type}`, async (name) => {
      const tree = TREES[name] as DirectoryNode
      const fs = await openByFatfs(await imageBytes(fat(tree, { type, label: 'ESP' })))
      const visit = async (node: DirectoryNode, path: string): Promise<void> => {
        const listed = await new Promise<string[]>((resolve, reject) =>
          fs.readdir(path, (error, found) => (error ? reject(error) : resolve(found))),
        )
        expect(listed.sort()).toEqual(node.entries.map((entry) => Buffer.from(entry.name).toString()).sort())
        for (const [i, entry] of node.entries.entries()) {
          const childPath = `${path === '/' ? '' : path}/${Buffer.from(entry.name).toString()}`
          if (entry.node.kind === 'directory') await visit(entry.node, childPath)
          // It searches directories from the start, so that of thousands only some are opened.
          if (entry.node.kind !== 'file' || i % Math.ceil(node.entries.length / 20) !== 0) continue
          const bytes = await new Promise<Buffer>((resolve, reject) =>
            fs.readFile(childPath, (error, read) => (error ? reject(error) : resolve(read))),
          )
          expect(createHash('sha256').update(bytes).digest('hex')).toBe(await hashOf(entry.node))
        }
      }
      await visit(tree, '/')
    })
  }

  it('notices a flipped content byte', async () => {
    const tree = directory({ 'A.TXT': file('hello') })
    const bytes = await imageBytes(fat(tree, { type: 16 }))
    const at = bytes.indexOf('hello')
    bytes[at] = 0x48
    const fs = await openByFatfs(bytes)
    const read = await new Promise<Buffer>((resolve, reject) =>
      fs.readFile('/A.TXT', (error, content) => (error ? reject(error) : resolve(content))),
    )
    expect(read.toString()).toBe('Hello')
  })
})

describe('fat beyond 4 GiB', () => {
  /** Zeros with a mark at the beginning, at 3 GiB and at the end. */
  function marked(size: number): FileNode {
    const image: Image = {
      size,
      extents: [
        bytesExtent(0, Buffer.from('first')),
        bytesExtent(3 * 2 ** 30, Buffer.from('middle')),
        bytesExtent(size - 4, Buffer.from('last')),
      ],
    }
    return { kind: 'file', mode: 0o644, uid: 0, gid: 0, mtimeSeconds: MTIME, size, content: { kind: 'image', image } }
  }

  // fsck.fat 4.2 counts the bytes of a chain in 32 bits (dosfstools issue 208): a larger file looks empty to it.
  it.each([2 ** 32 - 2 ** 16, 2 ** 32 - 1])('is a sparse file that readers read, with files of %i bytes', async (size) => {
    await withFolder(async (folder) => {
      const path = join(folder, 'fat.img')
      const tree = directory({ 'a large file': marked(size), 'z after it': file('after 4 GiB'), sub: directory({ deep: marked(size) }) })
      const options: FatOptions = { label: 'LARGE' }
      const image = fat(tree, options)
      expect(image.size).toBeGreaterThan(2 ** 33 - 2 ** 17)
      await writeImageFile(image, path)
      expect((await stat(path)).blocks * 512).toBeLessThan(8 << 20)

      const fd = openSync(path, 'r')
      try {
        const read = (position: number, length: number) => {
          const bytes = Buffer.alloc(length)
          readSync(fd, bytes, 0, length, position)
          return bytes
        }
        const volume = readFat(read)
        expect(volume.type).toBe(32)
        expect(volume.files.get('/z after it')?.read().toString()).toBe('after 4 GiB')
        const large = volume.files.get('/sub/deep')
        const start = volume.dataStart + ((large?.clusters[0] ?? 0) - 2) * volume.clusterSize
        expect(read(start, 6).toString('latin1')).toBe('first\0')
        expect(read(start + 3 * 2 ** 30, 7).toString('latin1')).toBe('middle\0')
        expect(read(start + size - 4, 4).toString('latin1')).toBe('last')
      } finally {
        closeSync(fd)
      }
      if (!oracle('fsck.fat').skip && size < 2 ** 32 - 1) expectClean(path, tree, options)
      if (!oracle('mcopy').skip) expect(runOk('mcopy', ['-i', path, '::z after it', '-']).text).toBe('after 4 GiB')
    })
  })
})
