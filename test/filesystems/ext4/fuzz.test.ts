/**
 * Random trees at the edges of blocks and groups: e2fsck must call them clean, and the kernel (or debugfs, where none mounts)
 * must show what went in.
 *
 *     FUZZ_SECONDS=600 FUZZ_SEED=1000 npx vitest run test/filesystems/ext4/fuzz.test.ts
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { type Ext4Options, planExt4 } from '../../../src/filesystems/ext4/index.ts'
import { bytesExtent } from '../../../src/io/image.ts'
import type { Attributes, DirectoryNode, Entry, FileNode, TreeNode } from '../../../src/tree/tree.ts'
import { Dice } from '../../dice.ts'
import { oracle, runOk } from '../../oracles/tools.ts'
import { treeDifferences } from './compare.ts'
import { mounted, whyNoMount } from './mount.ts'
import { build, directory, file, fsckFindings, noise, OPTIONS, symlink, withFolder, xattr } from './support.ts'

const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 2)
const FIRST_SEED = Number(process.env['FUZZ_SEED'] ?? 1)
const HANG_MILLISECONDS = 60_000
const canMount = whyNoMount() === ''
/** About as many nodes a tree; what comes after them is small. */
const NODES = 400
const EDGES = [0, 1, 11, 59, 60, 61, 4091, 4095, 4096, 4097, 8191, 8192, 65535, 65536, 65537, 262144, 262145]

function randomName(dice: Dice): Uint8Array {
  const length = dice.chance(10) ? 255 - dice.below(3) : 1 + dice.below(dice.chance(30) ? 60 : 12)
  const wild = dice.chance(25)
  const name = Uint8Array.from({ length }, () => (wild ? 1 + dice.below(255) : 0x61 + dice.below(26)))
  return name.map((byte) => (byte === 0x2f ? 0x5f : byte))
}

function randomAttributes(dice: Dice): Attributes {
  const xattrs = Array.from({ length: dice.chance(15) ? 1 + dice.below(4) : 0 }, (_, i) =>
    xattr(
      `${dice.pick(['user', 'trusted', 'security'])}.${i}${'n'.repeat(dice.below(30))}`,
      noise(dice.pick([0, 1, 3, 4, 20, 60, 400]), dice.next()),
    ),
  )
  return {
    mode: dice.below(0o10000) | 0o400,
    uid: dice.pick([0, 1000, 65534, 65536, 4000000000]),
    gid: dice.pick([0, 100, 70000]),
    mtimeSeconds: dice.pick([0, 1, -5, 1_700_000_000, 2 ** 31, 2 ** 32 + 7]),
    ...(xattrs.length > 0 ? { xattrs } : {}),
  }
}

function randomFile(dice: Dice): FileNode {
  const size = dice.chance(50) ? dice.pick(EDGES) + dice.below(2) : dice.below(20_000)
  if (!dice.chance(25)) return file(noise(size, dice.next()), randomAttributes(dice))
  const extents = []
  const whole = size * (1 + dice.below(20))
  for (let at = dice.below(9000); at < whole; ) {
    const bytes = noise(Math.min(whole - at, 1 + dice.below(9000)), dice.next())
    extents.push(bytesExtent(at, bytes))
    at += bytes.length + dice.pick([0, 1, 4096, dice.below(30_000)])
  }
  return { ...file('', randomAttributes(dice)), size: whole, content: { kind: 'image', image: { size: whole, extents } } }
}

function randomNode(dice: Dice, depth: number, seen: TreeNode[]): TreeNode {
  if (seen.length > 0 && dice.chance(6)) return dice.pick(seen)
  if (depth < 6 && seen.length < NODES && dice.chance(22)) return randomDirectory(dice, depth + 1, seen)
  const kind = dice.below(12)
  const attributes = randomAttributes(dice)
  let node: TreeNode
  if (kind < 8) node = seen.length < NODES ? randomFile(dice) : file('small', attributes)
  else if (kind === 8) node = symlink(randomName(dice), { ...attributes, mode: 0o777 })
  else if (kind === 9) node = symlink(`/${'t'.repeat(dice.pick([57, 58, 59, 60, 300, 4094]))}`, { ...attributes, mode: 0o777 })
  else if (kind === 10)
    node = {
      kind: dice.pick(['characterDevice', 'blockDevice'] as const),
      ...attributes,
      major: dice.below(4096),
      minor: dice.below(2 ** 20),
    }
  else node = { kind: dice.pick(['fifo', 'socket'] as const), ...attributes }
  // Linux lets only files and directories have user attributes.
  if (node.kind !== 'file' && node.xattrs !== undefined)
    node = { ...node, xattrs: node.xattrs.filter(({ name }) => !name.startsWith('user.')) }
  seen.push(node)
  return node
}

function randomDirectory(dice: Dice, depth: number, seen: TreeNode[]): DirectoryNode {
  const count = dice.chance(8) ? 300 + dice.below(400) : dice.below(depth === 0 ? 60 : 14)
  const names = new Map<string, Uint8Array>()
  for (let i = 0; i < count; i++) {
    const name = randomName(dice)
    if (!(name[0] === 0x2e && name.length <= 2)) names.set(Buffer.from(name).toString('latin1'), name)
  }
  const entries: Entry[] = [...names.values()].map((name) => ({ name, node: randomNode(dice, depth, seen) }))
  return directory(entries, { ...randomAttributes(dice), mode: 0o700 | dice.below(0o100) })
}

function randomOptions(dice: Dice, tree: DirectoryNode): Partial<Ext4Options> {
  const least = planExt4(tree, OPTIONS).size
  return dice.pick<Partial<Ext4Options>>([
    {},
    { journal: false },
    { freeSize: dice.below(300 << 20) },
    { size: Math.max(least, (128 << 20) + 4096 * dice.below(2000)) },
    { inodeCount: 100_000 + dice.below(30_000), size: least + (600 << 20) },
    { reservedPercent: dice.below(50), roundTo: 1 << 20 },
  ])
}

it.skipIf(oracle('e2fsck', 'debugfs').skip)(
  `any tree is clean and whole, ${canMount ? 'mounted' : 'unpacked by debugfs'}`,
  async () => {
    const end = performance.now() + SECONDS * 1000
    for (let seed = FIRST_SEED; seed < FIRST_SEED + 3 || performance.now() < end; seed++) {
      const dice = new Dice(seed)
      const tree = randomDirectory(dice, 0, [])
      await withFolder(async (folder) => {
        const image = await build(folder, tree, randomOptions(dice, tree))
        expect(fsckFindings(image), `seed ${seed}`).toBe('')
        const byMount = canMount && seed % 4 !== 0
        const differences = byMount
          ? await mounted(image, 'ro', (at) => treeDifferences(tree, at, { mounted: true }))
          : await unpacked(image, join(folder, 'unpacked'), tree)
        expect(differences, `seed ${seed}`).toEqual([])
      })
    }
  },
  SECONDS * 1000 + HANG_MILLISECONDS,
)

async function unpacked(image: string, folder: string, tree: DirectoryNode): Promise<string[]> {
  mkdirSync(folder)
  runOk('debugfs', ['-R', `rdump / ${folder}`, image])
  try {
    expect(existsSync(join(folder, 'lost+found'))).toBe(true)
    return await treeDifferences(tree, folder, { mounted: false })
  } finally {
    runOk('chmod', ['-R', 'u+rwX', folder])
    rmSync(folder, { recursive: true })
  }
}
