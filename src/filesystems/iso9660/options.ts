/** What a caller says of an ISO 9660 image, and the checks that need no tree. */
import { printable, utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { GrowingImage } from '../../io/image.ts'
import type { Attributes, FileNode } from '../../tree/tree.ts'
import { recordingDate } from './disk.ts'

export interface Iso9660Options {
  /**
   * 1 to 32 printable ASCII characters, the last no blank, written as given (lower case is against ECMA-119 and works
   * everywhere; `root=LABEL=` compares it). Joliet holds the first 16 of them.
   */
  readonly volumeId: string
  /** Dates of the volume. Nodes carry their own. */
  readonly mtimeSeconds: number
  /** At most 128 characters; written as a-characters: upper case, others become `_`. */
  readonly applicationId?: string
  readonly publisherId?: string
  readonly preparerId?: string
  /** Default true. */
  readonly rockRidge?: boolean
  /** Default true. */
  readonly joliet?: boolean
  readonly growingFile?: GrowingFile
  readonly boot?: BootOptions
  /** Implant an MD5 of the volume, which `checkisomd5` compares (see `media-check.ts`). Default false. */
  readonly mediaCheck?: boolean
  /** Default `{ kind: 'none' }`. */
  readonly hybrid?: HybridOptions
}

/** The one file whose size is known only after packing. Its directory must be in the tree. */
export interface GrowingFile extends Attributes {
  readonly path: string
  readonly image: GrowingImage
}

/** El Torito. Paths are of files in the tree, but the catalogue's own, which is added. */
export interface BootOptions {
  readonly catalogPath: string
  readonly bios?: {
    readonly path: string
    /** 512-byte sectors that the BIOS loads; default 4. */
    readonly loadSectors?: number
    /** Write the boot info table that isolinux needs into the copy on the volume; default true. */
    readonly bootInfoTable?: boolean
  }
  readonly efi?: {
    /** A FAT image with `EFI/BOOT`. */
    readonly path: string
    /**
     * Nodes of the tree whose bytes lie in that image as well, from the given byte on, a multiple of 2048: they are on the volume
     * once, and the records of these files point into the image. The partition's own tree of a `gpt` hybrid does not show them.
     */
    readonly contains?: ReadonlyMap<FileNode, number>
  }
}

export type HybridOptions = NoHybrid | GptHybrid | NixpkgsHybrid

/** For optical media only. */
export interface NoHybrid {
  readonly kind: 'none'
}

/** A partition table that keeps to the specification; see `hybrid.ts` for why it looks as it does. */
export interface GptHybrid {
  readonly kind: 'gpt'
  /** 16 bytes as on disk; partition GUIDs are derived from it. */
  readonly diskGuid: Uint8Array
  /** Syslinux's isohdpfx.bin (432 bytes), which starts the BIOS boot file. */
  readonly bootCode?: Uint8Array
}

/** What nixpkgs makes of xorriso's `-isohybrid-mbr` and `-isohybrid-gpt-basdat`. */
export interface NixpkgsHybrid {
  readonly kind: 'nixpkgs'
  readonly diskGuid: Uint8Array
  readonly bootCode: Uint8Array
  /** Derived from the disk GUID when not given. */
  readonly mbrId?: number
}

export const ISO9660_DEFAULTS = { rockRidge: true, joliet: true, loadSectors: 4, bootInfoTable: true } as const

const VOLUME_ID_LIMIT = 32
const IDENTIFIER_LIMIT = 128
/** Byte 432 is the first of the field that is patched into the boot code. */
const BOOT_CODE_LIMIT = 432

/** Throws USAGE or LIMIT for options that contradict themselves or do not fit. */
export function checkOptions(options: Iso9660Options): void {
  const { volumeId, boot, hybrid } = options
  if (!/^[\x20-\x7e]+$/.test(volumeId) || volumeId.length > VOLUME_ID_LIMIT) {
    throw new ImageError(
      'LIMIT',
      `iso9660: volume id '${printable(utf8(volumeId))}' (${volumeId.length} characters): 1 to ${VOLUME_ID_LIMIT} printable ASCII characters are possible`,
    )
  }
  if (volumeId.endsWith(' ')) {
    const message = `iso9660: volume id '${volumeId}' ends with a blank, which no reader sees: the field is padded with them; leave it out`
    throw new ImageError('USAGE', message)
  }
  recordingDate(options.mtimeSeconds, 'volume')
  for (const [name, value] of [
    ['application id', options.applicationId],
    ['publisher id', options.publisherId],
    ['preparer id', options.preparerId],
  ] as const) {
    if (value !== undefined && value.length > IDENTIFIER_LIMIT) {
      throw new ImageError('LIMIT', `iso9660: ${name} has ${value.length} characters, ${IDENTIFIER_LIMIT} are possible; shorten it`)
    }
  }
  if (boot !== undefined && boot.bios === undefined && boot.efi === undefined) {
    throw new ImageError('USAGE', 'iso9660: a boot catalogue needs a BIOS or an EFI entry')
  }
  const loadSectors = boot?.bios?.loadSectors
  if (loadSectors !== undefined && !(Number.isInteger(loadSectors) && loadSectors >= 1 && loadSectors <= 0xffff)) {
    throw new ImageError('LIMIT', `iso9660: ${loadSectors} load sectors; 1 to 65535 are possible`)
  }
  if (hybrid !== undefined && hybrid.kind !== 'none') checkHybrid(hybrid, boot)
}

function checkHybrid(hybrid: GptHybrid | NixpkgsHybrid, boot: BootOptions | undefined): void {
  if (hybrid.diskGuid.length !== 16) throw new ImageError('USAGE', `iso9660: the disk GUID has ${hybrid.diskGuid.length} bytes, not 16`)
  if (hybrid.bootCode === undefined) return
  if (hybrid.bootCode.length > BOOT_CODE_LIMIT) {
    throw new ImageError(
      'LIMIT',
      `iso9660: MBR boot code has ${hybrid.bootCode.length} bytes, ${BOOT_CODE_LIMIT} are possible; isohdpfx.bin of syslinux is meant`,
    )
  }
  if (boot?.bios === undefined)
    throw new ImageError('USAGE', 'iso9660: MBR boot code starts the BIOS boot file; name one or leave the code out')
}
