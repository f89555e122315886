/** Menus of an ISO beside the systems in them: further entries, looks, serial ports, and which firmware starts it; what identifies it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { guidToText } from '../../src/bytes/guid.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { type IsoOptions, iso } from '../../src/images/iso.ts'
import { saveImage } from '../../src/io/output.ts'
import { failure } from '../nix/scratch.ts'
import { fromBytes, readFat } from '../readers/fat-reader.ts'
import { readIso } from '../readers/iso9660-reader.ts'
import { bootProgram, madeSystem } from './made-system.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-iso-menus-'))
afterAll(() => rmSync(folder, { recursive: true }))

const system = madeSystem(join(folder, 'root'))

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name)
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, content)
  return path
}

/** What follows Linux's boot protocol, and may be an EFI program too. */
function kernel(base: Uint8Array = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(2048)
  bytes.set(base)
  bytes.writeUInt16LE(0xaa55, 0x1fe)
  bytes.write('HdrS', 0x202)
  return bytes
}

const ARM = bootProgram('')
ARM.writeUInt16LE(0xaa64, 68)

const shell = file('shellx64.efi', bootProgram(''))
const memtest = file('memtest 86+.bin', kernel())
const both = file('memtest.efi', kernel(bootProgram('')))
const armShell = file('shellaa64.efi', ARM)
const grub = file('grub.efi', bootProgram('Welcome to GRUB!'))

/** All that findSyslinux takes; the first has what boot code looks for. */
const syslinux = join(folder, 'syslinux')
for (const name of ['ldlinux.c32', 'vesamenu.c32', 'menu.c32', 'libcom32.c32', 'libutil.c32', 'isohdpfx.bin'])
  file(`syslinux/${name}`, name)
const isolinux = Buffer.alloc(128)
isolinux.set([0xfb, 0xc0, 0x78, 0x70], 64)
file('syslinux/isolinux.bin', isolinux)

let count = 0
async function built(options: Partial<IsoOptions>) {
  system.notes.length = 0
  const one = await iso({ ...system.options, compression: { name: 'none' }, ...options })
  const path = join(folder, `${count++}.iso`)
  await saveImage(one.image, path, { jobs: 1 })
  const bytes = readFileSync(path)
  rmSync(path)
  const image = readIso((position, length) => bytes.subarray(position, position + length))
  const content = (name: string): Buffer | undefined => {
    const entry = image.primary.entries.find((found) => found.path === name)
    return entry && image.content(entry)
  }
  const text = (name: string): string => content(name)?.toString() ?? ''
  const entries = image.primary.entries.filter((found) => /^\/loader\/entries\/.*further/.test(found.path)).map((found) => text(found.path))
  const esp = content('/boot/efi.img')
  return {
    bytes,
    image,
    plan: one.plan,
    content,
    entries,
    grub: text('/boot/grub/grub.cfg'),
    isolinux: text('/isolinux/isolinux.cfg'),
    inEsp: esp === undefined ? undefined : readFat(fromBytes(esp)).files,
    notes: [...system.notes],
  }
}

const refused = (options: Partial<IsoOptions>, code: ErrorCode, message: RegExp) =>
  failure(() => iso({ ...system.options, ...options }), code, message)

describe('a further entry', () => {
  it('is an EFI program for systemd-boot, which lies in its partition and once on the medium', async () => {
    const { entries, inEsp, content, grub, image, notes } = await built({ entries: [{ title: 'EFI shell', file: shell }] })
    expect(entries).toEqual(['title EFI shell\nsort-key nixos-09-0000\nefi /EFI/nixos/entries-shellx64.efi.efi\n'])
    expect(inEsp?.get('/EFI/nixos/entries-shellx64.efi.efi')?.read()).toEqual(readFileSync(shell))
    expect(content('/boot/entries/shellx64.efi')).toEqual(readFileSync(shell))
    const blocks = ['/boot/entries/shellx64.efi', '/EFI/nixos/entries-shellx64.efi.efi'].map(
      (path) => image.primary.entries.find((entry) => entry.path === path)?.extents[0]?.block,
    )
    expect(new Set(blocks).size).toBe(1)
    expect(grub).toContain(
      'if [ "$grub_platform" = efi ]; then\n  menuentry \'EFI shell\' {\n    terminal_output console\n    chainloader /boot/entries/shellx64.efi\n  }\nfi\n',
    )
    expect(notes).toEqual([])
  })

  it('takes for each boot loader the first file that it can start', async () => {
    const { entries, isolinux, grub, inEsp, notes } = await built({
      syslinux,
      entries: [
        { title: 'Memtest86+', file: memtest },
        { title: 'Memtest86+', file: both },
        { title: 'One for all', file: both },
      ],
    })
    expect(isolinux).toContain('\nLABEL further\nMENU LABEL Memtest86+\nLINUX /boot/entries/memtest_86+.bin\n')
    expect(isolinux).toContain('\nLABEL further-2\nMENU LABEL One for all\nLINUX /boot/entries/memtest.efi\n')
    expect(entries.map((text) => text.split('\n').filter((line) => /^(title|efi)/.test(line)))).toEqual([
      ['title Memtest86+', 'efi /EFI/nixos/entries-memtest.efi.efi'],
      ['title One for all', 'efi /EFI/nixos/entries-memtest.efi.efi'],
    ])
    expect([...(inEsp?.keys() ?? [])].filter((path) => path.includes('memtest'))).toHaveLength(1)
    expect(grub).toContain(
      '  if [ "$grub_platform" = efi ]; then\n    chainloader /boot/entries/memtest.efi\n  else\n    linux /boot/entries/memtest_86+.bin\n  fi\n',
    )
    expect(notes).toEqual([])
  })

  it('is said to be missing where one boot loader cannot start it, by name', async () => {
    const entries = [
      { title: 'Shell', file: shell },
      { title: 'Memory', file: memtest },
      { title: 'Next', nextDevice: true },
    ] as const
    const one = await built({ syslinux, entries })
    expect(one.isolinux).not.toContain('Shell')
    expect(one.isolinux).toContain('\nMENU LABEL Next\nLOCALBOOT -1\n')
    expect(one.grub).toContain('\nmenuentry Next {\n  terminal_output console\n  exit 1\n}\n')
    expect(one.grub).toContain('\nif [ "$grub_platform" != efi ]; then\n  menuentry Memory {\n')
    expect(one.entries).toHaveLength(1)
    expect(one.notes).toEqual([
      expect.stringMatching(
        /^the entry 'Shell' is not in every menu: isolinux starts what is made for the boot protocol of Linux, and .*shellx64\.efi is not$/,
      ),
      expect.stringMatching(/^the entry 'Memory' is not in every menu: systemd-boot starts EFI programs for x64, and .*\.bin is none$/),
      expect.stringMatching(/^the entry 'Next' is not in every menu: systemd-boot has no such entry; its key q leaves it$/),
    ])
  })

  it('has a name of its own where another file has it', async () => {
    const other = file('other/shellx64.efi', bootProgram('another'))
    const { entries } = await built({
      entries: [
        { title: 'a', file: shell },
        { title: 'b', file: other },
      ],
    })
    expect(entries.map((text) => text.split('\n')[2])).toEqual([
      'efi /EFI/nixos/entries-shellx64.efi.efi',
      'efi /EFI/nixos/entries-2-shellx64.efi.efi',
    ])
  })

  it('is refused where nothing would start it', async () => {
    const entry = (path: string, title = 'x') => ({ entries: [{ title, file: path }] })
    await refused(entry(memtest), 'USAGE', /entries: nothing can start 'x': systemd-boot starts EFI programs for x64, and .*\.bin is none/)
    await refused(entry(armShell), 'USAGE', /shellaa64\.efi is made for another machine/)
    await refused({ ...entry(shell), syslinux, firmware: 'bios' }, 'USAGE', /nothing can start 'x': isolinux starts/)
    await refused({ entries: [{ title: 'x', nextDevice: true }] }, 'USAGE', /nothing can start 'x': systemd-boot has no such entry/)
    await refused(
      { ...entry(shell), efiBoot: file('uki.efi', bootProgram('.linux\0\0')) },
      'USAGE',
      /the UEFI boot program brings its own menu/,
    )
    await refused(entry(file('text', 'no program')), 'BAD_INPUT', /neither an EFI program nor made for the boot protocol of Linux/)
    await refused(entry(join(folder, 'nowhere')), 'NOT_FOUND', /nowhere/)
    await refused(entry(shell, 'a\nb'), 'BAD_INPUT', /control character/)
    await refused(entry(shell, ' '), 'BAD_INPUT', /a title is empty/)
    await refused(entry(shell, 'NixOS Installer'), 'USAGE', /has an entry 'NixOS Installer' already/)
    const twice = [
      { title: 'x', file: shell },
      { title: 'x', nextDevice: true },
    ] as const
    await refused({ entries: twice, efiBoot: grub }, 'USAGE', /'x' is named twice/)
  })
})

const PNG = Buffer.from('89504e470d0a1a0a0000000d4948445200000001000000010802000000', 'hex')

describe('the look of menus', () => {
  const theme = join(folder, 'theme')
  file('theme/theme.txt', '# a theme\ntitle-text: "Old"\ndesktop-image: "back.png"\n')
  file('theme/fonts/b.pf2', 'b')
  file('theme/a.PF2', 'a')
  const splash = file('back.png', PNG)

  it('has a theme, a picture and a title where they are shown', async () => {
    const one = await built({ efiBoot: grub, syslinux, grubTheme: theme, splash, menuTitle: 'Mine $1' })
    expect(one.content('/EFI/BOOT/grub-theme/theme.txt')?.toString()).toBe('# a theme\ntitle-text: "Mine $1"\ndesktop-image: "back.png"\n')
    expect(one.content('/boot/splash.png')).toEqual(PNG)
    for (const font of ['/EFI/BOOT/unicode.pf2', '/EFI/BOOT/grub-theme/a.PF2', '/EFI/BOOT/grub-theme/fonts/b.pf2']) {
      expect(one.grub).toContain(`if loadfont ($root)${font}; then\n  set fonts=1\nfi\n`)
    }
    expect(one.grub).not.toContain('background_image')
    expect(one.isolinux).toContain('\nMENU TITLE Mine $1\n')
    expect(one.isolinux).toContain('\nMENU BACKGROUND /boot/splash.png\n')
    // The menu in the partition is the same, the theme is read from the ISO.
    expect(one.inEsp?.get('/EFI/BOOT/grub.cfg')?.read().toString()).toBe(one.grub)
    expect([...(one.inEsp?.keys() ?? [])].filter((path) => path.includes('theme'))).toEqual([])
    const without = await built({ efiBoot: grub, splash: file('back.jpg', Buffer.from('ffd8ffe000', 'hex')) })
    expect(without.grub).toContain(
      '    insmod jpeg\n    insmod gfxterm_background\n    if background_image ($root)/boot/splash.jpg; then\n',
    )
  })

  it('is text alone where that is asked for', async () => {
    const one = await built({ efiBoot: grub, syslinux, menu: 'text' })
    expect(one.isolinux).toContain('\nUI menu.c32\n')
    expect(one.content('/isolinux/vesamenu.c32')).toBeUndefined()
    expect(one.grub).not.toMatch(/gfxterm|hiddenentry|loadfont/)
    expect(one.grub).toContain('\nterminal_output console\n')
  })

  it('has a serial port for menus and kernel', async () => {
    const one = await built({ efiBoot: grub, syslinux, serialConsole: 'ttyS1,9600', kernelParams: ['last'] })
    expect(one.isolinux).toMatch(/^SERIAL 1 9600\n/)
    expect(one.grub).toContain(
      'if serial --unit=1 --speed=9600; then\n  set serial=serial\n  terminal_input console serial\nfi\nexport serial\n',
    )
    expect(one.grub).toContain('\n  terminal_output gfxterm $serial\n')
    expect(one.grub).toContain('\n  terminal_output console $serial\n  linux ')
    for (const { parameters } of one.plan.entries) expect(parameters).toContain(' console=tty0 console=ttyS1,9600n8 last ')
  })

  it('is refused where nothing shows it', async () => {
    await refused({ grubTheme: theme }, 'USAGE', /grubTheme: GRUB alone has themes, and systemd-boot starts this image/)
    await refused({ grubTheme: folder, efiBoot: grub }, 'NOT_FOUND', /is no folder with a file theme\.txt/)
    await refused({ grubTheme: theme, efiBoot: grub, menu: 'text' }, 'USAGE', /a menu in text shows no theme/)
    await refused({ grubTheme: theme, efiBoot: grub, menuTitle: 'a"b' }, 'UNSUPPORTED', /a quote or a backslash/)
    await refused({ splash }, 'USAGE', /show a picture, and systemd-boot starts this image/)
    await refused({ splash, syslinux, menu: 'text' }, 'USAGE', /a menu in text shows no picture/)
    await refused({ splash, grubTheme: theme, efiBoot: grub }, 'USAGE', /the theme of GRUB has a picture of its own/)
    await refused({ splash: shell, syslinux }, 'BAD_INPUT', /neither a PNG nor a JPEG/)
    const interlaced = Buffer.from(PNG)
    interlaced[28] = 1
    await refused({ splash: file('interlaced.png', interlaced), syslinux }, 'BAD_INPUT', /interlaced PNG/)
    await refused({ menuTitle: 'x' }, 'USAGE', /isolinux' menu and a theme of GRUB have a title/)
    await refused({ menuTitle: 'x\n', syslinux }, 'BAD_INPUT', /control character/)
    await refused({ serialConsole: 'ttyAMA0' }, 'USAGE', /ttyS0 to ttyS3/)
    await refused({ serialConsole: 'ttyS0,99999' }, 'USAGE', /boot menus know the speeds 2400, .*115200/)
    await refused({ menu: 'none' as never }, 'USAGE', /menu is 'none'/)
  })
})

describe('the firmware that starts it', () => {
  it.each(['gpt', 'nixpkgs', 'none'] as const)('is a BIOS alone (%s)', async (hybrid) => {
    const { image, plan, content } = await built({ syslinux, firmware: 'bios', hybrid })
    expect(image.boot.map(({ platform }) => platform)).toEqual([0])
    expect(plan).toMatchObject({ bios: true, uefi: 'none', espBytes: 0 })
    expect(content('/boot/efi.img')).toBeUndefined()
    expect(content('/isolinux/isolinux.cfg')?.toString()).toContain('LABEL boot\n')
  })

  it('needs no systemd-boot then', async () => {
    const arm = { ...system.options, syslinux, firmware: 'bios' } as const
    expect((await iso(arm)).plan.uefi).toBe('none')
  })

  it('is UEFI alone, or both, as is said', async () => {
    expect((await built({ firmware: 'uefi' })).image.boot.map(({ platform }) => platform)).toEqual([0xef])
    expect((await built({ firmware: 'both', syslinux })).image.boot.map(({ platform }) => platform)).toEqual([0, 0xef])
    await refused({ firmware: 'uefi', syslinux }, 'USAGE', /firmware uefi: no BIOS is to start the image; leave out syslinux/)
    await refused({ firmware: 'both' }, 'USAGE', /firmware both: a BIOS starts isolinux; give syslinux/)
    await refused({ firmware: 'bios', syslinux, efiBoot: grub }, 'USAGE', /leave out efiBoot/)
    await refused({ firmware: 'none' as never }, 'USAGE', /bios, uefi, both are known/)
  })
})

describe('what identifies a medium', () => {
  /** The GUID of the table (UEFI 2.10, table 5.5), the marker of GRUB, the serial of the FAT volume. */
  const identifiers = async (options: Partial<IsoOptions> = {}): Promise<string[]> => {
    const { bytes, image, content } = await built(options)
    const marker = image.primary.entries.find(({ path }) => /^\/EFI\/kilnix-[0-9a-f]{32}$/.test(path))?.path ?? ''
    return [guidToText(bytes.subarray(512 + 56, 512 + 72)), marker, `${content('/boot/efi.img')?.readUInt32LE(39)}`]
  }

  it('is the same again, and another where anything else is in it', async () => {
    const one = file('one', 'one')
    const same = file('same/one', 'one')
    const other = file('other/one', 'two')
    const add = (source: string, target = 'note') => ({ add: [{ target, source }] })
    expect(await identifiers()).toEqual(await identifiers())
    expect(await identifiers(add(one))).toEqual(await identifiers(add(same)))
    expect(await identifiers({ seed: 'x' })).toEqual(await identifiers({ seed: 'x', ...add(one) }))
    const other2 = file('shell2/shellx64.efi', bootProgram('other'))
    const all: Partial<IsoOptions>[] = [
      {},
      add(one),
      add(other),
      add(one, 'nix/store'),
      // The name of a store path, which is no store path here.
      add(one, `nix/store/${'1'.repeat(32)}-system`),
      add(other, `nix/store/${'1'.repeat(32)}-system`),
      { volumeId: 'OTHER' },
      { kernelParams: ['more'] },
      { timeoutSeconds: 3 },
      { hybrid: 'gpt', syslinux },
      { mtimeSeconds: 400_000_000 },
      { compression: { name: 'zstd', level: 1 } },
      { entries: [{ title: 'x', file: shell }] },
      { entries: [{ title: 'x', file: other2 }] },
      { efiBoot: grub },
      { efiBoot: file('grub2.efi', bootProgram('Welcome to GRUB! of another kind')) },
      { serialConsole: 'ttyS0' },
      { mediaCheck: true },
      { seed: 'x' },
    ]
    const found: string[][] = []
    for (const options of all) found.push(await identifiers(options))
    for (const index of [0, 1, 2]) expect(new Set(found.map((ids) => ids[index])).size, `identifier ${index}`).toBe(all.length)
  })
})

describe('a menu for the GRUB of another medium', () => {
  it('is the one that is added, however it is added', async () => {
    const own = file('laid/boot/grub/grub.cfg', 'own')
    for (const add of [
      { target: 'boot/grub/grub.cfg', source: own },
      { target: 'boot/grub', source: join(folder, 'laid/boot/grub') },
      { target: '/', source: join(folder, 'laid') },
    ]) {
      const { content } = await built({ add: [add] })
      expect(content('/boot/grub/grub.cfg')?.toString(), add.target).toBe('own')
      expect(content('/boot/grub/loopback.cfg')?.toString()).toBe('source /boot/grub/grub.cfg\n')
    }
  })
})
