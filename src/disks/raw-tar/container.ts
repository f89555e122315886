/** The tar archive of a raw disk in the registry of containers. */
import type { Container } from '../container.ts'

export const RAW_TAR = {
  name: 'raw.tar.gz',
  about: 'a tar archive of the raw disk: Google Compute Engine',
  endings: ['raw.tar.gz', 'tar.gz'],
  // "Requirements to build custom images": the size of disk.raw has to be a multiple of 1 GiB.
  sizeUnit: 2 ** 30,
  codecs: ['gzip'],
  async writer() {
    const { rawTar } = await import('./index.ts')
    return (disk, { timeSeconds, compression }) =>
      rawTar(disk, {
        ...(timeSeconds !== undefined && { timeSeconds }),
        ...(compression?.level !== undefined && { level: compression.level }),
      })
  },
} as const satisfies Container
