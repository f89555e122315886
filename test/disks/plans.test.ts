/** Limits, records and sizes of container formats, and headers that lie. */
import { describe, expect, it } from 'vitest'
import { ova } from '../../src/disks/ova/index.ts'
import { openQcow2, planQcow2, qcow2, qcow2Compressed } from '../../src/disks/qcow2/index.ts'
import { openVdi, planVdi, vdi } from '../../src/disks/vdi/index.ts'
import { dynamicVhd, fixedVhd, openVhd, planDynamicVhd, planFixedVhd } from '../../src/disks/vhd/index.ts'
import { openVhdx, vhdx } from '../../src/disks/vhdx/index.ts'
import { planVhdx } from '../../src/disks/vhdx/plan.ts'
import { openVmdk, planSparse, planStream, vmdk } from '../../src/disks/vmdk/index.ts'
import { bytesExtent, type Image } from '../../src/io/image.ts'
import { bytesSource } from '../../src/io/source.ts'
import { CONTAINERS, digest, written } from './containers.ts'

const seed = 's'
const empty = (size: number): Image => ({ size, extents: [] })
const code = (expected: string): object => expect.objectContaining({ code: expected })

/** 2 TiB minus 1 GiB: what all formats hold, with data at both ends. */
const huge: Image = {
  size: 2 ** 41 - 2 ** 34,
  extents: [bytesExtent(0, Uint8Array.of(1)), bytesExtent(2 ** 41 - 2 ** 34 - 1, Uint8Array.of(2))],
}

describe('limits are found in the plan', () => {
  it('of qcow2', () => {
    expect(() => qcow2(empty(2 ** 37 + 1), { clusterSize: 512 })).toThrow(code('LIMIT'))
    expect(qcow2(empty(2 ** 37), { clusterSize: 512 }).size).toBeGreaterThan(2 ** 24)
    expect(planQcow2(empty(2 ** 51)).l1Size).toBe(2 ** 22)
    expect(() => planQcow2(empty(2 ** 51 + 1))).toThrow(code('LIMIT'))
    for (const clusterSize of [256, 1000, 4 << 20]) expect(() => qcow2(empty(0), { clusterSize })).toThrow(code('USAGE'))
    expect(() => qcow2Compressed(empty(0), { codec: { name: 'xz' } })).toThrow(code('UNSUPPORTED'))
    expect(() => qcow2Compressed(empty(0), { codec: { name: 'zstd', level: 99 } })).toThrow(code('USAGE'))
  })

  it('of vdi, vhd, vhdx and vmdk', () => {
    expect(() => planVdi(empty((2 ** 30 - 1) * 2 ** 20 + 1))).toThrow(code('LIMIT'))
    for (const plan of [planFixedVhd, planDynamicVhd]) {
      expect(plan(empty(2040 * 2 ** 30), { seed }).size).toBe(2040 * 2 ** 30)
      expect(() => plan(empty(2040 * 2 ** 30 + 1), { seed })).toThrow(code('LIMIT'))
      expect(() => plan(empty(1), { seed, timeSeconds: 0 })).toThrow(code('USAGE'))
    }
    expect(() => planFixedVhd(empty(1), { seed, sizeUnit: 100 })).toThrow(code('USAGE'))
    expect(planVhdx(empty(2 ** 46), { seed }).size).toBe(2 ** 46)
    expect(() => planVhdx(empty(2 ** 46 + 1), { seed })).toThrow(code('LIMIT'))
    for (const blockSize of [1 << 19, 3 << 20, 512 << 20]) expect(() => planVhdx(empty(1), { seed, blockSize })).toThrow(code('USAGE'))
    expect(planSparse(empty(2 ** 41)).capacitySectors).toBe(2 ** 32)
    expect(() => planSparse(empty(2 ** 41 + 1))).toThrow(code('LIMIT'))
    const full: Image = { size: 2 ** 41, extents: [{ start: 0, length: 2 ** 41, read: async function* () {} }] }
    expect(() => vmdk(full, { seed })).toThrow(code('LIMIT'))
    for (const level of [0, 10, 1.5]) expect(() => planStream(empty(1), { seed, level })).toThrow(code('USAGE'))
    for (const fileName of ['', 'a"b', 'a/b', 'a\nb', 'ä']) expect(() => vmdk(empty(1), { seed, fileName })).toThrow(code('USAGE'))
  })

  it('of ova', () => {
    for (const name of ['', 'a b', 'a/b', 'x'.repeat(65)]) expect(() => ova(empty(1), { seed, name })).toThrow(code('USAGE'))
    expect(() => ova(empty(1), { seed, name: 'x', cpuCount: 0 })).toThrow(code('USAGE'))
    for (const memorySize of [1.5, 2 ** 20, 2 ** 30 + 1])
      expect(() => ova(empty(1), { seed, name: 'x', memorySize })).toThrow(code('USAGE'))
    for (const hardwareVersion of [3, 100, 9.5]) expect(() => ova(empty(1), { seed, name: 'x', hardwareVersion })).toThrow(code('USAGE'))
    expect(() => ova([], { seed, name: 'x' })).toThrow(code('LIMIT'))
    expect(() => ova(Array(3).fill(empty(1)), { seed, name: 'x', diskController: 'ide' })).toThrow(code('LIMIT'))
  })
})

describe('2 TiB', () => {
  it.each(CONTAINERS.filter(({ name }) => name !== 'vhd, fixed' && !name.includes('512') && name !== 'vhdx'))(
    'are planned, written and read in seconds: $name',
    async ({ write, open }) => {
      const back = await open(await written(write(huge)))
      expect(back.size).toBe(huge.size)
      expect(back.extents.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(4 << 20)
      expect(await digest(back)).toBe(await digest(huge))
    },
    10_000,
  )
})

describe('records', () => {
  it('of qcow2 are those of its specification', async () => {
    const bytes = Buffer.from(
      await (await written(qcow2({ size: 2 ** 30, extents: [bytesExtent(70_000, Uint8Array.of(9))] }))).read(0, 6 * 65536),
    )
    expect(bytes.toString('hex', 0, 8)).toBe('514649fb00000003')
    expect(bytes.readUInt32BE(20)).toBe(16)
    expect(bytes.readBigUInt64BE(24)).toBe(2n ** 30n)
    expect([bytes.readUInt32BE(36), bytes.readBigUInt64BE(40), bytes.readBigUInt64BE(48), bytes.readUInt32BE(56)]).toEqual([
      2,
      196608n,
      65536n,
      1,
    ])
    expect([bytes.readUInt32BE(96), bytes.readUInt32BE(100), bytes.readUInt8(104)]).toEqual([4, 112, 0])
    // One refcount block, the L1 and the L2 entry with the copied flag, and six clusters in use.
    expect(bytes.readBigUInt64BE(65536)).toBe(131072n)
    expect(bytes.readBigUInt64BE(196608)).toBe(0x8000000000040000n)
    expect(bytes.readBigUInt64BE(4 * 65536 + 8)).toBe(0x8000000000050000n)
    expect(bytes.toString('hex', 131072, 131072 + 16)).toBe('00010001000100010001000100000000')
    expect(bytes[5 * 65536 + 70_000 - 65536]).toBe(9)
  })

  it('of a VHD footer are those of its specification', async () => {
    const memory = await written(fixedVhd(empty(1), { seed }))
    const bytes = Buffer.from(await memory.read(2 ** 20, 512))
    expect(memory.size).toBe(2 ** 20 + 512)
    expect(bytes.toString('latin1', 0, 8)).toBe('conectix')
    expect([bytes.readUInt32BE(8), bytes.readUInt32BE(12), bytes.readBigUInt64BE(16), bytes.readUInt32BE(24)]).toEqual([
      2,
      0x10000,
      2n ** 64n - 1n,
      0,
    ])
    expect([bytes.readBigUInt64BE(40), bytes.readBigUInt64BE(48), bytes.readUInt32BE(60)]).toEqual([2n ** 20n, 2n ** 20n, 2])
    const sum = bytes.reduce((total, byte, at) => total + (at >= 64 && at < 68 ? 0 : byte), 0)
    expect(bytes.readUInt32BE(64)).toBe(~sum >>> 0)
  })

  it('of vdi and vmdk name what they hold', async () => {
    const bytes = Buffer.from(
      await (await written(vdi({ size: 2 ** 22, extents: [bytesExtent(2 ** 21, Uint8Array.of(1))] }, { seed }))).read(0, 2 ** 20 + 16),
    )
    expect([bytes.readUInt32LE(64), bytes.readUInt32LE(68), bytes.readUInt32LE(72), bytes.readUInt32LE(76)]).toEqual([
      0xbeda107f, 0x10001, 400, 1,
    ])
    expect([bytes.readBigUInt64LE(368), bytes.readUInt32LE(376), bytes.readUInt32LE(384), bytes.readUInt32LE(388)]).toEqual([
      2n ** 22n,
      2 ** 20,
      4,
      1,
    ])
    expect([0, 4, 8, 12].map((at) => bytes.readUInt32LE(2 ** 20 + at))).toEqual([0xffffffff, 0xffffffff, 0, 0xffffffff])
    const text = Buffer.from(await (await written(vmdk(empty(2 ** 30), { seed, fileName: 'nixos.vmdk' }))).read(512, 10240)).toString(
      'latin1',
    )
    expect(text).toMatch(/^CID=[0-7][0-9a-f]{7}$/m)
    expect(text).toContain('RW 2097152 SPARSE "nixos.vmdk"')
  })

  it('depend on the seed', async () => {
    for (const make of [vdi, dynamicVhd, vhdx, vmdk]) {
      const [one, two] = [await written(make(empty(2 ** 20), { seed: 'a' })), await written(make(empty(2 ** 20), { seed: 'b' }))]
      expect(Buffer.compare(await one.read(0, one.size), await two.read(0, two.size))).not.toBe(0)
    }
  })
})

describe('headers that lie', () => {
  const patch = async (image: Image, changes: readonly (readonly [at: number, bytes: readonly number[]])[]) => {
    const memory = await written(image)
    for (const [at, bytes] of changes) await memory.write(at, Uint8Array.from(bytes))
    return memory
  }
  const disk: Image = { size: 2 ** 30, extents: [bytesExtent(0, new Uint8Array(100_000).fill(1))] }

  it('of qcow2', async () => {
    const open = async (...changes: (readonly [number, readonly number[]])[]): Promise<unknown> =>
      openQcow2(await patch(qcow2(disk), changes))
    await expect(open([4, [0, 0, 0, 4]])).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await expect(open([15, [1]])).rejects.toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('backing file') })
    await expect(open([35, [2]])).rejects.toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('encryption') })
    for (const bits of [4, 32, 64]) await expect(open([79, [bits]])).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await expect(open([79, [16]])).rejects.toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining('L1 table') })
    await expect(open([79, [2]])).rejects.toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining('corrupt') })
    await expect(open([79, [8]])).rejects.toMatchObject({ code: 'BAD_INPUT' })
    await expect(open([79, [8]], [104, [7]])).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    for (const bits of [8, 22, 63]) await expect(open([23, [bits]])).rejects.toMatchObject({ code: 'BAD_INPUT' })
    await expect(open([24, [0, 0xff]])).rejects.toMatchObject({ code: 'BAD_INPUT' })
    await expect(open([40, [0, 0x10]])).rejects.toMatchObject({ code: 'BAD_INPUT' })
    await expect(openQcow2(bytesSource(new Uint8Array(0)))).rejects.toMatchObject({ code: 'BAD_INPUT' })
  })

  it('of L1 tables that name one L2 table many times', async () => {
    const memory = await written(qcow2({ size: 2 ** 44, extents: disk.extents }))
    const l1 = Buffer.from(await memory.read(3 * 65536, 8))
    const bytes = Buffer.alloc(2 ** 18, l1)
    await memory.write(3 * 65536, bytes)
    await expect(openQcow2(memory)).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('is named twice'),
    })
  })

  it('of others', async () => {
    await expect(openVdi(await patch(vdi(disk, { seed }), [[76, [4]]]))).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await expect(openVdi(await patch(vdi(disk, { seed }), [[384, [1, 0, 0, 0]]]))).rejects.toMatchObject({ code: 'BAD_INPUT' })
    await expect(openVhd(await patch(dynamicVhd(disk, { seed }), [[600, [9]]]))).rejects.toMatchObject({ code: 'BAD_INPUT' })
    await expect(
      openVhdx(
        await patch(vhdx(disk, { seed }), [
          [65536, [0]],
          [131072, [0]],
        ]),
      ),
    ).rejects.toMatchObject({ code: 'BAD_INPUT' })
    await expect(openVmdk(await patch(vmdk(disk, { seed }), [[20, [3]]]))).rejects.toMatchObject({ code: 'BAD_INPUT' })
  })

  it('but one damaged copy is no harm', async () => {
    const wanted = await digest(disk)
    const memory = await written(dynamicVhd(disk, { seed }))
    await memory.write(memory.size - 400, Uint8Array.of(1, 2, 3))
    expect(await digest(await openVhd(memory))).toBe(wanted)
    expect(
      await digest(
        await openVhdx(
          await patch(vhdx(disk, { seed }), [
            [131072 + 20, [1]],
            [196608 + 20, [77]],
          ]),
        ),
      ),
    ).toBe(wanted)
  })
})
