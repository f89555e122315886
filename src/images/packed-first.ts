/** Images that are made from another whose size is known only when it is packed. */
import { openSpool } from '../io/file-target.ts'
import { type BuildContext, type GrowingImage, type Image, isGrowing } from '../io/image.ts'
import { regionImage } from '../io/region.ts'
import { writeImage } from '../io/stream.ts'

/** What `finish` makes of `inner`, which is packed into a scratch file without a name. */
export function packedFirst(inner: GrowingImage, finish: (packed: Image) => Image | GrowingImage): GrowingImage {
  return {
    sizeLimit: Number.MAX_SAFE_INTEGER,
    async pack(target, start, context: BuildContext): Promise<Image> {
      const spool = await openSpool()
      try {
        const image = finish(await inner.pack(spool.target, 0, context))
        if (isGrowing(image)) return await image.pack(target, start, context)
        await writeImage(image, target, start, context)
        await target.setSize(start + image.size)
        return regionImage(target, start, image.size)
      } finally {
        await spool.close()
      }
    },
  }
}
