/** Raw disks in the registry of containers. */
import type { Container } from '../container.ts'

export const RAW = {
  name: 'raw',
  about: 'the disk as it is, for real disks and for what knows no other format',
  endings: ['img', 'raw'],
  largeSectors: 'attached',
  holdsPool: true,
  async writer() {
    return (disk) => disk
  },
  async read(source, options) {
    const { openRaw } = await import('./index.ts')
    return openRaw(source, { ...options, skipZeros: true })
  },
} as const satisfies Container
