/** The descriptor: text that is embedded in a sparse extent ("The Descriptor File"). */
import { deriveBytes } from '../../bytes/guid.ts'
import { ascii } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { DESCRIPTOR_SECTORS, SECTOR_SIZE } from './disk.ts'

export type VmdkAdapter = 'ide' | 'lsilogic' | 'buslogic' | 'legacyESX'

export interface VmdkOptions {
  /** The content ID is derived from it. */
  readonly seed: string
  /** The file's own name, which the descriptor repeats; default `disk.vmdk`. Printable ASCII without quotes and slashes. */
  readonly fileName?: string
  /** The controller that the geometry is meant for; default ide, as qemu-img has it. */
  readonly adapter?: VmdkAdapter
}

export const VMDK_DEFAULTS = { fileName: 'disk.vmdk', adapter: 'ide' } as const

/** Parent of a disk that has none. */
export const NO_PARENT = 'ffffffff'
/** ATA has no more cylinders. */
const IDE_CYLINDER_LIMIT = 16383

/** The descriptor's sectors. Throws USAGE for a file name that the text cannot hold. */
export function encodeDescriptor(
  createType: 'monolithicSparse' | 'streamOptimized',
  capacitySectors: number,
  options: VmdkOptions,
): Uint8Array {
  const { fileName = VMDK_DEFAULTS.fileName, adapter = VMDK_DEFAULTS.adapter } = options
  if (!/^[\x20-\x7e]{1,255}$/.test(fileName) || /["/\\]/.test(fileName)) {
    throw new ImageError(
      'USAGE',
      `vmdk: file name '${fileName}': 1 to 255 printable ASCII characters without quotes and slashes are possible`,
    )
  }
  const heads = adapter === 'ide' ? 16 : 255
  const sectorsPerTrack = 63
  const cylinders = Math.ceil(capacitySectors / (heads * sectorsPerTrack))
  // The top bit stays clear: all ones mean no parent.
  const contentId = (Buffer.from(deriveBytes(options.seed, 'vmdk content', 4)).readUInt32BE() & 0x7fffffff).toString(16).padStart(8, '0')
  const lines = [
    '# Disk DescriptorFile',
    'version=1',
    `CID=${contentId}`,
    `parentCID=${NO_PARENT}`,
    `createType="${createType}"`,
    '',
    '# Extent description',
    `RW ${capacitySectors} SPARSE "${fileName}"`,
    '',
    '# The Disk Data Base',
    '#DDB',
    '',
    'ddb.virtualHWVersion = "4"',
    `ddb.geometry.cylinders = "${adapter === 'ide' ? Math.min(cylinders, IDE_CYLINDER_LIMIT) : cylinders}"`,
    `ddb.geometry.heads = "${heads}"`,
    `ddb.geometry.sectors = "${sectorsPerTrack}"`,
    `ddb.adapterType = "${adapter}"`,
    '',
  ]
  const bytes = new Uint8Array(DESCRIPTOR_SECTORS * SECTOR_SIZE)
  bytes.set(ascii(lines.join('\n'), 'VMDK descriptor'))
  return bytes
}
