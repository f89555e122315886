/** Trees and packed volumes for the tests of iso9660. */
import { mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { type Iso9660Options, iso9660 } from '../../../src/filesystems/iso9660/index.ts'
import { FileTarget } from '../../../src/io/file-target.ts'
import type { GrowingImage, Image } from '../../../src/io/image.ts'
import { BufferTarget } from '../../../src/io/target.ts'
import type { DirectoryNode, Entry, FileNode, TreeNode } from '../../../src/tree/tree.ts'
import type { ReadAt } from '../../readers/iso9660-reader.ts'

export const EPOCH = 315532800
export const owner = { uid: 0, gid: 0, mtimeSeconds: EPOCH } as const

export function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'))
}

export function file(content: string | Uint8Array, extra: Partial<FileNode> = {}): FileNode {
  const bytes = typeof content === 'string' ? bytesOf(content) : content
  return { kind: 'file', mode: 0o444, ...owner, size: bytes.length, content: { kind: 'bytes', bytes }, ...extra }
}

/** Names are latin1 of their bytes. */
export function directory(entries: Readonly<Record<string, TreeNode>>): DirectoryNode {
  return {
    kind: 'directory',
    mode: 0o555,
    ...owner,
    entries: Object.entries(entries).map(([name, node]): Entry => ({ name: bytesOf(name), node })),
  }
}

export function symlink(target: string): TreeNode {
  return { kind: 'symlink', mode: 0o777, ...owner, target: bytesOf(target) }
}

/** Everything that has ever gone wrong in a directory record. */
export function nastyTree(): DirectoryNode {
  const linked = file('one inode, three names', { mode: 0o555, uid: 1000, gid: 100, mtimeSeconds: 1_700_000_001 })
  const equal: Record<string, TreeNode> = {}
  for (let i = 0; i < 200; i++)
    equal[`a${String.fromCharCode(33 + (i % 14))}${'+'.repeat(1 + Math.floor(i / 14))}.name`] = file(`equal ${i}`)
  let deep: DirectoryNode = directory({ bottom: file('forty levels down') })
  for (let level = 40; level > 0; level--) deep = directory({ [`level-${level}`]: deep })
  const many: Record<string, TreeNode> = {}
  for (let i = 0; i < 500; i++) many[`entry-${i}`] = i % 50 === 0 ? directory({ [`in-${i}`]: file(`${i}`) }) : file(`many ${i}`)
  return directory({
    deep,
    equal: directory(equal),
    many: directory(many),
    'empty directory': directory({}),
    'empty file': file(''),
    'empty file 2': file(''),
    'one block': file(new Uint8Array(2048).fill(7)),
    'one block and a byte': file(new Uint8Array(2049).fill(8)),
    'hard link a': linked,
    links: directory({ 'hard link b': linked, 'hard link c': linked }),
    case: directory({
      readme: file('1'),
      README: file('2'),
      Readme: file('3'),
      'README.': file('4'),
      '.readme': file('5'),
      'read.me': file('6'),
      'read.ME': file('7'),
    }),
    order: directory({
      'A.B': file('1'),
      A: file('2'),
      'A-': file('3'),
      'A.0': file('4'),
      A0: file('5'),
      AA: directory({}),
      'AA.': file('6'),
      'a b': file('7'),
    }),
    ['x'.repeat(255)]: file('a name of 255 bytes'),
    [`${'y'.repeat(250)}.tar`]: directory({ ['z'.repeat(255)]: symlink('t'.repeat(255)) }),
    [`${'\xff'.repeat(100)}`]: file('a name that is not UTF-8'),
    '\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xbf': file('a umlaut, euro sign, beyond the BMP'),
    'new\nline\ttab\x01': file('control characters'),
    'a*b:c;d?e\\f': file('forbidden in Joliet'),
    '-': file('dash'),
    '~': file('tilde'),
    '...': file('three dots'),
    '.hidden': file('hidden'),
    'two.dots.tar.gz': file('dots'),
    'a.very long extension beyond sixteen': file('extension'),
    symlinks: directory({
      absolute: symlink('/nix/store/eeee-name/bin/sh'),
      root: symlink('/'),
      relative: symlink('../../up/./here'),
      dot: symlink('.'),
      parent: symlink('..'),
      trailing: symlink('dir/'),
      doubled: symlink('a//b///c'),
      doubledRoot: symlink('//host/share'),
      dots: symlink('.../..a/.b'),
      bytes: symlink('\xff\xfe/\x80'),
      long: symlink(`${'component/'.repeat(409)}end12`),
      longComponents: symlink(
        Array.from({ length: 16 }, (_, i) => String.fromCharCode(97 + i).repeat(255))
          .join('/')
          .slice(0, 4095),
      ),
      longRoot: symlink(`/${'r'.repeat(4094)}`),
    }),
    modes: directory({
      setuid: file('s', { mode: 0o4755 }),
      sticky: { ...directory({}), mode: 0o1777 },
      none: file('n', { mode: 0 }),
      owner: file('o', { uid: 4_000_000_000, gid: 65534 }),
      old: file('before 1970', { mtimeSeconds: -1 }),
      future: file('2155', { mtimeSeconds: 5_869_583_999 }),
    }),
    dev: directory({
      console: { kind: 'characterDevice', mode: 0o600, ...owner, major: 5, minor: 1 },
      sda: { kind: 'blockDevice', mode: 0o660, ...owner, major: 8, minor: 0 },
      large: { kind: 'blockDevice', mode: 0o660, ...owner, major: 259, minor: 70_000 },
      whiteout: { kind: 'characterDevice', mode: 0, ...owner, major: 0, minor: 0 },
      pipe: { kind: 'fifo', mode: 0o644, ...owner },
      socket: { kind: 'socket', mode: 0o755, ...owner },
    }),
  })
}

/** A growing image that turns out to be `bytes`. */
export function growing(bytes: Uint8Array, sizeLimit = bytes.length): GrowingImage {
  return {
    sizeLimit,
    async pack(target, start) {
      await target.write(start, bytes)
      return {
        size: bytes.length,
        extents: [{ start: 0, length: bytes.length, read: () => [bytes] as unknown as AsyncIterable<Uint8Array> }],
      }
    },
  }
}

export const DEFAULT_OPTIONS: Iso9660Options = { volumeId: 'test-volume', mtimeSeconds: EPOCH }

export interface PackedVolume {
  readonly image: Image
  readonly bytes: Buffer
  readonly readAt: ReadAt
}

export async function packToMemory(root: DirectoryNode, options: Partial<Iso9660Options> = {}): Promise<PackedVolume> {
  const target = new BufferTarget()
  const image = await iso9660(root, { ...DEFAULT_OPTIONS, ...options }).pack(target, 0, { jobs: 1 })
  await target.setSize(image.size)
  return inMemory(image, target.bytes)
}

export function inMemory(image: Image, buffer: Uint8Array): PackedVolume {
  const bytes = Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength)
  return {
    image,
    bytes,
    readAt(position, length) {
      if (position + length > bytes.length) throw new Error(`read beyond the image: ${position}+${length}`)
      return bytes.subarray(position, position + length)
    },
  }
}

/** Pack into a file; returns its path and a reader of it. */
export async function packToFile(
  folder: string,
  name: string,
  root: DirectoryNode,
  options: Partial<Iso9660Options> = {},
): Promise<{ path: string; image: Image; readAt: ReadAt }> {
  const path = join(folder, name)
  const handle = await open(path, 'w+')
  const target = new FileTarget(handle, path)
  const image = await iso9660(root, { ...DEFAULT_OPTIONS, ...options }).pack(target, 0, { jobs: 1 })
  await target.setSize(image.size)
  await handle.close()
  const descriptor = openSync(path, 'r')
  const readAt: ReadAt = (position, length) => {
    const bytes = new Uint8Array(length)
    if (readSync(descriptor, bytes, 0, length, position) !== length) throw new Error(`read beyond the image: ${position}+${length}`)
    return bytes
  }
  return { path, image, readAt }
}

/** A folder that is removed after the tests of the file. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kilnix-iso9660-'))
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  return folder
}

/** What a tree holds, by latin1 path: for comparison with what a reader finds. */
export function expectedEntries(root: DirectoryNode): Map<string, TreeNode> {
  const found = new Map<string, TreeNode>()
  const visit = (path: string, node: TreeNode): void => {
    if (node.kind !== 'directory') return
    for (const entry of node.entries) {
      const child = `${path}/${Buffer.from(entry.name).toString('latin1')}`
      found.set(child, entry.node)
      visit(child, entry.node)
    }
  }
  visit('', root)
  return found
}

/** Stand-ins for isolinux.bin (with the bytes that isohybrid code looks for) and a FAT image. */
export function isolinuxLike(length = 5003): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 7 + 3) & 0xff
  bytes.set([0xfb, 0xc0, 0x78, 0x70], 64)
  return bytes
}

export const DISK_GUID = new Uint8Array(Buffer.from('0123456789abcdef0123456789abcdef', 'hex'))
export const BOOT_CODE = new Uint8Array(432).map((_, i) => (i * 3 + 1) & 0xff)

export function bootTree(efiSize = 1474560): DirectoryNode {
  return directory({
    isolinux: directory({ 'isolinux.bin': file(isolinuxLike()), 'isolinux.cfg': file('DEFAULT x\n') }),
    boot: directory({ 'efi.img': file(new Uint8Array(efiSize).fill(0xee)) }),
    'version.txt': file('26.11'),
  })
}

export const BOOT: NonNullable<Iso9660Options['boot']> = {
  catalogPath: '.boot.cat',
  bios: { path: 'isolinux/isolinux.bin' },
  efi: { path: 'boot/efi.img' },
}
