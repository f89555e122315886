import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { bytesImage } from '../../src/io/image.ts'
import { imageSlice } from '../../src/io/slice.ts'
import { imageChunks } from '../../src/io/stream.ts'
import { narDigest, narPieces } from '../../src/nix/nar/serialize.ts'
import { contentExtents, openContent } from '../../src/tree/content.ts'
import type { DirectoryNode, FileNode, TreeNode } from '../../src/tree/tree.ts'
import { verifiedTree } from '../../src/tree/verified.ts'

const PLAIN = { mode: 0o444, uid: 0, gid: 0, mtimeSeconds: 1 }
const file = (text: string, size = text.length): FileNode => ({
  kind: 'file',
  ...PLAIN,
  size,
  content: { kind: 'image', image: bytesImage(Buffer.from(text), size) },
})
const folder = (...entries: [string, TreeNode][]): DirectoryNode => ({
  kind: 'directory',
  ...PLAIN,
  entries: entries.map(([name, node]) => ({ name: Buffer.from(name), node })),
})

async function bytesOf(node: FileNode): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks({ size: node.size, extents: contentExtents(node, 0, 'test') })) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Files depth first, as NARs and cpio archives have them. */
function filesOf(node: TreeNode): FileNode[] {
  if (node.kind === 'directory') return node.entries.flatMap((entry) => filesOf(entry.node))
  return node.kind === 'file' && node.size > 0 ? [node] : []
}

async function narHash(node: TreeNode): Promise<Buffer> {
  const hash = createHash('sha256')
  for (const piece of narPieces(node)) hash.update('kind' in piece ? await bytesOf(piece) : piece)
  return hash.digest()
}

const TREE = folder(
  ['b', folder(['y', file('two')], ['x', file('one')])],
  ['empty', file('')],
  ['a', file('holes', 5000)],
  ['c', file('three')],
)

/** Read synchronously in parts of two bytes; undefined where that cannot be. */
function bytesNow(node: FileNode): Buffer | undefined {
  const reader = openContent(node, 'test')
  if (reader === undefined) return undefined
  const bytes = Buffer.alloc(node.size)
  try {
    for (let at = 0; at < node.size; at += 2) reader.read(bytes.subarray(at, at + 2))
  } finally {
    reader.close()
  }
  return bytes
}

describe('a verified tree that is read without promises', () => {
  it('gives the same bytes, but those of files with holes', async () => {
    const files = filesOf(verifiedTree(narDigest('/nix/store/x', TREE, await narHash(TREE))))
    for (let pass = 0; pass < 2; pass++) {
      const texts: string[] = []
      for (const one of files) {
        const bytes = bytesNow(one)
        expect(bytes === undefined).toBe(one.size === 5000)
        texts.push((bytes ?? (await bytesOf(one))).toString().replace(/\0+$/, '+'))
      }
      expect(texts).toEqual(['holes+', 'one', 'two', 'three'])
    }
  })

  it('fails at the end of the last file when a byte is another, and out of order', async () => {
    const [good, bad] = ['three', 'thRee'].map((text) => folder(['a', file('one')], ['b', file(text)]))
    const [first, last] = filesOf(verifiedTree(narDigest('/nix/store/x', bad as TreeNode, await narHash(good as TreeNode))))
    expect(() => last && bytesNow(last)).toThrow('order of the digest')
    // What was begun and given up counts for nothing.
    const reader = first && openContent(first, 'test')
    reader?.read(new Uint8Array(2))
    reader?.close()
    expect(first && bytesNow(first)?.toString()).toBe('one')
    expect(() => last && bytesNow(last)).toThrow(expect.objectContaining({ code: 'HASH_MISMATCH', path: '/nix/store/x' }))
  })
})

describe('a verified tree', () => {
  it('gives the same bytes, any number of times, and is content with the right digest', async () => {
    const tree = verifiedTree(narDigest('/nix/store/x', TREE, await narHash(TREE)))
    for (let pass = 0; pass < 2; pass++) {
      const files = filesOf(tree)
      expect(files).toHaveLength(4)
      const texts: string[] = []
      for (const one of files) texts.push((await bytesOf(one)).toString().replace(/\0+$/, '+'))
      expect(texts).toEqual(['holes+', 'one', 'two', 'three'])
    }
  })

  it('fails at the end of the last file when a byte is another', async () => {
    const other = folder(...TREE.entries.map(({ name, node }) => [Buffer.from(name).toString(), node] as [string, TreeNode]).slice(0, 3), [
      'c',
      file('thRee'),
    ])
    const files = filesOf(verifiedTree(narDigest('/nix/store/x', other, await narHash(TREE))))
    for (const one of files.slice(0, -1)) await bytesOf(one)
    const last = files.at(-1)
    await expect(last && bytesOf(last)).rejects.toMatchObject({ code: 'HASH_MISMATCH', path: '/nix/store/x' })
  })

  it('begins anew after a reader gave up', async () => {
    const [first, ...rest] = filesOf(verifiedTree(narDigest('/nix/store/x', TREE, await narHash(TREE))))
    if (first === undefined) throw new Error('there are files')
    for await (const chunk of imageChunks({ size: first.size, extents: contentExtents(first, 0, 'test') })) if (chunk.length > 0) break
    for (const one of [first, ...rest]) await bytesOf(one)
  })

  it('may be read in parts, one after the other', async () => {
    const files = filesOf(verifiedTree(narDigest('/nix/store/x', TREE, await narHash(TREE))))
    const texts: string[] = []
    for (const one of files) {
      const whole = { size: one.size, extents: contentExtents(one, 0, 'test') }
      const parts: Uint8Array[] = []
      for (let at = 0; at < one.size; at += 2) {
        for await (const chunk of imageChunks(imageSlice(whole, at, Math.min(at + 2, one.size)))) parts.push(Buffer.from(chunk))
      }
      texts.push(Buffer.concat(parts).toString().replace(/\0+$/, '+'))
    }
    expect(texts).toEqual(['holes+', 'one', 'two', 'three'])
    const [first] = files
    const whole = { size: first?.size ?? 0, extents: first ? contentExtents(first, 0, 'test') : [] }
    const late = async (): Promise<void> => {
      for await (const chunk of imageChunks(imageSlice(whole, 1, 3))) chunk.length
    }
    await expect(late()).rejects.toThrow('order of the digest')
  })

  it('has to be read in order', async () => {
    const [, second] = filesOf(verifiedTree(narDigest('/nix/store/x', TREE, await narHash(TREE))))
    await expect(second && bytesOf(second)).rejects.toThrow('order of the digest')
  })

  it('without contents is checked at once', async () => {
    const links = folder(['link', { kind: 'symlink', ...PLAIN, target: Buffer.from('to') }], ['empty', file('')])
    expect(verifiedTree(narDigest('x', links, await narHash(links)))).toMatchObject({ kind: 'directory' })
    expect(() => verifiedTree(narDigest('x', links, new Uint8Array(32)))).toThrow(expect.objectContaining({ code: 'HASH_MISMATCH' }))
  })
})
