/** Laying trees over each other: folders merge, anything else is a conflict. */
import { describe, expect, it } from 'vitest'
import { mergeTrees, treeAt } from '../../src/tree/merge.ts'
import type { Attributes, DirectoryNode, FileNode, TreeNode } from '../../src/tree/tree.ts'

const ATTRIBUTES: Attributes = { mode: 0o555, uid: 0, gid: 0, mtimeSeconds: 1 }
const file = (text: string): FileNode => ({
  kind: 'file',
  ...ATTRIBUTES,
  size: text.length,
  content: { kind: 'bytes', bytes: Buffer.from(text) },
})
const directory = (children: Readonly<Record<string, TreeNode>>, mode = 0o555): DirectoryNode => ({
  kind: 'directory',
  ...ATTRIBUTES,
  mode,
  entries: Object.entries(children).map(([name, node]) => ({ name: Buffer.from(name), node })),
})

/** Paths of all but the root, in the order of the tree; folders with a slash. */
function paths(node: DirectoryNode, above = ''): string[] {
  return node.entries.flatMap(({ name, node: child }) => {
    const path = `${above}/${Buffer.from(name).toString()}`
    return child.kind === 'directory' ? [`${path}/`, ...paths(child, path)] : [path]
  })
}

describe('mergeTrees', () => {
  it('merges folders at every depth and leaves its trees as they are', () => {
    const a = directory({ boot: directory({ kernel: file('k') }, 0o700), version: file('1') })
    const b = directory({ boot: directory({ grub: directory({ cfg: file('c') }) }, 0o755) })
    const c = directory({ boot: directory({ grub: directory({ font: file('f') }) }), empty: directory({}) })
    const merged = mergeTrees(a, b, c)
    expect(paths(merged)).toEqual(['/boot/', '/boot/kernel', '/boot/grub/', '/boot/grub/cfg', '/boot/grub/font', '/version', '/empty/'])
    expect(merged.entries[0]?.node.mode).toBe(0o700)
    expect(paths(a)).toEqual(['/boot/', '/boot/kernel', '/version'])
    expect(paths(b)).toEqual(['/boot/', '/boot/grub/', '/boot/grub/cfg'])
    expect(mergeTrees(a)).toEqual(a)
  })

  it.each<[string, TreeNode, TreeNode]>([
    ['two files', file('a'), file('a')],
    ['a file and a folder', file('a'), directory({})],
    ['a folder and a file', directory({}), file('a')],
    [
      'two links',
      { kind: 'symlink', ...ATTRIBUTES, target: Buffer.from('x') },
      { kind: 'symlink', ...ATTRIBUTES, target: Buffer.from('x') },
    ],
  ])('refuses %s of one name', (_what, one, other) => {
    expect(() => mergeTrees(directory({ sub: directory({ it: one }) }), directory({ sub: directory({ it: other }) }))).toThrow(
      expect.objectContaining({ code: 'USAGE', path: '/sub/it', message: '/sub/it: is in the image already; choose another target' }),
    )
  })

  it('compares names as bytes', () => {
    const named = (...bytes: number[]): DirectoryNode => ({
      ...directory({}),
      entries: [{ name: Uint8Array.from(bytes), node: file('x') }],
    })
    // Both are no UTF-8 and would be one and the same replacement character; then two ways to write one letter.
    expect(mergeTrees(named(0xff), named(0xfe)).entries).toHaveLength(2)
    expect(mergeTrees(named(...Buffer.from('é'.normalize('NFC'))), named(...Buffer.from('é'.normalize('NFD')))).entries).toHaveLength(2)
    expect(() => mergeTrees(named(0xff), named(0xff))).toThrow(expect.objectContaining({ path: '/\\xff' }))
  })
})

describe('treeAt', () => {
  it.each([
    ['x', ['/x']],
    ['/x', ['/x']],
    ['//a///b/x/', ['/a/', '/a/b/', '/a/b/x']],
    ['grün/…', ['/grün/', '/grün/…']],
    ['.boot.cat', ['/.boot.cat']],
    ['...', ['/...']],
  ])('%s', (path, expected) => {
    const tree = treeAt(path, file('x'), { ...ATTRIBUTES, mode: 0o700 })
    expect(paths(tree)).toEqual(expected)
    expect(tree.mode).toBe(0o700)
  })

  it.each(['', '/', '//', '.', '..', '../x', '/a/../x', 'a/./x', 'a/..', 'a\0b'])('refuses %j', (path) => {
    expect(() => treeAt(path, file('x'), ATTRIBUTES)).toThrow(expect.objectContaining({ code: 'USAGE', path }))
  })
})
