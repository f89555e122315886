/**
 * qcow2 version 3 (QEMU, docs/interop/qcow2.rst): disks that grow, plain or with compressed clusters, and a reader of
 * versions 2 and 3.
 *
 * Not written: backing files, snapshots, bitmaps, encryption, extended L2 entries, external data files, lazy
 * refcounts, refcounts of other than 16 bits. Read neither, and refused: encryption. Bitmaps are passed over, backing
 * files and external data files are read when the caller gives them.
 */
import type { GrowingImage, Image } from '../../io/image.ts'
import { packCompressed, planCompressed, type Qcow2CompressedOptions } from './compressed.ts'
import { emitQcow2 } from './emit.ts'
import { planQcow2, type Qcow2Options } from './plan.ts'

export { QCOW2_COMPRESSED_DEFAULTS, type Qcow2CompressedOptions } from './compressed.ts'
export { planQcow2, QCOW2_DEFAULTS, type Qcow2Options, type Qcow2Plan } from './plan.ts'
export { openQcow2, type Qcow2ReadOptions } from './read.ts'

/**
 * A disk image; clusters that no extent touches are not allocated. A size that is no multiple of 512 is rounded up.
 * Throws USAGE for a cluster size that does not exist and LIMIT for a disk that QEMU could not open.
 */
export function qcow2(image: Image, options: Qcow2Options = {}): Image {
  return emitQcow2(image, planQcow2(image, options))
}

/**
 * A disk image whose clusters are compressed, each by itself; those of zeros are not allocated, and those that do not
 * become smaller are stored as they are. Throws what `qcow2` throws; packing throws WORKER_DIED, ABORTED, LIMIT, and
 * what the image and the target throw.
 */
export function qcow2Compressed(image: Image, options: Qcow2CompressedOptions = {}): GrowingImage {
  const plan = planCompressed(image, options)
  return { sizeLimit: plan.sizeLimit, pack: (target, start, context) => packCompressed(image, plan, target, start, context) }
}
