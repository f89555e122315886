/**
 * What walks through trees of folders in folders. As a script: all of it over a tree that is as deep as is allowed, on the stack that
 * the process has, and in a thread that is started for it.
 */
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isMainThread, Worker } from 'node:worker_threads'
import { cpio } from '../../src/archives/cpio/index.ts'
import { tar } from '../../src/archives/tar/index.ts'
import { ext4 } from '../../src/filesystems/ext4/index.ts'
import { fat } from '../../src/filesystems/fat/index.ts'
import { iso9660 } from '../../src/filesystems/iso9660/index.ts'
import { squashfs } from '../../src/filesystems/squashfs/index.ts'
import { zfsPool } from '../../src/filesystems/zfs/index.ts'
import type { GrowingImage, Image } from '../../src/io/image.ts'
import { imageStream } from '../../src/io/output.ts'
import type { Target } from '../../src/io/target.ts'
import { TREE_DEPTH_LIMIT } from '../../src/tree/depth.ts'
import { writeTree } from '../../src/tree/host-write.ts'
import { mergeTrees } from '../../src/tree/merge.ts'
import { plainTree } from '../../src/tree/plain.ts'
import { HOST_ATTRIBUTES, scanHost } from '../../src/tree/scan.ts'
import type { DirectoryNode, TreeNode } from '../../src/tree/tree.ts'

const ATTRIBUTES = { mode: 0o755, uid: 0, gid: 0, mtimeSeconds: 1 } as const

/** So many folders below the root, in each other, and a file in the last. */
export function deepTree(levels: number, name = 'a'): DirectoryNode {
  const bytes = Buffer.from('text')
  let node: TreeNode = { kind: 'file', ...ATTRIBUTES, mode: 0o644, size: bytes.length, content: { kind: 'bytes', bytes } }
  for (let level = 0; level <= levels; level++) node = { kind: 'directory', ...ATTRIBUTES, entries: [{ name: Buffer.from(name), node }] }
  return node as DirectoryNode
}

/** Forgets what is written. */
const NOWHERE: Target = {
  write: async () => undefined,
  read: () => Promise.reject(new Error('nothing is kept')),
  setSize: async () => undefined,
}

async function read(image: Image): Promise<void> {
  for await (const _chunk of imageStream(image, { jobs: 1 }));
}

async function pack(image: GrowingImage): Promise<void> {
  await image.pack(NOWHERE, 0, { jobs: 1, threads: 'none' })
}

const UUID = '00000000-0000-4000-8000-000000000000'

export const WALKERS: Readonly<Record<string, (tree: DirectoryNode) => Promise<unknown>>> = {
  cpio: async (tree) => read(cpio(tree)),
  tar: async (tree) => read(tar(tree)),
  ext4: async (tree) => read(ext4(tree, { uuid: UUID, hashSeed: UUID })),
  fat: async (tree) => read(fat(tree)),
  iso9660: async (tree) => pack(iso9660(tree, { volumeId: 'DEEP', mtimeSeconds: 1 })),
  squashfs: async (tree) => pack(squashfs(tree)),
  zfs: async (tree) =>
    pack(zfsPool(tree, { name: 'deep', size: 'auto', seed: 'deep', datasets: [{ name: 'deep', properties: { mountpoint: '/' } }] })),
  merge: async (tree) => mergeTrees({ ...tree, entries: [] }, tree),
  'merge of folders': async (tree) => {
    const bottomless: DirectoryNode = { ...tree, entries: [] }
    const other = (node: TreeNode): TreeNode => ({ ...(node as DirectoryNode), entries: [] })
    return mergeTrees(tree, bottomless, { ...tree, entries: tree.entries.map(({ name, node }) => ({ name, node: other(node) })) })
  },
  plain: async (tree) => plainTree(tree),
  'host folder': async (tree) => {
    const folder = await mkdtemp(join(tmpdir(), 'kilnix-deep-'))
    try {
      await writeTree(tree, join(folder, 'tree'))
      scanHost(join(folder, 'tree'), HOST_ATTRIBUTES)
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
}

if (process.argv[1] === import.meta.filename) {
  for (const [name, walk] of Object.entries(WALKERS)) {
    await walk(deepTree(TREE_DEPTH_LIMIT))
    console.log(`${name} ${isMainThread ? 'in the process' : 'in a thread'}`)
  }
  if (isMainThread) new Worker(new URL(import.meta.url), { argv: [] })
}
