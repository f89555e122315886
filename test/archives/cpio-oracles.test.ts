/**
 * Other people's readers and writers of newc archives: GNU cpio, libarchive (bsdtar, bsdcpio), busybox cpio and
 * the npm package cpio-stream. What each is known to get wrong is said where it is left out.
 */
import {
  type BigIntStats,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cpio } from '../../src/archives/cpio/index.ts'
import type { Image } from '../../src/io/image.ts'
import { imageChunks } from '../../src/io/stream.ts'
import type { DirectoryNode, TreeNode } from '../../src/tree/tree.ts'
import { oracle, run, runOk, type ToolResult } from '../oracles/tools.ts'
import { type CpioEntry, readCpio } from '../readers/cpio-reader.ts'
import { FIXED, file, pathsOf, strangeTree } from './cpio-trees.ts'

const isRoot = process.getuid?.() === 0
const NEEDS_ROOT = ['characterDevice', 'blockDevice']

/** Without what only root can make, read or give to another user. */
function makeable(root: DirectoryNode): DirectoryNode {
  if (isRoot) return root
  const entries = root.entries
    .filter(({ node }) => !NEEDS_ROOT.includes(node.kind) && (node.mode & 0o4400) === 0o400)
    .map(({ name, node }) => ({ name, node: node.kind === 'directory' ? makeable(node) : node }))
  return { ...root, entries }
}

const root = makeable(strangeTree())
const paths = pathsOf(root)

let folder: string
let archive: Buffer
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-cpio-oracles-'))
  archive = await bytesOf(cpio(root))
})
afterAll(() => rmSync(folder, { recursive: true }))

async function bytesOf(image: Image): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks(image)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function fileOf(bytes: Uint8Array): string {
  const path = join(folder, 'archive.cpio')
  writeFileSync(path, bytes)
  return path
}

/** Bytes of a path from one character a byte. */
const onHost = (base: string, path: string): Buffer => Buffer.concat([Buffer.from(`${base}/`), Buffer.from(path, 'latin1')])

/** Archives with one thing wrong each; no reader may find in them what it finds in the right one. */
function damaged(): [string, Buffer][] {
  const entries = readCpio(archive)[0]?.entries ?? []
  const entryOf = (name: string): CpioEntry => {
    const found = entries.find((entry) => entry.name.toString() === name)
    if (found === undefined) throw new Error(`no entry ${name}`)
    return found
  }
  const changed = (at: number, text: string): Buffer => {
    const copy = Buffer.from(archive)
    copy.write(text, at, 'latin1')
    return copy
  }
  const large = entryOf('sizes/4096')
  return [
    ['another magic', changed(entryOf('modes/owned').start, '070799')],
    ['another byte of data', changed(large.data.byteOffset - archive.byteOffset + 4000, '?')],
    ['a larger size', changed(large.start + 54, '00002000')],
    ['another mode', changed(entryOf('empty').start + 14, '000041ED')],
    ['another name', changed(entryOf('names/a b').start + 110, 'names/a_b')],
    ['an early end', archive.subarray(0, large.data.byteOffset - archive.byteOffset + 100)],
  ]
}

interface Extractor {
  readonly tool: string
  readonly extract: (path: string) => readonly string[]
  /** The tool gives links their time. */
  readonly linkTimes: boolean
  /** The tool gives folders their time when all is in them. */
  readonly folderTimes: boolean
  /** The tool makes sockets; libarchive makes empty files of them. */
  readonly sockets: boolean
  /** The tool makes hard links of devices; busybox makes a device for each name. */
  readonly deviceLinks: boolean
}

const EXTRACTORS: readonly Extractor[] = [
  {
    tool: 'cpio',
    extract: (path) => ['-idm', '--quiet', '-F', path],
    linkTimes: false,
    folderTimes: false,
    sockets: true,
    deviceLinks: true,
  },
  {
    tool: 'bsdcpio',
    extract: (path) => ['-idm', '--quiet', '-F', path],
    linkTimes: true,
    folderTimes: true,
    sockets: false,
    deviceLinks: true,
  },
  { tool: 'bsdtar', extract: (path) => ['-xpf', path], linkTimes: true, folderTimes: true, sockets: false, deviceLinks: true },
  {
    tool: 'busybox',
    extract: (path) => ['cpio', '-idm', '-F', path],
    linkTimes: false,
    folderTimes: false,
    sockets: true,
    deviceLinks: false,
  },
]

describe.each(EXTRACTORS)('extraction by $tool', (extractor) => {
  const { tool, extract } = extractor
  const { skip } = oracle(tool)

  function extracted(bytes: Uint8Array): { result: ToolResult; into: string } {
    const path = fileOf(bytes)
    const into = join(folder, `by-${tool}`)
    rmSync(into, { recursive: true, force: true })
    mkdirSync(into)
    return { result: run(tool, extract(path), { cwd: into }), into }
  }

  it.skipIf(skip)('gives everything back', () => {
    const { result, into } = extracted(archive)
    expect({ status: result.status, stderr: tool === 'busybox' ? '' : result.stderr }).toEqual({ status: 0, stderr: '' })
    expect(differences(extractor, into)).toEqual([])
  })

  it.skipIf(skip)('does not, when the archive is damaged (verify the verifier)', () => {
    for (const [what, bytes] of damaged()) {
      const { result, into } = extracted(bytes)
      expect(result.status !== 0 || differences(extractor, into).length > 0, what).toBe(true)
    }
  })
})

/** What lies below `into` and is not what the tree has there, and what is missing. */
function differences({ linkTimes, folderTimes, sockets, deviceLinks }: Extractor, into: string): string[] {
  const found: string[] = []
  const inodes = new Map<TreeNode, bigint>()
  for (const [path, node] of paths) {
    const host = onHost(into, path)
    const stats = lstatSync(host, { bigint: true, throwIfNoEntry: false })
    if (stats === undefined) {
      found.push(`${path}: is missing`)
      continue
    }
    const isSocketFile = node.kind === 'socket' && !sockets
    if (kindOf(stats) !== (isSocketFile ? 'file' : node.kind)) found.push(`${path}: is a ${kindOf(stats)}`)
    if (node.kind !== 'symlink' && Number(stats.mode & 0o7777n) !== node.mode) found.push(`${path}: has mode ${stats.mode.toString(8)}`)
    if (isRoot && (Number(stats.uid) !== node.uid || Number(stats.gid) !== node.gid))
      found.push(`${path}: belongs to ${stats.uid}:${stats.gid}`)
    const isTimed = node.kind === 'symlink' ? linkTimes : node.kind === 'directory' ? folderTimes : true
    if (isTimed && Number(stats.mtimeMs) !== node.mtimeSeconds * 1000) found.push(`${path}: is of ${stats.mtimeMs} ms`)
    if (node.kind === 'symlink' && !readlinkSync(host, 'buffer').equals(node.target)) found.push(`${path}: has another target`)
    if (node.kind === 'file' && node.content.kind === 'bytes' && !readFileSync(host).equals(node.content.bytes))
      found.push(`${path}: has other data`)
    if ('major' in node && stats.rdev !== deviceNumber(node.major, node.minor)) found.push(`${path}: is device ${stats.rdev}`)
    if (node.kind === 'file' || ('major' in node && deviceLinks)) {
      const first = inodes.get(node) ?? stats.ino
      inodes.set(node, first)
      if (first !== stats.ino) found.push(`${path}: is no hard link`)
    }
  }
  const count = countBelow(Buffer.from(into))
  if (count !== paths.length) found.push(`${count} entries instead of ${paths.length}`)
  return found
}

function countBelow(path: Buffer): number {
  const entries = readdirSync(path, { withFileTypes: true, encoding: 'buffer' })
  const below = entries.filter((entry) => entry.isDirectory()).map(({ name }) => countBelow(Buffer.concat([path, Buffer.from('/'), name])))
  return below.reduce((sum, count) => sum + count, entries.length)
}

function kindOf(stats: BigIntStats): TreeNode['kind'] {
  if (stats.isFile()) return 'file'
  if (stats.isDirectory()) return 'directory'
  if (stats.isSymbolicLink()) return 'symlink'
  if (stats.isCharacterDevice()) return 'characterDevice'
  if (stats.isBlockDevice()) return 'blockDevice'
  return stats.isFIFO() ? 'fifo' : 'socket'
}

/** As Linux gives it to programs: 12 and 20 bits, the low 8 of each below (makedev(3)). */
function deviceNumber(major: number, minor: number): bigint {
  return BigInt((minor & 0xff) + (major & 0xfff) * 256) + (BigInt(minor >>> 8) << 20n)
}

describe('listing', () => {
  const names = (): Buffer => Buffer.from(paths.map(([path]) => `${path}\n`).join(''), 'latin1')

  it.skipIf(oracle('cpio').skip)('by GNU cpio has the same names in the same order, with numbers of devices', () => {
    const path = fileOf(archive)
    expect(runOk('cpio', ['-it', '--quiet', '-F', path]).stdout.equals(names())).toBe(true)
    const lines = runOk('cpio', ['-itvn', '--quiet', '-F', path]).stdout.toString('latin1').split('\n').slice(0, -1)
    expect(lines).toHaveLength(paths.length)
    const lineOf = (name: string): string | undefined => lines.find((line) => line.endsWith(` ${name}`))?.replaceAll(/ +/g, ' ')
    if (isRoot) {
      expect(lineOf('dev/console')).toBe('crw------- 1 0 0 5, 1 Jan 1 1970 dev/console')
      expect(lineOf('dev/nvme')).toBe('brw-rw---- 2 0 6 259, 1048575 Jan 1 1970 dev/nvme')
    }
    expect(lineOf('a-b')).toBe('-rw-r--r-- 3 0 0 0 Jan 1 1970 a-b')
    expect(lineOf('z')).toBe('-rw-r--r-- 3 0 0 21 Jan 1 1970 z')
    expect(lineOf('modes/owned')).toBe('-rw-r--r-- 1 1000 100 1 Feb 7 2106 modes/owned')
    expect(lineOf('names')).toBe('drwxr-xr-x 3 0 0 0 Jan 1 1970 names')
    expect(lineOf('links/to a -> ../a')).toBe('lrwxrwxrwx 1 0 0 4 Jan 1 1970 links/to a -> ../a')
  })

  it.skipIf(oracle('bsdcpio').skip)('by bsdcpio has the same names in the same order', () => {
    expect(runOk('bsdcpio', ['-it', '--quiet', '-F', fileOf(archive)]).stdout.equals(names())).toBe(true)
  })
})

/** As `-R +0:+0` makes it. */
function owned(node: DirectoryNode): DirectoryNode {
  const entries = node.entries.map(({ name, node: child }) => ({
    name,
    node: child.kind === 'directory' ? owned(child) : (nobodys.get(child) ?? child),
  }))
  return { ...node, uid: 0, gid: 0, entries }
}
const nobodys = new Map<TreeNode, TreeNode>(paths.map(([, node]) => [node, { ...node, uid: 0, gid: 0 }]))

describe.skipIf(oracle('cpio').skip)('writing by GNU cpio', () => {
  /** Of an entry what must be equal; inodes are compared by which entries share one. */
  const comparable = ({ name, mode, uid, gid, nlink, mtime, devmajor, devminor, rdevmajor, rdevminor, data }: CpioEntry): object => {
    return {
      name: name.toString('latin1'),
      mode,
      uid,
      gid,
      nlink,
      mtime,
      devmajor,
      devminor,
      rdevmajor,
      rdevminor,
      data: data.toString('latin1'),
    }
  }

  /** The folder as GNU cpio packs it when it is given our names in our order. */
  function packedByGnu(): CpioEntry[] {
    const into = join(folder, 'source')
    rmSync(into, { recursive: true, force: true })
    mkdirSync(into)
    runOk('cpio', ['-idm', '--quiet', '-F', fileOf(archive)], { cwd: into })
    for (const [path, { mtimeSeconds }] of paths.toReversed()) lutimesSync(onHost(into, path), mtimeSeconds, mtimeSeconds)
    const input = Buffer.from(paths.map(([path]) => `${path}\0`).join(''), 'latin1')
    const args = ['--quiet', '-o', '-H', 'newc', '-R', '+0:+0', '--reproducible', '--null']
    const [member] = readCpio(runOk('cpio', args, { cwd: into, input }).stdout)
    return [...(member?.entries ?? [])]
  }

  it('of the same folder gives the same fields and data', async () => {
    const ours = readCpio(await bytesOf(cpio(owned(root))))[0]?.entries ?? []
    const theirs = packedByGnu()
    // GNU cpio writes all names of a hard link when it meets the last; ours stand where they belong.
    const byName = (entries: readonly CpioEntry[]) => [...entries].sort((a, b) => Buffer.compare(a.name, b.name))
    expect(byName(theirs).map(comparable)).toEqual(byName(ours).map(comparable))
    const singles = (entries: readonly CpioEntry[]) =>
      entries.filter(({ mode, nlink }) => nlink === 1 || mode >> 12 === 4).map(({ name }) => name.toString('latin1'))
    expect(singles(theirs)).toEqual(singles(ours))
    // GNU cpio counts inodes from 0.
    const ownInode = new Map(ours.map(({ name, ino }) => [name.toString('latin1'), ino]))
    const pairs = new Set(theirs.map(({ name, ino }) => `${ino} is ${ownInode.get(name.toString('latin1'))}`))
    expect(pairs.size).toBe(new Set(theirs.map(({ ino }) => ino)).size)
    expect(pairs.size).toBe(new Set(ours.map(({ ino }) => ino)).size)
  })

  it('of one plain file gives the same bytes but for its inode 0 and its padding to 512', async () => {
    const into = join(folder, 'one')
    mkdirSync(into)
    writeFileSync(join(into, 'hello'), 'world\n', { mode: 0o644 })
    lutimesSync(join(into, 'hello'), 1, 1)
    const theirs = runOk('cpio', ['--quiet', '-o', '-H', 'newc', '-R', '+0:+0', '--reproducible'], {
      cwd: into,
      input: Buffer.from('hello\n'),
    }).stdout
    const ours = await bytesOf(cpio({ kind: 'directory', ...FIXED, entries: [{ name: Buffer.from('hello'), node: file('world\n') }] }))
    expect(theirs.length).toBe(512)
    const numbered = Buffer.concat([theirs.subarray(0, 6), Buffer.from('00000001'), theirs.subarray(14)])
    expect(numbered.equals(Buffer.concat([ours, Buffer.alloc(512 - ours.length)]))).toBe(true)
  })
})

describe('cpio-stream of npm', () => {
  interface Header {
    readonly name: string
    readonly mode: number
    readonly uid: number
    readonly gid: number
    readonly nlink: number
    readonly mtime: Date
    readonly size: number
    readonly rdevmajor: number
    readonly rdevminor: number
    readonly linkname?: string
  }
  interface Extract {
    end(bytes: Uint8Array): void
    on(event: 'entry', listener: (header: Header, content: Readable, next: () => void) => void): this
    on(event: 'error' | 'finish', listener: (error?: Error) => void): this
  }
  const { extract } = createRequire(import.meta.url)('cpio-stream') as { extract(): Extract }

  /**
   * Its reader is right about headers, sizes and padding, and defective in three ways, which are gone around:
   * it waits for ever when a chunk ends within padding, so the archive comes in one chunk; it cuts names to
   * 7 bits, so names are compared as it gives them; it takes link targets for UTF-8. It does not notice an
   * archive that ends early either: a test that counts entries does.
   */
  async function entriesOf(bytes: Uint8Array): Promise<object[]> {
    const found: object[] = []
    const extractor = extract()
    await new Promise<void>((resolve, reject) => {
      extractor.on('entry', ({ name, mode, uid, gid, nlink, mtime, size, rdevmajor, rdevminor, linkname }, content, next) => {
        const chunks: Uint8Array[] = []
        content.on('data', (chunk: Uint8Array) => chunks.push(chunk))
        content.on('end', () => {
          const data = linkname ?? Buffer.concat(chunks).toString('latin1')
          found.push({ name, mode, uid, gid, nlink, mtime: mtime.getTime() / 1000, size, rdevmajor, rdevminor, data })
          next()
        })
      })
      extractor.on('error', reject)
      extractor.on('finish', () => setImmediate(resolve))
      extractor.end(bytes)
    })
    return found
  }

  const expected = (): object[] =>
    (readCpio(archive)[0]?.entries ?? []).map(({ name, mode, uid, gid, nlink, mtime, rdevmajor, rdevminor, data }) => ({
      ...{ name: name.toString('ascii'), mode, uid, gid, nlink, mtime, size: data.length, rdevmajor, rdevminor },
      data: mode >> 12 === 10 ? data.toString('utf8') : data.toString('latin1'),
    }))

  it('reads every header and all data', async () => {
    expect(await entriesOf(archive)).toEqual(expected())
  })

  it('does not, when the archive is damaged (verify the verifier)', async () => {
    for (const [what, bytes] of damaged()) {
      const found = await Promise.race([entriesOf(bytes).catch(() => []), new Promise<object[]>((resolve) => setTimeout(resolve, 500, []))])
      expect(found, what).not.toEqual(expected())
    }
  })
})
