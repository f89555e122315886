/** Every format writes patched contents as it writes a file that has those bytes. */
import { randomFillSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cpio } from '../../src/archives/cpio/index.ts'
import { tar } from '../../src/archives/tar/index.ts'
import { ext4 } from '../../src/filesystems/ext4/index.ts'
import { fat } from '../../src/filesystems/fat/index.ts'
import { iso9660 } from '../../src/filesystems/iso9660/index.ts'
import { squashfs } from '../../src/filesystems/squashfs/index.ts'
import type { GrowingImage, Image } from '../../src/io/image.ts'
import { saveImage } from '../../src/io/output.ts'
import { hashNar } from '../../src/nix/nar/digest.ts'
import { narDigest } from '../../src/nix/nar/serialize.ts'
import { writeTree } from '../../src/tree/host-write.ts'
import { applyPatches } from '../../src/tree/patch.ts'
import { plainTree } from '../../src/tree/plain.ts'
import { HOST_ATTRIBUTES, scanHost } from '../../src/tree/scan.ts'
import type { DirectoryNode, FileNode, Patch, TreeNode } from '../../src/tree/tree.ts'
import { verifiedTree } from '../../src/tree/verified.ts'
import { removeTree } from '../remove-tree.ts'

const OWNED = { uid: 0, gid: 0, mtimeSeconds: 1 } as const
const MEBIBYTE = 1 << 20
const GUID = '00000000-0000-4000-8000-000000000000'

let folder = ''
/** Patched, and with the bytes that come out. */
let patched: DirectoryNode
let plain: DirectoryNode

function patchesFor(size: number): Patch[] {
  const places = [0, 4090, 131_060, MEBIBYTE - 7, MEBIBYTE + 100, 2 * MEBIBYTE - 1, 4 * MEBIBYTE - 20, size - 32]
  const wanted = [...new Set(places)].filter((position) => position >= 0 && position + 32 <= size).sort((a, b) => a - b)
  const apart = wanted.filter((position, index) => index === 0 || position >= (wanted[index - 1] ?? 0) + 32)
  return apart.map((position) => ({ position, bytes: randomFillSync(new Uint8Array(32)) }))
}

function directory(nodes: Readonly<Record<string, TreeNode>>): DirectoryNode {
  const entries = Object.entries(nodes).map(([name, node]) => ({ name: Buffer.from(name), node }))
  return { kind: 'directory', ...OWNED, mode: 0o755, entries }
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-patched-'))
  const one: Record<string, FileNode> = {}
  const other: Record<string, FileNode> = {}
  const add = (name: string, bytes: Buffer, patches: readonly Patch[]): void => {
    const [before, after] = [join(folder, `${name}.before`), join(folder, `${name}.after`)]
    const changed = Buffer.from(bytes)
    applyPatches(changed, 0, patches)
    writeFileSync(before, bytes)
    writeFileSync(after, changed)
    const node = { kind: 'file', ...OWNED, mode: 0o444, size: bytes.length } as const
    const path = Buffer.from(before)
    one[name] = { ...node, content: patches.length === 0 ? { kind: 'hostFile', path } : { kind: 'patched', path, patches } }
    other[name] = { ...node, content: { kind: 'hostFile', path: Buffer.from(after) } }
  }
  for (const size of [32, 5000, 200_000, 5 * MEBIBYTE + 17]) {
    const bytes = randomFillSync(Buffer.alloc(size))
    const patches = patchesFor(size)
    add(`A${size}`, bytes, patches)
    // Twins: one with the same patches, and one without, which is another file.
    add(`B${size}`, bytes, patches)
    add(`C${size}`, bytes, [])
  }
  patched = directory({ PATH: directory(one) })
  plain = directory({ PATH: directory(other) })
})
afterAll(() => rmSync(folder, { recursive: true }))

async function sha256(image: Image | GrowingImage, jobs = 2): Promise<string | undefined> {
  return (await saveImage(image, join(folder, 'image'), { jobs, force: true })).sha256
}

const FORMATS: Readonly<Record<string, (tree: DirectoryNode) => Image | GrowingImage>> = {
  'squashfs of 4 KiB blocks': (tree) => squashfs(tree, { codec: { name: 'none' }, blockSize: 4096 }),
  'squashfs of 1 MiB blocks': (tree) => squashfs(tree, { codec: { name: 'zstd', level: 1 }, blockSize: MEBIBYTE }),
  ext4: (tree) => ext4(tree, { uuid: GUID, hashSeed: GUID, roundTo: MEBIBYTE }),
  fat: (tree) => fat(tree, { volumeSerial: 1, mtimeSeconds: 315532800 }),
  iso9660: (tree) => iso9660(tree, { volumeId: 'PATCHED', mtimeSeconds: 315532800 }),
  cpio: (tree) => cpio(tree),
  tar: (tree) => tar(tree),
}

describe('patched contents', () => {
  it.each(Object.keys(FORMATS))('in %s', async (format) => {
    const make = FORMATS[format] as (typeof FORMATS)[string]
    const expected = await sha256(make(plain))
    expect(await sha256(make(patched))).toBe(expected)
    expect(await sha256(make(patched), 1)).toBe(expected)
    // As it comes out of a message to another thread.
    expect(await sha256(make(structuredClone(plainTree(patched)) as DirectoryNode))).toBe(expected)
    const unpatched = (node: TreeNode): TreeNode => {
      if (node.kind === 'directory') return { ...node, entries: node.entries.map((entry) => ({ ...entry, node: unpatched(entry.node) })) }
      return node.kind === 'file' && node.content.kind === 'patched'
        ? { ...node, content: { kind: 'hostFile', path: node.content.path } }
        : node
    }
    expect(await sha256(make(unpatched(patched) as DirectoryNode))).not.toBe(expected)
  })

  it('in a squashfs that checks them, and as contents that check themselves', async () => {
    const { hash } = await hashNar(plain, 'plain')
    const wrong = Uint8Array.from(hash)
    wrong[0] = (wrong[0] ?? 0) ^ 1
    const outcome = async (image: Image | GrowingImage): Promise<unknown> =>
      sha256(image).then(
        () => 'written',
        (error: { code: string }) => error.code,
      )
    for (const [expected, result] of [
      [hash, 'written'],
      [wrong, 'HASH_MISMATCH'],
    ] as const) {
      const digest = narDigest('patched', patched, expected)
      const settings = { codec: { name: 'none' }, blockSize: 4096, digests: [digest] } as const
      expect(await outcome(squashfs(directory({ x: patched }), settings))).toBe(result)
      expect(await outcome(cpio(directory({ x: verifiedTree(digest) })))).toBe(result)
    }
  })

  it('as files of the host', async () => {
    const path = join(folder, 'written')
    await writeTree(patched, path)
    const { hash } = await hashNar(scanHost(path, HOST_ATTRIBUTES), path)
    expect(hash).toEqual((await hashNar(plain, 'plain')).hash)
    await expect(writeTree(patched, path)).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    removeTree(path)
  })
})
