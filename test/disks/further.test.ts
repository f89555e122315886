/** Disks that need other files, snapshots, subclusters and logs: what they read as, and what is refused. */
import { describe, expect, it } from 'vitest'
import type { OpenOptions } from '../../src/disks/container.ts'
import { CONTAINERS, type InputFormat } from '../../src/disks/containers.ts'
import { openOva, ova } from '../../src/disks/ova/index.ts'
import { vdi } from '../../src/disks/vdi/index.ts'
import { dynamicVhd, fixedVhd } from '../../src/disks/vhd/index.ts'
import { openVhdx, vhdx } from '../../src/disks/vhdx/index.ts'
import { openVmdk, vmdk, vmdkStream } from '../../src/disks/vmdk/index.ts'
import { bytesExtent, type Image } from '../../src/io/image.ts'
import { layeredImage } from '../../src/io/layers.ts'
import { type DiskMap, type MappedFile, type MappedRange, mappedImage } from '../../src/io/mapped.ts'
import { bytesSource } from '../../src/io/source.ts'
import { imageChunks } from '../../src/io/stream.ts'
import { Dice } from '../dice.ts'
import { random } from './containers.ts'
import { damage, guarded, interesting, readSome } from './damage.ts'
import {
  childVmdk,
  differencingVdi,
  differencingVhd,
  differencingVhdx,
  fileOf,
  MADE_CLUSTER,
  madeQcow2,
  vhdxRegions,
  withLog,
} from './made-files.ts'

const MEBIBYTE = 1 << 20

async function bytesOf(image: Image): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks(image)) chunks.push(chunk.slice())
  return Buffer.concat(chunks)
}

async function opened(file: Uint8Array, options: OpenOptions = {}, format?: InputFormat): Promise<Buffer> {
  return bytesOf((await CONTAINERS.open(bytesSource(file), format, options)).image)
}

const refused = (file: Uint8Array, options: OpenOptions = {}): Promise<unknown> =>
  CONTAINERS.open(bytesSource(file), undefined, options).then(
    () => 'nothing',
    (error: unknown) => error,
  )

/** Of so many MiB, each byte that of the block it lies in. */
function striped(size: number, unit: number, first: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at < size; at += unit) bytes.fill(1 + ((first + at / unit) % 250), at, at + unit)
  return bytes
}

const whole = (bytes: Buffer): Image => ({ size: bytes.length, extents: [bytesExtent(0, bytes)] })
const parts = (size: number, ...extents: readonly (readonly [start: number, bytes: Uint8Array])[]): Image => ({
  size,
  extents: extents.map(([start, bytes]) => bytesExtent(start, bytes)),
})

describe('a disk on another', () => {
  it('is what lies over it, zeros too, and between that what lies below: any ranges', async () => {
    for (let seed = 0; seed < 60; seed++) {
      const dice = new Dice(seed)
      const size = 4096
      const layer = (value: number, count: number): { map: DiskMap; bytes: (number | undefined)[] } => {
        const length = seed % 3 === 0 && value === 1 ? 3000 : size
        const file: MappedFile = { what: 'layer', source: bytesSource(Uint8Array.from({ length }, (_, at) => 1 + ((at * value) % 199))) }
        const groups: MappedRange[][] = [[]]
        const bytes = new Array<number | undefined>(length)
        let at = 0
        for (let range = 0; range < count; range++) {
          at += dice.below(200)
          const run = 1 + dice.below(120)
          if (at + run > length) break
          const isZero = dice.below(3) === 0
          groups.at(-1)?.push(isZero ? { start: at, length: run, position: 0 } : { start: at, length: run, file, position: at })
          for (let byte = at; byte < at + run; byte++) bytes[byte] = isZero ? 0 : 1 + ((byte * value) % 199)
          at += run
          if (dice.below(4) === 0) groups.push([])
        }
        return {
          bytes,
          map: {
            what: 'layer',
            size: length,
            async *ranges(from, end) {
              for (const group of groups) yield group.filter(({ start, length: run }) => start < end && start + run > from)
            },
          },
        }
      }
      const layers = [layer(3, 30), layer(1, 25), layer(2, 60)]
      const [top, middle, bottom] = await Promise.all(layers.map(({ map }) => mappedImage(map)))
      if (!top || !middle || !bottom) throw new Error('three layers')
      const image = await layeredImage(top, await layeredImage(middle, bottom))
      // What is behind the end of a shorter disk is zero, whatever lies below that one.
      const limit = middle.size
      const expected = Buffer.from(
        Array.from({ length: size }, (_, at) => {
          const over = layers[0]?.bytes[at]
          if (over !== undefined || at >= limit) return over ?? 0
          return layers[1]?.bytes[at] ?? layers[2]?.bytes[at] ?? 0
        }),
      )
      expect((await bytesOf(image)).equals(expected), `seed ${seed}`).toBe(true)
      for (const extent of image.extents) {
        const run = await bytesOf({ size: extent.length, extents: [{ ...extent, start: 0 }] })
        expect(run.equals(expected.subarray(extent.start, extent.start + extent.length))).toBe(true)
      }
    }
  })

  const base = striped(16 * MADE_CLUSTER, MADE_CLUSTER, 0)
  const cluster = (value: number): Buffer => Buffer.alloc(MADE_CLUSTER, value)

  it('as qcow2, on raw disks and on others, of the format that it says', async () => {
    const child = madeQcow2({
      clusterCount: 18,
      clusters: { 1: cluster(201), 5: 'zeros', 17: cluster(202) },
      backing: { name: '../base', format: 'raw' },
    })
    const expected = Buffer.concat([base, Buffer.alloc(2 * MADE_CLUSTER)])
    expected.fill(201, MADE_CLUSTER, 2 * MADE_CLUSTER)
    expected.fill(0, 5 * MADE_CLUSTER, 6 * MADE_CLUSTER)
    expected.fill(202, 17 * MADE_CLUSTER)
    expect((await opened(child.file, { backing: [bytesSource(base)] })).equals(expected)).toBe(true)
    const middle = madeQcow2({ clusterCount: 16, clusters: { 2: cluster(203), 1: cluster(1) }, backing: { name: 'base.img' } })
    const top = madeQcow2({
      clusterCount: 18,
      clusters: { 1: cluster(201), 5: 'zeros', 17: cluster(202) },
      backing: { name: 'm', format: 'qcow2' },
    })
    expected.fill(203, 2 * MADE_CLUSTER, 3 * MADE_CLUSTER)
    expect((await opened(top.file, { backing: [bytesSource(middle.file), bytesSource(base)] })).equals(expected)).toBe(true)
    // A raw disk that holds an image is read as it is where the child says so.
    const nested = Buffer.concat([middle.file, Buffer.alloc(16 * MADE_CLUSTER - middle.file.length)])
    const raw = madeQcow2({ clusterCount: 16, clusters: {}, backing: { name: 'base', format: 'raw' } })
    const notes: string[] = []
    const onProgress: OpenOptions['onProgress'] = (event) => event.kind === 'note' && notes.push(event.message)
    expect((await opened(raw.file, { backing: [bytesSource(nested)], onProgress })).equals(nested)).toBe(true)
    expect(notes).toEqual([expect.stringMatching(/begins as qcow2, and is read as raw/)])
    await opened(raw.file, { backing: [bytesSource(base)], onProgress })
    expect(notes).toHaveLength(1)
    expect(await refused(child.file)).toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/'\.\.\/base'.*give it by backing/),
    })
    expect(await refused(top.file, { backing: [bytesSource(middle.file)] })).toMatchObject({ code: 'UNSUPPORTED' })
    expect(await refused(top.file, { backing: [bytesSource(base)] })).toMatchObject({ code: 'BAD_INPUT' })
    const further = [bytesSource(middle.file), bytesSource(base), bytesSource(base)]
    expect(await refused(top.file, { backing: further })).toMatchObject({ code: 'USAGE', message: expect.stringContaining('leave it out') })
    expect(await refused(base, { backing: further })).toMatchObject({ code: 'USAGE' })
  })

  it('as VHD, with its sectors; VDI and VMDK with blocks that are zero; VHDX with and without bitmaps', async () => {
    const size = 8 * MEBIBYTE
    const lower = striped(size, 65536, 7)
    const upper = parts(size, [MEBIBYTE, Buffer.alloc(2 * MEBIBYTE, 251)])
    const vhdParent = await fileOf(dynamicVhd(whole(lower), { seed: 'p' }))
    const vhdChild = await differencingVhd(upper, vhdParent, (_block, sector) => sector % 3 === 1)
    const expectedVhd = Buffer.from(lower)
    const own = Buffer.alloc(size)
    own.fill(251, MEBIBYTE, 3 * MEBIBYTE)
    for (let sector = 0; sector < (4 * MEBIBYTE) / 512; sector++) {
      if ((sector % 4096) % 3 === 1) own.copy(expectedVhd, sector * 512, sector * 512, sector * 512 + 512)
    }
    expect((await opened(vhdChild, { backing: [bytesSource(vhdParent)] })).equals(expectedVhd)).toBe(true)
    const stranger = await fileOf(fixedVhd(whole(lower), { seed: 'other' }))
    expect(await refused(vhdChild, { backing: [bytesSource(stranger)] })).toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining("it says 'base.vhd'"),
    })

    const covered = Buffer.from(lower)
    covered.fill(251, MEBIBYTE, 3 * MEBIBYTE)
    const vdiParent = await fileOf(vdi(whole(lower), { seed: 'p' }))
    const withZeros = Buffer.from(covered).fill(0, 5 * MEBIBYTE, 6 * MEBIBYTE)
    const vdiChild = await differencingVdi(upper, vdiParent, [5])
    expect((await opened(vdiChild, { backing: [bytesSource(vdiParent)] })).equals(withZeros)).toBe(true)
    const vdiStranger = await fileOf(vdi(whole(lower), { seed: 'q' }))
    expect(await refused(vdiChild, { backing: [bytesSource(vdiStranger)] })).toMatchObject({ code: 'BAD_INPUT' })

    const vmdkParent = await fileOf(vmdk(whole(lower), { seed: 'p' }))
    const contentId = /CID=([0-9a-f]{8})/.exec(vmdkParent.toString('latin1', 0, 4096))?.[1] ?? ''
    const grains = Array.from({ length: 16 }, (_, index) => 80 + index)
    const vmdkChild = await childVmdk(upper, contentId, grains)
    expect((await opened(vmdkChild, { backing: [bytesSource(vmdkParent)] })).equals(withZeros)).toBe(true)
    expect(await refused(await childVmdk(upper, '00000001'), { backing: [bytesSource(vmdkParent)] })).toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining(`CID ${contentId}`),
    })
    const streamed = await fileOf(vmdkStream(whole(lower), { seed: 'p' }))
    const streamedId = /CID=([0-9a-f]{8})/.exec(streamed.toString('latin1', 0, 4096))?.[1] ?? ''
    expect((await opened(await childVmdk(upper, streamedId, grains), { backing: [bytesSource(streamed)] })).equals(withZeros)).toBe(true)

    const vhdxParent = await fileOf(vhdx(whole(lower), { seed: 'p', blockSize: MEBIBYTE }))
    const { identity = '' } = await openVhdx(bytesSource(vhdxParent))
    expect((await opened(await differencingVhdx(upper, identity), { backing: [bytesSource(vhdxParent)] })).equals(covered)).toBe(true)
    const partly = await differencingVhdx(upper, identity, new Map([[2, (sector: number) => sector % 2 === 0]]))
    const half = Buffer.from(covered)
    for (let at = 2 * MEBIBYTE + 512; at < 3 * MEBIBYTE; at += 1024) lower.copy(half, at, at, at + 512)
    expect((await opened(partly, { backing: [bytesSource(vhdxParent)] })).equals(half)).toBe(true)
    expect(await refused(partly)).toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('base.vhdx') })
    const other = await differencingVhdx(upper, '00000000-0000-0000-0000-000000000001')
    expect(await refused(other, { backing: [bytesSource(vhdxParent)] })).toMatchObject({ code: 'BAD_INPUT' })
  })
})

describe('qcow2', () => {
  const cluster = (value: number): Buffer => Buffer.alloc(MADE_CLUSTER, value)
  const SUBCLUSTER = MADE_CLUSTER / 32

  it('with subclusters, of which some are zero and some lie below', async () => {
    const base = striped(4 * MADE_CLUSTER, MADE_CLUSTER, 0)
    const some = Array.from({ length: 32 }, (_, index) =>
      index % 3 === 0 ? Buffer.alloc(SUBCLUSTER, 100 + index) : index % 3 === 1 ? 'zeros' : undefined,
    )
    const made = { clusterCount: 4, isExtended: true, clusters: { 0: cluster(9), 1: some, 3: 'zeros' } } as const
    const expected = Buffer.from(base)
      .fill(9, 0, MADE_CLUSTER)
      .fill(0, 3 * MADE_CLUSTER)
    for (let index = 0; index < 32; index++) {
      const at = MADE_CLUSTER + index * SUBCLUSTER
      if (index % 3 !== 2) expected.fill(index % 3 === 0 ? 100 + index : 0, at, at + SUBCLUSTER)
    }
    const child = madeQcow2({ ...made, backing: { name: 'base' } })
    expect((await opened(child.file, { backing: [bytesSource(base)] })).equals(expected)).toBe(true)
    for (let index = 2; index < 32; index += 3) expected.fill(0, MADE_CLUSTER + index * SUBCLUSTER, MADE_CLUSTER + (index + 1) * SUBCLUSTER)
    expected.fill(0, 2 * MADE_CLUSTER, 3 * MADE_CLUSTER)
    const alone = madeQcow2(made).file
    expect((await opened(alone)).equals(expected)).toBe(true)
    // The L2 table is the cluster behind the two of the header and those of data.
    const table = alone.indexOf(Buffer.from([0x80, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]))
    alone.writeUInt32BE(1, table + 8)
    expect(await refused(alone)).toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining('subclusters') })
  })

  it('with its data in a file that is given', async () => {
    const { file, data } = madeQcow2({ clusterCount: 4, hasDataFile: true, clusters: { 2: cluster(1), 0: cluster(2) } })
    const expected = Buffer.concat([cluster(2), cluster(0), cluster(1), cluster(0)])
    // Clusters are placed in the order of their numbers.
    expect((await opened(file, { dataFile: bytesSource(data) })).equals(expected)).toBe(true)
    expect(await refused(file)).toMatchObject({ code: 'UNSUPPORTED', message: expect.stringMatching(/somewhere\.raw.*dataFile/) })
    expect(await refused(file, { dataFile: bytesSource(data.subarray(0, MADE_CLUSTER)) })).toMatchObject({ code: 'BAD_INPUT' })
    const { file: other } = madeQcow2({ clusterCount: 4, clusters: {} })
    expect(await refused(other, { dataFile: bytesSource(data) })).toMatchObject({ code: 'USAGE' })
  })

  it('as it was at a snapshot, by id or name', async () => {
    const { file } = madeQcow2({
      clusterCount: 2,
      clusters: { 0: cluster(1) },
      snapshots: [
        { id: '1', name: 'clean', clusters: { 1: cluster(2) } },
        { id: '2', name: 'twice', clusters: { 0: cluster(3) } },
        { id: '3', name: 'twice', clusters: {} },
        { id: '4', name: '1', clusters: {} },
      ],
    })
    const first = async (snapshot: string): Promise<readonly number[]> => {
      const bytes = await opened(file, { snapshot })
      return [bytes[0] ?? -1, bytes[MADE_CLUSTER] ?? -1]
    }
    expect(await first('clean')).toEqual([0, 2])
    expect(await first('1')).toEqual([0, 2])
    expect(await first('2')).toEqual([3, 0])
    expect((await opened(file))[0]).toBe(1)
    expect(await refused(file, { snapshot: 'twice' })).toMatchObject({ code: 'USAGE', message: expect.stringContaining('give an id') })
    expect(await refused(file, { snapshot: 'none' })).toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining("'1' ('clean')"),
    })
    expect(await refused(Buffer.alloc(MEBIBYTE), { snapshot: 'x' })).toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('(qcow2)'),
    })
  })
})

describe('VMDK in files of its own', () => {
  const flat = striped(4 * MEBIBYTE, 65536, 3).fill(0, MEBIBYTE, 2 * MEBIBYTE)
  const describedBy = (...extents: string[]): Buffer =>
    Buffer.from(`# Disk DescriptorFile\nversion=1\nCID=0000abcd\nparentCID=ffffffff\ncreateType="x"\n\n${extents.join('\n')}\n`)
  const folder = (files: Readonly<Record<string, Uint8Array>>) => ({
    openExtent: async (name: string) => {
      const file = files[name]
      if (file === undefined) throw new Error(`${name} is not there`)
      return bytesSource(file)
    },
  })

  it('is flat, split, sparse, or zero', async () => {
    const sparse = await fileOf(vmdk(whole(flat), { seed: 's' }))
    const text = describedBy(
      'RW 4096 FLAT "a-f001.vmdk" 0',
      'RW 4096 FLAT "a-f001.vmdk" 4096',
      'RW 128 ZERO',
      'RW 8192 SPARSE "a-s001.vmdk"',
      'RW 2048 VMFS "a-f001.vmdk"',
    )
    const expected = Buffer.concat([flat, Buffer.alloc(65536), flat, flat.subarray(0, MEBIBYTE)])
    const files = folder({ 'a-f001.vmdk': flat, 'a-s001.vmdk': sparse })
    expect((await opened(text, files)).equals(expected)).toBe(true)
    const searched = await openVmdk(bytesSource(text), { ...files, skipZeros: true })
    expect(searched.extents.map(({ start }) => start)).toEqual([0, 2 * MEBIBYTE, 4 * MEBIBYTE + 65536])
    expect(searched.identity).toBe('CID 0000abcd')
    // A folder that nothing needs is no less a mistake than another file.
    for (const file of [flat, sparse, madeQcow2({ clusterCount: 1, clusters: {} }).file]) {
      expect(await refused(file, files)).toMatchObject({ code: 'USAGE', message: expect.stringMatching(/^extents: .*leave it out/) })
    }
  })

  it('is refused where no folder is named, or an extent is not what the descriptor says', async () => {
    const text = describedBy('RW 8192 FLAT "/etc/passwd" 0')
    expect(await refused(text)).toMatchObject({ code: 'UNSUPPORTED', message: expect.stringMatching(/\/etc\/passwd.*extents/) })
    const files = folder({ a: flat, s: await fileOf(vmdk(whole(flat), { seed: 's' })) })
    for (const [line, code] of [
      ['RW 8193 FLAT "a" 0', 'BAD_INPUT'],
      ['RW 8192 FLAT "a" 1', 'BAD_INPUT'],
      ['RW 8000 SPARSE "s"', 'BAD_INPUT'],
      ['RW 8192 SPARSE "a"', 'BAD_INPUT'],
      ['RW 8192 FLAT', 'BAD_INPUT'],
      ['RW many FLAT "a" 0', 'BAD_INPUT'],
      ['RW 99999999999999999 FLAT "a" 0', 'BAD_INPUT'],
      ['NOACCESS 8192 FLAT "a" 0', 'UNSUPPORTED'],
      ['RW 8192 SESPARSE "a"', 'UNSUPPORTED'],
      ['', 'BAD_INPUT'],
    ] as const) {
      expect(await refused(describedBy(line), files), line).toMatchObject({ code })
    }
    expect(await refused(describedBy(...Array.from({ length: 5000 }, () => 'RW 1 ZERO')), files)).toMatchObject({ code: 'LIMIT' })
    expect(await refused(Buffer.concat([describedBy('RW 1 ZERO'), Buffer.alloc(2 * MEBIBYTE)]))).toMatchObject({ code: 'BAD_INPUT' })
  })

  it('can be a change of another one, whose files are in the folder too', async () => {
    const parent = describedBy('RW 8192 FLAT "base-flat.vmdk" 0')
    const child = await fileOf(vmdk(parts(4 * MEBIBYTE, [0, Buffer.alloc(65536, 5)]), { seed: 'c' }))
    const text = Buffer.from(describedBy('RW 4096 ZERO', 'RW 4096 FLAT "zeros.vmdk" 0').toString().replace('ffffffff', '0000abcd'))
    const options = {
      backing: [bytesSource(parent)],
      ...folder({ 'base-flat.vmdk': flat, 'zeros.vmdk': Buffer.alloc(2 * MEBIBYTE), 'c.vmdk': child }),
    }
    expect((await opened(text, options)).equals(Buffer.alloc(4 * MEBIBYTE))).toBe(true)
    const sparse = Buffer.from(describedBy('RW 8192 SPARSE "c.vmdk"').toString().replace('ffffffff', '0000abcd'))
    expect((await opened(sparse, options)).equals(Buffer.from(flat).fill(5, 0, 65536))).toBe(true)
  })
})

describe('VHDX with a log', () => {
  it('reads as if it were replayed, and the file stays as it is', async () => {
    const disk = striped(4 * MEBIBYTE, 65536, 1)
    const file = await fileOf(vhdx(whole(disk), { seed: 's', blockSize: MEBIBYTE }))
    const { bat } = vhdxRegions(file)
    const [first, second] = [0, 1].map((block) => Number(file.readBigUInt64LE(bat + block * 8) & ~0xfffffn)) as [number, number]
    const sector = (value: number): Uint8Array => new Uint8Array(4096).fill(value)
    const swapped = Uint8Array.from(file.subarray(bat, bat + 4096))
    swapped.set(file.subarray(bat, bat + 8), 8)
    swapped.set(file.subarray(bat + 8, bat + 16), 0)
    const entries = [
      {
        data: [
          [first, sector(200)],
          [first + 8192, sector(201)],
        ],
        zeros: [[second, 65536]],
      },
      {
        data: [
          [bat, swapped],
          [first, sector(202)],
        ],
      },
    ] as const
    const expected = Buffer.from(disk)
    disk.copy(expected, MEBIBYTE, 0, MEBIBYTE)
    disk.copy(expected, 0, MEBIBYTE, 2 * MEBIBYTE)
    expected
      .fill(202, MEBIBYTE, MEBIBYTE + 4096)
      .fill(201, MEBIBYTE + 8192, MEBIBYTE + 12288)
      .fill(0, 0, 65536)
    // The second begins near the end of the log, and goes on at its beginning.
    for (const from of [0, MEBIBYTE - 8192]) {
      const dirty = withLog(file, entries, from)
      const before = Buffer.from(dirty)
      expect((await opened(dirty)).equals(expected), `from ${from}`).toBe(true)
      expect(dirty.equals(before)).toBe(true)
    }
    // Only what is whole counts: without the second entry the first is the last, and an older one does not follow it.
    const broken = withLog(file, entries, 0)
    const logOffset = Number(broken.readBigUInt64LE((64 << 10) + 72))
    broken[logOffset + 3 * 4096 + 100] = 99
    const partial = await opened(broken)
    expect(partial[0]).toBe(200)
    expect(partial[MEBIBYTE]).toBe(0)
    broken[logOffset + 100] = 99
    expect(await refused(broken)).toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining('log') })
  })
})

describe('an OVA with several disks', () => {
  it('gives the one that is asked for', async () => {
    const disks = [1, 2, 3].map((value) => Buffer.alloc(MEBIBYTE, value))
    const file = await fileOf(ova(disks.map(whole), { seed: 's', name: 'machine' }))
    expect((await opened(file, { disk: '2' }))[0]).toBe(2)
    expect((await opened(file, { disk: 'machine-disk3.vmdk' }))[0]).toBe(3)
    expect(await refused(file)).toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/3 disks.*disk: 1 \('machine-disk1\.vmdk'\)/),
    })
    expect(await refused(file, { disk: '4' })).toMatchObject({ code: 'NOT_FOUND' })
    const one = await fileOf(ova(whole(disks[0] as Buffer), { seed: 's', name: 'machine' }))
    expect((await bytesOf(await openOva(bytesSource(one), { disk: '1' })))[0]).toBe(1)
  })
})

describe('damaged files', () => {
  const ROUNDS = 100
  const disk = striped(3 * MEBIBYTE, 65536, 5)
  const upper = parts(disk.length, [MEBIBYTE, Buffer.alloc(100_000, 7)])
  const cluster = (value: number): Buffer => Buffer.alloc(MADE_CLUSTER, value)
  const cases: Readonly<Record<string, () => Promise<{ readonly file: Buffer; readonly options: OpenOptions }>>> = {
    'qcow2 with a backing file and subclusters': async () => {
      const some = Array.from({ length: 32 }, (_, index) => (index % 2 === 0 ? Buffer.alloc(512, index) : undefined))
      const { file } = madeQcow2({
        clusterCount: 192,
        isExtended: true,
        clusters: { 0: cluster(1), 3: some, 9: 'zeros' },
        backing: { name: 'b', format: 'raw' },
      })
      return { file, options: { backing: [bytesSource(disk)] } }
    },
    'qcow2 with a snapshot': async () => {
      const { file } = madeQcow2({ clusterCount: 192, clusters: {}, snapshots: [{ id: '1', name: 'a', clusters: { 5: cluster(3) } }] })
      return { file, options: { snapshot: '1' } }
    },
    'qcow2 with a data file': async () => {
      const { file, data } = madeQcow2({ clusterCount: 192, hasDataFile: true, clusters: { 5: cluster(3) } })
      return { file, options: { dataFile: bytesSource(data) } }
    },
    'vhd on another': async () => {
      const parent = await fileOf(dynamicVhd(whole(disk), { seed: 'p' }))
      return { file: await differencingVhd(upper, parent, (_, sector) => sector % 2 === 0), options: { backing: [bytesSource(parent)] } }
    },
    'vdi on another': async () => {
      const parent = await fileOf(vdi(whole(disk), { seed: 'p' }))
      return { file: await differencingVdi(upper, parent, [0]), options: { backing: [bytesSource(parent)] } }
    },
    'vmdk in files': async () => {
      const text = Buffer.from('# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\nRW 3072 FLAT "f" 0\nRW 3072 FLAT "f" 3072\nRW 100 ZERO\n')
      return { file: text, options: { openExtent: async () => bytesSource(disk) } }
    },
    'vhdx with a log, on another': async () => {
      const parent = await fileOf(vhdx(whole(disk), { seed: 'p', blockSize: MEBIBYTE }))
      const { identity = '' } = await openVhdx(bytesSource(parent))
      const child = await differencingVhdx(upper, identity, new Map([[1, (sector: number) => sector % 2 === 0]]))
      const { bat } = vhdxRegions(child)
      return { file: withLog(child, [{ data: [[bat, child.subarray(bat, bat + 4096)]] }]), options: { backing: [bytesSource(parent)] } }
    },
  }

  it.each(Object.keys(cases))(`of %s are survived: ${ROUNDS}`, async (name) => {
    const { file, options } = (await cases[name]?.()) ?? { file: Buffer.alloc(0), options: {} }
    await CONTAINERS.open(guarded(file), undefined, options)
    const places = [...interesting(file, 4000), ...interesting(file.subarray(-2048), 400).map((at) => at + file.length - 2048)]
    const next = random(2026)
    let refusals = 0
    for (let round = 0; round < ROUNDS; round++) {
      const { bytes, mend } = damage(file, places, next)
      try {
        const { image } = await CONTAINERS.open(guarded(bytes), undefined, options)
        expect(image.extents.length).toBeLessThan(1 << 18)
        await readSome(image)
      } catch (error) {
        expect(error, `round ${round}: ${error instanceof Error ? error.stack : error}`).toMatchObject({
          name: 'ImageError',
          code: expect.stringMatching(/^(BAD_INPUT|UNSUPPORTED|USAGE|NOT_FOUND|LIMIT)$/),
        })
        refusals++
      } finally {
        mend()
      }
    }
    expect(refusals).toBeGreaterThan(1)
  })
})
