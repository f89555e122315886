import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from 'vitest'
import { narDigest, narPieces, narSize } from '../../../src/nix/nar/serialize.ts'
import { formatNix32 } from '../../../src/nix/store/hash.ts'
import { storePolicy } from '../../../src/nix/store/store-policy.ts'
import { scanHost } from '../../../src/tree/scan.ts'
import type { DirectoryNode, FileNode, SymlinkNode, TreeNode } from '../../../src/tree/tree.ts'
import { oracle, runOk } from '../../oracles/tools.ts'
import { type NarNode, readNar } from '../../readers/nar-reader.ts'
import { makeNastyTree } from '../nasty-tree.ts'
import { failure, scratchFolder } from '../scratch.ts'

const attributes = { mode: 0o444, uid: 0, gid: 0, mtimeSeconds: 1 }
const file = (text: string, mode = 0o444): FileNode => ({
  kind: 'file',
  ...attributes,
  mode,
  size: Buffer.byteLength(text),
  content: { kind: 'bytes', bytes: Buffer.from(text) },
})
const symlink = (target: string): SymlinkNode => ({ kind: 'symlink', ...attributes, target: Buffer.from(target) })
const directory = (entries: Readonly<Record<string, TreeNode>>): DirectoryNode => ({
  kind: 'directory',
  ...attributes,
  entries: Object.entries(entries).map(([name, node]) => ({ name: Buffer.from(name, 'latin1'), node })),
})

function narOf(node: TreeNode): Buffer {
  return Buffer.concat([...narPieces(node)].map((piece) => ('kind' in piece ? contentOf(piece) : piece)))
}

function contentOf({ content }: FileNode): Uint8Array {
  if (content.kind === 'bytes') return content.bytes
  if (content.kind === 'hostFile') return readFileSync(Buffer.from(content.path))
  throw new Error(content.kind)
}

/** What a reader of the NAR of `node` should see. */
function expected(node: TreeNode): NarNode {
  switch (node.kind) {
    case 'file':
      return { type: 'regular', executable: (node.mode & 0o100) !== 0, contents: Buffer.from(contentOf(node)) }
    case 'symlink':
      return { type: 'symlink', target: Buffer.from(node.target).toString('latin1') }
    case 'directory':
      return {
        type: 'directory',
        entries: new Map(node.entries.map(({ name, node: child }) => [Buffer.from(name).toString('latin1'), expected(child)])),
      }
    default:
      throw new Error(node.kind)
  }
}

const word = (text: string): string => {
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return length.toString('latin1') + text + '\0'.repeat((8 - (text.length % 8)) % 8)
}
const words = (text: string): Buffer =>
  Buffer.from(
    text
      .split(' ')
      .map((one) => word(one === "''" ? '' : one))
      .join(''),
    'latin1',
  )

describe('NAR', () => {
  const scratch = scratchFolder()

  it.each<[string, TreeNode, string, number]>([
    ['an empty file', file(''), "nix-archive-1 ( type regular contents '' )", 112],
    ['an empty directory', directory({}), 'nix-archive-1 ( type directory )', 96],
    ['an executable', file('hi', 0o555), "nix-archive-1 ( type regular executable '' contents hi )", 152],
    ['a link', symlink('target'), 'nix-archive-1 ( type symlink target target )', 120],
    [
      'a directory',
      directory({ b: symlink('x'), a: file('12345678') }),
      'nix-archive-1 ( type directory entry ( name a node ( type regular contents 12345678 ) ) entry ( name b node ( type symlink target x ) ) )',
      480,
    ],
  ])('is byte for byte the grammar for %s', (_what, node, text, size) => {
    expect(narOf(node)).toEqual(words(text))
    expect(narSize(node, 'x')).toBe(size)
  })

  it('sorts entries by bytes', () => {
    const names = ['\x7f', 'a', 'B', '\xff', '\x80', 'a.', 'a0', '\xed\xa0\x80', '\xf0\x9f\x98\x80', '\xee\x80\x80']
    const node = readNar(narOf(directory(Object.fromEntries(names.map((name) => [name, file('')])))))
    expect(node.type === 'directory' && [...node.entries.keys()]).toEqual([
      'B',
      'a',
      'a.',
      'a0',
      '\x7f',
      '\x80',
      '\xed\xa0\x80',
      '\xee\x80\x80',
      '\xf0\x9f\x98\x80',
      '\xff',
    ])
  })

  it('has few pieces: framing between two files is one', () => {
    const tree = directory({
      a: file('x'),
      b: directory({ c: symlink('y'), d: directory({}), e: file('') }),
      f: file('z'),
      g: file('', 0o555),
    })
    const pieces = [...narPieces(tree)]
    expect(pieces.map((piece) => ('kind' in piece ? 'file' : 'bytes'))).toEqual(['bytes', 'file', 'bytes', 'file', 'bytes'])
    const wide = directory(Object.fromEntries(Array.from({ length: 3000 }, (_, index) => [`link-${index}`, symlink('t'.repeat(4000))])))
    for (const piece of narPieces(wide)) expect('kind' in piece ? 0 : piece.length).toBeLessThan(80_000)
  })

  it('gives the same pieces at every call, and pieces that later ones do not overwrite', () => {
    const digest = narDigest('x', directory({ a: file('1'), b: file('2') }), new Uint8Array(32))
    expect([...digest.pieces()]).toEqual([...digest.pieces()])
    expect(digest).toMatchObject({ name: 'x', algorithm: 'sha256', expected: new Uint8Array(32) })
  })

  it('restores a nasty folder to the same tree', () => {
    makeNastyTree(scratch('nasty'))
    const tree = scanHost(scratch('nasty'), storePolicy())
    const nar = narOf(tree)
    expect(nar.length).toBe(narSize(tree, 'nasty'))
    expect(isDeepStrictEqual(readNar(nar), expected(tree))).toBe(true)
  })

  it('is read by a reader that refuses what is wrong', () => {
    const nar = narOf(directory({ a: file('x'), b: symlink('y') }))
    expect(() => readNar(nar.subarray(0, -8))).toThrow('ends within')
    expect(() => readNar(Buffer.concat([nar, Buffer.alloc(8)]))).toThrow('after the end')
    for (let position = 0; position < nar.length; position++) {
      const changed = Buffer.from(nar)
      changed[position] = (changed[position] ?? 0) ^ 0x20
      let same = false
      try {
        same = narOf(expectedTree(readNar(changed))).equals(nar)
      } catch {}
      expect(same, `byte ${position}`).toBe(false)
    }
    expect(() =>
      readNar(words('nix-archive-1 ( type directory entry ( name b node ( type directory ) ) entry ( name a node ( type directory ) ) )')),
    ).toThrow('out of order')
    expect(() => readNar(words('nix-archive-1 ( type directory entry ( name .. node ( type directory ) ) )'))).toThrow("name '..'")
  })

  it('checks levels, names, targets and kinds', async () => {
    let deep: TreeNode = file('x')
    for (let level = 1; level < 64; level++) deep = directory({ d: deep })
    expect(narSize(deep, 'x')).toBeGreaterThan(64)
    await failure(() => narSize(directory({ d: deep }), 'x'), 'LIMIT', /^x(\/d){63,64}: lies 65 levels deep; Nix allows 64/)
    for (const name of ['', '.', '..', 'a/b', 'a\0b'])
      await failure(() => narSize(directory({ [name]: file('') }), 'x'), 'BAD_INPUT', /cannot be the name/)
    await failure(() => narSize(directory({ ['n'.repeat(256)]: file('') }), 'x'), 'LIMIT', /256 bytes, the limit is 255/)
    await failure(() => narSize(directory({ s: symlink('') }), 'x'), 'LIMIT', /x\/s: the link target has 0 bytes/)
    await failure(() => narSize(directory({ s: symlink('t'.repeat(4096)) }), 'x'), 'LIMIT', /4096 bytes/)
    await failure(
      () =>
        narDigest(
          'x',
          { kind: 'directory', ...attributes, entries: [1, 2].map(() => ({ name: Buffer.from('a'), node: file('') })) },
          new Uint8Array(32),
        ),
      'BAD_INPUT',
      /two entries named a/,
    )
    await failure(
      () => narDigest('x', directory({ p: { kind: 'fifo', ...attributes } }), new Uint8Array(32)),
      'UNSUPPORTED',
      /x\/p: is a fifo/,
    )
  })

  it('counts in 64 bits', () => {
    const image = { size: 5 * 2 ** 32 + 3, extents: [] }
    const large: FileNode = { kind: 'file', ...attributes, size: image.size, content: { kind: 'image', image } }
    const [head] = narPieces(large)
    expect(head instanceof Uint8Array && Buffer.from(head).subarray(-8).readBigUInt64LE()).toBe(BigInt(image.size))
    expect(narSize(large, 'x')).toBe(112 + 5 * 2 ** 32 + 8)
  })
})

/** The reader's tree as nodes again. */
function expectedTree(node: NarNode): TreeNode {
  switch (node.type) {
    case 'regular':
      return file(node.contents.toString('latin1'), node.executable ? 0o555 : 0o444)
    case 'symlink':
      return symlink(node.target)
    case 'directory':
      return directory(Object.fromEntries([...node.entries].map(([name, child]) => [name, expectedTree(child)])))
  }
}

const nix = oracle('nix-store')
describe.skipIf(nix.skip)('NAR by nix-store', () => {
  const scratch = scratchFolder()

  it('is what nix-store --dump writes and nix-hash hashes, of a nasty folder', () => {
    makeNastyTree(scratch('nasty'))
    const nar = narOf(scanHost(scratch('nasty'), storePolicy()))
    expect(runOk('nix-store', ['--dump', scratch('nasty')]).stdout.equals(nar)).toBe(true)
    const digest = createHash('sha256').update(nar).digest()
    expect(runOk('nix-hash', ['--type', 'sha256', '--base32', scratch('nasty')]).text.trim()).toBe(formatNix32(digest))
  })

  it('is restored by nix-store to the folder it came from', () => {
    makeNastyTree(scratch('origin'))
    const nar = narOf(scanHost(scratch('origin'), storePolicy()))
    runOk('nix-store', ['--restore', scratch('restored')], { input: nar })
    expect(narOf(scanHost(scratch('restored'), storePolicy())).equals(nar)).toBe(true)
    nar[nar.length - 9] = 1
    expect(() => runOk('nix-store', ['--restore', scratch('broken')], { input: nar })).toThrow(/exit status 1/)
  })
})
