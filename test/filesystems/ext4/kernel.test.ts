/** The kernel mounts our file systems, read-write, shows what they should hold, and keeps them whole. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { planExt4 } from '../../../src/filesystems/ext4/index.ts'
import type { DirectoryNode } from '../../../src/tree/tree.ts'
import { oracle, runOk } from '../../oracles/tools.ts'
import { treeDifferences } from './compare.ts'
import { mounted, whyNoMount } from './mount.ts'
import { ACL, build, directory, file, fsckFindings, many, noise, OPTIONS, sparse, withFolder, ZOO } from './support.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30
const reason = whyNoMount()
if (reason !== '') console.warn(`skipped: ${reason}`)

describe.skipIf(reason !== '' || oracle('e2fsck').skip)('ext4 by the kernel', () => {
  it('is what the tree says', async () => {
    await withFolder(async (folder) => {
      const image = await build(folder, ZOO)
      expect(await mounted(image, 'ro', (at) => treeDifferences(ZOO, at, { mounted: true }))).toEqual([])
    })
  })

  it.skipIf(oracle('getfattr').skip)('has its extended attributes and access control lists', async () => {
    await withFolder(async (folder) => {
      const image = await build(folder, ZOO)
      await mounted(image, 'ro', async (at) => {
        const value = (path: string, name: string): Buffer =>
          runOk('getfattr', ['-h', '--only-values', '-n', name, join(at, 'attributes', path)]).stdout
        expect(value('small', 'user.a').toString()).toBe('b')
        expect(value('small', 'user.empty').length).toBe(0)
        expect(value('both', 'user.comment').toString()).toBe('c'.repeat(300))
        expect(value('both', 'trusted.overlay.opaque').toString()).toBe('y')
        expect(value('large', 'user.large').equals(noise(4000, 7))).toBe(true)
        expect(value('link', 'security.selinux').toString()).toBe('system_u:object_r:etc_t:s0'.repeat(8))
        expect(value('capability', 'security.capability').toString('hex')).toBe(`0100000200200000${'00'.repeat(12)}`)
        expect(value('acl', 'system.posix_acl_access').equals(ACL)).toBe(true)
        expect(value('folder', 'system.posix_acl_default').equals(ACL)).toBe(true)
      })
    })
  })

  it('has the free space and inodes of its plan', async () => {
    await withFolder(async (folder) => {
      const image = await build(folder, ZOO, { size: 700 * MIB })
      const plan = planExt4(ZOO, { ...OPTIONS, size: 700 * MIB })
      await mounted(image, 'ro', async (at) => {
        const { bfree, bavail, ffree, files } = statfsSync(at)
        // The kernel keeps a fiftieth for itself, up to 4096 blocks (ext4_calculate_resv_clusters).
        const kept = Math.min(4096, Math.floor(plan.blockCount / 50))
        expect([bfree, bavail]).toEqual([plan.freeBlockCount, plan.freeBlockCount - plan.reservedBlockCount - kept])
        expect([files, ffree]).toEqual([plan.inodeCount, plan.inodeCount - plan.usedInodeCount])
      })
    })
  })

  it.each<[string, DirectoryNode, number]>([
    ['small', ZOO, 48 * MIB],
    ['of several groups', ZOO, 700 * MIB],
    ['of 2 TiB', ZOO, 2048 * GIB],
    ['full of metadata', many(5000, (i) => file(`${i}`)), 600 * MIB],
  ])('is written to and stays clean: %s', async (_, tree, size) => {
    await withFolder(async (folder) => {
      const image = await build(folder, tree, { size })
      await mounted(image, 'rw', async (at) => disturb(at))
      expect(fsckFindings(image)).toBe('')
      await mounted(image, 'rw', async (at) => {
        expect(readdirSync(join(at, 'new')).length).toBe(500)
        expect(readFileSync(join(at, 'new/file-77')).equals(noise(7700, 77))).toBe(true)
      })
      expect(fsckFindings(image)).toBe('')
    })
  })

  it('takes new names into hashed directories, and gives them up', async () => {
    await withFolder(async (folder) => {
      const image = await build(
        folder,
        directory({ d: many(8000, () => file('')), e: many(40_000, () => file(''), `${'n'.repeat(200)}-`) }),
        {
          freeSize: 64 * MIB,
        },
      )
      await mounted(image, 'rw', async (at) => {
        for (let i = 0; i < 4000; i++) writeFileSync(join(at, 'd', `another-${i}`), '')
        for (let i = 0; i < 8000; i += 2) rmSync(join(at, 'd', `entry-${i}`))
        for (let i = 0; i < 40_000; i += 9) renameSync(join(at, 'e', `${'n'.repeat(200)}-${i}`), join(at, 'e', `${'m'.repeat(220)}${i}`))
        expect(readdirSync(join(at, 'd')).length).toBe(8000)
        expect(readdirSync(join(at, 'e')).length).toBe(40_000)
      })
      expect(fsckFindings(image)).toBe('')
    })
  })

  it('shows a large file whose extents fill a tree, and its holes', async () => {
    await withFolder(async (folder) => {
      const pieces = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [i * 2 ** 32 + 4090, noise(20, i)]))
      const tree = directory({ large: sparse(0xffffffff * 4096, pieces) })
      const image = await build(folder, tree)
      expect(await mounted(image, 'ro', (at) => treeDifferences(tree, at, { mounted: true }))).toEqual([])
    })
  })

  it('differs where an image was changed', async () => {
    await withFolder(async (folder) => {
      const image = await build(folder, ZOO, { freeSize: 4 * MIB })
      await mounted(image, 'rw', async (at) => {
        writeFileSync(join(at, 'one-byte'), 'y')
        writeFileSync(join(at, 'more'), '')
      })
      const found = await mounted(image, 'ro', (at) => treeDifferences(ZOO, at, { mounted: true }))
      expect(found.map((line) => line.replace(/^.*\/mounted/, '').replace(/ is .*$/, '')).sort()).toEqual(
        [': entries', ': mtime', '/one-byte: content', '/one-byte: mtime'].sort(),
      )
    })
  })
})

/** What a running system does: new files, large and small ones, folders, removals, truncation. */
function disturb(at: string): void {
  const fresh = join(at, 'new')
  mkdirSync(fresh)
  for (let i = 0; i < 500; i++) writeFileSync(join(fresh, `file-${i}`), noise(i * 100, i))
  writeFileSync(join(at, 'large-file'), noise(4 * MIB))
  mkdirSync(join(at, 'x/y/z'), { recursive: true })
  for (const name of readdirSync(at).sort().slice(0, 6))
    if (!['new', 'lost+found', 'x'].includes(name)) rmSync(join(at, name), { recursive: true })
  truncateSync(join(at, 'large-file'), 5000)
}
