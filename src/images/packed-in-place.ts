/** A disk around a partition that is packed in its place; the rest is written when the partition's size is known. */
import { type GrowingImage, type Image, moveExtent } from '../io/image.ts'
import { regionImage } from '../io/region.ts'
import { writeImage } from '../io/stream.ts'

export interface PackedInPlace extends Pick<GrowingImage, 'sizeLimit' | 'leastSize'> {
  readonly partition: GrowingImage
  /** Where the partition begins on the disk; bytes. */
  readonly start: number
  /** The disk with a partition of this image: all but the partition is written from it. */
  readonly diskWith: (partition: Image) => Image
}

export function packedInPlace({ partition, start: partitionStart, diskWith, ...sizes }: PackedInPlace): GrowingImage {
  return {
    ...sizes,
    async pack(target, start, context): Promise<Image> {
      const packed = await partition.pack(target, start + partitionStart, context)
      const others = diskWith({ size: packed.size, extents: [] })
      await writeImage(others, target, start, context)
      await target.setSize(start + others.size)
      const written = others.extents.flatMap(({ start: at, length }) =>
        regionImage(target, start + at, length).extents.map((extent) => moveExtent(extent, at)),
      )
      const extents = [...written, ...packed.extents.map((extent) => moveExtent(extent, partitionStart))].sort((a, b) => a.start - b.start)
      return { size: others.size, extents }
    },
  }
}
