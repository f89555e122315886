/** Other files that a disk needs. None is opened because an image names it: whoever calls has to name it too. */
import { quote } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { layeredImage } from '../../io/layers.ts'
import type { MappedImage } from '../../io/mapped.ts'
import type { RandomAccessSource } from '../../io/source.ts'
import type { DiskImage } from '../sectors.ts'

/** A disk as a container's reader gives it. */
export interface ReadDisk extends DiskImage, Partial<Pick<MappedImage, 'map'>> {
  /** By which its children know it, and whether it is as it was when they were made. */
  readonly identity?: string
}

export interface FurtherFiles {
  /** The disk that this one is a change of, of the format that the image says, or one that is found out. */
  readonly openParent?: (format?: string) => Promise<ReadDisk>
  /** What holds the data of a disk whose file has only tables. */
  readonly dataFile?: RandomAccessSource
  /** A file of a disk that lies in several, by the name that the image has for it. */
  readonly openExtent?: (name: string) => Promise<RandomAccessSource>
}

/** What an image says of the disk that it is a change of. */
export interface StatedParent {
  /** The format of the image, for messages. */
  readonly what: string
  /** The file's name. */
  readonly name?: string
  readonly format?: string
  readonly identity?: string
}

/** A change, and below it its parent. Throws UNSUPPORTED where there is no parent, BAD_INPUT where it is another disk, and what opening it throws. */
export async function onParent(change: MappedImage, parent: StatedParent, { openParent }: FurtherFiles): Promise<MappedImage> {
  const { what, name, format, identity } = parent
  const stated = name === undefined || name === '' ? '' : ` (it says ${quote(name)})`
  if (openParent === undefined) {
    throw new ImageError(
      'UNSUPPORTED',
      (option) =>
        `${what}: the disk is a change of another one, a backing file or parent${stated}, which is opened only when it is named: give it by ${option('backing')}`,
    )
  }
  const below = await openParent(format)
  if (identity !== undefined && below.identity !== undefined && below.identity !== identity) {
    throw new ImageError(
      'BAD_INPUT',
      (option) =>
        `${what}: the disk is a change of ${identity}${stated}, and ${option('backing')} is ${below.identity}: it is another disk, or was written to since`,
    )
  }
  if (below.map === undefined) throw new ImageError('UNSUPPORTED', `${what}: its parent is of a format that is not read as one`)
  return layeredImage(change, { ...below, map: below.map })
}
