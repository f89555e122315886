/** The files of a product that are images, which can be saved one by one. */
import type { Product } from '../../src/images/product.ts'
import type { BuildContext, GrowingImage, Image } from '../../src/io/image.ts'

export interface ImageFile {
  readonly path: string
  readonly image: Image | GrowingImage
}

/** Throws where one is made from others. */
export async function imageFiles(product: Product, context: BuildContext = { jobs: 2 }): Promise<ImageFile[]> {
  return (await product.files(context)).map(({ path, content }) => {
    if (content.kind !== 'image') throw new Error(`${path}: is made from others`)
    return { path, image: content.image }
  })
}
