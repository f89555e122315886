/**
 * Reads pools of one device, and finds what is wrong with them: `openZfs(path)`, `checkZfs(reading)`. Written after the
 * description of the format and independent of the writer; unlike OpenZFS it reads all copies of all blocks, follows
 * everything and takes nothing for granted.
 *
 * Not read: intent logs, gang blocks, deduplication, encryption, several devices, checkpoints.
 */
import { type DevicePart, fileDevice } from './device.ts'
import { allDirectories, type Dataset, type Meta, readMeta } from './dsl.ts'
import { type FileSystem, readFileSystem } from './file-system.ts'
import { type Labels, readLabels } from './labels.ts'
import { type Objset, readObjset } from './objset.ts'
import type { Pool } from './pool.ts'

export interface ZfsReading {
  readonly pool: Pool
  readonly labels: Labels
  readonly meta: Meta
  /** By name: `tank/home`, `tank/home@blank`. Those without a set of objects are left out. */
  readonly sets: ReadonlyMap<string, { readonly dataset: Dataset; readonly objset: Objset }>
  readonly fileSystems: ReadonlyMap<string, FileSystem>
  close(): void
}

/**
 * Read everything but the contents of files, whose blocks are only checked. What is wrong stands in `pool.problems`; throws
 * when there is no way in.
 */
export function openZfs(path: string, part: DevicePart = {}): ZfsReading {
  const device = fileDevice(path, part)
  try {
    const problems: string[] = []
    const labels = readLabels(device, problems)
    const pool: Pool = { device, ashift: labels.ashift, problems }
    const { pointer } = labels.uberblock
    const mos = readObjset(pool, 'mos', { pointer, holder: undefined, at: 40, objset: 'mos', object: 0, level: -1, index: 0 })
    const meta = mos && readMeta(pool, mos)
    if (meta === undefined) throw new Error(`there is no way in: ${problems.join('; ')}`)
    const name = String(labels.config['name'])
    const sets = new Map<string, { dataset: Dataset; objset: Objset }>()
    const fileSystems = new Map<string, FileSystem>()
    for (const { head, snapshots } of allDirectories(meta.root)) {
      for (const dataset of [...(head ? [head] : []), ...snapshots]) {
        if (dataset.root === undefined) continue
        const own = name + dataset.name
        const objset = readObjset(pool, own, { ...dataset.root, objset: own })
        const fileSystem = objset && readFileSystem(pool, objset)
        if (objset !== undefined) sets.set(own, { dataset, objset })
        if (fileSystem !== undefined) fileSystems.set(own, fileSystem)
      }
    }
    return { pool, labels, meta, sets, fileSystems, close: device.close }
  } catch (error) {
    device.close()
    throw error
  }
}

export { checkZfs } from './check.ts'
export { type FileSystem, type FileSystemNode, fileBlocks } from './file-system.ts'
