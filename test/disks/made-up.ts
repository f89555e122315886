/** A container that exists in tests alone. */
import { type Container, mark } from '../../src/disks/container.ts'
import { bytesExtent, moveExtent } from '../../src/io/image.ts'

/** A file of it is these eight bytes and the disk. */
export const MAGIC = 'MUDDISK1'

export const MADE_UP: Container = {
  name: 'mud',
  about: 'a disk behind eight bytes',
  endings: ['muddy', 'mud'],
  marks: [mark(0, MAGIC)],
  codecs: ['zstd'],
  holdsPool: true,
  async writer() {
    return ({ size, extents }) => ({
      size: size + MAGIC.length,
      extents: [bytesExtent(0, Buffer.from(MAGIC)), ...extents.map((extent) => moveExtent(extent, MAGIC.length))],
    })
  },
  async read(source) {
    const bytes = await source.read(MAGIC.length, source.size - MAGIC.length)
    return { size: bytes.length, extents: [bytesExtent(0, bytes)] }
  },
}
