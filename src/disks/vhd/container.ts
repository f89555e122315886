/**
 * VHD in the registry of containers: dynamic, and of fixed size. Its time begins later than that of FAT, and than that of
 * builds of nixpkgs, where SOURCE_DATE_EPOCH is 1980.
 */
import { type Container, mark } from '../container.ts'

/** A dynamic disk has its footer at its beginning too. */
const COOKIE = 'conectix'
const FOOTER_SIZE = 512

export const VHD = {
  name: 'vhd',
  about: 'Amazon EC2, Hyper-V of generation 1, Xen',
  endings: ['vhd', 'vpc'],
  hasIdentifiers: true,
  marks: [mark(0, COOKIE), mark(-FOOTER_SIZE, COOKIE)],
  holdsPool: true,
  takes: ['backing'],
  async writer() {
    const { dynamicVhd, VHD_DEFAULTS } = await import('./index.ts')
    return (disk, { seed, timeSeconds = 0 }) => dynamicVhd(disk, { seed, timeSeconds: Math.max(timeSeconds, VHD_DEFAULTS.timeSeconds) })
  },
  async read(source, options) {
    const { openVhd } = await import('./index.ts')
    return openVhd(source, { ...options, skipZeros: true })
  },
} as const satisfies Container

export const VHD_FIXED = {
  name: 'vhd-fixed',
  about: 'VHD of fixed size: Azure',
  endings: ['vhd', 'vpc'],
  hasIdentifiers: true,
  holdsPool: true,
  async writer() {
    const { fixedVhd, VHD_DEFAULTS } = await import('./index.ts')
    return (disk, { seed, timeSeconds = 0 }) => fixedVhd(disk, { seed, timeSeconds: Math.max(timeSeconds, VHD_DEFAULTS.timeSeconds) })
  },
} as const satisfies Container
