/** Disks whose data lies in very many runs: holes stay holes. And files that name the same bytes again and again: they are refused. */
import { describe, expect, it } from 'vitest'
import { openQcow2, planQcow2, qcow2, qcow2Compressed } from '../../src/disks/qcow2/index.ts'
import { openRaw } from '../../src/disks/raw/index.ts'
import { openVdi, planVdi, vdi } from '../../src/disks/vdi/index.ts'
import { dynamicVhd, openVhd, planDynamicVhd } from '../../src/disks/vhd/index.ts'
import { openVhdx, vhdx } from '../../src/disks/vhdx/index.ts'
import { planVhdx } from '../../src/disks/vhdx/plan.ts'
import { openVmdk, planSparse, vmdk, vmdkStream } from '../../src/disks/vmdk/index.ts'
import { bytesExtent, type Extent, type GrowingImage, type Image } from '../../src/io/image.ts'
import type { RandomAccessSource } from '../../src/io/source.ts'
import { dataBytes, dataRuns, writeImage } from '../../src/io/stream.ts'
import type { Target } from '../../src/io/target.ts'
import { UsedRanges } from '../../src/io/used-ranges.ts'
import { Dice } from '../dice.ts'
import { CONTAINERS, digest, type SparseMemory, written } from './containers.ts'

const CLUSTER = 512

/** Runs of a cluster or a few, with gaps of one to forty between them; now and then a long one, and a wide gap. */
function scatteredDisk(runCount: number): Image {
  const dice = new Dice(11)
  const extents: Extent[] = []
  let cluster = 0
  for (let run = 0; run < runCount; run++) {
    cluster += dice.chance(1) ? 1000 + dice.below(3000) : 1 + dice.below(40)
    const count = dice.below(2000) === 0 ? 200 : 1 + dice.below(2)
    extents.push(bytesExtent(cluster * CLUSTER, new Uint8Array(count * CLUSTER).fill(1 + (run % 255))))
    cluster += count
  }
  return { size: (cluster + 7) * CLUSTER, extents }
}

/** Keeps no byte: only what is written where counts. */
function countingTarget(): Target & { bytes: number } {
  return {
    bytes: 0,
    async write(_position, chunk) {
      this.bytes += chunk.length
    },
    read: () => Promise.reject(new Error('nothing is kept')),
    async setSize() {},
  }
}

const runsOf = (image: Image): string => [...dataRuns(image)].map(({ start, length }) => `${start}+${length}`).join()

describe('a disk in very many runs', () => {
  it('is read with all of its holes, in few extents, and written without them', async () => {
    const disk = scatteredDisk(70_000)
    const opened = await openQcow2(await written(qcow2(disk, { clusterSize: CLUSTER })))
    expect(runsOf(opened) === runsOf(disk)).toBe(true)
    expect(opened.extents.length).toBeLessThanOrEqual(1 << 12)
    const target = countingTarget()
    const totals: number[] = []
    await writeImage(opened, target, 0, {
      jobs: 1,
      onProgress: (event) => event.kind === 'stage' && totals.push(event.totalBytes ?? 0),
    })
    expect({ bytes: target.bytes, totals }).toEqual({ bytes: dataBytes(disk), totals: [dataBytes(disk)] })
  }, 300_000)

  it('goes from one container to the next as it is', async () => {
    const disk = scatteredDisk(5000)
    const wanted = await digest(disk)
    const first = await openQcow2(await written(qcow2(disk, { clusterSize: CLUSTER })))
    const second = await openQcow2(await written(qcow2(first, { clusterSize: CLUSTER })))
    const packed = await openQcow2(await written(qcow2Compressed(second, { clusterSize: CLUSTER, codec: { name: 'gzip', level: 1 } })))
    for (const image of [first, second, packed]) {
      expect(runsOf(image) === runsOf(disk)).toBe(true)
      expect(image.extents.length).toBeLessThanOrEqual(1 << 12)
      expect(await digest(image)).toBe(wanted)
    }
    for (const { name, write, open } of CONTAINERS.filter(({ name }) => !/512|zlib|zstd/.test(name)))
      expect(await digest(await open(await written(write(first)))), name).toBe(wanted)
    const sparse = await openRaw(await written(disk), { skipZeros: true })
    expect(await digest(sparse)).toBe(wanted)
    expect(dataBytes(sparse)).toBeLessThan(0.8 * disk.size)
  }, 300_000)
})

const seed = 's'
const MEBIBYTE = 1 << 20
/** Two blocks of any format, and two tables of those that have tables of tables. */
const two: Image = {
  size: 96 * MEBIBYTE,
  extents: [
    bytesExtent(0, Buffer.alloc(65536, 'one')),
    bytesExtent(4 * MEBIBYTE, Buffer.alloc(65536, 'two')),
    bytesExtent(40 * MEBIBYTE, Buffer.alloc(9, 3)),
  ],
}

/** Where two entries of a table lie, of which the second is made the same as the first. */
type Entries = (file: SparseMemory) => Promise<readonly [first: number, second: number, size: number]>

const bigNumber = async (file: SparseMemory, at: number): Promise<number> =>
  Number(Buffer.from(await file.read(at, 8)).readBigUInt64BE() % 2n ** 56n)
const sector = async (file: SparseMemory, at: number): Promise<number> => Buffer.from(await file.read(at, 4)).readUInt32LE() * 512

/** Of qcow2, whose L1 table lies at `l1`: the entries of 0 and of 4 MiB. */
const clusters =
  (l1: number): Entries =>
  async (file) => {
    const table = await bigNumber(file, l1)
    return [table, table + 64 * 8, 8]
  }

/** The same of VMDK, whose directory lies where `place` says. */
const grains =
  (place: (file: SparseMemory) => Promise<number> | number): Entries =>
  async (file) => {
    const table = await sector(file, await place(file))
    return [table, table + 64 * 4, 4]
  }
const directoryOf = planSparse(two).directorySector * 512
const directoryAtEnd = (file: SparseMemory): Promise<number> => sector(file, file.size - 1024 + 56)

const l1 = planQcow2(two).firstL1Cluster * 65536
const { mapOffset } = planVdi(two)
const { tableOffset } = planDynamicVhd(two, { seed })
const { batOffset } = planVhdx(two, { seed, blockSize: MEBIBYTE })
const HOSTILE: readonly (readonly [string, Image | GrowingImage, (source: RandomAccessSource) => Promise<Image>, Entries])[] = [
  ['a cluster of qcow2', qcow2(two), openQcow2, clusters(l1)],
  ['a compressed cluster', qcow2Compressed(two), openQcow2, clusters(65536)],
  ['a cluster of zstd', qcow2Compressed(two, { codec: { name: 'zstd', level: 1 } }), openQcow2, clusters(65536)],
  ['an L2 table', qcow2(two, { clusterSize: 4096 }), openQcow2, async () => [firstL1(4096), firstL1(4096) + 2 * 8, 8]],
  ['a block of VDI', vdi(two, { seed }), openVdi, async () => [mapOffset, mapOffset + 4 * 4, 4]],
  ['a block of VHD', dynamicVhd(two, { seed }), openVhd, async () => [tableOffset, tableOffset + 2 * 4, 4]],
  ['a block of VHDX', vhdx(two, { seed, blockSize: MEBIBYTE }), openVhdx, async () => [batOffset, batOffset + 4 * 8, 8]],
  ['a grain of VMDK', vmdk(two, { seed }), openVmdk, grains(() => directoryOf)],
  ['a grain table', vmdk(two, { seed }), openVmdk, async () => [directoryOf, directoryOf + 4, 4]],
  ['a compressed grain', vmdkStream(two, { seed }), openVmdk, grains(directoryAtEnd)],
]

function firstL1(clusterSize: number): number {
  return planQcow2(two, { clusterSize }).firstL1Cluster * clusterSize
}

describe('what is named twice is refused', () => {
  it.each(HOSTILE)('%s', async (_name, image, open, entries) => {
    const file = await written(image)
    expect(await digest(await open(file))).toBe(await digest(two))
    const [first, second, size] = await entries(file)
    const [one, other] = [await file.read(first, size), await file.read(second, size)]
    expect(Buffer.from(one).equals(other)).toBe(false)
    await file.write(second, one)
    const message = expect.stringMatching(/ is named twice; each of the file's \d+ bytes may stand for one place of the disk/)
    await expect(open(file)).rejects.toMatchObject({ code: 'BAD_INPUT', message })
  })

  it('of ranges in any order, however many', () => {
    const dice = new Dice(3)
    const count = 200_000
    const places = Array.from({ length: count }, (_, index) => index * 10)
    for (let index = count - 1; index > 0; index--) {
      const other = dice.below(index + 1)
      ;[places[index], places[other]] = [places[other] as number, places[index] as number]
    }
    const used = (extra: readonly [number, number]): (() => void) => {
      const ranges = new UsedRanges((position) => new Error(`twice: ${position}`))
      return () => {
        for (const place of places) ranges.add(place, place + 10 - (place % 3))
        ranges.add(...extra)
        ranges.check()
      }
    }
    expect(used([count * 10, count * 10 + 5])).not.toThrow()
    expect(used([70, 71])).toThrow('twice: 70')
    expect(used([65, 71])).toThrow(/twice/)
    expect(used([-5, 1])).toThrow('twice: 0')
  })

  it('soon, where all entries of a large table name one block', async () => {
    const file = await written(vdi({ size: 2 ** 40, extents: [bytesExtent(0, Uint8Array.of(1))] }, { seed }))
    let reads = 0
    const zeros: RandomAccessSource = {
      size: file.size,
      read: (position, length) => {
        reads++
        return position >= mapOffset ? Promise.resolve(new Uint8Array(length)) : file.read(position, length)
      },
    }
    await expect(openVdi(zeros)).rejects.toMatchObject({ code: 'BAD_INPUT', message: expect.stringMatching(/named twice/) })
    expect(reads).toBeLessThan(20)
  })
})
