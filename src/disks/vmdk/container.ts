/** VMDK in the registry of containers: monolithicSparse and streamOptimized. */
import { type Container, mark } from '../container.ts'

/** What a descriptor can repeat. */
export function plainFileName(fileName: string): string {
  return fileName.replace(/[^0-9A-Za-z._-]/g, '_').slice(0, 255) || 'nixos'
}

export const VMDK = {
  name: 'vmdk',
  about: 'VMware Workstation and Fusion',
  endings: ['vmdk'],
  hasIdentifiers: true,
  // Sparse extents, those of ESX, which are known and refused, and descriptors that stand alone.
  marks: [mark(0, 'KDMV'), mark(0, 'COWD'), mark(0, '# Disk DescriptorFile')],
  holdsPool: true,
  takes: ['backing', 'extents'],
  async writer() {
    const { vmdk } = await import('./index.ts')
    return (disk, { seed, fileName }) => vmdk(disk, { seed, fileName: plainFileName(fileName) })
  },
  async read(source, options) {
    const { openVmdk } = await import('./index.ts')
    return openVmdk(source, { ...options, skipZeros: true })
  },
} as const satisfies Container

export const VMDK_STREAM = {
  name: 'vmdk-stream',
  about: 'streamOptimized VMDK, compressed and written in order: vSphere, cloud imports',
  endings: ['vmdk'],
  hasIdentifiers: true,
  codecs: ['gzip'],
  async writer() {
    const { vmdkStream } = await import('./index.ts')
    return (disk, { seed, fileName, compression }) =>
      vmdkStream(disk, { seed, fileName: plainFileName(fileName), ...(compression?.level !== undefined && { level: compression.level }) })
  },
} as const satisfies Container
