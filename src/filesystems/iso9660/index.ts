/**
 * ISO 9660 volumes: ECMA-119 interchange level 3 with Rock Ridge (RRIP 1.12), Joliet, El Torito 1.0, and
 * the records that let the same bytes boot from a USB stick.
 *
 * Directories deeper than eight levels stay where they are. ECMA-119 (6.8.2.1) forbids them, and Rock
 * Ridge can move them elsewhere and point back; but Linux, xorriso, libarchive, GRUB and Windows read
 * deep trees as they are, xorriso writes them so by default, and readers without Rock Ridge would see
 * moved directories in the wrong place.
 *
 * Not supported: extended attributes, more than 65,535 directories, files without Rock Ridge that are
 * neither file nor directory, ISO 9660:1999, UDF, zisofs, multisession, El Torito floppy and disk
 * emulation. Joliet shows neither symbolic links nor devices, and changes names beyond 64 characters.
 * Linux shows the first 253 bytes of a name, reads at most 100 sections of a file (400 GiB), and takes
 * times after January 2038 for earlier ones (seen with 6.1).
 */
import type { GrowingImage } from '../../io/image.ts'
import type { DirectoryNode } from '../../tree/tree.ts'
import { BLOCK_SIZE } from './disk.ts'
import { emit } from './emit.ts'
import type { Iso9660Options } from './options.ts'
import { largestSize, layOut } from './plan.ts'

export {
  type BootOptions,
  type GptHybrid,
  type GrowingFile,
  type HybridOptions,
  ISO9660_DEFAULTS,
  type Iso9660Options,
  type NixpkgsHybrid,
} from './options.ts'

export interface PlannedFile {
  readonly path: string
  /** Logical block of 2048 bytes. */
  readonly block: number
  /** Bytes; the limit of a growing file. */
  readonly size: number
}

/** What goes where, as plain data. */
export interface Iso9660Plan {
  readonly blockSize: number
  readonly volumeId: string
  readonly directoryCount: number
  /** Blocks before the first file: system area, descriptors, path tables, directories. */
  readonly metadataBlocks: number
  /** In order of address, without the growing file and what lies behind it. */
  readonly files: readonly PlannedFile[]
  readonly growingFile?: PlannedFile
  /** Files whose bytes lie in the EFI image; `block` is one of that image. */
  readonly sharedFiles?: readonly PlannedFile[]
  /** The EFI image of a `gpt` hybrid, which lies behind the growing file. */
  readonly espPath?: string
  /** Bytes of the image; exact without a growing file, else the most that it can have. */
  readonly sizeLimit: number
  readonly sizeIsExact: boolean
}

/** The addresses of an image; throws what `iso9660` throws. */
export function planIso9660(root: DirectoryNode, options: Iso9660Options): Iso9660Plan {
  const layout = layOut(root, options)
  const { growing, esp, shared } = layout
  const growingLimit = options.growingFile?.image.sizeLimit ?? 0
  return {
    blockSize: BLOCK_SIZE,
    volumeId: options.volumeId,
    directoryCount: layout.primary.hierarchy.directories.length,
    metadataBlocks: layout.firstDataBlock,
    files: layout.fixedFiles.map((data) => ({
      path: data.path,
      block: layout.fixedLocations.get(data)?.block ?? 0,
      size: data.node.size,
    })),
    ...(shared.size === 0 ? {} : { sharedFiles: [...shared].map(([{ path, node }, block]) => ({ path, block, size: node.size })) }),
    ...(growing === undefined ? {} : { growingFile: { path: growing.path, block: layout.growingBlock, size: growingLimit } }),
    ...(esp === undefined ? {} : { espPath: esp.path }),
    sizeLimit: largestSize(layout, growingLimit),
    sizeIsExact: growing === undefined,
  }
}

/**
 * An ISO 9660 image of `root`. Its growing file, if any, is packed in place, after the data of the other
 * files and before the records that name its size. `pack` writes no byte behind the last record: the
 * caller sets the target's size to that of the image returned.
 *
 * Throws at once: LIMIT, USAGE, UNSUPPORTED, BAD_INPUT, NOT_FOUND. `pack` throws UNREADABLE, CHANGED,
 * ABORTED, BAD_INPUT for a BIOS boot file that is not isolinux, LIMIT when the growing file is too large,
 * and what the target and the growing file throw.
 */
export function iso9660(root: DirectoryNode, options: Iso9660Options): GrowingImage {
  const layout = layOut(root, options)
  return {
    sizeLimit: largestSize(layout, options.growingFile?.image.sizeLimit ?? 0),
    pack: (target, start, context) => emit(layout, target, start, context),
  }
}
