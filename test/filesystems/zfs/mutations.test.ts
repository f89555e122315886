/** Verify the verifiers: whatever is made wrong in a pool must be found by the reader, and the worst of it by `zdb`. */
import { mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { zfsPool } from '../../../src/filesystems/zfs/index.ts'
import { FileTarget } from '../../../src/io/file-target.ts'
import { zdb, zdbBlocks, zdbOracle } from '../../oracles/zfs.ts'
import { checkZfs, openZfs } from '../../readers/zfs-reader/index.ts'
import { labelPlaces } from '../../readers/zfs-reader/labels.ts'
import type { BlockNode } from '../../readers/zfs-reader/pool.ts'
import { add, BITS, blockOf, type Harm, MEANINGS, MUTATED_OPTIONS, MUTATED_TREE, metaBlock, objectAt, setOf } from './mutations.ts'
import { Damage } from './repair.ts'

let folder = ''
let path = ''
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-zfs-mutations-'))
  path = join(folder, 'pool.img')
  const handle = await open(path, 'w+')
  const target = new FileTarget(handle, path, false)
  await zfsPool(MUTATED_TREE, MUTATED_OPTIONS).pack(target, 0, { jobs: 1 })
  await target.close()
})
afterAll(() => rmSync(folder, { recursive: true }))

/** What the reader finds, or why it cannot begin. */
function findings(): string[] {
  try {
    const reading = openZfs(path)
    try {
      return checkZfs(reading)
    } finally {
      reading.close()
    }
  } catch (error) {
    return [(error as Error).message]
  }
}

async function damaged<T>(harm: (damage: Damage) => void, use: () => T | Promise<T>): Promise<T> {
  const damage = new Damage(path)
  try {
    harm(damage)
    return await use()
  } finally {
    damage.undo()
  }
}

const BITS_FOR_ZDB = ['the content of a file', 'a leaf of a directory', 'block pointers', 'dnodes', 'the head of a file system']
const zdbStatus = async (what: 'objects' | 'blocks'): Promise<number> =>
  (await (what === 'blocks' ? zdbBlocks(folder, 'tank') : zdb(['-e', '-p', folder, '-d', 'tank']))).status

describe('a pool without damage', () => {
  it('is clean', () => expect(findings()).toEqual([]))

  it('is clean after a repair that changes nothing, also with other compression', async () => {
    const found = await damaged((damage) => {
      damage.change(
        (reading) => blockOf(setOf(reading, 'tank'), objectAt(reading, 'store').object, 0, 1),
        () => undefined,
      )
      damage.change(
        (reading) => metaBlock(reading, 1),
        () => undefined,
      )
    }, findings)
    expect(found).toEqual([])
  })
})

describe('the reader finds a flipped bit', () => {
  it.each(BITS)('in one copy of %s', async (_, find) => {
    const place = { name: '' }
    const harm: Harm = (damage) => {
      const reading = openZfs(path)
      const node = find(reading) as BlockNode
      reading.close()
      place.name = `${node.objset} object ${node.object} L${node.level} block ${node.index}: the copy at ${node.pointer.copies[0]?.place}`
      damage.flip(node)
    }
    expect(await damaged(harm, findings)).toEqual([`${place.name} has another checksum`])
  })

  it.each([
    ['the boot environment', 8 << 10],
    ['the configuration', 16 << 10],
    ['the first pad', 0],
  ])('in %s of a label', async (_, at) => {
    expect(await damaged((damage) => damage.flipAt((256 << 10) + at + 60), findings)).toEqual([expect.stringMatching(/^label 1: /)])
  })

  it('in an uberblock', async () => {
    const reading = openZfs(path)
    reading.close()
    const { place } = reading.labels.uberblock
    expect(await damaged((damage) => damage.flipAt(place + 60), findings)).toContainEqual(
      expect.stringMatching(/the uberblock at \d+ has another/),
    )
  })
})

describe('the reader finds what is wrong with good checksums', () => {
  it.each(MEANINGS)('$name', async ({ harm, sentence }) => {
    expect(await damaged(harm, findings)).toContainEqual(expect.stringMatching(sentence))
  })

  it.each([
    ['the sum of guids', 24, /sum of the guids is/],
    ['the transaction group', 16, /stands in slot/],
    ['the version', 8, /is of version/],
  ] as const)('%s of the uberblock', async (_, at, sentence) => {
    const reading = openZfs(path)
    reading.close()
    const { uberblock } = reading.labels
    const places = labelPlaces({ ...reading.pool.device })
    const harm: Harm = (damage) => damage.changeUberblocks(places, uberblock, (bytes) => add(bytes, at, 1n))
    expect(await damaged(harm, findings)).toContainEqual(expect.stringMatching(sentence))
  })
})

describe.skipIf(zdbOracle().skip)('zdb', () => {
  it('finds nothing in a pool without damage', async () => {
    expect([await zdbStatus('objects'), await zdbStatus('blocks')]).toEqual([0, 0])
  })

  it.each(BITS.filter(([name]) => BITS_FOR_ZDB.includes(name)))('finds a flipped bit in all copies of %s', async (_, find) => {
    const harm: Harm = (damage) => {
      const reading = openZfs(path)
      damage.flip(find(reading) as BlockNode, 3)
      reading.close()
    }
    expect(await damaged(harm, () => zdbStatus('blocks'))).not.toBe(0)
  })

  it('finds a label that is damaged', async () => {
    const text = async (): Promise<string> => (await zdb(['-l', path])).text
    expect(await text()).toContain('labels = 0 1 2 3')
    expect(await damaged((damage) => damage.flipAt((16 << 10) + 60), text)).not.toContain('labels = 0 1 2 3')
  })

  it.each(MEANINGS.flatMap(({ name, harm, zdb: what }) => (what === undefined ? [] : [{ name, harm, what }])))(
    'finds $name',
    async ({ harm, what }) => {
      expect(await damaged(harm, () => zdbStatus(what))).not.toBe(0)
    },
  )
})
