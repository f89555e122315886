/** Round trips through the strict reader of test/readers. */
import { describe, expect, it } from 'vitest'
import type { DirectoryNode, FileNode } from '../../../src/tree/tree.ts'
import { type IsoEntry, type IsoImage, readIso } from '../../readers/iso9660-reader.ts'
import {
  BOOT,
  BOOT_CODE,
  bootTree,
  DISK_GUID,
  directory,
  EPOCH,
  expectedEntries,
  file,
  growing,
  nastyTree,
  owner,
  type PackedVolume,
  packToMemory,
  symlink,
} from './volumes.ts'

function compareWithTree(iso: IsoImage, root: DirectoryNode, ignore: readonly string[] = []): void {
  const expected = expectedEntries(root)
  const found = new Map(iso.primary.entries.map((entry) => [entry.path, entry]))
  expect([...found.keys()].filter((path) => !ignore.includes(path)).sort()).toEqual(
    [...expected.keys()].filter((path) => !ignore.includes(path)).sort(),
  )
  for (const [path, node] of expected) {
    if (ignore.includes(path)) continue
    const entry = found.get(path) as IsoEntry
    expect([path, entry.kind, entry.mode, entry.uid, entry.gid, entry.mtimeSeconds]).toEqual([
      path,
      node.kind,
      node.mode,
      node.uid,
      node.gid,
      node.mtimeSeconds,
    ])
    if (node.kind === 'symlink') expect(entry.target).toBe(Buffer.from(node.target).toString('latin1'))
    if (node.kind === 'file') expect(iso.content(entry).equals((node.content as { bytes: Uint8Array }).bytes)).toBe(true)
  }
}

/** No two files share a block, none lies in the metadata. */
function checkOverlap(iso: IsoImage): void {
  const used = new Map<number, string>()
  for (const entry of iso.primary.entries) {
    for (const { block, length } of entry.extents) {
      for (let i = block; i < block + Math.ceil(length / 2048); i++) {
        const owner = used.get(i) ?? `${entry.serial}`
        expect(owner).toBe(`${entry.serial}`)
        used.set(i, owner)
      }
    }
  }
}

describe('a nasty tree', async () => {
  const root = nastyTree()
  const packed = await packToMemory(root)
  const iso = readIso(packed.readAt)

  it('comes back with every name, mode, owner, time, link and byte', () => {
    compareWithTree(iso, root)
    checkOverlap(iso)
    expect(iso.primary.volumeId).toBe('test-volume')
    expect(iso.primary.spaceSize * 2048).toBe(packed.bytes.length)
  })

  it('keeps hard links: one serial number, three links', () => {
    const links = iso.primary.entries.filter((entry) => entry.path.includes('hard link'))
    expect(links.map((entry) => entry.linkCount)).toEqual([3, 3, 3])
    expect(new Set(links.map((entry) => entry.serial)).size).toBe(1)
    expect(new Set(links.map((entry) => entry.extents[0]?.block)).size).toBe(1)
    const others = iso.primary.entries.filter((entry) => !entry.path.includes('hard link'))
    expect(new Set(others.map((entry) => entry.serial)).size).toBe(others.length)
  })

  it('counts the links of directories as POSIX does', () => {
    const linkCount = (path: string): number | undefined => iso.primary.entries.find((entry) => entry.path === path)?.linkCount
    expect(linkCount('/empty directory')).toBe(2)
    expect(linkCount('/many')).toBe(12)
  })

  it('tells devices', () => {
    const device = (path: string): unknown => iso.primary.entries.find((entry) => entry.path === path)?.device
    expect(device('/dev/console')).toEqual({ high: 0, low: 0x501 })
    expect(device('/dev/large')).toEqual({ high: 259, low: 70_000 })
    expect(device('/dev/whiteout')).toEqual({ high: 0, low: 0 })
  })

  it('shows the files of the primary tree in Joliet, under names that are unique', () => {
    const shown = iso.joliet?.entries ?? []
    const kept = iso.primary.entries.filter((entry) => entry.kind === 'file' || entry.kind === 'directory')
    expect(shown.length).toBe(kept.length)
    expect(new Set(shown.map((entry) => entry.path)).size).toBe(shown.length)
    const extents = (entries: readonly IsoEntry[]): string[] => entries.map((entry) => JSON.stringify(entry.extents)).sort()
    expect(extents(shown)).toEqual(extents(kept))
    const names = shown.map((entry) => entry.identifier)
    expect(names).toContain('ä€_')
    expect(names).toContain('a_b_c_d_e_f')
    expect(names).toContain(`${'y'.repeat(64)}`)
    expect(names).toContain('two.dots.tar.gz')
  })

  it('reads the same from the extents that pack returns', async () => {
    const copy = Buffer.alloc(packed.image.size)
    let end = 0
    for (const extent of packed.image.extents) {
      expect(extent.start).toBeGreaterThanOrEqual(end)
      end = extent.start + extent.length
      let at = extent.start
      for await (const chunk of extent.read()) {
        copy.set(chunk, at)
        at += chunk.length
      }
      expect(at).toBe(end)
    }
    expect(copy.equals(packed.bytes)).toBe(true)
  })

  it('is the same whatever the order of entries', async () => {
    const reversed = (node: DirectoryNode): DirectoryNode => ({
      ...node,
      entries: [...node.entries]
        .reverse()
        .map((entry) => (entry.node.kind === 'directory' ? { ...entry, node: reversed(entry.node) } : entry)),
    })
    expect((await packToMemory(reversed(root))).bytes.equals(packed.bytes)).toBe(true)
  })
})

describe('variants', () => {
  it('does without Rock Ridge', async () => {
    const packed = await packToMemory(directory({ 'read.me': file('x'), READ: directory({}) }), { rockRidge: false, joliet: false })
    const iso = readIso(packed.readAt)
    expect(iso.primary.entries.map((entry) => entry.path)).toEqual(['/READ', '/READ.ME;1'])
    expect(iso.joliet).toBeUndefined()
    expect(packed.bytes.includes('RRIP')).toBe(false)
  })

  it('holds a directory of 5,000 entries', async () => {
    const entries: Record<string, FileNode> = {}
    for (let i = 0; i < 5000; i++) entries[`a-long-name-that-is-alike-in-its-first-thirty-bytes-${i}`] = file('')
    const iso = readIso((await packToMemory(directory({ d: directory(entries) }))).readAt)
    expect(iso.primary.entries.length).toBe(5001)
    expect(iso.joliet?.entries.length).toBe(5001)
  })
})

describe('a growing file', () => {
  const attributes = { ...owner, mode: 0o444 }
  const content = new Uint8Array(10_001).fill(5)

  it('lies behind all others and is named by records of its real size', async () => {
    // Room for 26 sections: the directory is planned larger than it comes out.
    const growingFile = { path: 'd/store', ...attributes, image: growing(content, 26 * 2 ** 32 - 10 ** 6) }
    const root = directory({ d: directory({ s: symlink('t') }), z: file('last') })
    const packed = await packToMemory(root, { growingFile })
    const iso = readIso(packed.readAt)
    const store = iso.primary.entries.find((entry) => entry.path === '/d/store') as IsoEntry
    expect(iso.content(store).equals(content)).toBe(true)
    expect(iso.joliet?.entries.find((entry) => entry.path === '/d/store')?.extents).toEqual(store.extents)
    const block = store.extents[0]?.block ?? 0
    expect(block % 2).toBe(0)
    for (const entry of iso.primary.entries)
      if (entry !== store) for (const extent of entry.extents) expect(extent.block).toBeLessThan(block)
  })

  it('may be empty', async () => {
    const packed = await packToMemory(directory({}), {
      growingFile: { path: 'store', ...attributes, image: growing(new Uint8Array(0), 100) },
    })
    expect(readIso(packed.readAt).primary.entries[0]).toMatchObject({ path: '/store', size: 0 })
  })
})

describe('booting', async () => {
  const root = bootTree()
  const content = new Uint8Array(3_000_001).fill(9)
  const growingFile = { path: 'nix-store.squashfs', mode: 0o444, ...owner, image: growing(content, 10 ** 10) }
  const pack = (hybrid: Parameters<typeof packToMemory>[1]): Promise<PackedVolume> =>
    packToMemory(root, { boot: BOOT, growingFile, ...hybrid })
  const changed = ['/.boot.cat', '/nix-store.squashfs', '/isolinux/isolinux.bin']

  it.each([
    ['none', await pack({})],
    ['gpt', await pack({ hybrid: { kind: 'gpt', diskGuid: DISK_GUID, bootCode: BOOT_CODE } })],
    ['nixpkgs', await pack({ hybrid: { kind: 'nixpkgs', diskGuid: DISK_GUID, bootCode: BOOT_CODE } })],
  ])('%s: catalogue and boot info table name the files', (_, packed) => {
    const iso = readIso(packed.readAt)
    compareWithTree(iso, root, changed)
    const bios = iso.primary.entries.find((entry) => entry.path === '/isolinux/isolinux.bin') as IsoEntry
    const efi = iso.primary.entries.find((entry) => entry.path === '/boot/efi.img') as IsoEntry
    expect(iso.boot).toEqual([
      { platform: 0, sectorCount: 4, block: bios.extents[0]?.block },
      { platform: 0xef, sectorCount: 2880, block: efi.extents[0]?.block },
    ])
    expect(iso.primary.entries.find((entry) => entry.path === '/.boot.cat')?.extents[0]?.block).toBe(iso.catalogBlock)
    const image = iso.content(bios)
    expect(image.readUInt32LE(8)).toBe(16)
    expect(image.readUInt32LE(12)).toBe(bios.extents[0]?.block)
    expect(image.readUInt32LE(16)).toBe(5003)
    let sum = 0
    const padded = Buffer.concat([image, Buffer.alloc(1)])
    for (let i = 64; i < padded.length; i += 4) sum = (sum + padded.readUInt32LE(i)) >>> 0
    expect(image.readUInt32LE(20)).toBe(sum)
    expect(image.subarray(24, 64).every((byte) => byte === 0)).toBe(true)
  })

  it('gpt: the partition from sector 64 is a volume of its own, without the ESP that lies behind it', async () => {
    const packed = await pack({ hybrid: { kind: 'gpt', diskGuid: DISK_GUID, bootCode: BOOT_CODE } })
    const whole = readIso(packed.readAt)
    const efi = whole.primary.entries.find((entry) => entry.path === '/boot/efi.img') as IsoEntry
    const efiStart = (efi.extents[0]?.block ?? 0) * 2048
    expect(efiStart % (1 << 20)).toBe(0)
    expect(packed.bytes.length % (1 << 20)).toBe(0)
    // Nothing of the partition's volume may lie outside of it.
    const partition = packed.bytes.subarray(64 * 512, efiStart)
    const readAt = (position: number, length: number): Uint8Array => {
      if (position + length > partition.length) throw new Error('beyond the partition')
      return partition.subarray(position, position + length)
    }
    const part = readIso(readAt)
    expect(part.primary.spaceSize * 2048).toBe(partition.length)
    expect(part.primary.volumeId).toBe('test-volume')
    expect(part.boot).toEqual([])
    const strip = (entries: readonly IsoEntry[]): unknown[] =>
      entries.filter((entry) => entry !== efi && entry.path !== '/boot/efi.img').map(({ extents: _, ...entry }) => entry)
    expect(strip(part.primary.entries)).toEqual(strip(whole.primary.entries))
    expect(strip(part.joliet?.entries ?? [])).toEqual(strip(whole.joliet?.entries ?? []))
    expect(part.primary.entries.length).toBe(whole.primary.entries.length - 1)
    const store = part.primary.entries.find((entry) => entry.path === '/nix-store.squashfs') as IsoEntry
    expect(part.content(store).equals(content)).toBe(true)
  })

  it('tells an EFI image beyond 65,535 sectors as 0, and makes EFI the default entry when it is alone', async () => {
    const packed = await packToMemory(bootTree(40 << 20), { boot: { catalogPath: '.boot.cat', efi: { path: 'boot/efi.img' } } })
    expect(readIso(packed.readAt).boot).toMatchObject([{ platform: 0xef, sectorCount: 0 }])
  })

  it('leaves a boot file without info table alone', async () => {
    const packed = await packToMemory(root, {
      boot: { catalogPath: 'c', bios: { path: 'isolinux/isolinux.bin', bootInfoTable: false, loadSectors: 10 } },
    })
    const iso = readIso(packed.readAt)
    compareWithTree(iso, root, ['/c'])
    expect(iso.boot).toMatchObject([{ platform: 0, sectorCount: 10 }])
  })
})

describe('the reader itself', async () => {
  const root = directory({ a: file('a'), b: symlink('c'.repeat(300)), d: directory({ e: file('e', { mtimeSeconds: EPOCH }) }) })
  const packed = await packToMemory(root, { boot: { catalogPath: 'k', efi: { path: 'a' } } })

  it('accepts the volume unchanged', () => {
    compareWithTree(readIso(packed.readAt), root, ['/k'])
  })

  const rootBlock = packed.bytes.readUInt32LE(16 * 2048 + 158)
  const catalogBlock = packed.bytes.readUInt32LE(17 * 2048 + 71)
  const record = rootBlock * 2048 + packed.bytes.readUInt8(rootBlock * 2048) + 2
  it.each([
    ['standard identifier', 16 * 2048 + 1],
    ['volume space size, big endian', 16 * 2048 + 84],
    ['path table address', 16 * 2048 + 140],
    ['extent of the root', 16 * 2048 + 158],
    ['path table entry', packed.bytes.readUInt32LE(16 * 2048 + 140) * 2048 + 2],
    ['block of a record', rootBlock * 2048 + 2],
    ['directory flag', rootBlock * 2048 + packed.bytes.readUInt8(rootBlock * 2048) + 25],
    ['length of a record', record],
    ['a field of Rock Ridge', packed.bytes.indexOf('PX', record)],
    ['the first field of Rock Ridge', packed.bytes.indexOf('SP')],
    ['a continuation', packed.bytes.indexOf('CE', rootBlock * 2048) + 4],
    ['the catalogue', catalogBlock * 2048 + 1],
    ['content', catalogBlock * 2048 + 2048],
  ])('refuses a volume with a changed byte: %s', (_, position) => {
    const bytes = Buffer.from(packed.bytes)
    bytes[position] = (bytes[position] ?? 0) ^ 0x15
    expect(() => {
      compareWithTree(
        readIso((at, length) => bytes.subarray(at, at + length)),
        root,
        ['/k'],
      )
    }).toThrow()
  })
})
