/** A disk around a pool, which is packed in its place; its table is written when its size is known. */
import { type GrowingImage, type Image, leastSizeOf, moveExtent } from '../../io/image.ts'
import { regionImage } from '../../io/region.ts'
import { writeImage } from '../../io/stream.ts'

export interface PoolDisk {
  readonly pool: GrowingImage
  /** Where the pool begins, and by how much the disk is larger than it; bytes. */
  readonly start: number
  readonly overhead: number
  /** The disk with a pool of this image: all but the pool is written from it. */
  readonly around: (pool: Image) => Image
}

export function poolDisk({ pool, start: poolStart, overhead, around }: PoolDisk): GrowingImage {
  return {
    sizeLimit: pool.sizeLimit + overhead,
    leastSize: leastSizeOf(pool) + overhead,
    async pack(target, start, context): Promise<Image> {
      const packed = await pool.pack(target, start + poolStart, context)
      const others = around({ size: packed.size, extents: [] })
      await writeImage(others, target, start, context)
      await target.setSize(start + others.size)
      const written = others.extents.flatMap(({ start: at, length }) =>
        regionImage(target, start + at, length).extents.map((extent) => moveExtent(extent, at)),
      )
      const extents = [...written, ...packed.extents.map((extent) => moveExtent(extent, poolStart))].sort((a, b) => a.start - b.start)
      return { size: others.size, extents }
    },
  }
}
