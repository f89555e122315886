/** What every recipe returns. */
import type { FolderFile } from '../io/folder.ts'
import type { BuildContext, GrowingImage, Image } from '../io/image.ts'

/** What a product was made from, to compare it with. */
export interface ProductSource {
  /** Bytes of all NARs; 0 where there is no closure. */
  readonly narBytes: number
  /** The NAR hashes of all paths are checked, where there are any. */
  readonly verified: boolean
}

/** Planned, and not written yet. */
export interface Product<Plan extends object = object> {
  /** Plain data, which `--dry-run` prints. */
  readonly plan: Plan
  /** Files and folders of the host that it is made from. */
  readonly inputs: readonly string[]
  readonly source: ProductSource
  /** The files, one or those of a folder. What has to be made before they can be read is made now. Throws what the recipe throws. */
  files(context: BuildContext): Promise<readonly FolderFile[]>
  /** Afterwards no file of an input is open. */
  close?(): Promise<void>
}

/** A product that is one image: `files` gives just that. */
export interface ImageProduct<Plan extends object = object> extends Product<Plan> {
  readonly image: Image | GrowingImage
}
