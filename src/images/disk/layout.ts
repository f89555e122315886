/**
 * How a disk is divided: the partition tables of nixpkgs' make-disk-image, with its addresses. Sizes are bytes.
 *
 * - `efi`: GPT; the EFI system partition from 8 MiB on, then the root
 * - `efixbootldr`: GPT; an EFI system partition up to 100 MiB, then XBOOTLDR with kernels and menu, then the root
 * - `hybrid`: as `efi`, and in the first MiB room for a BIOS boot program
 * - `legacy+gpt`: GPT; room for a BIOS boot program, then the root
 * - `legacy`: MBR; the root, from 1 MiB on
 * - `legacy+boot`: MBR; a FAT partition for kernels and menu, then the root
 * - `none`: no table, the root alone
 */
import { alignUp } from '../../bytes/align.ts'
import { MEBIBYTE } from '../../bytes/units.ts'
import { entryArraySectors, GPT_DEFAULTS, PRIMARY_ARRAY_SECTOR } from '../../disks/gpt/index.ts'
import { DEFAULT_SECTOR_SIZE, type SectorSize } from '../../disks/sectors.ts'
import { ImageError } from '../../errors.ts'
import type { DiskLayout } from './names.ts'

export type PartitionRole = 'esp' | 'extendedBoot' | 'biosBoot' | 'boot' | 'root'

/** A partition's name in the table, and where it begins. */
export interface PlannedPartition {
  readonly role: PartitionRole
  readonly name: string
  readonly start: number
  /** Undefined: as large as the root file system, which comes last. */
  readonly size: number | undefined
}

const ESP_START = 8 * MEBIBYTE
/** With `efixbootldr` the EFI system partition holds boot programs only. */
const SMALL_ESP_END = 100 * MEBIBYTE
/** Behind the entries of a GPT (sector 34, if it has 512 bytes) and before the first MiB. */
function hybridBiosBoot(sectorSize: SectorSize): { readonly start: number; readonly size: number } {
  const start = (PRIMARY_ARRAY_SECTOR + entryArraySectors(GPT_DEFAULTS.entryCount, sectorSize)) * sectorSize
  return { start, size: MEBIBYTE - start }
}

/** Where the last boot partition begins, in layouts that have one. */
const LEAST_BOOT_END: Readonly<Partial<Record<DiskLayout, number>>> = {
  efi: ESP_START,
  efixbootldr: SMALL_ESP_END,
  hybrid: ESP_START,
  'legacy+boot': MEBIBYTE,
}

/** Whether the layout's table is a GPT, an MBR, or none. */
export function tableOf(layout: DiskLayout): 'gpt' | 'mbr' | 'none' {
  if (layout === 'none') return 'none'
  return layout === 'legacy' || layout === 'legacy+boot' ? 'mbr' : 'gpt'
}

/**
 * The partitions in the order of the table. `bootSize` is where the boot partitions end, to which nixpkgs adds a MiB
 * (256 MiB make 249 MiB of EFI system partition). Throws LIMIT when they would not hold anything.
 */
export function planLayout(layout: DiskLayout, bootSize: number, sectorSize: SectorSize = DEFAULT_SECTOR_SIZE): PlannedPartition[] {
  const bootEnd = (Math.floor(bootSize / MEBIBYTE) + 1) * MEBIBYTE
  const least = LEAST_BOOT_END[layout]
  if (least !== undefined && bootEnd <= least) {
    throw new ImageError(
      'LIMIT',
      (option) =>
        `${option('espSize')} is ${bootSize} bytes, with the layout ${layout} the boot partition begins at ${least}; give more than ${least / MEBIBYTE}M`,
    )
  }
  const root = (start: number, name: string): PlannedPartition => ({ role: 'root', name, start, size: undefined })
  const esp = (end: number): PlannedPartition => ({ role: 'esp', name: 'ESP', start: ESP_START, size: end - ESP_START })
  switch (layout) {
    case 'efi':
      return [esp(bootEnd), root(bootEnd, 'primary')]
    case 'efixbootldr':
      return [
        esp(SMALL_ESP_END),
        { role: 'extendedBoot', name: 'BOOT', start: SMALL_ESP_END, size: bootEnd - SMALL_ESP_END },
        root(bootEnd, 'ROOT'),
      ]
    case 'hybrid':
      return [esp(bootEnd), { role: 'biosBoot', name: 'no-fs', ...hybridBiosBoot(sectorSize) }, root(bootEnd, 'primary')]
    case 'legacy+gpt':
      return [{ role: 'biosBoot', name: 'no-fs', start: MEBIBYTE, size: MEBIBYTE }, root(2 * MEBIBYTE, 'primary')]
    case 'legacy':
      return [root(MEBIBYTE, 'root')]
    case 'legacy+boot':
      return [{ role: 'boot', name: 'BOOT', start: MEBIBYTE, size: bootEnd - MEBIBYTE }, root(bootEnd, 'root')]
    case 'none':
      return [root(0, '')]
  }
}

/** The disk that a root of `rootSize` bytes from `rootStart` on needs: the second table of a GPT takes the last MiB. */
export function diskSizeFor(layout: DiskLayout, rootStart: number, rootSize: number): number {
  if (layout === 'none') return rootSize
  return alignUp(rootStart + rootSize, MEBIBYTE) + (tableOf(layout) === 'gpt' ? MEBIBYTE : 0)
}

/** What a disk of `diskSize` bytes leaves to a root that begins at `rootStart`, in whole MiB. */
export function rootSizeOn(layout: DiskLayout, rootStart: number, diskSize: number): number {
  if (layout === 'none') return diskSize
  return Math.floor(diskSize / MEBIBYTE) * MEBIBYTE - (tableOf(layout) === 'gpt' ? MEBIBYTE : 0) - rootStart
}
