import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeHeader } from '../../src/archives/cpio/disk.ts'
import { type CpioOptions, cpio, cpioPieces, type GrowingCpioFile, growingCpio, planCpio } from '../../src/archives/cpio/index.ts'
import { type ErrorCode, ImageError } from '../../src/errors.ts'
import { FileTarget } from '../../src/io/file-target.ts'
import { bytesExtent, bytesImage, type GrowingImage, type Image } from '../../src/io/image.ts'
import { imageChunks, writeImage } from '../../src/io/stream.ts'
import { BufferTarget } from '../../src/io/target.ts'
import { narPieces } from '../../src/nix/nar/serialize.ts'
import { HOST_ATTRIBUTES, scanHost } from '../../src/tree/scan.ts'
import type { DirectoryNode, FileNode, TreeNode } from '../../src/tree/tree.ts'
import { runOk } from '../oracles/tools.ts'
import { readCpio, readCpioMember, unpackCpio } from '../readers/cpio-reader.ts'
import { directory, FIXED, file, link, pathsOf, randomTree, seeded, shuffled, strangeTree } from './cpio-trees.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-cpio-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

async function bytesOf(image: Image): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks(image)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const archiveOf = (root: DirectoryNode, options?: CpioOptions): Promise<Buffer> => bytesOf(cpio(root, options))

/** Of an error: its code, where, and a part of what it says. */
function problem(code: ErrorCode, path: string | undefined, text: RegExp) {
  return (error: unknown): boolean => {
    expect(error).toBeInstanceOf(ImageError)
    const { message, ...rest } = error as ImageError
    expect({ code: rest.code, path: rest.path, message }).toEqual({ code, path, message: expect.stringMatching(text) })
    return true
  }
}

function thrownBy(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

const HEADER_OF_HELLO = [
  '070701', // c_magic
  '00000001', // c_ino
  '000081A4', // c_mode: a file, 0644
  '000003E8', // c_uid
  '00000064', // c_gid
  '00000001', // c_nlink
  '6553F100', // c_mtime
  '00000006', // c_filesize
  '00000000', // c_maj
  '00000000', // c_min
  '00000000', // c_rmaj
  '00000000', // c_rmin
  '00000006', // c_namesize
  '00000000', // c_chksum
].join('')

const TRAILER = `070701${'00000000'.repeat(4)}00000001${'00000000'.repeat(6)}0000000B00000000TRAILER!!!\0\0\0\0`

describe('records (buffer-format.rst)', () => {
  it('writes header, name, data and trailer', async () => {
    const hello = file('world\n', { uid: 1000, gid: 100, mtimeSeconds: 1700000000 })
    const archive = await archiveOf(directory({ hello }))
    expect(archive.toString('latin1')).toBe(`${HEADER_OF_HELLO}hello\0world\n\0\0${TRAILER}`)
    expect(archive.length % 4).toBe(0)
  })

  it('writes an archive of nothing as its trailer', async () => {
    expect((await archiveOf(directory({}))).toString('latin1')).toBe(TRAILER)
  })

  it('pads names of every length and data of every length to 4 bytes', async () => {
    for (let length = 1; length <= 8; length++) {
      const name = 'n'.repeat(length)
      const archive = await archiveOf(directory({ [name]: file('d'.repeat(length)) }))
      const dataStart = Math.ceil((110 + length + 1) / 4) * 4
      const trailerStart = Math.ceil((dataStart + length) / 4) * 4
      expect(archive.subarray(110, dataStart).toString()).toBe(name.padEnd(dataStart - 110, '\0'))
      expect(archive.subarray(dataStart, trailerStart).toString()).toBe('d'.repeat(length).padEnd(trailerStart - dataStart, '\0'))
      expect(archive.subarray(trailerStart).toString()).toBe(TRAILER)
    }
  })

  it('writes modes and numbers of devices, pipes, sockets, links and folders', async () => {
    const kinds: Record<string, TreeNode> = {
      a: { kind: 'characterDevice', ...FIXED, major: 5, minor: 1 },
      b: { kind: 'blockDevice', ...FIXED, major: 4095, minor: 1048575 },
      c: { kind: 'fifo', ...FIXED },
      d: { kind: 'socket', ...FIXED },
      e: link('target'),
      f: directory({}, { mode: 0o1777 }),
      g: file('', { mode: 0o7777 }),
    }
    const [member] = readCpio(await archiveOf(directory(kinds)))
    const seen = member?.entries.map(({ mode, rdevmajor, rdevminor, data }) => [mode.toString(8), rdevmajor, rdevminor, data.toString()])
    expect(seen).toEqual([
      ['20644', 5, 1, ''],
      ['60644', 4095, 1048575, ''],
      ['10644', 0, 0, ''],
      ['140644', 0, 0, ''],
      ['120777', 0, 0, 'target'],
      ['41777', 0, 0, ''],
      ['107777', 0, 0, ''],
    ])
  })

  it('holds the largest numbers, and names the field of one that is larger', () => {
    const header = new Uint8Array(110)
    writeHeader(header, 0, { inode: 0xffffffff, checksum: 0x89abcdef })
    expect(Buffer.from(header).toString()).toBe(`070701FFFFFFFF${'00000000'.repeat(11)}89ABCDEF`)
    for (const inode of [2 ** 32, -1, 0.5, Number.NaN]) {
      problem('LIMIT', undefined, /inode is .*, the field holds 0 to 4294967295/)(thrownBy(() => writeHeader(header, 0, { inode })))
    }
  })
})

describe('plan', () => {
  it('is plain data: records depth first, sorted by bytes, inodes from 1, addresses', () => {
    const root = directory({ b: file('12345'), a: directory({ z: file(''), d: directory({}) }), 'a-b': link('b') })
    const plan = planCpio(root)
    const rows = plan.records.map(({ name, inode, linkCount, start, dataStart, dataSize }) => [
      ...[Buffer.from(name).toString(), inode, linkCount, start, dataStart, dataSize],
    ])
    expect(rows).toEqual([
      ['a', 1, 3, 0, 112, 0],
      ['a/d', 2, 2, 112, 228, 0],
      ['a/z', 3, 1, 228, 344, 0],
      ['a-b', 4, 1, 344, 460, 1],
      ['b', 5, 1, 464, 576, 5],
    ])
    expect({ ...plan, records: 5 }).toEqual({ records: 5, inodeCount: 5, trailerStart: 584, size: 708 })
    expect(cpio(root)).toMatchObject({ size: 708, plan })
  })

  it('gives a hard link one inode, its content to the last name, and a link target to each', () => {
    const shared = file('shared')
    const symlink = link('target')
    const root = directory({ a: shared, b: directory({ c: shared, l: symlink }), l: symlink, z: shared, own: file('own') })
    const rows = (options?: CpioOptions) =>
      planCpio(root, options).records.map(({ name, inode, linkCount, dataSize }) => [
        Buffer.from(name).toString(),
        inode,
        linkCount,
        dataSize,
      ])
    expect(rows()).toEqual([
      ['a', 1, 3, 0],
      ['b', 2, 2, 0],
      ['b/c', 1, 3, 0],
      ['b/l', 3, 2, 6],
      ['l', 3, 2, 6],
      ['own', 4, 1, 3],
      ['z', 1, 3, 6],
    ])
    expect(rows({ hardLinks: false })).toEqual([
      ['a', 1, 1, 6],
      ['b', 2, 2, 0],
      ['b/c', 3, 1, 6],
      ['b/l', 4, 1, 6],
      ['l', 5, 1, 6],
      ['own', 6, 1, 3],
      ['z', 7, 1, 6],
    ])
  })

  it('takes a folder that stands in two places for two, whose files are hard links', () => {
    const inner = directory({ f: file('f') })
    const rows = planCpio(directory({ a: inner, b: inner })).records.map(({ name, inode, linkCount }) => [
      Buffer.from(name).toString(),
      inode,
      linkCount,
    ])
    expect(rows).toEqual([
      ['a', 1, 2],
      ['a/f', 2, 2],
      ['b', 3, 2],
      ['b/f', 2, 2],
    ])
  })

  it('puts a prefix before every name, without records of its own, and a record for the root if asked', () => {
    const root = directory({ a: directory({ b: file('') }) })
    const names = (options: CpioOptions): string[] => planCpio(root, options).records.map(({ name }) => Buffer.from(name).toString())
    expect(names({ prefix: 'nix/störe' })).toEqual(['nix/störe/a', 'nix/störe/a/b'])
    expect(names({ rootRecord: true })).toEqual(['.', 'a', 'a/b'])
    expect(names({})).toEqual(['a', 'a/b'])
    expect(planCpio(directory({ 'TRAILER!!!': file('') }), { prefix: 'a' }).records).toHaveLength(1)
  })
})

describe('limits', () => {
  const hugeFile = (size: number): FileNode => ({ kind: 'file', ...FIXED, size, content: { kind: 'hostFile', path: Buffer.from('/huge') } })
  const fails = (root: DirectoryNode, code: ErrorCode, path: string | undefined, text: RegExp, options?: CpioOptions): void => {
    problem(code, path, text)(thrownBy(() => cpio(root, options)))
  }

  it('refuses a file of 4 GiB by name, and lays out one byte less', () => {
    fails(
      directory({ a: directory({ huge: hugeFile(2 ** 32) }) }),
      'LIMIT',
      'nix/store/a/huge',
      /4294967296 bytes.*up to 4294967295 .*split it/,
      {
        prefix: 'nix/store',
      },
    )
    const plan = planCpio(directory({ a: hugeFile(2 ** 32 - 1), b: hugeFile(2 ** 32 - 1) }))
    expect(plan.records.map(({ dataStart }) => dataStart)).toEqual([112, 2 ** 32 + 224])
    expect(plan.size).toBe(2 ** 33 + 224 + 124)
  })

  it('refuses paths that Linux skips', () => {
    const deep = (length: number): DirectoryNode => {
      const names = Array.from({ length: 16 }, () => 'd'.repeat(255))
      return names.reduceRight<DirectoryNode>((below, name) => directory({ [name]: below }), directory({ ['f'.repeat(length)]: file('') }))
    }
    // 16 names of 255 bytes and the slashes behind them are 4096.
    fails(deep(1), 'LIMIT', `${'d'.repeat(255)}/`.repeat(16).concat('f'), /4097 bytes.*up to 4095; shorten/)
    const root = directory({ ['x'.repeat(255)]: file('') })
    const prefix = Array.from({ length: 15 }, () => 'p'.repeat(255)).join('/')
    expect(planCpio(root, { prefix }).records[0]?.name.length).toBe(4095)
    fails(root, 'LIMIT', expect.stringContaining('xxx'), /4096 bytes/, { prefix: `${prefix.slice(0, -128)}/${'p'.repeat(128)}` })
    fails(directory({ a: directory({ ['x'.repeat(256)]: file('') }) }), 'LIMIT', 'a', /256 bytes, Linux allows 255/)
  })

  it('refuses a tree that holds itself', () => {
    const entries: { name: Uint8Array; node: TreeNode }[] = []
    const loop: DirectoryNode = { ...directory({}), entries }
    entries.push({ name: Buffer.from('loop'), node: loop })
    fails(loop, 'LIMIT', expect.stringContaining('loop/loop'), /nest deeper than 512 levels/)
  })

  it('refuses link targets that Linux does not take', () => {
    expect(planCpio(directory({ l: link('t'.repeat(4095)) })).records[0]?.dataSize).toBe(4095)
    fails(directory({ l: link('t'.repeat(4096)) }), 'LIMIT', 'l', /4096 bytes, Linux allows 4095; shorten/)
    fails(directory({ l: link('') }), 'USAGE', 'l', /no target/)
    fails(directory({ l: link('a\0b') }), 'USAGE', 'l', /zero byte/)
  })

  it.each([
    [{ mtimeSeconds: 2 ** 32 }, /modification time is 4294967296/],
    [{ mtimeSeconds: -1 }, /modification time is -1/],
    [{ mtimeSeconds: 1.5 }, /modification time is 1.5/],
    [{ uid: 2 ** 32 - 1 }, /user id is 4294967295.*to 4294967294/],
    [{ gid: -1 }, /group id is -1/],
    [{ mode: 0o100644 }, /mode is 0100644/],
  ])('refuses attributes beyond the fields: %o', (attributes, text) => {
    fails(directory({ a: file('', attributes) }), 'LIMIT', 'a', text)
    fails(directory({}, attributes), 'LIMIT', '.', text, { rootRecord: true })
    expect(planCpio(directory({}, attributes)).records).toEqual([])
  })

  it('takes the largest attributes', async () => {
    const [member] = readCpio(
      await archiveOf(directory({ a: file('', { uid: 2 ** 32 - 2, gid: 2 ** 32 - 2, mtimeSeconds: 2 ** 32 - 1 }) })),
    )
    expect(member?.entries[0]).toMatchObject({ uid: 4294967294, gid: 4294967294, mtime: 4294967295 })
  })

  it('refuses device numbers of which Linux drops bits', () => {
    const device = (major: number, minor: number): DirectoryNode => directory({ d: { kind: 'characterDevice', ...FIXED, major, minor } })
    fails(device(4096, 0), 'LIMIT', 'd', /major number is 4096; .* 4095/)
    fails(device(0, 2 ** 20), 'LIMIT', 'd', /minor number is 1048576; .* 1048575/)
  })

  it('refuses extended attributes', () => {
    const xattrs = [{ name: 'security.capability', value: Buffer.alloc(20) }]
    fails(directory({ a: file('', { xattrs }) }), 'UNSUPPORTED', 'a', /no extended attributes such as 'security.capability'; drop/)
    expect(planCpio(directory({ a: file('', { xattrs: [] }) })).records).toHaveLength(1)
  })

  it.each(['', '.', '..', 'a/b', 'a\0b'])('refuses %j as a name', (name) => {
    fails(directory({ sub: directory({ [name]: file('') }) }), 'USAGE', 'sub', /cannot be the name of an entry/)
    fails(directory({ [name]: directory({}) }), 'USAGE', '/', /cannot be the name of an entry/)
  })

  it('refuses the name of the trailer at the top, and twice the same name', () => {
    fails(directory({ 'TRAILER!!!': directory({}) }), 'USAGE', 'TRAILER!!!', /ends a cpio archive.*rename/)
    const entries = ['b', 'a', 'b'].map((name) => ({ name: Buffer.from(name), node: file(name) }))
    fails(directory({ sub: { ...directory({}), entries } }), 'USAGE', 'sub', /two entries named 'b'/)
  })

  it.each(['/nix', 'nix/', 'a//b', '..', 'a/./b', 'a\0b'])('refuses the prefix %j', (prefix) => {
    fails(directory({}), 'USAGE', undefined, /is no prefix; give names between slashes/, { prefix })
  })

  it('refuses a record for the root together with a prefix', () => {
    fails(directory({}), 'USAGE', undefined, /no record for the root/, { prefix: 'nix', rootRecord: true })
  })

  it('refuses contents that contradict their node', () => {
    const image = bytesImage(Buffer.alloc(3))
    fails(directory({ a: { ...file('abc'), size: 4 } }), 'USAGE', 'a', /content is 3 bytes, the node says 4/)
    fails(
      directory({ a: { ...file(''), size: 4, content: { kind: 'image', image } } }),
      'USAGE',
      'a',
      /content is 3 bytes, the node says 4/,
    )
    fails(directory({ a: hugeFile(-1) }), 'LIMIT', 'a', /size is -1/)
  })
})

describe('emit', () => {
  it('reads contents in memory, of the host and of images, small and large', async () => {
    const contents = [1, 5000, 128 * 1024, 128 * 1024 + 1, 3_000_001].map((size) => Buffer.alloc(size, `content of ${size}.`))
    const entries: Record<string, TreeNode> = {}
    for (const content of contents) {
      const path = join(folder, `of-${content.length}`)
      writeFileSync(path, content)
      entries[`bytes-${content.length}`] = file(content)
      entries[`host-${content.length}`] = { ...file(content), content: { kind: 'hostFile', path: Buffer.from(path) } }
      // Zeros at both ends are not in the extents.
      const image: Image = { size: content.length + 10, extents: [bytesExtent(5, content)] }
      entries[`image-${content.length}`] = { ...file(''), size: image.size, content: { kind: 'image', image } }
    }
    const image = cpio(directory(entries))
    const archive = await bytesOf(image)
    expect(archive.equals(await bytesOf(image))).toBe(true)
    const nodes = unpackCpio(readCpio(archive))
    for (const content of contents) {
      const padded = Buffer.concat([Buffer.alloc(5), content, Buffer.alloc(5)])
      expect(nodes.get(`bytes-${content.length}`)?.data.equals(content)).toBe(true)
      expect(nodes.get(`host-${content.length}`)?.data.equals(content)).toBe(true)
      expect(nodes.get(`image-${content.length}`)?.data.equals(padded)).toBe(true)
    }
    const target = new BufferTarget()
    await writeImage(image, target, 4, { jobs: 1 })
    expect(Buffer.from(target.bytes.subarray(4)).equals(archive)).toBe(true)
  })

  it('has few extents for many small files, and keeps the holes of large images', () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`file-${index}`, file('small')]))
    expect(cpio(directory(many)).extents.length).toBeLessThan(5)
    const sparse: Image = { size: 2 ** 31, extents: [bytesExtent(2 ** 30, Buffer.from('middle'))] }
    const { extents } = cpio(directory({ sparse: { ...file(''), size: sparse.size, content: { kind: 'image', image: sparse } } }))
    expect(extents.map(({ length }) => length)).toEqual([120, 6, 124])
  })

  it('notices host files that are not what they were', async () => {
    for (const size of [10, 200_000]) {
      const path = join(folder, `changing-${size}`)
      const content: FileNode['content'] = { kind: 'hostFile', path: Buffer.from(path) }
      const archive = (): Promise<Buffer> => archiveOf(directory({ a: { ...file(''), size, content } }))
      writeFileSync(path, Buffer.alloc(size))
      expect(readCpio(await archive())[0]?.entries[0]?.data.length).toBe(size)
      writeFileSync(path, Buffer.alloc(size - 1))
      await expect(archive()).rejects.toSatisfy(problem('CHANGED', path, /ended at byte/))
      writeFileSync(path, Buffer.alloc(size + 1))
      await expect(archive()).rejects.toSatisfy(problem('CHANGED', path, /grew beyond its/))
      rmSync(path)
      await expect(archive()).rejects.toSatisfy(problem('CHANGED', path, /ENOENT/))
    }
  })

  it('takes no link, folder or pipe for the file that was listed, waits for none, and leaves nothing open', async () => {
    const target = join(folder, 'target')
    writeFileSync(target, 'ten bytes.')
    const place = join(folder, 'place')
    const archive = (path = place, size = 10): Promise<Buffer> => {
      return archiveOf(directory({ a: { ...file(''), size, content: { kind: 'hostFile', path: Buffer.from(path) } } }))
    }
    const open = (): number => readdirSync('/proc/self/fd').length
    const before = open()
    for (const make of [() => symlinkSync(target, place), () => mkdirSync(place), () => runOk('mkfifo', [place])]) {
      make()
      await expect(archive()).rejects.toSatisfy(problem('CHANGED', place, /none any more; build again/))
      rmSync(place, { recursive: true })
    }
    const long = join(folder, 'n'.repeat(256))
    await expect(archive(long)).rejects.toSatisfy(problem('UNREADABLE', long, /ENAMETOOLONG.*make it readable/))
    await expect(archive(target, 9)).rejects.toSatisfy(problem('CHANGED', target, /grew/))
    expect(open()).toBe(before)
  })

  it('gives pieces that make the same archive, with files in the order of a NAR', async () => {
    const a = directory({ c: file('22'), 'b-': file('333'), b: directory({ x: file('4444') }), none: file('') })
    const root = directory({ 'a-b': file('1'), a, Z: file('5') })
    const pieces = [...cpioPieces(root, { prefix: 'nix/store' })]
    const contentOf = ({ content }: FileNode): Uint8Array => (content.kind === 'bytes' ? content.bytes : Buffer.alloc(0))
    const parts = pieces.map((piece) => ('kind' in piece ? contentOf(piece) : piece))
    expect(Buffer.concat(parts).equals(await archiveOf(root, { prefix: 'nix/store' }))).toBe(true)
    const files = (list: Iterable<Uint8Array | FileNode>): FileNode[] => [...list].filter((piece) => 'kind' in piece)
    expect(files(pieces)).toEqual(files(narPieces(root)))
    expect(files(pieces)).toHaveLength(5)
  })

  it('hands on framing in pieces of bounded size, and throws at the first step', () => {
    const links = Object.fromEntries(Array.from({ length: 3000 }, (_, index) => [`link-${index}`, link('target')]))
    const sizes = [...cpioPieces(directory(links))].map((piece) => ('kind' in piece ? 0 : piece.length))
    expect(Math.max(...sizes)).toBeLessThan(70_000)
    expect(sizes.length).toBeGreaterThan(5)
    problem('USAGE', 'TRAILER!!!', /rename/)(thrownBy(() => cpioPieces(directory({ 'TRAILER!!!': file('') })).next()))
  })
})

const NOTHING = new Uint8Array(0)

describe('reading back', () => {
  it('finds everything of a strange tree as Linux would', async () => {
    const root = strangeTree()
    const nodes = unpackCpio(readCpio(await archiveOf(root)))
    checkNodes(nodes, root)
    const three = ['a/c', 'a-b', 'z'].map((path) => nodes.get(path))
    expect(three[0]).toBe(three[1])
    expect(three[0]).toBe(three[2])
    expect(nodes.get('dev/nvme')).toBe(nodes.get('dev/nvme-again'))
  })

  it('reads archives that follow each other, uncompressed ones 4-byte aligned', async () => {
    const first = await archiveOf(directory({ nix: directory({ store: directory({}) }) }))
    const second = await archiveOf(directory({ p: file('path') }), { prefix: 'nix/store' })
    const nodes = unpackCpio(readCpio(Buffer.concat([first, second, Buffer.alloc(8), first])))
    expect([...nodes.keys()]).toEqual(['nix', 'nix/store', 'nix/store/p'])
    expect(() => unpackCpio(readCpio(second))).toThrow('its folder is not there')
    expect(() => readCpio(Buffer.concat([first, Buffer.alloc(2), second]))).toThrow('no multiple of 4')
  })

  it('does not depend on the order of entries, whatever the tree (200 random ones)', async () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = seeded(seed)
      const root = randomTree(random)
      const hardLinks = random(4) !== 0
      const archive = await archiveOf(root, { hardLinks })
      const other = await archiveOf(shuffled(root, random), { hardLinks })
      if (!archive.equals(other)) throw new Error(`seed ${seed}: the order of entries shows`)
      const members = readCpio(archive)
      expect(members.length).toBe(1)
      const names = members[0]?.entries.map(({ name }) => name.toString('latin1'))
      expect(names).toEqual(pathsOf(root).map(([path]) => path))
      const nodes = unpackCpio(members)
      checkNodes(nodes, root)
      checkLinks(nodes, root, hardLinks)
    }
  })

  function checkNodes(nodes: ReturnType<typeof unpackCpio>, root: DirectoryNode): void {
    const wanted = pathsOf(root)
    expect([...nodes.keys()]).toEqual(wanted.map(([path]) => path))
    for (const [path, node] of wanted) {
      const found = nodes.get(path)
      const { kind, mode, uid, gid, mtimeSeconds: mtime } = node
      const device = 'major' in node ? `${node.major}:${node.minor}` : '0:0'
      expect({ path, ...found, data: '' }).toEqual({ path, kind, mode, uid, gid, mtime, device, data: '' })
      const wantedData =
        node.kind === 'symlink' ? node.target : node.kind === 'file' && node.content.kind === 'bytes' ? node.content.bytes : NOTHING
      if (!found?.data.equals(wantedData)) throw new Error(`${path}: has other data`)
    }
  }

  /** One object in two places exactly where the tree has one node there, links aside, of which Linux makes copies. */
  function checkLinks(nodes: ReturnType<typeof unpackCpio>, root: DirectoryNode, hardLinks: boolean): void {
    const places = pathsOf(root).filter(([, { kind }]) => kind !== 'directory' && kind !== 'symlink')
    const wantedCount = hardLinks ? new Set(places.map(([, node]) => node)).size : places.length
    expect(new Set(places.map(([path]) => nodes.get(path))).size).toBe(wantedCount)
  }

  it('is refused when damaged (verify the verifier)', async () => {
    const root = strangeTree()
    const archive = await archiveOf(root)
    const records = readCpioMember(archive).entries
    const random = seeded(7)
    for (let round = 0; round < 100; round++) {
      const damaged = Buffer.from(archive)
      const record = records[random(records.length)]
      const at = (record?.start ?? 0) + random(110 + (record?.name.length ?? 0) + (record?.data.length ?? 0))
      // The header field c_ino and c_nlink of what is no hard link mean nothing; c_maj and c_min neither.
      const field = Math.floor((at - (record?.start ?? 0) - 6) / 8)
      if ([0, 4, 7, 8].includes(field)) continue
      damaged[at] = (damaged[at] ?? 0) ^ 1
      expect(() => checkNodes(unpackCpio(readCpio(damaged)), root), `a bit at ${at}`).toThrow()
    }
    expect(() => readCpio(archive.subarray(0, -4))).toThrow('the archive ends at')
    expect(() => readCpio(Buffer.concat([archive, Buffer.alloc(200, 'junk')]))).toThrow('no newc header')
  })
})

describe('growing', () => {
  const SQUASHFS = Buffer.alloc(100_001, 'packed ')
  /** Writes more than it keeps, as an image may whose size is known late. */
  const growing = (content: Buffer, size = content.length): GrowingImage => ({
    sizeLimit: 2 ** 40,
    async pack(target, start) {
      await target.write(start, content)
      return { size, extents: [] }
    },
  })
  const lastFile = (over: Partial<GrowingCpioFile> = {}): GrowingCpioFile => ({
    ...{ ...FIXED, mode: 0o444, mtimeSeconds: 5 },
    path: 'nix-store.squashfs',
    image: growing(SQUASHFS),
    ...over,
  })

  it.each([0, 4, 4096, 1_000_004])(
    'packs the last file where it stays, from byte %i on, like an archive of finished files',
    async (start) => {
      const root = strangeTree()
      const { sizeLimit, pack } = growingCpio(root, lastFile())
      const target = new BufferTarget()
      const image = await pack(target, start, { jobs: 1 })
      const archive = await bytesOf(image)
      expect(Buffer.from(target.bytes.subarray(start)).equals(archive)).toBe(true)
      expect(image.size).toBeLessThan(sizeLimit)
      const [member] = readCpio(archive)
      const last = member?.entries.at(-1)
      expect(last).toMatchObject({ mode: 0o100444, uid: 0, mtime: 5, nlink: 1 })
      expect(last?.name.toString()).toBe('nix-store.squashfs')
      expect(last?.data.equals(SQUASHFS)).toBe(true)
      const plain = readCpio(await archiveOf(root))[0]?.entries
      expect(member?.entries.slice(0, -1)).toEqual(plain)
      expect(last?.ino).toBe(Math.max(...(plain ?? []).map(({ ino }) => ino)) + 1)
    },
  )

  it('is the archive of the finished file, over a file and with a prefix', async () => {
    const path = join(folder, 'growing')
    const root = directory({ a: directory({ b: file('b') }), c: file('c') })
    for (const size of [0, 1, 2, 3, 4, 200_000]) {
      const content = Buffer.alloc(size, 'x')
      const handle = await open(path, 'w+')
      const target = new FileTarget(handle, path)
      try {
        const image = await growingCpio(root, lastFile({ path: 'd', image: growing(content) }), { prefix: 'nix/store' }).pack(target, 8, {
          jobs: 1,
        })
        const finished = directory({ a: directory({ b: file('b') }), c: file('c'), d: file(content, { mode: 0o444, mtimeSeconds: 5 }) })
        expect((await bytesOf(image)).equals(await archiveOf(finished, { prefix: 'nix/store' }))).toBe(true)
      } finally {
        await target.close()
      }
    }
  })

  it('goes into a folder of the tree, and cleans up behind an image that wrote too much', async () => {
    const root = directory({ a: directory({ b: directory({}) }) })
    const target = new BufferTarget()
    const { pack } = growingCpio(root, lastFile({ path: '/a/b/f', image: growing(Buffer.alloc(1000, 'x'), 11) }))
    const nodes = unpackCpio(readCpio(await bytesOf(await pack(target, 0, { jobs: 1 }))))
    expect(nodes.get('a/b/f')?.data.toString()).toBe('x'.repeat(11))
  })

  it('refuses a packed file of 4 GiB by name', async () => {
    const huge = (size: number): GrowingImage => ({ sizeLimit: 2 ** 40, pack: async () => ({ size, extents: [] }) })
    const { sizeLimit, pack } = growingCpio(directory({}), lastFile({ image: huge(2 ** 32) }))
    expect(sizeLimit).toBe(2 ** 32 + 132 + 124)
    await expect(pack(new BufferTarget(), 0, { jobs: 1 })).rejects.toSatisfy(
      problem('LIMIT', 'nix-store.squashfs', /4294967296 bytes.*up to 4294967295/),
    )
  })

  it('has the limit of a smaller file, and writes the largest size', async () => {
    const small: GrowingImage = { ...growing(SQUASHFS), sizeLimit: 10 }
    expect(growingCpio(directory({}), lastFile({ image: small })).sizeLimit).toBe(132 + 12 + 124)
    const writes: [number, number][] = []
    const target = {
      write: async (position: number, bytes: Uint8Array) => void writes.push([position, bytes.length]),
      read: async () => new Uint8Array(0),
      setSize: async () => undefined,
    }
    const largest: GrowingImage = { sizeLimit: 2 ** 40, pack: async () => ({ size: 2 ** 32 - 1, extents: [] }) }
    const image = await growingCpio(directory({}), lastFile({ image: largest })).pack(target, 4, { jobs: 1 })
    expect(image.size).toBe(132 + 2 ** 32 + 124)
    expect(writes).toEqual([
      [4, 132],
      [4 + 132 + 2 ** 32 - 1, 125],
    ])
  })

  it('refuses at once what it cannot hold', () => {
    const fails = (over: Partial<GrowingCpioFile>, code: ErrorCode, path: string | undefined, text: RegExp): void => {
      const root = directory({ file: file(''), folder: directory({}) })
      problem(code, path, text)(thrownBy(() => growingCpio(root, lastFile(over))))
    }
    fails({ path: 'file' }, 'USAGE', '/', /two entries named 'file'/)
    fails({ path: 'folder' }, 'USAGE', '/', /two entries named 'folder'/)
    fails({ path: 'file/in' }, 'USAGE', 'file', /is no folder of the tree/)
    fails({ path: 'folder/none/in' }, 'USAGE', 'folder/none', /is no folder of the tree/)
    fails({ path: 'folder/..' }, 'USAGE', 'folder', /cannot be the name/)
    fails({ path: '/' }, 'USAGE', undefined, /no path of a file/)
    fails({ path: 'TRAILER!!!' }, 'USAGE', 'TRAILER!!!', /ends a cpio archive/)
    fails({ mtimeSeconds: -1 }, 'LIMIT', 'nix-store.squashfs', /modification time/)
    fails({ xattrs: [{ name: 'user.a', value: Buffer.alloc(1) }] }, 'UNSUPPORTED', 'nix-store.squashfs', /extended attributes/)
  })

  it('stops when cancelled', async () => {
    const stop = new AbortController()
    const image: GrowingImage = {
      sizeLimit: 10,
      async pack() {
        stop.abort()
        return { size: 0, extents: [] }
      },
    }
    const packing = growingCpio(directory({}), lastFile({ image })).pack(new BufferTarget(), 0, { jobs: 1, signal: stop.signal })
    await expect(packing).rejects.toSatisfy(problem('ABORTED', undefined, /cancelled/))
  })
})

it('packs a scanned folder of the host', async () => {
  const tree = scanHost(join(import.meta.dirname, '../readers'), HOST_ATTRIBUTES) as DirectoryNode
  const nodes = unpackCpio(readCpio(await archiveOf(tree)))
  expect([...nodes.keys()]).toEqual(pathsOf(tree).map(([path]) => path))
  expect(nodes.get('cpio-reader.ts')?.data.toString()).toContain('A reader of newc archives')
})
