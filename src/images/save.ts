/** From a product to a file or a folder: the one path that the command and the library share. */

import type { CodecSpec } from '../codecs/codec.ts'
import { compressedImage } from '../codecs/stream/index.ts'
import { ImageError } from '../errors.ts'
import { blockDevice } from '../io/block-device.ts'
import { destinationOf } from '../io/destination.ts'
import { checkFolderDestination, type FolderFile, type SavedFile, saveFolder } from '../io/folder.ts'
import { type GrowingImage, type Image, isGrowing, leastSizeOf } from '../io/image.ts'
import { buildContext, type SavedImage, type SaveOptions, saveImage } from '../io/output.ts'
import { dataBytes, isMostlyHoles } from '../io/stream.ts'
import { wholeCompression } from './endings.ts'
import { type ImageProduct, isImageProduct, type Product } from './product.ts'

export interface SaveProductOptions extends SaveOptions {
  /** Compute the SHA-256 of each file; default: unless one of them is mostly holes, all of whose zeros would have to be hashed. */
  readonly digest?: boolean
}

/**
 * Write a product and close it: one image to the file `path`, others to the folder `path`, which appears whole or not at
 * all. With `force` a file is replaced, and a folder that holds no files but those of `replaceable`. The path of the result
 * is `path` for a file, and within the folder else. A file whose name ends with `.gz`, `.zst` or `.xz` is compressed as a whole, unless
 * that is the image's own ending. Throws EXISTS, WRITE_FAILED, ABORTED, USAGE for a folder that is to be
 * compressed as a whole and for a file whose ending says something else, and what the product throws.
 */
export async function saveProduct(product: ImageProduct, path: string, options?: SaveProductOptions): Promise<[SavedFile]>
export async function saveProduct(product: Product, path: string, options?: SaveProductOptions): Promise<SavedFile[]>
export async function saveProduct(product: Product, path: string, options: SaveProductOptions = {}): Promise<SavedFile[]> {
  try {
    const context = buildContext(options)
    if (!isImageProduct(product) && options.zstdLevel !== undefined) {
      throw new ImageError('USAGE', `${path}: becomes a folder, which cannot be compressed as a whole`, { path })
    }
    const isDevice = isImageProduct(product) && destinationOf(path).kind === 'blockDevice'
    if (isDevice) checkDeviceSectors(product, path)
    const compression = isImageProduct(product) && !isDevice ? wholeCompression(path, product.named, options.zstdLevel) : undefined
    const replacing = { force: options.force === true, replaceable: product.replaceable }
    if (!isImageProduct(product)) await checkFolderDestination(path, replacing, options.onProgress)
    const files = await product.files(context)
    const digest = options.digest ?? (compression !== undefined || isHashed(files, product.dataBytes))
    if (isImageProduct(product)) return [{ path, ...(await saveWhole(product.image, path, compression, { ...options, digest })) }]
    return await saveFolder(files, path, { ...replacing, digest }, context)
  } finally {
    await product.close()
  }
}

/** Throws USAGE for a disk whose table counts in other sectors than the device has, which would not start. */
function checkDeviceSectors({ plan }: ImageProduct, path: string): void {
  const { sectorSize } = blockDevice(path)
  const own = 'sectorSize' in plan ? plan.sectorSize : sectorSize
  if (own === sectorSize) return
  throw new ImageError(
    'USAGE',
    (option) =>
      `${path}: has sectors of ${sectorSize} bytes, and the image counts in those of ${own}; give ${option('sectorSize')} ${sectorSize}`,
    { path },
  )
}

function saveWhole(
  image: Image | GrowingImage,
  path: string,
  compression: CodecSpec | undefined,
  options: SaveOptions,
): Promise<SavedImage> {
  if (compression === undefined) return saveImage(image, path, options)
  // Of zstd the same stream as on standard output.
  const { name, level } = compression
  if (name === 'zstd' && level !== undefined) return saveImage(image, path, { ...options, zstdLevel: level })
  return saveImage(compressedImage(image, { codec: compression, isLastMember: true }), path, options)
}

/** A sparse disk may be terabytes large. `known` is what may be other than zero, where images cannot tell. */
function isHashed(files: readonly FolderFile[], known: number | undefined): boolean {
  const images = files.flatMap(({ content }) => (content.kind === 'image' ? [content.image] : []))
  const data = known ?? images.reduce((sum, image) => sum + (isGrowing(image) ? Number.POSITIVE_INFINITY : dataBytes(image)), 0)
  return !isMostlyHoles(
    images.reduce((sum, image) => sum + leastSizeOf(image), 0),
    data,
  )
}
