/** Disks with sectors of 4096 bytes: what says so, what keeps it, and what cannot. */
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, type SmallClosure, unpackSmall } from '../../fixtures/unpack.ts'
import { guidToText } from '../../src/bytes/guid.ts'
import { CONTAINERS, type OutputFormat } from '../../src/disks/containers.ts'
import { gpt, gptSectorSize, PARTITION_TYPE_GUID } from '../../src/disks/gpt/index.ts'
import type { DiskImage, SectorSize } from '../../src/disks/sectors.ts'
import { openVhdx, planVhdx, vhdx } from '../../src/disks/vhdx/index.ts'
import { type ConvertOptions, convertDisk } from '../../src/images/disk/convert.ts'
import { type DiskOptions, disk } from '../../src/images/disk/index.ts'
import { DISK_LAYOUTS } from '../../src/images/disk/names.ts'
import { type ZfsOptions, zfs } from '../../src/images/zfs/index.ts'
import { bytesExtent, bytesImage, isGrowing } from '../../src/io/image.ts'
import { saveImage } from '../../src/io/output.ts'
import { fromBytes, readFat } from '../readers/fat-reader.ts'
import { digest, written } from './containers.ts'

const MEBIBYTE = 1 << 20
const SECTOR = 4096
const seed = 'sectors'

const partition = { name: 'data', typeGuid: PARTITION_TYPE_GUID.linuxData, image: bytesImage(Buffer.alloc(5000, 'content')) }
const tableOf = (sectorSize: SectorSize): DiskImage => gpt([partition], { seed, sectorSize, size: 4 * MEBIBYTE })
const LARGE = tableOf(4096)

/** Formats in which a machine may be told of larger sectors, and that which says them itself. */
const ATTACHED: readonly OutputFormat[] = ['raw', 'qcow2', 'qcow2-compressed']

describe('VHDX', () => {
  it('says the size of its sectors, and its map counts with it', async () => {
    for (const sectorSize of [512, 4096] as const) {
      const image = {
        size: 2 ** 38 + sectorSize,
        sectorSize,
        extents: [0, 2 ** 35, 2 ** 38].map((at) => bytesExtent(at, Buffer.from(`at ${at}`))),
      }
      const back = await openVhdx(await written(vhdx(image, { seed, blockSize: 256 * MEBIBYTE })))
      expect([back.sectorSize, back.size]).toEqual([sectorSize, image.size])
      expect(await digest(back)).toBe(await digest(image))
    }
    // MS-VHDX 2.5: (2^23 * logical sector size) / block size.
    expect(planVhdx(LARGE, { seed }).chunkRatio).toBe(1024)
    expect(planVhdx({ ...LARGE, size: LARGE.size + 1 }, { seed }).size).toBe(LARGE.size + SECTOR)
    expect(() => planVhdx({ ...LARGE, sectorSize: 1024 as never }, { seed })).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })
})

describe('the registry', () => {
  it.each(CONTAINERS.outputFormats)('%s takes such a disk, or says who does', async (format) => {
    const write = await CONTAINERS.writer(format)
    const options = { seed, fileName: 'disk' }
    if (format === 'vhdx' || ATTACHED.includes(format)) write(LARGE, options)
    else
      expect(() => write(LARGE, options)).toThrow(
        /sectors of 4096 bytes, those of .* have 512; choose one of raw, qcow2, qcow2-compressed, vhdx/,
      )
    write({ ...LARGE, sectorSize: 512 }, options)
  })

  it('knows for which size a GPT was made', async () => {
    for (const size of [512, 4096] as const) expect(await gptSectorSize(tableOf(size))).toBe(size)
    expect(await gptSectorSize(bytesImage(new Uint8Array(0)))).toBeUndefined()
    expect(await gptSectorSize({ size: MEBIBYTE, extents: [] })).toBeUndefined()
    const both = { size: MEBIBYTE, extents: [512, 4096].map((at) => bytesExtent(at, Buffer.from('EFI PART'))) }
    expect(await gptSectorSize(both)).toBeUndefined()
  })
})

describe('recipes', () => {
  let folder: string
  let small: SmallClosure
  const at = (name: string): string => join(folder, name)
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kilnix-sectors-'))
    small = await unpackSmall(at('closure'))
    await saveImage(LARGE, at('large.img'))
    await saveImage(tableOf(512), at('usual.img'))
    await saveImage(vhdx(LARGE, { seed }), at('large.vhdx'))
    await saveImage(vhdx({ size: MEBIBYTE, sectorSize: 4096, extents: [] }, { seed }), at('empty.vhdx'))
  })
  afterAll(() => removeStore(folder))

  const convert = async (input: string, format: OutputFormat, more: Partial<ConvertOptions> = {}): Promise<DiskImage | undefined> => {
    const made = await convertDisk({ input: at(input), format, fileName: 'disk', ...more })
    try {
      const memory = await written(made.image)
      const { image } = await CONTAINERS.open(memory)
      expect(await digest(image)).toBe(await digest(input.startsWith('large') ? LARGE : input === 'usual.img' ? tableOf(512) : image))
      return { ...image, sectorSize: made.plan.sectorSize }
    } finally {
      await made.close()
    }
  }
  const refused = (input: string, format: OutputFormat, more: Partial<ConvertOptions> = {}): Promise<unknown> =>
    convertDisk({ input: at(input), format, fileName: 'disk', ...more }).then(
      async ({ close }) => close(),
      (error: unknown) => error,
    )

  it('convert keeps from VHDX to VHDX what no other format says, unless asked to forget it', async () => {
    for (const input of ['large.vhdx', 'empty.vhdx']) expect(await convert(input, 'vhdx')).toMatchObject({ sectorSize: 4096 })
    for (const format of ATTACHED) {
      expect(await refused('large.vhdx', format)).toMatchObject({
        code: 'UNSUPPORTED',
        message: expect.stringMatching(/sectors of 4096 bytes, which .* does not say.*choose vhdx, or give sectorSize 4096/),
      })
      expect(await convert('large.vhdx', format, { sectorSize: 4096 })).toMatchObject({ sectorSize: 4096 })
    }
    for (const more of [{}, { sectorSize: 4096 as const }])
      expect(await refused('large.vhdx', 'vdi', more)).toMatchObject({ code: 'UNSUPPORTED' })
    expect(await refused('large.vhdx', 'vhdx', { sectorSize: 512 })).toMatchObject({ code: 'USAGE' })
    expect(await refused('large.img', 'vhdx', { sectorSize: 1024 as never })).toMatchObject({ code: 'USAGE' })
  })

  it('convert sees by the table what a raw disk does not say', async () => {
    expect(await convert('large.img', 'vhdx')).toMatchObject({ sectorSize: 4096 })
    expect(await convert('large.img', 'qcow2')).toMatchObject({ sectorSize: 4096 })
    expect(await refused('large.img', 'vmdk')).toMatchObject({ code: 'UNSUPPORTED' })
    expect(await convert('usual.img', 'vmdk')).toMatchObject({ sectorSize: 512 })
    expect(await convert('large.img', 'vmdk', { sectorSize: 512 })).toMatchObject({ sectorSize: 512 })
  })

  it.each(DISK_LAYOUTS)('disk with the layout %s counts in them, or says that it cannot', async (layout) => {
    const options: DiskOptions = { closure: small.folder, root: small.root, freeSize: 0, layout, sectorSize: 4096 }
    if (layout.startsWith('legacy') && layout !== 'legacy+gpt') {
      await expect(disk(options)).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('choose a layout with a GPT') })
      return
    }
    const { image, plan } = await disk({ ...options, espSize: (layout === 'efixbootldr' ? 118 : 32) * MEBIBYTE })
    if (isGrowing(image)) throw new Error('a disk with ext4 has a size')
    const memory = await written(image)
    const bytes = (start: number, length: number): Promise<Uint8Array> => memory.read(start, length)
    for (const [index, { role, start, size }] of plan.partitions.entries()) {
      const end = start + (size ?? 0)
      if (layout !== 'none') {
        const entry = Buffer.from(await bytes(2 * SECTOR + index * 128, 128))
        expect([Number(entry.readBigUInt64LE(32)), Number(entry.readBigUInt64LE(40)) + 1]).toEqual([start / SECTOR, end / SECTOR])
      }
      if (role === 'root') expect(Buffer.from(await bytes(start + 1024 + 56, 2)).readUInt16LE()).toBe(0xef53)
      if (role !== 'esp' && role !== 'extendedBoot') continue
      const volume = Buffer.from(await bytes(start, end - start))
      // Bytes a sector, and sectors before the volume (fatgen103, BPB_BytsPerSec and BPB_HiddSec).
      expect([volume.readUInt16LE(11), volume.readUInt32LE(28)]).toEqual([SECTOR, start / SECTOR])
      expect(readFat(fromBytes(volume)).files.size).toBeGreaterThan(0)
    }
    expect(await gptSectorSize(image)).toBe(layout === 'none' ? undefined : 4096)
    expect(plan.sectorSize).toBe(4096)
  })

  it('the root may have the partition type of its CPU', async () => {
    const type = async (options: Partial<DiskOptions>): Promise<string> => {
      const base = { closure: small.folder, root: small.root, freeSize: 0, espSize: 20 * MEBIBYTE }
      const { image } = await disk({ ...base, ...options })
      if (isGrowing(image)) throw new Error('a disk with ext4 has a size')
      return guidToText(await (await written(image)).read(2 * 512 + 128, 16))
    }
    expect(await type({})).toBe('0FC63DAF-8483-4772-8E79-3D69D8477DE4')
    expect(await type({ discoverableRoot: true })).toBe('4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709')
    await expect(type({ discoverableRoot: true, layout: 'legacy' })).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('disk and zfs say which formats and pools do not go with them', async () => {
    const input = { closure: small.folder, root: small.root, sectorSize: 4096 } as const
    const base: ZfsOptions = { ...input, bootSize: 'auto', rootSize: 'auto', freeSize: 0 }
    await expect(disk({ ...input, preset: 'amazon' })).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await expect(zfs({ ...base, preset: 'amazon-zfs' })).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await expect(zfs({ ...base, poolProperties: { ashift: '9' } })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('give ashift=12 or more'),
    })
    const { plan, files } = await zfs(base)
    expect(plan.sectorSize).toBe(4096)
    const [boot] = await files({ jobs: 1 })
    if (boot?.content.kind !== 'image' || isGrowing(boot.content.image)) throw new Error('the boot disk has a size')
    expect(await gptSectorSize(boot.content.image)).toBe(4096)
    const [root] = await (await zfs({ ...base, layout: 'single-disk', format: 'vhdx' })).files({ jobs: 1 })
    if (root?.content.kind !== 'image') throw new Error('the disk is an image')
    const back = await openVhdx(await written(root.content.image))
    expect([back.sectorSize, await gptSectorSize(back)]).toEqual([4096, 4096])
  })
})
