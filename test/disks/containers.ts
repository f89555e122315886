/** What the tests of container formats share: every format, random sparse disks, and memory that is sparse too. */
import { createHash } from 'node:crypto'
import { openQcow2, qcow2, qcow2Compressed } from '../../src/disks/qcow2/index.ts'
import { openVdi, vdi } from '../../src/disks/vdi/index.ts'
import { dynamicVhd, fixedVhd, openVhd } from '../../src/disks/vhd/index.ts'
import { openVhdx, vhdx } from '../../src/disks/vhdx/index.ts'
import { openVmdk, vmdk, vmdkStream } from '../../src/disks/vmdk/index.ts'
import { bytesExtent, type Extent, type GrowingImage, type Image, isGrowing } from '../../src/io/image.ts'
import type { RandomAccessSource } from '../../src/io/source.ts'
import { writeImage } from '../../src/io/stream.ts'
import type { Target } from '../../src/io/target.ts'

export interface Container {
  readonly name: string
  /** As `qemu-img` calls it. */
  readonly qemu: string
  readonly write: (image: Image) => Image | GrowingImage
  readonly open: (source: RandomAccessSource) => Promise<Image>
}

const seed = 'test'
export const CONTAINERS: readonly Container[] = [
  { name: 'qcow2', qemu: 'qcow2', write: (image) => qcow2(image), open: openQcow2 },
  { name: 'qcow2, clusters of 512', qemu: 'qcow2', write: (image) => qcow2(image, { clusterSize: 512 }), open: openQcow2 },
  { name: 'qcow2, zlib', qemu: 'qcow2', write: (image) => qcow2Compressed(image), open: openQcow2 },
  {
    name: 'qcow2, zlib, clusters of 512',
    qemu: 'qcow2',
    write: (image) => qcow2Compressed(image, { clusterSize: 512 }),
    open: openQcow2,
  },
  {
    name: 'qcow2, zstd, clusters of 2 MiB',
    qemu: 'qcow2',
    write: (image) => qcow2Compressed(image, { clusterSize: 2 << 20, codec: { name: 'zstd', level: 3 } }),
    open: openQcow2,
  },
  { name: 'qcow2, zstd', qemu: 'qcow2', write: (image) => qcow2Compressed(image, { codec: { name: 'zstd', level: 3 } }), open: openQcow2 },
  { name: 'vdi', qemu: 'vdi', write: (image) => vdi(image, { seed }), open: openVdi },
  { name: 'vhd, fixed', qemu: 'vpc', write: (image) => fixedVhd(image, { seed, sizeUnit: 512 }), open: openVhd },
  { name: 'vhd, dynamic', qemu: 'vpc', write: (image) => dynamicVhd(image, { seed }), open: openVhd },
  { name: 'vhdx', qemu: 'vhdx', write: (image) => vhdx(image, { seed }), open: openVhdx },
  { name: 'vhdx, blocks of 1 MiB', qemu: 'vhdx', write: (image) => vhdx(image, { seed, blockSize: 1 << 20 }), open: openVhdx },
  { name: 'vmdk', qemu: 'vmdk', write: (image) => vmdk(image, { seed }), open: openVmdk },
  { name: 'vmdk, stream', qemu: 'vmdk', write: (image) => vmdkStream(image, { seed }), open: openVmdk },
]

/** Numbers that depend on the seed alone (mulberry32): whole, from 0 up to `limit`. */
export function random(seedNumber: number): (limit: number) => number {
  let state = seedNumber >>> 0
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0
    let value = Math.imul(state ^ (state >>> 15), state | 1)
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61)
    return Math.floor((((value ^ (value >>> 14)) >>> 0) / 2 ** 32) * limit)
  }
}

/** Bytes as they occur on disks: noise, text, or zeros. */
export function content(next: (limit: number) => number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  const kind = next(4)
  if (kind === 0) return bytes
  for (let at = 0; at < length; at++) bytes[at] = kind === 1 ? next(256) : 97 + ((at * at + kind) % 11)
  return bytes
}

/** A disk with up to 12 extents that begin and end anywhere; sometimes the last lies far behind the others. */
export function randomDisk(seedNumber: number): Image {
  const next = random(seedNumber)
  const extents: Extent[] = []
  let at = 0
  for (let count = next(13); count > 0; count--) {
    at += next(3) === 0 ? 0 : next(next(2) === 0 ? 4096 : 3_000_000)
    if (count === 1 && next(3) === 0) at += 2 ** 27 + next(1 << 20)
    const bytes = content(next, next(3) === 0 ? next(700) : next(250_000))
    extents.push(bytesExtent(at, bytes))
    at += bytes.length
  }
  return { size: Math.ceil((at + next(100_000) + 1) / 512) * 512, extents }
}

const PAGE_SIZE = 1 << 16

/** A target and a source that hold the pages that were written. */
export class SparseMemory implements Target, RandomAccessSource {
  readonly pages = new Map<number, Uint8Array>()
  size = 0

  async write(position: number, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const page = Math.floor((position + done) / PAGE_SIZE)
      const at = (position + done) % PAGE_SIZE
      const count = Math.min(PAGE_SIZE - at, bytes.length - done)
      const memory = this.pages.get(page) ?? new Uint8Array(PAGE_SIZE)
      this.pages.set(page, memory)
      memory.set(bytes.subarray(done, done + count), at)
      done += count
    }
    this.size = Math.max(this.size, position + bytes.length)
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    if (position < 0 || position + length > this.size) throw new RangeError(`${length} bytes at ${position} of ${this.size}`)
    const bytes = new Uint8Array(length)
    for (let done = 0; done < length; ) {
      const at = (position + done) % PAGE_SIZE
      const count = Math.min(PAGE_SIZE - at, length - done)
      const memory = this.pages.get(Math.floor((position + done) / PAGE_SIZE))
      if (memory) bytes.set(memory.subarray(at, at + count), done)
      done += count
    }
    return bytes
  }

  async setSize(size: number): Promise<void> {
    this.size = size
  }
}

/** Write an image of either kind. */
export async function written(image: Image | GrowingImage, start = 0, jobs = 2): Promise<SparseMemory> {
  const memory = new SparseMemory()
  const context = { jobs }
  if (!isGrowing(image)) await writeImage(image, memory, start, context)
  const { size } = isGrowing(image) ? await image.pack(memory, start, context) : image
  await memory.setSize(start + size)
  return memory
}

/** A digest of the bytes that are not zero and where they are: equal for equal disks, whatever their extents. */
export async function digest(image: Image): Promise<string> {
  const hash = createHash('sha256').update(`${image.size}\n`)
  const sector = Buffer.alloc(512)
  let current = 0
  const flush = (): void => {
    if (!sector.equals(ZEROS)) hash.update(`${current}\n`).update(sector)
    sector.fill(0)
  }
  for (const extent of image.extents) {
    let at = extent.start
    for await (const chunk of extent.read()) {
      if (Buffer.compare(chunk, MORE_ZEROS.subarray(0, chunk.length)) === 0) {
        at += chunk.length
        continue
      }
      for (let done = 0; done < chunk.length; ) {
        const number = Math.floor(at / 512)
        if (number !== current) {
          flush()
          current = number
        }
        const count = Math.min(512 - (at % 512), chunk.length - done)
        sector.set(chunk.subarray(done, done + count), at % 512)
        at += count
        done += count
      }
    }
    if (at !== extent.start + extent.length) throw new Error(`the extent at ${extent.start} has ${at - extent.start} bytes`)
  }
  flush()
  return hash.digest('hex')
}

const ZEROS = Buffer.alloc(512)
const MORE_ZEROS = Buffer.alloc(1 << 20)
