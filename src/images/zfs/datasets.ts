/** Which datasets a pool gets where nobody says: those that the system mounts, else nixpkgs' own for Amazon. */
import type { ZfsDataset } from '../../filesystems/zfs/index.ts'

/** `rootPoolFilesystemProperties` and `rootPoolProperties` of nixpkgs' image functions. */
export const FILE_SYSTEM_PROPERTIES: Readonly<Record<string, string>> = {
  acltype: 'posixacl',
  atime: 'off',
  compression: 'on',
  mountpoint: 'legacy',
  xattr: 'sa',
}

export const POOL_PROPERTIES: Readonly<Record<string, string>> = { autoexpand: 'on' }

export const DEFAULT_POOL = 'tank'

/** nixpkgs' `maintainers/scripts/ec2/amazon-image.nix`. */
const DATASETS: readonly (readonly [name: string, mount: string])[] = [
  ['system/root', '/'],
  ['system/var', '/var'],
  ['local/nix', '/nix'],
  ['user/home', '/home'],
]

export interface PoolDatasets {
  readonly pool: string
  readonly datasets: readonly ZfsDataset[]
  /** Whether they are from the system's own table of file systems. */
  readonly areMounted: boolean
}

/**
 * The pool and the datasets that `fstab`, the table of file systems of the system, mounts from it. Without a pool of its
 * own choice that is the one of the root. A file system with the option `zfsutil` gets its mount point as property.
 */
export function defaultDatasets(fstab: string | undefined, pool: string | undefined): PoolDatasets {
  const mounted = zfsMounts(fstab ?? '')
  const root = mounted.find(({ mount }) => mount === '/')
  const name = pool ?? (root ?? mounted[0])?.name.split('/')[0] ?? DEFAULT_POOL
  const own = mounted.filter((one) => one.name === name || one.name.startsWith(`${name}/`))
  if (own.some(({ mount }) => mount === '/')) return { pool: name, datasets: own, areMounted: true }
  return { pool: name, datasets: DATASETS.map(([short, mount]) => ({ name: `${name}/${short}`, mount })), areMounted: false }
}

type MountedDataset = ZfsDataset & { readonly mount: string }

/** fstab(5): device, mount point, type, options; blanks in them are octal. */
export function zfsMounts(fstab: string): MountedDataset[] {
  const mounts: MountedDataset[] = []
  for (const line of fstab.split('\n')) {
    const [device = '', mount = '', type, options = ''] = line.trim().split(/\s+/).map(unescaped)
    if (device.startsWith('#') || type !== 'zfs' || !mount.startsWith('/')) continue
    const isOwn = options.split(',').includes('zfsutil')
    mounts.push({ name: device, mount, ...(isOwn && { properties: { mountpoint: mount } }) })
  }
  return mounts
}

function unescaped(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
