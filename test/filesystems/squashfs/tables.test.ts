import { describe, expect, it } from 'vitest'
import { struct } from '../../../src/bytes/struct.ts'
import { compressorOptionsBlock, dataStart } from '../../../src/filesystems/squashfs/compressor-options.ts'
import { NO_INDEX } from '../../../src/filesystems/squashfs/disk.ts'
import { emitTables } from '../../../src/filesystems/squashfs/emit.ts'
import { resolveOptions, type SquashfsOptions } from '../../../src/filesystems/squashfs/format.ts'
import { appendFileInode, appendSpecialInode } from '../../../src/filesystems/squashfs/inodes.ts'
import { writeListing } from '../../../src/filesystems/squashfs/listing.ts'
import { MetadataWriter } from '../../../src/filesystems/squashfs/metadata.ts'
import { type PlannedInode, type PlannedListing, planSquashfs } from '../../../src/filesystems/squashfs/plan.ts'
import type { StoredFile } from '../../../src/filesystems/squashfs/stored.ts'
import { BufferTarget } from '../../../src/io/target.ts'
import type { FileNode } from '../../../src/tree/tree.ts'
import { bytesSource, readSuperblock } from '../../readers/squashfs-reader.ts'
import { buildImage, device, directory, file, noise, testCodec } from './support.ts'

const STORED_AS_IS = testCodec({ name: 'none' }, 8192)

/** What is appended to a table, without the headers of its blocks. */
function appended(append: (table: MetadataWriter) => void): Buffer {
  const table = new MetadataWriter(STORED_AS_IS)
  append(table)
  const starts = table.finish()
  const bytes = table.take()
  return Buffer.concat(starts.map((start, index) => bytes.subarray(start + 2, starts[index + 1])))
}

describe('compressor options (section 3.1)', () => {
  const block = (options: SquashfsOptions): string => Buffer.from(compressorOptionsBlock(resolveOptions(options))).toString('hex')

  it.each<[string, SquashfsOptions, string]>([
    ['gzip at its default level', { codec: { name: 'gzip', level: 9 } }, ''],
    ['gzip without a level', { codec: { name: 'gzip' } }, ''],
    ['gzip level 6, window 15', { codec: { name: 'gzip', level: 6 } }, '0880060000000f000000'],
    ['zstd at the default level of squashfs', { codec: { name: 'zstd', level: 15 } }, ''],
    ['zstd level 19', { codec: { name: 'zstd', level: 19 } }, '048013000000'],
    ['xz, a dictionary of one block', { codec: { name: 'xz' }, blockSize: 1048576 }, '08800000100000000000'],
    ['xz, never less than a metadata block', { codec: { name: 'xz' }, blockSize: 4096 }, '08800020000000000000'],
    ['lz4', { codec: { name: 'lz4' } }, '08800100000000000000'],
    ['lz4 with high compression', { codec: { name: 'lz4', level: 12 } }, '08800100000001000000'],
    ['none', { codec: { name: 'none' } }, ''],
  ])('%s', (_what, options, expected) => {
    expect(block(options)).toBe(expected)
    expect(dataStart(resolveOptions(options))).toBe(96 + expected.length / 2)
  })
})

describe('superblock flags (section 3)', () => {
  const flags = async (options: SquashfsOptions, tree = directory({ a: file('a') })): Promise<number> =>
    readSuperblock(bytesSource(await buildImage(tree, options))).flags

  it('tells what the image holds', async () => {
    expect(await flags({})).toBe(0x02c0)
    expect(await flags({ exportable: false })).toBe(0x0240)
    expect(await flags({ fragments: false })).toBe(0x02d0)
    expect(await flags({ codec: { name: 'gzip', level: 1 } })).toBe(0x06c0)
    expect(await flags({ codec: { name: 'none' } })).toBe(0x0bcb)
    expect(await flags({}, directory({}, { xattrs: [{ name: 'user.a', value: Buffer.from('b') }] }))).toBe(0x00c0)
  })
})

describe('MetadataWriter (section 2.2)', () => {
  it('cuts records at 8192 bytes, and keeps a block as it is unless it shrinks', () => {
    const writer = new MetadataWriter(testCodec({ name: 'gzip', level: 9 }, 8192))
    writer.append(noise(8000, 1))
    expect([writer.blockStart, writer.blockOffset, writer.reference]).toEqual([0, 8000, 8000])
    writer.append(noise(400, 2))
    expect([writer.blockStart, writer.blockOffset, writer.reference]).toEqual([8194, 208, 8194 * 65536 + 208])
    writer.append(new Uint8Array(8192 - 208))
    const starts = writer.finish()
    const bytes = Buffer.from(writer.take())
    expect(starts).toEqual([0, 8194])
    expect(bytes.readUInt16LE(0)).toBe(0x8000 | 8192)
    expect(bytes.readUInt16LE(8194)).toBe(bytes.length - 8196)
    expect(writer.take().length).toBe(0)
  })

  it('writes nothing for no records', () => {
    const writer = new MetadataWriter(STORED_AS_IS)
    expect(writer.finish()).toEqual([])
    expect(writer.take().length).toBe(0)
  })
})

describe('MetadataWriter.appendRecord', () => {
  it('makes the bytes of the record encoded, wherever in a block it begins', () => {
    const record = struct('test', 7, { a: [0, 'u32le'], b: [5, 'u16le'] })
    const [one, other] = [new MetadataWriter(STORED_AS_IS), new MetadataWriter(STORED_AS_IS)]
    for (let a = 0; a < 2 * 8192; a++) {
      const values = a % 3 === 0 ? { a } : { a, b: a }
      one.appendRecord(record, values)
      other.append(record.encode(values))
      expect(one.reference).toBe(other.reference)
    }
    expect(one.finish()).toEqual(other.finish())
    expect(Buffer.compare(one.take(), other.take())).toBe(0)
  })
})

describe('writeListing (section 6)', () => {
  const headers = (bytes: Buffer): { count: number; start: number; inode: number; offsets: number[] }[] => {
    const found = []
    for (let at = 2; at < bytes.length; ) {
      const [count, start, inode] = [bytes.readUInt32LE(at) + 1, bytes.readUInt32LE(at + 4), bytes.readUInt32LE(at + 8)]
      at += 12
      const offsets = []
      for (let i = 0; i < count; i++) {
        offsets.push(bytes.readInt16LE(at + 2))
        at += 8 + bytes.readUInt16LE(at + 6) + 1
      }
      found.push({ count, start, inode, offsets })
    }
    return found
  }
  const listing = (inodeNumbers: number[]): PlannedListing => ({
    entries: inodeNumbers.map((_, i) => ({ name: Buffer.from(String(i).padStart(4, '0')), node: file('') })),
    inodeNumbers: Uint32Array.from(inodeNumbers),
    parentNumber: 0,
    indexed: false,
  })
  const write = (numbers: number[], references: Float64Array) => {
    const table = new MetadataWriter(STORED_AS_IS)
    const written = writeListing(table, listing(numbers), references)
    table.finish()
    return { written, headers: headers(Buffer.from(table.take())) }
  }

  it('begins a header after 256 entries', () => {
    const result = write(
      Array.from({ length: 600 }, (_, i) => i + 1),
      new Float64Array(600),
    )
    expect(result.headers.map(({ count, inode }) => [count, inode])).toEqual([
      [256, 1],
      [256, 257],
      [88, 513],
    ])
    expect(result.written).toEqual({ blockIndex: 0, blockOffset: 0, size: 600 * 12 + 36, index: [] })
  })

  it('begins a header where inodes lie in another metadata block', () => {
    const references = Float64Array.from([7 * 65536, 7 * 65536 + 32, 900 * 65536, 7 * 65536 + 64])
    expect(write([1, 2, 3, 4], references).headers.map(({ count, start }) => [count, start])).toEqual([
      [2, 7],
      [1, 900],
      [1, 7],
    ])
  })

  it('begins a header where the difference of inode numbers leaves 16 bits', () => {
    const references = new Float64Array(80000)
    expect(write([40000, 7232, 72767, 72768, 7231], references).headers.map(({ inode, offsets }) => [inode, ...offsets])).toEqual([
      [40000, 0, -32768, 32767],
      [72768, 0],
      [7231, 0],
    ])
  })
})

describe('inodes (section 5)', () => {
  const stored = (more: Partial<StoredFile> = {}): StoredFile => ({
    blocksStart: 0x60,
    blockWords: Uint32Array.of(0x1001000),
    fragmentIndex: NO_INDEX,
    fragmentOffset: 0,
    sparseBytes: 0,
    ...more,
  })
  const inode = (node: PlannedInode['node'], more: Partial<PlannedInode> = {}): PlannedInode => ({
    number: 3,
    node,
    linkCount: 1,
    uidIndex: 1,
    gidIndex: 2,
    xattrIndex: NO_INDEX,
    listing: undefined,
    ...more,
  })
  const encode = (more: Partial<StoredFile> = {}, planned: Partial<PlannedInode> = {}, node: Partial<FileNode> = {}): Buffer => {
    const full = file('', { size: 4096, mode: 0o644, mtimeSeconds: 5, ...node })
    return appended((table) => appendFileInode(table, inode(full, planned), full, stored(more), 4096))
  }

  it('writes a basic file', () => {
    expect(encode().toString('hex')).toBe('0200a40101000200050000000300000060000000ffffffff000000000010000000100001')
  })

  it.each<[string, Buffer, number?]>([
    ['a second name', encode({}, { linkCount: 2 })],
    ['attributes', encode({}, { xattrIndex: 0 })],
    ['sparse blocks', encode({ sparseBytes: 4096, blockWords: Uint32Array.of(0) })],
    ['a place beyond 4 GiB', encode({ blocksStart: 2 ** 32 })],
    ['4 GiB of content', encode({ blockWords: new Uint32Array(2 ** 20) }, {}, { size: 2 ** 32 }), 2 ** 20],
  ])('writes an extended file for %s', (_what, bytes, blockCount = 1) => {
    expect(bytes.readUInt16LE(0)).toBe(9)
    expect(bytes.length).toBe(56 + 4 * blockCount)
  })

  it('stays basic just below those', () => {
    expect(encode({ blocksStart: 2 ** 32 - 1 }).readUInt16LE(0)).toBe(2)
    expect(encode({ blockWords: new Uint32Array(2 ** 20) }, {}, { size: 2 ** 32 - 1 }).readUInt16LE(0)).toBe(2)
  })

  it('leaves one byte of a file of zeros that is not sparse, as mksquashfs does', () => {
    expect(encode({ sparseBytes: 4096, blockWords: Uint32Array.of(0) }).readBigUInt64LE(32)).toBe(4095n)
  })

  it('refuses stored data that does not fit the file', () => {
    expect(() => encode({ blockWords: new Uint32Array(2) })).toThrow('2 blocks stored, 4096 bytes need 1')
    expect(() => encode({ fragmentIndex: 0 }, {}, { size: 4095 })).toThrow('1 blocks stored, 4095 bytes need 0')
  })

  it('splits device numbers as Linux does', () => {
    const rdev = (major: number, minor: number): number =>
      appended((table) => appendSpecialInode(table, inode(device('blockDevice', major, minor)))).readUInt32LE(20)
    expect(rdev(8, 1)).toBe(0x801)
    expect(rdev(0xfff, 0xfffff)).toBe(0xffffffff)
    expect(rdev(259, 0x12345)).toBe(0x12310345)
  })
})

describe('emitTables', () => {
  it('refuses a codec for other blocks, and files that were not stored', async () => {
    const plan = planSquashfs(directory({ a: file('a') }), { blockSize: 4096 })
    const nothing = { files: new Map(), fragments: [], end: plan.dataStart }
    await expect(emitTables(plan, nothing, new BufferTarget(), 0, testCodec({ name: 'none' }, 4096))).rejects.toThrow('not for 8192')
    await expect(emitTables(plan, nothing, new BufferTarget(), 0, STORED_AS_IS)).rejects.toThrow('no data stored for a file of 1 bytes')
  })

  it('says how much it used, and pads to 4 KiB', async () => {
    const plan = planSquashfs(directory({ a: file('') }), { codec: { name: 'none' } })
    const target = new BufferTarget()
    const sizes = await emitTables(plan, { files: new Map(), fragments: [], end: plan.dataStart }, target, 0, STORED_AS_IS)
    expect(sizes.paddedSize).toBe(4096)
    expect(target.bytes.length).toBe(4096)
    expect(readSuperblock(bytesSource(target.bytes)).bytesUsed).toBe(sizes.bytesUsed)
  })

  it('writes the same image anywhere in a target', async () => {
    const plan = planSquashfs(directory({ a: file(''), b: directory({}) }))
    const [first, second] = [new BufferTarget(), new BufferTarget()]
    const stored = { files: new Map(), fragments: [], end: plan.dataStart }
    await emitTables(plan, stored, first, 0, STORED_AS_IS)
    await emitTables(plan, stored, second, 40960, STORED_AS_IS)
    expect(Buffer.from(second.bytes.subarray(40960)).equals(first.bytes)).toBe(true)
  })
})
