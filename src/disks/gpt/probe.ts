/** What a disk with a GPT is for. */
import type { Image } from '../../io/image.ts'
import { imageSlice } from '../../io/slice.ts'
import { imageChunks } from '../../io/stream.ts'
import { SECTOR_SIZES, type SectorSize } from '../sectors.ts'
import { SIGNATURE } from './disk.ts'

/**
 * The sector size for which a GPT was made, which begins with the second sector (UEFI 2.10, 5.3.2). Undefined where there is none, or one for
 * each size. Throws what the image throws.
 */
export async function gptSectorSize(image: Image): Promise<SectorSize | undefined> {
  const found: SectorSize[] = []
  for (const size of SECTOR_SIZES) {
    if (image.size < size + SIGNATURE.length) continue
    const chunks: Uint8Array[] = []
    for await (const chunk of imageChunks(imageSlice(image, size, size + SIGNATURE.length))) chunks.push(chunk.slice())
    if (Buffer.concat(chunks).equals(SIGNATURE)) found.push(size)
  }
  return found.length === 1 ? found[0] : undefined
}
