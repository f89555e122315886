/** How the image reads the contents of files: in order, in parts, and with the errors of its sources. */
import { createHash } from 'node:crypto'
import { appendFileSync, closeSync, ftruncateSync, openSync, readSync, rmSync, utimesSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/bytes/text.ts'
import { ext4 } from '../../../src/filesystems/ext4/index.ts'
import type { Image } from '../../../src/io/image.ts'
import { imageSlice } from '../../../src/io/slice.ts'
import { imageChunks } from '../../../src/io/stream.ts'
import type { DirectoryNode, FileNode, TreeDigest, TreeNode } from '../../../src/tree/tree.ts'
import { sortedEntries } from '../../../src/tree/tree.ts'
import { verifiedTree } from '../../../src/tree/verified.ts'
import { imageBytes } from '../fat/support.ts'
import { contentOf, directory, file, fsckFindings, many, noise, OPTIONS, sparse, symlink, withFolder, writeImageFile } from './support.ts'

const MIB = 2 ** 20

function hostFile(path: string, size: number): FileNode {
  return { ...file(''), size, content: { kind: 'hostFile', path: utf8(path) } }
}

async function drain(image: Image): Promise<void> {
  for (const extent of image.extents) for await (const chunk of extent.read()) expect(chunk.length).toBeGreaterThan(0)
}

function* filesOf(node: TreeNode): Generator<FileNode> {
  // As a NAR: an empty file has no content between its framing.
  if (node.kind === 'file' && node.size > 0) yield node
  if (node.kind === 'directory') for (const entry of sortedEntries(node)) yield* filesOf(entry.node)
}

describe('the image of an ext4 file system', () => {
  const store = directory({
    a: directory({ z: file(noise(5000)), 'b.d': directory({ c: file('deep') }), b: file('before b.d') }),
    'a-file': file(noise(300_000, 2)),
    large: file(noise(9 * MIB, 3)),
    link: symlink('a'),
    sparse: sparse(40_000, { 20000: 'in the middle' }),
    ...Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`f${i}`, file(noise(i * 50, i))])),
  })

  async function digestOf(node: DirectoryNode): Promise<TreeDigest> {
    const hash = createHash('sha256').update('begin')
    for (const one of filesOf(node)) hash.update(await contentOf(one))
    const expected = hash.update('end').digest()
    return {
      name: 'store',
      node,
      algorithm: 'sha256',
      expected,
      *pieces() {
        yield utf8('begin')
        yield* filesOf(node)
        yield utf8('end')
      },
    }
  }

  it('reads files in the order of a walk by name, so that digests can be checked on the way', async () => {
    const digest = await digestOf(store)
    const options = { ...OPTIONS, size: 300 * MIB }
    const plain = await imageBytes(ext4(directory({ store }), options))
    const verified = ext4(directory({ store: verifiedTree(digest) }), options)
    // Files with holes are read as a whole by a digest, so they have none.
    expect(verified.size).toBe(plain.length)
    await drain(verified)
    await drain(verified)

    const damaged = ext4(directory({ store: verifiedTree({ ...digest, expected: new Uint8Array(32) }) }), options)
    await expect(drain(damaged)).rejects.toMatchObject({ code: 'HASH_MISMATCH' })
  })

  it('checks a digest across files in several parts', async () => {
    // The journal and the copy of the superblock in group 1 lie within the content.
    const node = directory({
      first: file('1'),
      huge: sparse(200 * MIB, { 0: noise(MIB), [130 * MIB]: noise(MIB, 2), [200 * MIB - 1]: 'x' }),
    })
    const image = ext4(directory({ store: verifiedTree(await digestOf(node)) }), OPTIONS)
    expect(image.plan.runCounts[14]).toBeGreaterThan(1)
    await drain(image)
  })

  it('reads host files, small and large', async () => {
    await withFolder(async (folder) => {
      const contents = [0, 1, 4096, 5000, 200_000, 3 * MIB].map((size) => noise(size, size))
      const paths = contents.map((bytes, i) => {
        const path = join(folder, `${i}`)
        writeFileSync(path, bytes)
        return path
      })
      const ofHost = directory(Object.fromEntries(paths.map((path, i) => [`f${i}`, hostFile(path, contents[i]?.length ?? 0)])))
      const ofBytes = directory(Object.fromEntries(contents.map((bytes, i) => [`f${i}`, file(bytes)])))
      expect((await imageBytes(ext4(ofHost, OPTIONS))).equals(await imageBytes(ext4(ofBytes, OPTIONS)))).toBe(true)

      appendFileSync(paths[3] as string, '!')
      await expect(drain(ext4(ofHost, OPTIONS))).rejects.toMatchObject({ code: 'CHANGED' })
      writeFileSync(paths[3] as string, '')
      await expect(drain(ext4(ofHost, OPTIONS))).rejects.toMatchObject({ code: 'CHANGED' })
      rmSync(paths[3] as string)
      await expect(drain(ext4(ofHost, OPTIONS))).rejects.toMatchObject({ code: 'CHANGED' })
    })
  })

  it('reads a large host file in parts, and sees it written to between them', async () => {
    await withFolder(async (folder) => {
      const path = join(folder, 'large')
      const fd = openSync(path, 'w')
      ftruncateSync(fd, 300 * MIB)
      const marks = [0, 100 * MIB, 127 * MIB + 5, 128 * MIB, 299 * MIB]
      for (const mark of marks) writeSync(fd, `mark ${mark}`, mark)
      closeSync(fd)
      const tree = directory({ large: hostFile(path, 300 * MIB) })
      const image = ext4(tree, { ...OPTIONS, freeSize: 10 * MIB })
      expect(image.plan.runCounts[12]).toBeGreaterThan(2)
      const target = join(folder, 'image')
      await writeImageFile(image, target)
      expect(fsckFindings(target)).toBe('')
      const { runs } = image.plan
      const written = openSync(target, 'r')
      for (const mark of marks) {
        const block = Math.floor(mark / 4096)
        const run = runs.inodes.findIndex(
          (inode, i) => inode === 12 && (runs.fileBlocks[i] as number) + (runs.blockCounts[i] as number) > block,
        )
        const position = ((runs.diskBlocks[run] as number) + block - (runs.fileBlocks[run] as number)) * 4096 + (mark % 4096)
        const bytes = Buffer.alloc(`mark ${mark}`.length)
        readSync(written, bytes, 0, bytes.length, position)
        expect(bytes.toString()).toBe(`mark ${mark}`)
      }
      closeSync(written)

      const parts = image.extents.filter(({ length }) => length > MIB)
      expect(parts.length).toBeGreaterThan(1)
      for await (const chunk of parts[0]?.read() ?? []) expect(chunk.length).toBeGreaterThan(0)
      utimesSync(path, 1, 1)
      const next = async (): Promise<void> => {
        for await (const chunk of parts[1]?.read() ?? []) expect(chunk.length).toBeGreaterThan(0)
      }
      await expect(next()).rejects.toMatchObject({ code: 'CHANGED' })
    })
  })

  it('reads any part of itself', async () => {
    const image = ext4(directory({ store, many: many(500, () => file('x')) }), OPTIONS)
    const whole = await imageBytes(image)
    for (let i = 0; i < 300; i++) {
      const dice = new DataView(noise(8, i).buffer)
      const start = dice.getUint32(0) % image.size
      const end = start + (dice.getUint32(4) % Math.min(image.size - start, i % 3 === 0 ? 10_000 : MIB))
      const chunks: Uint8Array[] = []
      for await (const chunk of imageChunks(imageSlice(image, start, end))) chunks.push(chunk.slice())
      expect(Buffer.concat(chunks).equals(whole.subarray(start, end)), `${start} to ${end}`).toBe(true)
    }
  })

  it('gathers small files into large chunks', async () => {
    const image = ext4(
      many(2000, (i) => file(`content ${i}`)),
      OPTIONS,
    )
    let chunks = 0
    for await (const chunk of imageChunks(image)) chunks += Number(chunk.some((byte) => byte !== 0))
    expect(chunks).toBeLessThan(40)
  })
})
