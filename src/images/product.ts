/** What every recipe returns. */
import type { FolderFile } from '../io/folder.ts'
import type { BuildContext, GrowingImage, Image } from '../io/image.ts'
import type { NamedImage } from './endings.ts'

/** What a product was made from, to compare it with. */
export interface ProductSource {
  /** Bytes of all NARs; 0 where there is no closure. */
  readonly narBytes: number
  /** The NAR hashes of all paths are checked, where there are any. */
  readonly verified: boolean
}

/** Planned, and not written yet. `saveProduct` writes it. */
export interface Product<Plan extends object = object> {
  /** Plain data, which `--dry-run` prints. */
  readonly plan: Plan
  /** Files and folders of the host that it is made from. */
  readonly inputs: readonly string[]
  readonly source: ProductSource
  /** Paths that the files of an older product of this kind may have: a folder that holds no others may be replaced. */
  readonly replaceable: readonly string[]
  /** Bytes of all files that may be other than zero, where the files cannot tell before they are packed. */
  readonly dataBytes?: number
  /** The files, one or those of a folder. What has to be made before they can be read is made now. Throws what the recipe throws. */
  files(context: BuildContext): Promise<readonly FolderFile[]>
  /** To be called when nothing of it is read any more: no file of an input is open then, and nothing temporary is left. */
  close(): Promise<void>
}

/** A product that is one image: `files` gives just that. */
export interface ImageProduct<Plan extends object = object> extends Product<Plan> {
  readonly image: Image | GrowingImage
  /** What a file name may say of it. */
  readonly named: NamedImage
}

export function isImageProduct<Plan extends object>(product: Product<Plan>): product is ImageProduct<Plan> {
  return 'image' in product
}

/** What a recipe of one image has found out; `name` is that of the file where nobody names it. */
export interface ImageParts<Plan extends object> extends Pick<ImageProduct<Plan>, 'image' | 'named' | 'plan' | 'inputs' | 'source'> {
  readonly name: string
  close?(): Promise<void>
}

export function imageProduct<Plan extends object>({
  name,
  image,
  named,
  plan,
  inputs,
  source,
  close = async () => undefined,
}: ImageParts<Plan>): ImageProduct<Plan> {
  const files: readonly FolderFile[] = [{ path: name, content: { kind: 'image', image } }]
  return { image, named, plan, inputs, source, replaceable: [name], files: async () => files, close }
}
