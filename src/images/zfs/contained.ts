/** The disks of a pool in their container: a file each, or all in one where the container holds several. */
import { MEBIBYTE } from '../../bytes/units.ts'
import type { ContainerOptions, ContainerWriter } from '../../disks/container.ts'
import type { DiskImage, SectorSize } from '../../disks/sectors.ts'
import type { FolderFile } from '../../io/folder.ts'
import { type GrowingImage, type Image, isGrowing } from '../../io/image.ts'
import { innerName } from '../endings.ts'
import { packedFirst } from '../packed-first.ts'
import { isOneFile, type ZfsFormat, zfsFileName } from './names.ts'

export interface PoolDisks {
  /** Undefined where there is one disk for all. */
  readonly boot: Image | undefined
  readonly root: Image | GrowingImage
}

export interface ContainedOptions extends Omit<ContainerOptions, 'fileName' | 'furtherDisks'> {
  readonly format: ZfsFormat
  readonly sectorSize: SectorSize
  /** Of the one file, where it is one. */
  readonly fileName: string
}

/** What no pool is needed to refuse is found with it before one is packed. */
const SAMPLE: Image = { size: MEBIBYTE, extents: [] }

/** The files, of which a container with several disks makes one. Throws what the container throws. */
export function containedDisks(disks: PoolDisks, write: ContainerWriter, options: ContainedOptions): readonly FolderFile[] {
  const { format, sectorSize, fileName, seed, ...container } = options
  const { boot, root } = disks
  const withSectors = (image: Image): DiskImage => ({ ...image, sectorSize })
  const packed = (image: Image | GrowingImage, finish: (whole: Image) => Image | GrowingImage): Image | GrowingImage => {
    if (!isGrowing(image)) return finish(image)
    finish(SAMPLE)
    return format === 'raw' ? image : packedFirst(image, finish)
  }
  const file = (path: string, image: Image | GrowingImage): FolderFile => ({ path, content: { kind: 'image', image } })
  if (isOneFile(format)) {
    const own = { ...container, seed, fileName: innerName(fileName) }
    const finish = (whole: Image): Image | GrowingImage =>
      boot === undefined ? write(withSectors(whole), own) : write(withSectors(boot), { ...own, furtherDisks: [withSectors(whole)] })
    return [file(fileName, packed(root, finish))]
  }
  const alone = (disk: 'boot' | 'root', image: Image | GrowingImage): FolderFile => {
    const name = zfsFileName(disk, format)
    return file(
      name,
      packed(image, (whole) => write(withSectors(whole), { ...container, seed: `${seed} ${disk}`, fileName: name })),
    )
  }
  return [...(boot === undefined ? [] : [alone('boot', boot)]), alone('root', root)]
}
