/**
 * cpio archives of the kind that Linux unpacks at boot: newc (magic 070701). The same tree gives the same bytes,
 * in whatever order its entries are.
 *
 * An archive ends at a multiple of 4, where the next may begin: an initramfs is several, one after the other.
 * The multiple of 512 that cpio tools fill up with zeros is the block of a tape; between archives the kernel
 * would only have to skip it.
 *
 * Not supported: extended attributes; files of 4 GiB and more; checksums (070702); the older formats; reading.
 * What Linux would drop without a word is an error: paths and link targets beyond 4095 bytes, names beyond
 * 255, device numbers beyond 12 and 20 bits. Times are from 1970 to 2106, in whole seconds.
 */
import type { Image } from '../../io/image.ts'
import type { DirectoryNode, FileNode } from '../../tree/tree.ts'
import { archiveExtents, archivePieces } from './emit.ts'
import { type CpioOptions, type CpioPlan, planCpio } from './plan.ts'

export { type GrowingCpioFile, growingCpio } from './growing.ts'
export { CPIO_DEFAULTS, type CpioOptions, type CpioPlan, type CpioRecord, planCpio } from './plan.ts'

export interface CpioImage extends Image {
  readonly plan: CpioPlan
}

/**
 * An archive of what is in `root`; attributes are written as the nodes have them. Throws LIMIT, USAGE and
 * UNSUPPORTED, as `planCpio` does; reading it throws UNREADABLE, or CHANGED for a file that is not what it was.
 */
export function cpio(root: DirectoryNode, options: CpioOptions = {}): CpioImage {
  const plan = planCpio(root, options)
  return { size: plan.size, extents: archiveExtents(plan), plan }
}

/**
 * The bytes of `cpio` as framing bytes and files whose content stands there; empty files do not appear, and a
 * file with several names appears with the last. The order of files is depth first, entries by bytes, as in a
 * NAR. Throws what `planCpio` throws, at the first step.
 */
export function* cpioPieces(root: DirectoryNode, options: CpioOptions = {}): Generator<Uint8Array | FileNode> {
  yield* archivePieces(planCpio(root, options))
}
