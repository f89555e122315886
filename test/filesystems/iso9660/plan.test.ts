/** Plans as data, and every limit. */
import { describe, expect, it } from 'vitest'
import { type Iso9660Options, iso9660, planIso9660 } from '../../../src/filesystems/iso9660/index.ts'
import type { DirectoryNode, TreeNode } from '../../../src/tree/tree.ts'
import { BOOT, BOOT_CODE, bootTree, DEFAULT_OPTIONS, DISK_GUID, directory, file, growing, owner, symlink } from './volumes.ts'

const plan = (root: DirectoryNode, options: Partial<Iso9660Options> = {}): ReturnType<typeof planIso9660> =>
  planIso9660(root, { ...DEFAULT_OPTIONS, ...options })
const refuse = (code: string, root: DirectoryNode, options: Partial<Iso9660Options> = {}): void => {
  expect(() => plan(root, options)).toThrow(expect.objectContaining({ code }))
  expect(() => iso9660(root, { ...DEFAULT_OPTIONS, ...options })).toThrow(expect.objectContaining({ code }))
}

describe('a plan', () => {
  it('tells the addresses of a small volume', () => {
    const root = directory({ a: file('12345'), b: file(''), d: directory({ c: file(new Uint8Array(5000)) }) })
    expect(plan(root)).toEqual({
      blockSize: 2048,
      volumeId: 'test-volume',
      directoryCount: 2,
      // System area 16, descriptors 3, two trees of two path tables and two directories.
      metadataBlocks: 16 + 3 + 2 * 4,
      files: [
        { path: '/a', block: 28, size: 5 },
        { path: '/b', block: 27, size: 0 },
        { path: '/d/c', block: 29, size: 5000 },
      ],
      // A block for empty files, four of data and 150 of run-out.
      sizeLimit: (27 + 1 + 4 + 150) * 2048,
      sizeIsExact: true,
    })
  })

  it('puts what boots first, the growing file last, and the ESP behind it', () => {
    const growingFile = { path: 'boot/store', mode: 0o444, ...owner, image: growing(new Uint8Array(0), 10_000_000) }
    const result = plan(bootTree(), { boot: BOOT, growingFile, hybrid: { kind: 'gpt', diskGuid: DISK_GUID, bootCode: BOOT_CODE } })
    expect(result.files.map(({ path }) => path)).toEqual(['/.boot.cat', '/isolinux/isolinux.bin', '/isolinux/isolinux.cfg', '/version.txt'])
    expect(result.growingFile?.path).toBe('/boot/store')
    expect(result.espPath).toBe('/boot/efi.img')
    expect(result.sizeIsExact).toBe(false)
    expect(result.sizeLimit % (1 << 20)).toBe(0)
    expect(result.sizeLimit).toBeGreaterThan(10_000_000 + 1474560)
  })

  it('gives empty files an address that no boot file has', () => {
    const tree = bootTree()
    const result = plan({ ...tree, entries: [...tree.entries, { name: Buffer.from('empty'), node: file('') }] }, { boot: BOOT })
    const at = (path: string) => result.files.filter((planned) => planned.path === path).map(({ block }) => block)
    const others = result.files.filter(({ size }) => size > 0).map(({ block }) => block)
    expect(at('/.boot.cat').length + at('/empty').length).toBe(2)
    expect(others).not.toContain(at('/empty')[0])
  })

  it('says 8 TiB of a growing file without limit', () => {
    const growingFile = { path: 'store', mode: 0o444, ...owner, image: growing(new Uint8Array(0), Number.MAX_SAFE_INTEGER) }
    expect(plan(directory({}), { growingFile }).sizeLimit).toBe(0xffffffff * 2048)
  })
})

describe('options', () => {
  it.each([[''], ['x'.repeat(33)], ['gr\u00fcn'], ['line\n']])('refuse the volume id %j', (volumeId) => {
    refuse('LIMIT', directory({}), { volumeId })
  })

  it('refuse a volume id with a blank at its end, which no reader sees', () => {
    refuse('USAGE', directory({}), { volumeId: 'trail ' })
    expect(plan(directory({}), { volumeId: ' in the midst' }).volumeId).toBe(' in the midst')
  })

  it('take a volume id of 32 characters as it is', () => {
    expect(plan(directory({}), { volumeId: 'nixos-gnome_26.11 x86_64'.padEnd(32, 'z') }).volumeId.length).toBe(32)
  })

  it('are checked', () => {
    const root = bootTree()
    refuse('LIMIT', root, { publisherId: 'x'.repeat(129) })
    refuse('USAGE', root, { boot: { catalogPath: 'c' } })
    refuse('LIMIT', root, { boot: { catalogPath: 'c', bios: { path: 'isolinux/isolinux.bin', loadSectors: 65536 } } })
    refuse('NOT_FOUND', root, { boot: { catalogPath: 'c', bios: { path: 'isolinux/nothing' } } })
    refuse('NOT_FOUND', root, { boot: { catalogPath: 'no/such/c', efi: { path: 'boot/efi.img' } } })
    refuse('USAGE', root, { boot: { catalogPath: 'version.txt', efi: { path: 'boot/efi.img' } } })
    refuse('USAGE', root, { boot: { catalogPath: 'c', efi: { path: 'boot' } } })
    refuse('USAGE', root, { boot: { catalogPath: 'c', efi: { path: 'c' } } })
    const growingFile = { path: 'store', mode: 0, ...owner, image: growing(new Uint8Array(9)) }
    refuse('USAGE', root, { boot: { catalogPath: 'c', bios: { path: 'store' } }, growingFile })
    refuse('USAGE', root, { boot: { catalogPath: 'c', efi: { path: 'version.txt' }, bios: { path: 'version.txt' } } })
    refuse('USAGE', directory({ e: file('') }), { boot: { catalogPath: 'c', efi: { path: 'e' } } })
    refuse('USAGE', root, { boot: BOOT, hybrid: { kind: 'gpt', diskGuid: new Uint8Array(15) } })
    refuse('LIMIT', root, { boot: BOOT, hybrid: { kind: 'gpt', diskGuid: DISK_GUID, bootCode: new Uint8Array(433) } })
    refuse('USAGE', root, { hybrid: { kind: 'nixpkgs', diskGuid: DISK_GUID, bootCode: BOOT_CODE } })
    refuse('USAGE', root, { growingFile: { path: 'version.txt', mode: 0, ...owner, image: growing(new Uint8Array(0)) } })
    refuse('LIMIT', root, { mtimeSeconds: 1e12 })
  })
})

describe('nodes', () => {
  const image = (size: number): TreeNode => ({
    kind: 'file',
    mode: 0,
    ...owner,
    size,
    content: { kind: 'image', image: { size, extents: [] } },
  })

  it.each<[string, string, TreeNode]>([
    ['LIMIT', 'n'.repeat(256), file('')],
    ['USAGE', '..', file('')],
    ['USAGE', 'a/b', file('')],
    ['USAGE', '', file('')],
    ['USAGE', 'a\0', file('')],
    ['LIMIT', 'link', symlink('t'.repeat(4096))],
    ['USAGE', 'link', symlink('')],
    ['LIMIT', 'time', file('', { mtimeSeconds: 6e9 })],
    ['LIMIT', 'device', { kind: 'blockDevice', mode: 0, ...owner, major: 0, minor: 256 }],
    ['UNSUPPORTED', 'xattr', file('', { xattrs: [{ name: 'user.x', value: new Uint8Array(1) }] })],
    ['USAGE', 'content', file('123', { size: 4 })],
    ['LIMIT', 'file', image(2 ** 43)],
  ])('%s: %j', (code, name, node) => {
    refuse(code, directory({ [name]: node }))
  })

  it('refuses equal names, and volumes beyond 2^32 blocks in sum', () => {
    refuse('USAGE', {
      kind: 'directory',
      mode: 0,
      ...owner,
      entries: [1, 2].map(() => ({ name: new Uint8Array([65]), node: file('') })),
    })
    const half = image(2 ** 42)
    refuse('LIMIT', directory({ a: half, b: image(2 ** 42) }))
    expect(plan(directory({ a: half, b: half })).files.length).toBe(1)
  })

  it('refuses links and devices without Rock Ridge', () => {
    refuse('UNSUPPORTED', directory({ l: symlink('t') }), { rockRidge: false })
  })

  it('refuses a tree that contains itself, and more than 65,535 directories', () => {
    const entries: { name: Uint8Array; node: TreeNode }[] = []
    const loop: DirectoryNode = { kind: 'directory', mode: 0, ...owner, entries }
    entries.push({ name: new Uint8Array([65]), node: loop })
    refuse('LIMIT', loop)
    const leaf = directory({})
    const wide = {
      ...leaf,
      entries: Array.from({ length: 256 }, (_, i) => ({ name: new Uint8Array([1 + (i >> 4), 65 + (i & 15)]), node: leaf })),
    }
    refuse('LIMIT', { ...leaf, entries: wide.entries.map(({ name }) => ({ name, node: wide })) }, { joliet: false })
  })
})
