/** The boot catalogue (El Torito 1.0, section 2; UEFI 2.10, 13.3.2.1) and isolinux's boot info table. */
import { unitsFor } from '../../bytes/align.ts'
import { ImageError } from '../../errors.ts'
import {
  BLOCK_SIZE,
  BOOT_INFO_CHECKSUM_START,
  BOOT_INFO_TABLE_OFFSET,
  bootEntry,
  bootInfoTable,
  PLATFORM,
  sectionHeader,
  validationEntry,
} from './disk.ts'
import type { Location } from './hierarchy.ts'
import { type BootOptions, ISO9660_DEFAULTS } from './options.ts'

const BOOTABLE = 0x88
const LAST_SECTION = 0x91

export interface BootLocations {
  readonly bios: Location | undefined
  readonly efi: Location | undefined
}

/** Bytes of the catalogue's file: one block, which readers load as a whole. */
export const CATALOG_LENGTH = BLOCK_SIZE

/** The catalogue: the BIOS entry is the default one; EFI has a section, or is the default entry when it is alone. */
export function bootCatalog(boot: BootOptions, { bios, efi }: BootLocations): Uint8Array {
  const bytes = new Uint8Array(CATALOG_LENGTH)
  validationEntry.write(bytes, 0, { headerId: 1, platform: bios === undefined ? PLATFORM.efi : PLATFORM.x86, key55: 0x55, keyAa: 0xaa })
  validationEntry.write(bytes, 0, { checksum: (0x10000 - sumOfWords(bytes.subarray(0, validationEntry.size))) & 0xffff })
  let at = validationEntry.size
  if (bios !== undefined) {
    bootEntry.write(bytes, at, {
      indicator: BOOTABLE,
      sectorCount: boot.bios?.loadSectors ?? ISO9660_DEFAULTS.loadSectors,
      imageBlock: bios.block,
    })
    at += bootEntry.size
    if (efi !== undefined) {
      sectionHeader.write(bytes, at, { indicator: LAST_SECTION, platform: PLATFORM.efi, entryCount: 1 })
      at += sectionHeader.size
    }
  }
  if (efi !== undefined) {
    bootEntry.write(bytes, at, { indicator: BOOTABLE, sectorCount: efiSectorCount(efi.size), imageBlock: efi.block })
  }
  return bytes
}

/**
 * Sectors of the EFI image. What does not fit into 16 bits is written as 0, which makes firmware take the
 * rest of the medium (UEFI 2.10, 13.3.2.1); xorriso does so too.
 */
export function efiSectorCount(size: number): number {
  const sectorCount = unitsFor(size, BLOCK_SIZE) * (BLOCK_SIZE / 512)
  return sectorCount > 0xffff ? 0 : sectorCount
}

function sumOfWords(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let sum = 0
  for (let i = 0; i + 1 < bytes.length; i += 2) sum = (sum + view.getUint16(i, true)) & 0xffff
  return sum
}

/** Write the boot info table into the copy `bytes` of a boot file that lies at `block`. */
export function patchBootInfoTable(bytes: Uint8Array, block: number, primaryDescriptorBlock: number, path: string): void {
  if (bytes.length < BOOT_INFO_CHECKSUM_START) {
    throw new ImageError('BAD_INPUT', `iso9660: ${path}: ${bytes.length} bytes have no room for a boot info table; is it isolinux.bin?`, {
      path,
    })
  }
  const padded = new Uint8Array(unitsFor(bytes.length, 4) * 4)
  padded.set(bytes)
  const view = new DataView(padded.buffer)
  let checksum = 0
  for (let i = BOOT_INFO_CHECKSUM_START; i < padded.length; i += 4) checksum = (checksum + view.getUint32(i, true)) >>> 0
  bytes.fill(0, BOOT_INFO_TABLE_OFFSET, BOOT_INFO_TABLE_OFFSET + bootInfoTable.size)
  bootInfoTable.write(bytes, BOOT_INFO_TABLE_OFFSET, { primaryDescriptorBlock, fileBlock: block, fileLength: bytes.length, checksum })
}
