/** qcow2 in the registry of containers: plain, and with compressed clusters. */
import { type Container, mark } from '../container.ts'

export const QCOW2 = {
  name: 'qcow2',
  about: 'QEMU, libvirt, Proxmox, OpenStack, Oracle Cloud',
  endings: ['qcow2'],
  largeSectors: 'attached',
  marks: [mark(0, 'QFI\xfb')],
  holdsPool: true,
  takes: ['backing', 'dataFile', 'snapshot'],
  async writer() {
    const { qcow2 } = await import('./index.ts')
    return (disk) => qcow2(disk)
  },
  async read(source, options) {
    const { openQcow2 } = await import('./index.ts')
    return openQcow2(source, options)
  },
} as const satisfies Container

export const QCOW2_COMPRESSED = {
  name: 'qcow2-compressed',
  about: 'qcow2 whose clusters are compressed, for downloads',
  endings: ['qcow2'],
  largeSectors: 'attached',
  codecs: ['gzip', 'zstd'],
  holdsPool: true,
  async writer() {
    const { qcow2Compressed } = await import('./index.ts')
    return (disk, { compression }) => qcow2Compressed(disk, compression && { codec: compression })
  },
} as const satisfies Container
