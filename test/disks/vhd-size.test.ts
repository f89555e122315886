/** The size of a VHD stands in its footer twice, in bytes and as a geometry that is rounded down; who made it decides. */
import { describe, expect, it } from 'vitest'
import { CONTAINERS } from '../../src/disks/containers.ts'
import { checksum, FOOTER_COOKIE, footer, geometryOf } from '../../src/disks/vhd/disk.ts'
import { dynamicVhd, fixedVhd, openVhd } from '../../src/disks/vhd/index.ts'
import { bytesExtent, type Image } from '../../src/io/image.ts'
import { digest, written } from './containers.ts'

/** As large as no geometry is, with data in its last sector. */
const SIZE = 5 * 2 ** 20 + 512
const disk: Image = { size: SIZE, extents: [bytesExtent(0, Uint8Array.of(1)), bytesExtent(SIZE - 1, Uint8Array.of(2))] }
const { cylinders, heads, sectorsPerTrack } = geometryOf(SIZE)
const BY_GEOMETRY = cylinders * heads * sectorsPerTrack * 512

type Memory = Awaited<ReturnType<typeof written>>

/** The file with another creator in each of its footers. */
async function madeBy(creator: string, image: Image, change: Partial<Record<'currentSize', number>> = {}): Promise<Memory> {
  const memory = await written(image)
  for (const position of [0, memory.size - footer.size]) {
    const bytes = await memory.read(position, footer.size)
    if (Buffer.compare(bytes.subarray(0, 8), FOOTER_COOKIE) !== 0) continue
    footer.write(bytes, 0, { creatorApplication: Buffer.from(creator, 'latin1'), checksum: 0, ...change })
    footer.write(bytes, 0, { checksum: checksum(bytes) })
    await memory.write(position, bytes)
  }
  return memory
}

describe('the size of a VHD', () => {
  const make = { dynamic: () => dynamicVhd(disk, { seed: 's' }), fixed: () => fixedVhd(disk, { seed: 's', sizeUnit: 512 }) }

  it('differs between bytes and geometry in what is tried here', () => {
    expect(BY_GEOMETRY).toBeLessThan(SIZE)
  })

  // VirtualBox, Windows, QEMU with a forced size, Disk2vhd, XenServer, Azure, and one that nobody knows.
  it.each(['vbox', 'win ', 'qem2', 'd2v ', 'CTXS', 'tap\0', 'wa\0\0', 'mine'])('is that in bytes after %j', async (creator) => {
    for (const image of [make.dynamic(), make.fixed()]) {
      const notes: unknown[] = []
      const opened = await openVhd(await madeBy(creator, image), { onProgress: (event) => notes.push(event) })
      expect(opened.size).toBe(SIZE)
      expect(await digest(opened)).toBe(await digest(disk))
      expect(notes).toEqual([])
    }
  })

  it.each(['vpc ', 'qemu'])('is that of the geometry after %j, and it is said', async (creator) => {
    for (const image of [make.dynamic(), make.fixed()]) {
      const notes: unknown[] = []
      const { image: opened } = await CONTAINERS.open(await madeBy(creator, image), 'vhd', { onProgress: (event) => notes.push(event) })
      expect(opened.size).toBe(BY_GEOMETRY)
      const message = `vhd: its footer states ${SIZE} bytes, and a geometry of ${BY_GEOMETRY}, which is what counts in a disk made by '${creator.trim()}'`
      expect(notes).toEqual([{ kind: 'note', message }])
    }
  })

  it('keeps bytes behind the last whole sector', async () => {
    const opened = await openVhd(await madeBy('mine', make.dynamic(), { currentSize: SIZE - 100 }))
    expect(opened.size).toBe(SIZE - 100)
  })
})
