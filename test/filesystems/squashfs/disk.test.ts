import { describe, expect, it } from 'vitest'
import type { Fields, Struct } from '../../../src/bytes/struct.ts'
import * as disk from '../../../src/filesystems/squashfs/disk.ts'

/** The records as the tables of "Squashfs Binary Format" list them: names in order, with their bytes. */
const HEADER: [string, number][] = [
  ['type', 2],
  ['permissions', 2],
  ['uidIndex', 2],
  ['gidIndex', 2],
  ['modificationTimeSeconds', 4],
  ['inodeNumber', 4],
]
const RECORDS: [string, Struct<Fields>, [string, number][]][] = [
  [
    '3 superblock',
    disk.superblock,
    [
      ['magic', 4],
      ['inodeCount', 4],
      ['modificationTimeSeconds', 4],
      ['blockSize', 4],
      ['fragmentCount', 4],
      ['compressor', 2],
      ['blockLog', 2],
      ['flags', 2],
      ['idCount', 2],
      ['versionMajor', 2],
      ['versionMinor', 2],
      ['rootInode', 8],
      ['bytesUsed', 8],
      ['idTable', 8],
      ['xattrTable', 8],
      ['inodeTable', 8],
      ['directoryTable', 8],
      ['fragmentTable', 8],
      ['exportTable', 8],
    ],
  ],
  [
    '3.1.1 gzip',
    disk.gzipOptions,
    [
      ['compressionLevel', 4],
      ['windowSize', 2],
      ['strategies', 2],
    ],
  ],
  [
    '3.1.2 xz',
    disk.xzOptions,
    [
      ['dictionarySize', 4],
      ['filters', 4],
    ],
  ],
  [
    '3.1.3 lz4',
    disk.lz4Options,
    [
      ['version', 4],
      ['flags', 4],
    ],
  ],
  ['3.1.4 zstd', disk.zstdOptions, [['compressionLevel', 4]]],
  [
    '5.2 basic directory',
    disk.basicDirectory,
    [...HEADER, ['blockIndex', 4], ['linkCount', 4], ['fileSize', 2], ['blockOffset', 2], ['parentInode', 4]],
  ],
  [
    '5.2 extended directory',
    disk.extendedDirectory,
    [
      ...HEADER,
      ['linkCount', 4],
      ['fileSize', 4],
      ['blockIndex', 4],
      ['parentInode', 4],
      ['indexCount', 2],
      ['blockOffset', 2],
      ['xattrIndex', 4],
    ],
  ],
  ['5.3 basic file', disk.basicFile, [...HEADER, ['blocksStart', 4], ['fragmentIndex', 4], ['blockOffset', 4], ['fileSize', 4]]],
  [
    '5.3 extended file',
    disk.extendedFile,
    [
      ...HEADER,
      ['blocksStart', 8],
      ['fileSize', 8],
      ['sparse', 8],
      ['linkCount', 4],
      ['fragmentIndex', 4],
      ['blockOffset', 4],
      ['xattrIndex', 4],
    ],
  ],
  ['5.4 symlink', disk.symlinkInode, [...HEADER, ['linkCount', 4], ['targetSize', 4]]],
  ['5.4 extended symlink', disk.symlinkTrailer, [['xattrIndex', 4]]],
  ['5.5 basic device', disk.basicDevice, [...HEADER, ['linkCount', 4], ['deviceNumber', 4]]],
  ['5.5 extended device', disk.extendedDevice, [...HEADER, ['linkCount', 4], ['deviceNumber', 4], ['xattrIndex', 4]]],
  ['5.6 basic fifo or socket', disk.basicIpc, [...HEADER, ['linkCount', 4]]],
  ['5.6 extended fifo or socket', disk.extendedIpc, [...HEADER, ['linkCount', 4], ['xattrIndex', 4]]],
  [
    '6 directory header',
    disk.directoryHeader,
    [
      ['count', 4],
      ['start', 4],
      ['inodeNumber', 4],
    ],
  ],
  [
    '6 directory entry',
    disk.directoryEntry,
    [
      ['offset', 2],
      ['inodeOffset', 2],
      ['type', 2],
      ['nameSize', 2],
    ],
  ],
  [
    '6.1 directory index',
    disk.directoryIndex,
    [
      ['index', 4],
      ['start', 4],
      ['nameSize', 4],
    ],
  ],
  [
    '7 fragment',
    disk.fragmentEntry,
    [
      ['start', 8],
      ['size', 4],
      ['', 4],
    ],
  ],
  ['8 export', disk.exportEntry, [['inode', 8]]],
  ['9 id', disk.idEntry, [['id', 4]]],
  [
    '10 xattr key',
    disk.xattrKey,
    [
      ['type', 2],
      ['nameSize', 2],
    ],
  ],
  ['10 xattr value', disk.xattrValue, [['valueSize', 4]]],
  [
    '10 xattr id',
    disk.xattrId,
    [
      ['reference', 8],
      ['count', 4],
      ['size', 4],
    ],
  ],
  [
    '10 xattr table',
    disk.xattrTableHeader,
    [
      ['keysStart', 8],
      ['idCount', 4],
      ['', 4],
    ],
  ],
  ['2.3 location', disk.tableLocation, [['position', 8]]],
]

describe('squashfs records', () => {
  it.each(RECORDS)('section %s', (_section, record, fields) => {
    const values: Record<string, number> = {}
    const expected: number[] = []
    let next = 1
    for (const [name, width] of fields) {
      const bytes = Array.from({ length: width }, () => (name === '' || next > 6 * 32 ? 0 : next++)).map((byte, i) => (i < 6 ? byte : 0))
      if (name !== '') values[name] = bytes.reduceRight((value, byte) => value * 256 + byte, 0)
      expected.push(...bytes)
    }
    expect(Object.keys(record.fields)).toEqual(fields.map(([name]) => name).filter((name) => name !== ''))
    expect([...record.encode(values)]).toEqual(expected)
    expect(record.size).toBe(expected.length)
  })
})
