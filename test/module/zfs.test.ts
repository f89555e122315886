/**
 * The kernel takes our pools as its own: OpenZFS 2.1 and 2.3 import, mount, change, snapshot, send, scrub, upgrade and grow
 * them in a machine of QEMU. Not in the default run: `npm run test:module`, after `fixtures/zfs/module.sh`.
 */
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import type { DirectoryNode, TreeNode } from '../../src/tree/tree.ts'
import { extractPartition } from '../e2e/disk-files.ts'
import { directory } from '../filesystems/zfs/support.ts'
import { ZDBS, ZFS_SUITES, zdb, zfsMachineFile } from '../oracles/zfs.ts'
import { actualListing, expectedListing, type Listing, listingDifferences } from './listing.ts'
import { MACHINE_TIMEOUT_SECONDS, type MachineRun, mountsOf, withMachine } from './machine.ts'
import { DAMAGED, damageContent, MIX, POOLS, type PoolCase } from './pools.ts'

const NO_ERRORS = /scan: scrub repaired 0B in \d\d:\d\d:\d\d with 0 errors/
/** A machine that is emulated on a busy host has stalls, which are no fault of anything in it. */
const KERNEL_TROUBLE = /VERIFY|PANIC|WARNING:|BUG: (?!soft lockup|workqueue lockup)|Oops|general protection|RIP:/

interface Outcome extends Pick<MachineRun, 'boot' | 'results' | 'plans'> {
  /** What `zdb` of the host says of each disk afterwards. */
  readonly afterwards: ReadonlyMap<string, { readonly status: number; readonly text: string }>
}

describe.each(ZFS_SUITES)('the kernel module of %s', (suite) => {
  const isMissing = zfsMachineFile(suite, 'initrd') === undefined
  if (isMissing) console.warn(`skipped: there is no machine with OpenZFS of ${suite}; fixtures/zfs/module.sh makes it`)

  describe.skipIf(isMissing)('has a pool', () => {
    let outcome: Outcome
    const result = (name: string): string => {
      const text = outcome.results.get(name)
      if (text === undefined) throw new Error(`the step ${name} has no output; ${outcome.boot.report}`)
      return text
    }
    const placesOf = ({ options: { name } }: PoolCase): string[] =>
      mountsOf(outcome.plans.get(name)).map((line) => line.slice(line.indexOf(' ') + 1))
    const listing = (step: string, mounts: readonly string[] = ['/']): Listing => actualListing(result(step), mounts)

    beforeAll(
      async () => {
        outcome = await withMachine(suite, [...POOLS, DAMAGED], damageContent, async ({ boot, results, plans, folder }) => {
          const afterwards = new Map<string, { status: number; text: string }>()
          const program = ZDBS[ZFS_SUITES.indexOf(suite)] ?? ZDBS[0]
          for (const { options, disk } of POOLS) {
            const { name } = options
            if (disk !== undefined) extractPartition(join(folder, `${name}.img`), 1, join(folder, `${name}-1.img`))
            afterwards.set(name, await zdb(['-e', '-p', folder, '-bc', name], program))
          }
          return { boot, results, plans, afterwards }
        })
      },
      (MACHINE_TIMEOUT_SECONDS + 100) * 1000,
    )

    it('that it uses to the end', () => {
      expect(outcome.boot.ok, outcome.boot.report).toBe(true)
      const failed = result('status')
        .split('\n')
        .filter((line) => line !== '' && !line.endsWith(' 0') && !line.startsWith(`${DAMAGED.options.name}.`))
      expect(failed.map((line) => `${line}: ${result(line.split(' ')[0] ?? '')}`)).toEqual([])
      expect(result('dmesg')).toContain('ZFS: Loaded module')
      expect(result('dmesg')).not.toMatch(KERNEL_TROUBLE)
    })

    it.each(POOLS)('without a warning: $options.name', ({ options: { name } }) => {
      const status = result(`${name}.status`)
      expect(status).toContain('errors: No known data errors')
      expect(status).not.toContain('status:')
    })

    it.each(POOLS)('with all that was packed: $options.name', async (pool) => {
      const mounts = placesOf(pool)
      expect(listingDifferences(await expectedListing(pool.root, mounts), listing(`${pool.options.name}.tree`, mounts))).toEqual([])
    })

    it.each(POOLS)('with its properties: $options.name', ({ options: { name, poolProperties = {} } }) => {
      const plan = outcome.plans.get(name)
      const wanted = (plan?.datasets ?? []).flatMap(({ spec }) =>
        Object.entries(spec.properties).map(([property, value]) => `${spec.name}\t${property}\t${machineValue(suite, property, value)}`),
      )
      expect(result(`${name}.local`).trim().split('\n').sort()).toEqual(wanted.sort())
      for (const [property, value] of Object.entries(poolProperties))
        expect(result(`${name}.properties`)).toContain(`${property}\t${value}\n`)
    })

    it.each(POOLS)('with objects counted by owner: $options.name', (pool) => {
      const counts = new Map<number, number>()
      for (const { uid } of nodesOf(pool.root, placesOf(pool))) counts.set(uid, (counts.get(uid) ?? 0) + 1)
      const wanted = [...counts].map(([uid, count]) => `${uid}\t${count}`)
      const found = result(`${pool.options.name}.owners`).trim().split('\n')
      if (pool.options.compatibility !== 'legacy') expect(found.sort()).toEqual(wanted.sort())
    })

    it.each(POOLS.filter(({ steps }) => !steps.includes('names')))('that keeps changes: $options.name', (pool) => {
      const mounts = placesOf(pool)
      const [before, after] = [listing(`${pool.options.name}.before`, mounts), listing(`${pool.options.name}.after`, mounts)]
      expect(before.has('/new/large')).toBe(true)
      expect(listingDifferences(before, after)).toEqual([])
    })

    it('without errors in any scrub', () => {
      const scrubs = [...outcome.results].filter(([name]) => name.includes('.scrubbed') && !name.startsWith(DAMAGED.options.name))
      expect(scrubs.length).toBeGreaterThan(POOLS.length)
      for (const [name, text] of scrubs) expect(`${name}: ${text}`).toMatch(NO_ERRORS)
    })

    it.each(withStep('send'))(
      'whose snapshots can be sent, cloned and rolled back to: $options.name',
      async ({ options: { name }, root }) => {
        const nix = root.entries.find((entry) => Buffer.from(entry.name).toString() === 'nix')?.node as DirectoryNode
        const full = await expectedListing(nix, ['/'])
        expect(listingDifferences(full, listing(`${name}.received`))).toEqual([])
        expect([...listing(`${name}.received-empty`).keys()]).toEqual(['/'])
        expect(listingDifferences(full, listing(`${name}.incremented`))).toEqual([])
        expect(result(`${name}.diff`).match(/^\+/gm)?.length).toBe(full.size - 1)
        expect([...listing(`${name}.rollback`).keys()]).toEqual(['/'])
      },
    )

    it.each(withStep('upgrade'))('that can be upgraded: $options.name', ({ options: { name } }) => {
      for (const step of ['upgraded-status', 'reimported', 'reimported-again']) expect(result(`${name}.${step}`)).not.toContain('status:')
    })

    it.each(withStep('names'))('with directories that take more names: $options.name', ({ options: { name } }) => {
      expect(result(`${name}.counts`).split('\n').map(Number)).toEqual([54_500, 203_001, 500, 0])
    })

    it.each(withStep('grow'))('that grows with its disk: $options.name', ({ options: { name, size }, diskSize = 0 }) => {
      const sizeOf = (step: string): number => Number(/^size\t(\d+)$/m.exec(result(`${name}.${step}`))?.[1])
      expect(sizeOf('size-before')).toBeLessThan(Number(size))
      expect(sizeOf('size-after')).toBeGreaterThan(0.9 * diskSize)
    })

    it.each(POOLS)('in which zdb finds no leak afterwards: $options.name', ({ options: { name } }) => {
      const { status, text } = outcome.afterwards.get(name) as { status: number; text: string }
      expect(text).toContain('No leaks (block sum matches space maps exactly)')
      expect(status).toBe(0)
    })

    it('whose damage it reports', () => {
      const { name } = DAMAGED.options
      expect(result(`${name}.tree`)).toContain('/damaged: Input/output error')
      expect(result(`${name}.scrubbed`)).toMatch(/scan: scrub repaired 0B in .* with [1-9]\d* errors/)
    })

    it('of which a difference would show', async () => {
      const { root } = MIX
      const mounts = placesOf(MIX)
      const other = directory([...root.entries, { name: Buffer.from('more'), node: directory([]) }], { mode: 0o700 })
      const found = listingDifferences(await expectedListing(other, mounts), listing(`${MIX.options.name}.tree`, mounts))
      expect(found.map((line) => line.split(' ').slice(0, 2).join(' ')).sort()).toEqual(['/ is', '/more is'])
    })
  })
})

function withStep(step: PoolCase['steps'][number]): readonly PoolCase[] {
  return POOLS.filter(({ steps }) => steps.includes(step))
}

/** The nodes of the file system of the root, each once. */
function nodesOf(root: DirectoryNode, mounts: readonly string[]): Set<TreeNode> {
  const nodes = new Set<TreeNode>([root])
  const queue: [path: string, node: DirectoryNode][] = [['', root]]
  for (let item = queue.pop(); item !== undefined; item = queue.pop()) {
    for (const { name, node } of item[1].entries) {
      const path = `${item[0]}/${Buffer.from(name).toString('latin1')}`
      // The folder at which another is mounted is there too, as a node of its own.
      const here = mounts.includes(path) ? directory([], { uid: node.uid }) : node
      nodes.add(here)
      if (here.kind === 'directory') queue.push([path, here])
    }
  }
  return nodes
}

const UNITS: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }

/** A value as `zfs get -p` says it. */
function machineValue(suite: (typeof ZFS_SUITES)[number], property: string, value: string): string {
  // Since 2.2 they are one.
  if (property === 'xattr' && value === 'sa') return suite === 'bookworm' ? 'sa' : 'on'
  if (property === 'acltype') return value.replace('posixacl', 'posix')
  const [, count = '', unit = ''] = /^(\d+)([KMG])$/.exec(value) ?? []
  return unit === '' ? value : String(Number(count) * (UNITS[unit] as number))
}
