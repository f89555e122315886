/** Trees and listings of NARs: contents are read where they lie. */
import { describe, expect, it } from 'vitest'
import { ImageError } from '../../../src/errors.ts'
import { bytesSource, type RandomAccessSource } from '../../../src/io/source.ts'
import { narChunks, narImage } from '../../../src/nix/nar/dump.ts'
import { listingMember, narListing, narListingJson, narListingLines } from '../../../src/nix/nar/list.ts'
import { readNar } from '../../../src/nix/nar/read.ts'
import { narTree, readNarFile, treeMember } from '../../../src/nix/nar/tree.ts'
import { failure } from '../scratch.ts'
import { chunksOf, entry, fileNode, folderNode, linkNode, nar } from './words.ts'

const BIG = 'x'.repeat(3 << 20)
const INNER = folderNode(entry('10', fileNode('ten')), entry('9', linkNode('10')), entry('run', fileNode('#!', true)))
const SAMPLE = nar(
  folderNode(
    entry('big', fileNode(BIG)),
    entry('inner', INNER),
    entry('n\n', fileNode('')),
    entry('\xc3\xa9', fileNode('e')),
    entry('\xff', fileNode('ff')),
  ),
)

async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const chunk of chunks) parts.push(Uint8Array.from(chunk))
  return Buffer.concat(parts)
}

/** Counts bytes that are read. */
function counted(bytes: Uint8Array): RandomAccessSource & { count: number } {
  const source = bytesSource(bytes)
  return {
    size: source.size,
    count: 0,
    read(position, length) {
      this.count += length
      return source.read(position, length)
    },
  }
}

describe('narTree', () => {
  it('has the attributes of a store, and gives the same NAR again', async () => {
    const tree = await narTree(bytesSource(SAMPLE))
    expect(tree).toMatchObject({ kind: 'directory', mode: 0o555, uid: 0, gid: 0, mtimeSeconds: 1 })
    expect(treeMember(tree, 'inner/run', 'x')).toMatchObject({ kind: 'file', mode: 0o555, size: 2 })
    expect(treeMember(tree, '/inner/10', 'x')).toMatchObject({ kind: 'file', mode: 0o444, size: 3, mtimeSeconds: 1 })
    expect((await bytesOf(narChunks(tree, 'x'))).equals(SAMPLE)).toBe(true)
    const image = narImage(tree, 'x')
    expect(image.size).toBe(SAMPLE.length)
  })

  it('does not read contents that are not asked for', async () => {
    const source = counted(SAMPLE)
    const tree = await narTree(source)
    expect(source.count).toBeLessThan(200_000)
    const before = source.count
    const file = treeMember(tree, 'inner/10', 'x')
    if (file.kind !== 'file' || file.content.kind !== 'image') throw new Error('no content')
    const [extent] = file.content.image.extents
    expect(String(await bytesOf(extent?.read() ?? chunksOf(Buffer.alloc(0))))).toBe('ten')
    expect(String(await bytesOf(extent?.readRange?.(1, 2) ?? chunksOf(Buffer.alloc(0))))).toBe('en')
    expect(source.count - before).toBe(5)
  })

  it('gives the NAR of any member', async () => {
    const tree = await narTree(bytesSource(SAMPLE))
    expect(await bytesOf(narChunks(treeMember(tree, 'inner', 'x'), 'x'))).toEqual(nar(INNER))
    expect(await bytesOf(narChunks(treeMember(tree, '/inner//9/', 'x'), 'x'))).toEqual(nar(linkNode('10')))
    expect(treeMember(tree, '/', 'x')).toBe(tree)
  })

  it.each(['nothing', 'big/x', 'inner/9/x', '..', '.', 'inner/../big'])('has no member %s', async (path) => {
    const tree = await narTree(bytesSource(SAMPLE))
    await failure(() => treeMember(tree, path, 'a.nar'), 'NOT_FOUND', /^a\.nar: there is no '.*' in it$/)
    await failure(async () => listingMember(await narListing(readNarFile(bytesSource(SAMPLE))), path, 'a.nar'), 'NOT_FOUND', /there is no/)
  })

  it('a source that changes its mind is an error of the source', async () => {
    const source = bytesSource(SAMPLE)
    const lying = { size: SAMPLE.length + 8, read: source.read.bind(source) }
    await expect(narTree(lying)).rejects.toBeInstanceOf(ImageError)
  })
})

describe('listings', () => {
  const listed = () => narListing(readNarFile(bytesSource(SAMPLE)))

  it('say kind, size and place; a stream gives the same as a file', async () => {
    const listing = await listed()
    expect(await narListing(readNar(chunksOf(SAMPLE, 1 << 16)))).toEqual(listing)
    const json = narListingJson(listing, { recursive: true })
    expect(json).toEqual({
      type: 'directory',
      entries: {
        big: { type: 'regular', size: BIG.length, narOffset: SAMPLE.indexOf('xxxx') },
        inner: {
          type: 'directory',
          entries: {
            10: { type: 'regular', size: 3, narOffset: SAMPLE.indexOf('ten\0') },
            9: { type: 'symlink', target: '10' },
            run: { type: 'regular', size: 2, executable: true, narOffset: SAMPLE.indexOf('#!') },
          },
        },
        'n\n': { type: 'regular', size: 0, narOffset: expect.any(Number) },
        é: { type: 'regular', size: 1, narOffset: expect.any(Number) },
        '\\xff': { type: 'regular', size: 2, narOffset: SAMPLE.indexOf('ff\0\0\0\0\0\0') },
      },
    })
    expect(narListingJson(listing)).toEqual({ type: 'directory', entries: { big: {}, inner: {}, 'n\n': {}, é: {}, '\\xff': {} } })
  })

  it('a name is only a name, also __proto__', async () => {
    const bytes = nar(folderNode(entry('__proto__', fileNode('x'))))
    const json = narListingJson(await narListing(readNarFile(bytesSource(bytes))), { recursive: true })
    expect(JSON.stringify(json)).toBe('{"type":"directory","entries":{"__proto__":{"type":"regular","size":1,"narOffset":240}}}')
    expect(bytes.toString('latin1', 240, 242)).toBe('x\0')
  })

  it('as text: names that a terminal would obey are escaped', async () => {
    const listing = await listed()
    expect([...narListingLines(listing, '.')]).toEqual(['./big', './inner', './n\\x0a', './é', './\\xff'])
    expect([...narListingLines(listing, '.', { recursive: true })].slice(1, 5)).toEqual([
      './inner',
      './inner/10',
      './inner/9',
      './inner/run',
    ])
    expect([...narListingLines(listingMember(listing, 'inner', 'x'), 'inner', { long: true })]).toEqual([
      '-r--r--r--                    3 ./10',
      'lrwxrwxrwx                    0 ./9 -> 10',
      '-r-xr-xr-x                    2 ./run',
    ])
    expect([...narListingLines(listingMember(listing, 'inner/run', 'x'), 'run')]).toEqual(['run'])
  })
})
