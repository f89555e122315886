/** OVA in the registry of containers. */
import { type Container, mark } from '../container.ts'
import { plainFileName } from '../vmdk/container.ts'

function machineName(fileName: string): string {
  const name = plainFileName(fileName).replace(/\.ova$/i, '')
  return name.slice(0, 64) || 'nixos'
}

export const OVA = {
  name: 'ova',
  about: 'an appliance with the disk: VMware vSphere and ESXi, VirtualBox',
  endings: ['ova'],
  hasIdentifiers: true,
  hasMachine: true,
  holdsSeveral: true,
  holdsPool: true,
  takes: ['disk'],
  marks: [mark(257, 'ustar')],
  codecs: ['gzip'],
  /** The descriptor comes first (DMTF DSP0243, section 5), and its name is the first field of the archive. */
  async isOf(source) {
    const name = Buffer.from(await source.read(0, 100)).toString('latin1')
    return /\.ovf$/i.test(name.replace(/\0.*$/s, ''))
  },
  async writer() {
    const { ova } = await import('./index.ts')
    return (disk, { seed, fileName, timeSeconds, compression, machine, furtherDisks = [] }) =>
      ova([disk, ...furtherDisks], {
        ...machine,
        seed,
        name: machineName(fileName),
        ...(timeSeconds !== undefined && { timeSeconds }),
        ...(compression?.level !== undefined && { level: compression.level }),
      })
  },
  async read(source, options) {
    const { openOva } = await import('./index.ts')
    return openOva(source, options)
  },
} as const satisfies Container
