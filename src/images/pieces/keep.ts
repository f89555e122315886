/** Any image as a piece. */
import { throwIfAborted } from '../../errors.ts'
import { placeHashed } from '../../io/digest.ts'
import { FileTarget, lentFile } from '../../io/file-target.ts'
import type { BuildContext, GrowingImage, Image } from '../../io/image.ts'
import { indexOf, type PartialPiece, type PieceFiles } from './files.ts'
import type { OtherPieceKey } from './key.ts'
import { otherKey } from './key.ts'
import { checkHere, firstSound, type Piece, pieceOf } from './piece.ts'

/** As `PieceFolder.keep`. */
export async function keepPiece(
  files: PieceFiles,
  { name, parts, suffix }: OtherPieceKey,
  make: () => Promise<Image | GrowingImage>,
  context: BuildContext,
): Promise<Piece> {
  const { signal } = context
  throwIfAborted(signal)
  const key = otherKey(name, parts, suffix)
  const candidates = (await files.list()).get(indexOf(key)) ?? []
  const sound = await firstSound(files, candidates, checkHere(signal), context)
  if (sound) {
    await files.touch([sound.found.file])
    return pieceOf(name, sound.found, sound.size, true)
  }
  const image = await make()
  const partial = files.openPartial()
  try {
    const { size, sha256 } = await writePartial(image, partial, files.label, context)
    return pieceOf(name, { file: files.finish(partial, key, sha256), sha256 }, size, false)
  } finally {
    files.discard([partial])
  }
}

async function writePartial(image: Image | GrowingImage, { descriptor }: PartialPiece, label: string, context: BuildContext) {
  const target = new FileTarget(lentFile(descriptor), label, false)
  const { image: placed, sha256 } = await placeHashed(image, target, context)
  return { size: placed.size, sha256 }
}
