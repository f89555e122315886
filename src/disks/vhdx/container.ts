/** VHDX in the registry of containers. */
import { type Container, mark } from '../container.ts'

export const VHDX = {
  name: 'vhdx',
  about: 'Hyper-V of generation 2',
  endings: ['vhdx'],
  hasIdentifiers: true,
  marks: [mark(0, 'vhdxfile')],
  holdsPool: true,
  takes: ['backing'],
  largeSectors: 'said',
  async writer() {
    const { vhdx } = await import('./index.ts')
    return (disk, { seed }) => vhdx(disk, { seed })
  },
  async read(source, options) {
    const { openVhdx } = await import('./index.ts')
    return openVhdx(source, options)
  },
} as const satisfies Container
