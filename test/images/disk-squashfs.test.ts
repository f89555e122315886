/** A squashfs root on a disk: read once, and packed where it belongs. */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DiskOptions, type DiskPlan, disk } from '../../src/images/disk/index.ts'
import type { GrowingImage } from '../../src/io/image.ts'
import { BufferTarget } from '../../src/io/target.ts'
import { type DiskWork, diskWork } from './disk-support.ts'

let work: DiskWork
let plan: DiskPlan
let image: GrowingImage
let size: number
const target = new BufferTarget()
/** Where writes began, in their order. */
const writes: number[] = []
/** How often each file of the store was opened while the disk was packed. */
const opened = new Map<string, number>()

/** Nothing but the root needs the store. */
const options = (): DiskOptions => ({ ...work.base, rootFileSystem: 'squashfs', layout: 'legacy+gpt', bootLoader: 'none' })

beforeAll(async () => {
  work = await diskWork()
  const made = await disk(options())
  plan = made.plan
  image = made.image as GrowingImage
  const write = target.write.bind(target)
  target.write = (position, bytes) => {
    writes.push(position)
    return write(position, bytes)
  }
  const { openSync } = fs
  fs.openSync = (path, ...more) => {
    const name = String(path)
    if (name.startsWith(`${work.base.root}/nix/store/`)) opened.set(name, (opened.get(name) ?? 0) + 1)
    return openSync(path, ...more)
  }
  syncBuiltinESMExports()
  try {
    size = (await image.pack(target, 0, { jobs: 1, threads: 'none' })).size
  } finally {
    fs.openSync = openSync
    syncBuiltinESMExports()
  }
}, 120_000)
afterAll(() => work.remove())

describe('a disk with a squashfs root', () => {
  it('is packed by reading each file of the store once, so what is hashed is what is packed', () => {
    expect(opened.size).toBeGreaterThan(10)
    // Those of one content are compared with each other, byte by byte.
    const contents = new Map([...opened.keys()].map((path) => [path, fs.readFileSync(path, 'latin1')]))
    const unique = [...opened].filter(([path]) => [...contents.values()].filter((one) => one === contents.get(path)).length === 1)
    expect(unique.length).toBeGreaterThan(10)
    expect(unique.filter(([, count]) => count > 1)).toEqual([])
  })

  it('is packed in its place in a raw disk, the table after it', () => {
    const root = plan.partitions.find(({ role }) => role === 'root')
    expect(writes[0]).toBeGreaterThanOrEqual(root?.start ?? Number.NaN)
    expect(writes.indexOf(512)).toBeGreaterThan(0)
    expect(size).toBeLessThanOrEqual(image.sizeLimit)
  })

  it('has the bytes that a container has', { timeout: 120_000 }, async () => {
    const { bytes } = await work.build({ ...options(), format: 'vhd-fixed' })
    expect(Buffer.from(target.bytes.subarray(0, size)).equals(bytes.subarray(0, size))).toBe(true)
  })
})
