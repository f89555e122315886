import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { efiArchitecture, efiBoot, espTree, findSyslinux, isoBootTree, menuEntries, systemdBootPath } from '../../src/boot/index.ts'
import { DOS_HEADER, efiMachine, PE_HEADER } from '../../src/boot/pe.ts'
import type { DirectoryNode, FileNode, TreeNode } from '../../src/tree/tree.ts'
import { bootspec, INITRD, KERNEL } from './bootspecs.ts'

const root = mkdtempSync(join(tmpdir(), 'kilnix-boot-'))
afterAll(() => rmSync(root, { recursive: true }))

/** An EFI program by the book: headers only, then `text`. */
function program(machine: number, text = '', subsystem = 10): Buffer {
  const dos = DOS_HEADER.encode({ magic: Buffer.from('MZ'), peOffset: 128 })
  const pe = PE_HEADER.encode({ signature: Buffer.from('PE\0\0'), machine, optionalHeaderSize: 240, optionalMagic: 0x20b, subsystem })
  return Buffer.concat([dos, Buffer.alloc(128 - dos.length), pe, Buffer.from(text, 'latin1')])
}

/** What stands behind `mimg` in an image of GRUB: the size of all, a module of another kind, and the prefix. */
function modules(bits: 32 | 64, prefix: string): string {
  const module = (type: number, text: string): Buffer => {
    const bytes = Buffer.alloc(8 + text.length + 4)
    bytes.writeUInt32LE(type, 0)
    bytes.writeUInt32LE(bytes.length, 4)
    bytes.write(text, 8, 'latin1')
    return bytes
  }
  const list = Buffer.concat([module(0, 'ELF'), module(3, prefix)])
  const head = Buffer.alloc(bits === 64 ? 20 : 8)
  if (bits === 64) {
    head.writeBigUInt64LE(24n, 4)
    head.writeBigUInt64LE(BigInt(24 + list.length), 12)
  } else {
    head.writeUInt32LE(12, 0)
    head.writeUInt32LE(12 + list.length, 4)
  }
  return Buffer.concat([head, list]).toString('latin1')
}

/** What lies in the EFI system partition and in the ISO. */
async function trees(files: Record<string, string | Buffer>) {
  const efi = await efiBoot(folder(files), 'x86_64-linux')
  const menu = menuEntries(bootspec())
  const node: FileNode = {
    kind: 'file',
    mode: 0o444,
    uid: 0,
    gid: 0,
    mtimeSeconds: 0,
    size: 0,
    content: { kind: 'bytes', bytes: Buffer.alloc(0) },
  }
  const kernels = new Map(menu.files.map((file) => [file, node]))
  const esp = espTree(efi, menu, kernels, { mtimeSeconds: 0 })
  return { efi, esp, iso: isoBootTree({ menu, kernels, efi, esp }, { mtimeSeconds: 0 }).tree }
}

function textAt(tree: DirectoryNode, path: string): string {
  let node: TreeNode | undefined = tree
  for (const name of path.split('/'))
    node = node?.kind === 'directory' ? node.entries.find((entry) => Buffer.from(entry.name).toString() === name)?.node : undefined
  return node?.kind === 'file' && node.content.kind === 'bytes' ? Buffer.from(node.content.bytes).toString() : ''
}

let folders = 0
function folder(files: Record<string, string | Buffer>): string {
  const path = join(root, String(folders++))
  mkdirSync(path)
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), content)
  }
  return path
}

const SYSTEMD_BOOT = program(0x8664, '\0#### LoaderInfo: systemd-boot 257.9 ####\0')
const GRUB = program(0x8664, '\0Welcome to GRUB!\n\0')

describe('EFI programs', () => {
  test('the header fields are where the specification says', () => {
    const bytes = program(0xaa64)
    expect(bytes.toString('latin1', 0, 2)).toBe('MZ')
    expect(bytes.readUInt32LE(0x3c)).toBe(128)
    expect(bytes.toString('latin1', 128, 132)).toBe('PE\0\0')
    expect(bytes.readUInt16LE(128 + 4)).toBe(0xaa64)
    expect(bytes.readUInt16LE(128 + 24 + 68)).toBe(10)
    expect(efiMachine(bytes, 'x')).toBe(0xaa64)
  })

  test.each([
    ['an ELF file', Buffer.from('\x7fELF'.padEnd(200))],
    ['an empty file', Buffer.alloc(0)],
    ['a DOS program', Buffer.from('MZ'.padEnd(200, '\0'))],
    ['a header that is cut', program(0x8664).subarray(0, 180)],
    ['a Windows program', program(0x8664, '', 3)],
  ])('%s is none', (_, bytes) => {
    expect(() => efiMachine(bytes, 'x.efi')).toThrow(expect.objectContaining({ code: 'BAD_INPUT' }))
  })

  test('architectures by system', () => {
    expect(efiArchitecture('x86_64-linux')).toEqual({ name: 'x64', bootFile: 'BOOTX64.EFI', machine: 0x8664 })
    expect(efiArchitecture('aarch64-linux')).toEqual({ name: 'aa64', bootFile: 'BOOTAA64.EFI', machine: 0xaa64 })
    expect(() => efiArchitecture('mips64el-linux')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
    expect(systemdBootPath('/t', efiArchitecture('aarch64-linux'))).toBe('/t/systemd/lib/systemd/boot/efi/systemd-bootaa64.efi')
  })
})

describe('efiBoot', () => {
  test('one program becomes the boot file', async () => {
    const path = join(folder({ 'systemd-bootx64.efi': SYSTEMD_BOOT }), 'systemd-bootx64.efi')
    const efi = await efiBoot(path, 'x86_64-linux')
    expect(efi.menu).toBe('systemd-boot')
    expect(efi.files).toMatchObject([{ path: 'EFI/BOOT/BOOTX64.EFI', hostPath: path, size: SYSTEMD_BOOT.length }])
  })

  test('a folder gives what lies in EFI and loader, through links', async () => {
    const real = folder({ 'prog.efi': GRUB })
    const path = folder({ 'EFI/BOOT/unicode.pf2': 'font', 'share/doc': 'x', 'EFI/tools/shell.efi': 'y' })
    symlinkSync(join(real, 'prog.efi'), join(path, 'EFI/BOOT/bootx64.efi'))
    const efi = await efiBoot(path, 'x86_64-linux')
    expect(efi.menu).toBe('grub')
    expect(efi.files.map((file) => file.path)).toEqual(['EFI/BOOT/bootx64.efi', 'EFI/BOOT/unicode.pf2', 'EFI/tools/shell.efi'])
    expect(efi.files[0]?.size).toBe(GRUB.length)
  })

  test('a menu that is brought along is kept', async () => {
    const menuOf = async (files: Record<string, string | Buffer>) => (await efiBoot(folder(files), 'x86_64-linux')).menu
    expect(await menuOf({ 'EFI/BOOT/BOOTX64.EFI': GRUB, 'EFI/BOOT/grub.cfg': '' })).toBe('own')
    expect(await menuOf({ 'EFI/BOOT/BOOTX64.EFI': SYSTEMD_BOOT, 'loader/entries/a.conf': '' })).toBe('own')
    expect(await menuOf({ 'EFI/BOOT/BOOTX64.EFI': program(0x8664, 'anything') })).toBe('own')
  })

  test('a program without any menu is told from those that need none', async () => {
    const isComplete = async (files: Record<string, string | Buffer>) => (await efiBoot(folder(files), 'x86_64-linux')).isComplete
    const shim = { 'EFI/BOOT/BOOTX64.EFI': program(0x8664, 'UEFI SHIM'), 'EFI/BOOT/mmx64.efi': GRUB }
    expect(await isComplete(shim)).toBe(false)
    // The menu of a GRUB behind it is written.
    expect(await isComplete({ ...shim, 'EFI/BOOT/grubx64.efi': GRUB })).toBe(true)
    expect(await isComplete({ ...shim, 'EFI/debian/grub.cfg': '' })).toBe(true)
    expect(await isComplete({ 'EFI/BOOT/BOOTX64.EFI': SYSTEMD_BOOT })).toBe(true)
    expect(await isComplete({ 'EFI/BOOT/BOOTX64.EFI': program(0x8664, '.linux\0\0') })).toBe(true)
  })

  test('folders are spelled as UEFI has them, and files that only case tells apart are refused', async () => {
    const files = { 'efi/boot/bootx64.efi': GRUB, 'Efi/Boot/unicode.pf2': 'font', 'EFI/debian/a': '', 'EFI/Debian/b': '' }
    const efi = await efiBoot(folder(files), 'x86_64-linux')
    expect(efi.menu).toBe('grub')
    expect(efi.files.map((file) => file.path)).toEqual(['EFI/BOOT/bootx64.efi', 'EFI/BOOT/unicode.pf2', 'EFI/Debian/a', 'EFI/Debian/b'])
    expect(efi.files.find(({ path }) => path.endsWith('.efi'))?.content?.kind).toBe('hostFile')
    const loader = { 'EFI/BOOT/BOOTX64.EFI': SYSTEMD_BOOT, 'LOADER/Entries/a.conf': '' }
    expect((await efiBoot(folder(loader), 'x86_64-linux')).files.map(({ path }) => path)).toContain('loader/entries/a.conf')
    const twice = folder({ 'EFI/BOOT/BOOTX64.EFI': GRUB, 'efi/boot/bootx64.efi': GRUB })
    await expect(efiBoot(twice, 'x86_64-linux')).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringMatching(/differ in case alone/),
    })
  })

  test("GRUB's menu is written where that GRUB looks, also behind a shim", async () => {
    const placesOf = async (files: Record<string, string | Buffer>) => {
      const { menu, grubMenus } = await efiBoot(folder(files), 'x86_64-linux')
      return [menu, ...grubMenus]
    }
    const debian = program(0x8664, `Welcome to GRUB!\0\0mimg${modules(64, '(,gpt2)/EFI/debian')}`)
    const cd = program(0x8664, `Welcome to GRUB! mimg${modules(64, '/boot/grub')}`)
    const shim = program(0x8664, 'shim')
    expect(await placesOf({ 'EFI/BOOT/BOOTX64.EFI': debian })).toEqual(['grub', 'EFI/BOOT/grub.cfg', 'EFI/debian/grub.cfg'])
    expect(await placesOf({ 'EFI/BOOT/BOOTX64.EFI': shim, 'EFI/BOOT/grubx64.efi': cd })).toEqual([
      'grub',
      'EFI/BOOT/grub.cfg',
      'boot/grub/grub.cfg',
    ])
    expect(await placesOf({ 'efi/boot/bootx64.efi': shim, 'efi/boot/GRUBX64.EFI': debian, 'efi/Debian/x': '' })).toEqual([
      ...['grub', 'EFI/BOOT/grub.cfg', 'EFI/Debian/grub.cfg'],
    ])
    expect(await placesOf({ 'EFI/BOOT/BOOTX64.EFI': shim, 'EFI/BOOT/grubx64.efi': SYSTEMD_BOOT })).toEqual(['systemd-boot'])
    expect(await placesOf({ 'EFI/BOOT/BOOTX64.EFI': shim, 'EFI/BOOT/grubx64.efi': debian, 'EFI/debian/grub.cfg': '' })).toContain('own')
    expect(await placesOf({ 'EFI/BOOT/BOOTX64.EFI': shim })).toEqual(['own'])
    // A prefix of nixpkgs, one in memory, one that leads out, none, and letters that begin no modules.
    for (const prefix of ['/EFI/BOOT', '(memdisk)/boot/grub/', '/../..', '', '(memdisk)']) {
      const grub = program(0x8664, `Welcome to GRUB! mimg and mimg${modules(64, prefix)}`)
      expect((await placesOf({ 'EFI/BOOT/BOOTX64.EFI': grub })).slice(0, 2)).toEqual(['grub', 'EFI/BOOT/grub.cfg'])
    }
    const { efi, esp, iso } = await trees({ 'EFI/BOOT/BOOTX64.EFI': debian })
    expect(efi.grubMenus).toHaveLength(2)
    for (const tree of [esp, iso]) for (const place of efi.grubMenus) expect(textAt(tree, place)).toContain('menuentry')
  })

  test('a program for 32-bit firmware alone is enough for x86_64, and for no other', async () => {
    const ia32 = program(0x14c, `Welcome to GRUB!mimg${modules(32, '/EFI/mine')}`)
    const alone = await efiBoot(folder({ 'EFI/BOOT/BOOTIA32.EFI': ia32, 'EFI/BOOT/BOOTAA64.EFI': program(0xaa64) }), 'x86_64-linux')
    expect(alone).toMatchObject({ architecture: { name: 'ia32' }, menu: 'grub', grubMenus: ['EFI/BOOT/grub.cfg', 'EFI/mine/grub.cfg'] })
    const path = join(folder({ 'grubia32.efi': ia32 }), 'grubia32.efi')
    expect((await efiBoot(path, 'x86_64-linux')).files).toMatchObject([{ path: 'EFI/BOOT/BOOTIA32.EFI' }])
    expect((await efiBoot(path, 'i686-linux')).architecture.name).toBe('ia32')
    await expect(efiBoot(path, 'aarch64-linux')).rejects.toMatchObject({ code: 'BAD_INPUT' })
    const both = await efiBoot(folder({ 'EFI/BOOT/BOOTIA32.EFI': ia32, 'EFI/BOOT/BOOTX64.EFI': SYSTEMD_BOOT }), 'x86_64-linux')
    expect(both).toMatchObject({ architecture: { name: 'x64' }, menu: 'systemd-boot' })
    const wrong = folder({ 'EFI/BOOT/BOOTIA32.EFI': SYSTEMD_BOOT, 'EFI/BOOT/BOOTX64.EFI': SYSTEMD_BOOT })
    await expect(efiBoot(wrong, 'x86_64-linux')).rejects.toMatchObject({ code: 'BAD_INPUT', message: expect.stringMatching(/BOOTIA32/) })
  })

  test('errors', async () => {
    const fails = (path: string, code: string, message: RegExp) =>
      expect(efiBoot(path, 'x86_64-linux')).rejects.toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }))
    await fails('/no/such/place', 'NOT_FOUND', /no \/no\/such\/place/)
    await fails(folder({ 'EFI/BOOT/BOOTAA64.EFI': program(0xaa64) }), 'NOT_FOUND', /no EFI\/BOOT\/BOOTX64\.EFI/)
    await fails(folder({ 'EFI/BOOT/BOOTX64.EFI': program(0xaa64) }), 'BAD_INPUT', /machine 0xaa64 \(aa64\), but x86_64-linux needs 0x8664/)
    await fails(folder({ 'EFI/BOOT/BOOTX64.EFI': 'text' }), 'BAD_INPUT', /no PE header/)
    const loop = folder({ 'EFI/BOOT/BOOTX64.EFI': GRUB })
    symlinkSync('.', join(loop, 'EFI/again'))
    await fails(loop, 'BAD_INPUT', /loop of links/)
    const dangling = folder({ 'EFI/BOOT/BOOTX64.EFI': GRUB })
    symlinkSync('nowhere', join(dangling, 'EFI/gone'))
    await fails(dangling, 'NOT_FOUND', /link to nothing/)
  })
})

describe('findSyslinux', () => {
  const MODULES = ['ldlinux.c32', 'libcom32.c32', 'libutil.c32', 'menu.c32', 'vesamenu.c32']
  const layout = (binaries: string, modules: string, names = MODULES) =>
    folder(
      Object.fromEntries(
        [`${binaries}/isolinux.bin`, `${binaries}/isohdpfx.bin`, ...names.map((name) => `${modules}/${name}`)].map((name) => [name, name]),
      ),
    )

  test.each([
    ['nixpkgs', 'share/syslinux', 'share/syslinux'],
    ['one folder', '.', '.'],
    ['Debian /', 'usr/lib/ISOLINUX', 'usr/lib/syslinux/modules/bios'],
    ['Debian /usr/lib', 'ISOLINUX', 'syslinux/modules/bios'],
    ['Arch /', 'usr/lib/syslinux/bios', 'usr/lib/syslinux/bios'],
  ])('%s', async (_, binaries, modules) => {
    const path = layout(binaries, modules)
    const found = await findSyslinux(path)
    expect(found.isolinux).toEqual({
      path: 'isolinux/isolinux.bin',
      hostPath: join(path, binaries, 'isolinux.bin'),
      size: `${binaries}/isolinux.bin`.length,
    })
    expect(found.modules.map((file) => file.path)).toEqual(
      ['ldlinux.c32', 'vesamenu.c32', 'libcom32.c32', 'libutil.c32'].map((name) => `isolinux/${name}`),
    )
    expect(found.menuModule).toBe('vesamenu.c32')
    expect(found.hybridBootCode?.hostPath).toBe(join(path, binaries, 'isohdpfx.bin'))
  })

  test('a menu is offered only with all that it needs', async () => {
    expect((await findSyslinux(layout('.', '.', ['ldlinux.c32', 'vesamenu.c32', 'menu.c32', 'libutil.c32']))).menuModule).toBe('menu.c32')
    expect((await findSyslinux(layout('.', '.', ['ldlinux.c32', 'vesamenu.c32']))).menuModule).toBeUndefined()
  })

  test('errors say what was looked for', async () => {
    await expect(findSyslinux(folder({}))).rejects.toThrow(/looked for .*share\/syslinux\/isolinux\.bin.*ISOLINUX\/isolinux\.bin/)
    await expect(findSyslinux(layout('.', '.', []))).rejects.toThrow(
      expect.objectContaining({ code: 'NOT_FOUND', message: expect.stringContaining('ldlinux.c32') }),
    )
    await expect(findSyslinux('/no/such/place')).rejects.toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
  })
})

describe('trees', () => {
  const file = (text: string): FileNode => ({
    kind: 'file',
    mode: 0o444,
    uid: 0,
    gid: 0,
    mtimeSeconds: 1,
    size: text.length,
    content: { kind: 'bytes', bytes: Buffer.from(text) },
  })
  const kernels = new Map([
    [KERNEL, file('kernel')],
    [INITRD, file('initrd')],
  ])
  const menu = menuEntries(bootspec(), { volumeId: 'X' })

  function paths(node: DirectoryNode, prefix = ''): string[] {
    return node.entries.flatMap((entry) => {
      const path = `${prefix}/${Buffer.from(entry.name).toString()}`
      return entry.node.kind === 'directory' ? paths(entry.node, path) : [path]
    })
  }

  test('systemd-boot has its kernels in the EFI system partition', async () => {
    const efi = await efiBoot(folder({ 'EFI/BOOT/BOOTX64.EFI': SYSTEMD_BOOT }), 'x86_64-linux')
    const esp = paths(espTree(efi, menu, kernels, { mtimeSeconds: 1 }))
    expect(esp.filter((path) => !path.startsWith('/loader/entries/'))).toEqual([
      '/EFI/BOOT/BOOTX64.EFI',
      '/EFI/nixos/0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-linux-6.12.40-bzImage.efi',
      '/EFI/nixos/1d1aqs2xfkjb3xzbm7kbq4yrqk5wvz0b-initrd-linux-6.12.40-initrd.efi',
      '/loader/loader.conf',
    ])
    expect(esp.filter((path) => path.startsWith('/loader/entries/'))).toHaveLength(9)
  })

  test('GRUB has its menu in both places, the kernels in the ISO', async () => {
    const efi = await efiBoot(folder({ 'EFI/BOOT/BOOTX64.EFI': GRUB }), 'x86_64-linux')
    expect(paths(espTree(efi, menu, kernels, { mtimeSeconds: 1 }))).toEqual(['/EFI/BOOT/BOOTX64.EFI', '/EFI/BOOT/grub.cfg'])
    const syslinux = await findSyslinux(folder({ 'isolinux.bin': 'i', 'ldlinux.c32': 'l' }))
    const esp = espTree(efi, menu, kernels, { mtimeSeconds: 7 })
    const { tree, shared } = isoBootTree({ menu, kernels, efi, esp, syslinux, version: '26.11' }, { mtimeSeconds: 7 })
    expect(shared.size).toBe(0)
    expect(paths(tree)).toEqual([
      `/boot${KERNEL}`,
      `/boot${INITRD}`,
      '/boot/grub/grub.cfg',
      '/boot/grub/loopback.cfg',
      '/version.txt',
      '/isolinux/isolinux.bin',
      '/isolinux/ldlinux.c32',
      '/isolinux/isolinux.cfg',
      '/EFI/BOOT/BOOTX64.EFI',
      '/EFI/BOOT/grub.cfg',
      '/EFI/nixos-installer-image',
    ])
    expect(tree).toMatchObject({ mode: 0o555, uid: 0, gid: 0, mtimeSeconds: 7 })
  })

  test('an ISO has all that lies in the EFI system partition, its kernels as the same nodes, and a menu for GRUB', async () => {
    const efi = await efiBoot(folder({ 'EFI/BOOT/BOOTX64.EFI': SYSTEMD_BOOT }), 'x86_64-linux')
    const esp = espTree(efi, menu, kernels, { mtimeSeconds: 1 })
    const options = { mtimeSeconds: 1, grub: { marker: '/EFI/mine' } }
    const { tree, shared, withoutGrub } = isoBootTree({ menu, kernels, efi, esp }, options)
    expect(paths(tree)).toEqual(expect.arrayContaining([...paths(esp), `/boot${KERNEL}`, '/boot/grub/grub.cfg', '/EFI/mine']))
    const at = (path: string): TreeNode | undefined =>
      path.split('/').reduce<TreeNode | undefined>((node, name) => {
        const entries = node?.kind === 'directory' ? node.entries : []
        return entries.find((entry) => Buffer.from(entry.name).toString() === name)?.node
      }, tree)
    const kernel = at(`boot${KERNEL}`)
    expect(kernel).toBe(at('EFI/nixos/0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-linux-6.12.40-bzImage.efi'))
    expect(shared).toEqual(new Set([kernel, at(`boot${INITRD}`)]))
    expect(withoutGrub).toBeUndefined()
    // What GRUB would change is no reason to have no image.
    const odd = menuEntries(bootspec({ kernelParams: ["a='b'"] }))
    expect(isoBootTree({ menu: odd, kernels, efi, esp }, options).withoutGrub).toMatchObject({ code: 'UNSUPPORTED' })
    const own = isoBootTree({ menu, kernels, efi, esp }, { ...options, leaveOut: new Set(['boot/grub/grub.cfg']) })
    expect(paths(own.tree).filter((path) => path.startsWith('/boot/grub/'))).toEqual(['/boot/grub/loopback.cfg'])
  })

  test('a menu of its own is left alone', async () => {
    const efi = await efiBoot(folder({ 'EFI/BOOT/BOOTX64.EFI': GRUB, 'EFI/BOOT/grub.cfg': 'mine' }), 'x86_64-linux')
    const esp = espTree(efi, menu, kernels, { mtimeSeconds: 1 })
    expect(paths(esp)).toEqual(['/EFI/BOOT/BOOTX64.EFI', '/EFI/BOOT/grub.cfg'])
    expect(JSON.stringify(esp)).not.toContain('"bytes"')
  })

  test('a kernel that is missing, a file that is in the way', async () => {
    expect(() => isoBootTree({ menu, kernels: new Map() }, { mtimeSeconds: 1 })).toThrow(
      expect.objectContaining({ code: 'NOT_FOUND', path: menu.files[0] }),
    )
    const efi = await efiBoot(folder({ 'EFI/BOOT/BOOTX64.EFI': SYSTEMD_BOOT, 'EFI/nixos': 'x' }), 'x86_64-linux')
    expect(() => espTree(efi, menu, kernels, { mtimeSeconds: 1 })).toThrow(expect.objectContaining({ code: 'BAD_INPUT' }))
  })
})
