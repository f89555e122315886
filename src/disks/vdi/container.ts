/** VDI in the registry of containers. */
import { type Container, mark } from '../container.ts'

export const VDI = {
  name: 'vdi',
  about: 'VirtualBox',
  endings: ['vdi'],
  hasIdentifiers: true,
  marks: [mark(64, '\x7f\x10\xda\xbe')],
  holdsPool: true,
  takes: ['backing'],
  async writer() {
    const { vdi } = await import('./index.ts')
    return (disk, { seed }) => vdi(disk, { seed })
  },
  async read(source, options) {
    const { openVdi } = await import('./index.ts')
    return openVdi(source, options)
  },
} as const satisfies Container
