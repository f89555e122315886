/** Images that are made from another whose size is known only when it is packed. */
import { openSpool } from '../io/file-target.ts'
import type { BuildContext, GrowingImage, Image } from '../io/image.ts'
import { placeImage } from '../io/stream.ts'

/** What `finish` makes of `inner`, which is packed into a scratch file without a name. */
export function packedFirst(inner: GrowingImage, finish: (packed: Image) => Image | GrowingImage): GrowingImage {
  return {
    sizeLimit: Number.MAX_SAFE_INTEGER,
    async pack(target, start, context: BuildContext): Promise<Image> {
      const spool = await openSpool()
      try {
        return await placeImage(finish(await inner.pack(spool.target, 0, context)), target, start, context)
      } finally {
        await spool.close()
      }
    },
  }
}
