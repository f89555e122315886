/** Pools, files of them, and judges for the tests of ZFS. */
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ZfsImage, type ZfsPoolOptions, zfsPool } from '../../../src/filesystems/zfs/index.ts'
import { FileTarget } from '../../../src/io/file-target.ts'
import type { Image } from '../../../src/io/image.ts'
import type { DirectoryNode } from '../../../src/tree/tree.ts'

export { directory, file, many, noise, sparse, symlink, TIME, xattr, ZOO } from '../ext4/support.ts'

export const POOL_SIZE = 256 << 20
export const OPTIONS: ZfsPoolOptions = {
  name: 'tank',
  seed: 'a seed',
  size: POOL_SIZE,
  timeSeconds: 1700000000,
  properties: { mountpoint: 'legacy', compression: 'lz4' },
  datasets: [{ name: 'tank', mount: '/' }],
}

export interface PoolFile {
  readonly folder: string
  readonly path: string
  readonly image: Image
  readonly pool: ZfsImage
}

/** Write a pool to a file in a folder of its own while `use` runs. */
export async function withPool<T>(root: DirectoryNode, options: ZfsPoolOptions, use: (file: PoolFile) => Promise<T> | T): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'kilnix-zfs-'))
  try {
    const path = join(folder, 'pool.img')
    const pool = zfsPool(root, options)
    const handle = await open(path, 'w+')
    const target = new FileTarget(handle, path, false)
    const image = await pool.pack(target, 0, { jobs: 2 })
    try {
      return await use({ folder, path, image, pool })
    } finally {
      await target.close()
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}
