import { describe, expect, it } from 'vitest'
import { crc32c } from '../../../src/bytes/crc32c.ts'
import { utf8 } from '../../../src/bytes/text.ts'
import { planAttributes } from '../../../src/filesystems/ext4/attributes.ts'
import { superblock } from '../../../src/filesystems/ext4/disk.ts'
import { encodeExtents, extentLevels } from '../../../src/filesystems/ext4/extents.ts'
import { hashName, hashStart } from '../../../src/filesystems/ext4/hash.ts'
import { aclToDisk } from '../../../src/filesystems/ext4/posix-acl.ts'
import { Space } from '../../../src/filesystems/ext4/space.ts'
import { oracle, runOk } from '../../oracles/tools.ts'
import { ACL, HASH_SEED, noise, xattr } from './support.ts'

describe('CRC-32C', () => {
  const whole = (bytes: Uint8Array): number => (crc32c(0xffffffff, bytes) ^ 0xffffffff) >>> 0

  it('gives the values of RFC 3720, B.4', () => {
    expect(whole(new Uint8Array(32))).toBe(0x8a9136aa)
    expect(whole(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43)
    expect(whole(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e)
    expect(whole(utf8('123456789'))).toBe(0xe3069283)
  })

  it('is the same in parts, whatever their borders', () => {
    const bytes = noise(100)
    for (let cut = 0; cut <= 100; cut++) {
      expect(crc32c(crc32c(0xffffffff, bytes, 0, cut), bytes, cut)).toBe(crc32c(0xffffffff, bytes))
    }
  })
})

const seed = new Uint8Array(Buffer.from(HASH_SEED.replaceAll('-', ''), 'hex'))
const NAMES = ['a', 'lost+found', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(33), 'n'.repeat(255), 'äöü€', 'a-1b2c3d.drv']

describe('hashes of names', () => {
  it.each([
    ['lost+found', 0xf3ed5da8],
    ['äöü€', 0xc53ec174],
    ['a', 0x630dc18e],
  ])('are even, and signed as on x86: %s', (name, hash) => {
    expect(hashName(utf8(name), hashStart(seed))).toBe(hash)
  })

  it.skipIf(oracle('debugfs').skip).each(NAMES)('are what debugfs says of %s', (name) => {
    const { text } = runOk('debugfs', ['-R', `dx_hash -h half_md4 -s ${HASH_SEED} ${name}`])
    const [, hash] = /is (0x[0-9a-f]+)/.exec(text) ?? []
    expect(hashName(utf8(name), hashStart(seed))).toBe(Number(hash))
  })

  it('begin as MD4 does without a seed', () => {
    expect([...hashStart(new Uint8Array(16))]).toEqual([0x67452301, 0xefcdab89 | 0, 0x98badcfe | 0, 0x10325476])
  })
})

describe('the superblock', () => {
  it('has its fields where the kernel has them', () => {
    const { fields, size } = superblock
    expect(size).toBe(1024)
    // linux/fs/ext4/ext4.h, struct ext4_super_block
    expect([fields.magic[0], fields.uuid[0], fields.journalInode[0], fields.hashSeed[0], fields.journalBlocks[0]]).toEqual([
      0x38, 0x68, 0xe0, 0xec, 0x10c,
    ])
    expect([fields.kibibytesWritten[0], fields.overheadBlockCount[0], fields.checksum[0]]).toEqual([0x178, 0x248, 0x3fc])
  })
})

describe('extent trees', () => {
  it('have as many levels as they need', () => {
    expect(extentLevels(0)).toEqual([])
    expect(extentLevels(4)).toEqual([])
    expect(extentLevels(5)).toEqual([1])
    expect(extentLevels(340 * 4)).toEqual([4])
    expect(extentLevels(340 * 4 + 1)).toEqual([5, 1])
    expect(extentLevels(340 * 340 * 4 + 1)).toEqual([340 * 4 + 1, 5, 1])
  })

  it('of one extent stand in the inode', () => {
    const one = (value: number): Uint32Array => Uint32Array.of(value)
    const { inInode, nodes } = encodeExtents(
      { inodes: one(12), fileBlocks: one(3), diskBlocks: one(0xabcdef01), blockCounts: one(0x8000) },
      0,
      1,
      [],
    )
    expect(nodes).toEqual([])
    expect(Buffer.from(inInode.subarray(0, 24)).toString('hex')).toBe('0af3010004000000000000000300000000800000 01efcdab'.replace(' ', ''))
  })
})

describe('extended attributes', () => {
  it('stand in the inode while they fit, values at the end', () => {
    const plan = planAttributes([xattr('user.ab', 'xyz')])
    if ('code' in plan) throw new Error(plan.message)
    expect(plan.block).toBeUndefined()
    expect(Buffer.from(plan.inInode).toString('hex')).toBe(
      `000002ea${'0201580000000000030000000000000061620000'}${'00'.repeat(68)}78797a00`,
    )
  })

  it('are refused when ext4 has no such kind', () => {
    for (const name of ['system.other', 'nothing', 'btrfs.compression', 'system.posix_acl_accessible']) {
      expect(planAttributes([xattr(name, 'x')])).toMatchObject({ code: 'UNSUPPORTED' })
    }
    expect(planAttributes([xattr('user.', 'x')])).toMatchObject({ code: 'USAGE' })
    expect(planAttributes([xattr('user.a', 'x'), xattr('user.a', 'y')])).toMatchObject({ code: 'USAGE' })
    expect(planAttributes([xattr(`user.${'n'.repeat(256)}`, 'x')])).toMatchObject({ code: 'LIMIT' })
    expect(planAttributes([xattr('user.a', new Uint8Array(4041))])).toMatchObject({ code: 'LIMIT' })
    expect(planAttributes([xattr('system.posix_acl_access', 'not a list')])).toMatchObject({ code: 'UNSUPPORTED' })
  })

  it('that are access control lists lose the ids that mean nothing', () => {
    expect(Buffer.from(aclToDisk(ACL) ?? []).toString('hex')).toBe(
      '01000000' + '01000600' + '02000400e8030000' + '04000400' + '10000400' + '20000000',
    )
    expect(aclToDisk(ACL.subarray(0, 11))).toBeUndefined()
    expect(aclToDisk(Uint8Array.of(2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0))).toBeUndefined()
  })
})

describe('free space', () => {
  it('is taken from the front and skips what is used', () => {
    const space = new Space(100, [
      { start: 0, end: 10 },
      { start: 20, end: 30 },
    ])
    const taken: number[][] = []
    const use = (start: number, count: number): void => void taken.push([start, count])
    expect(space.take(5, use)).toBe(0)
    expect(space.takeFrom(50, 10, use)).toBe(0)
    expect(space.take(40, use)).toBe(0)
    expect(taken).toEqual([
      [10, 5],
      [50, 10],
      [15, 5],
      [30, 20],
      [60, 15],
    ])
    expect(space.freeRanges()).toEqual([{ start: 75, end: 100 }])
    expect(space.takeFrom(90, 30, use)).toBe(5)
    expect(space.freeRanges()).toEqual([])
  })
})
