import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { changedByIsolinux, grubConfig, isolinuxConfig, menuEntries, systemdBootConfig } from '../../src/boot/index.ts'
import { oracle, run } from '../oracles/tools.ts'
import { bootspec, INITRD, KERNEL, NESTED, TOPLEVEL } from './bootspecs.ts'

const INIT = `init=${TOPLEVEL}/init`
const LONG = 'x'.repeat(2048)

describe('isolinux.cfg', () => {
  test('a system without specialisations', () => {
    const config = isolinuxConfig(menuEntries(bootspec(), { volumeId: 'NIXOS' }), { menuModule: 'vesamenu.c32' })
    expect(
      config.startsWith(`SERIAL 0 115200
TIMEOUT 100
UI vesamenu.c32
MENU TITLE NixOS
MENU RESOLUTION 800 600
DEFAULT boot

LABEL boot
MENU LABEL NixOS 26.11 (Linux 6.12.40) Installer
LINUX /boot${KERNEL}
APPEND ${INIT} loglevel=4 root=LABEL=NIXOS
INITRD /boot${INITRD}

MENU BEGIN options
MENU TITLE Options

MENU BEGIN copytoram
MENU TITLE Copy ISO Files to RAM

LABEL boot-copytoram
MENU LABEL NixOS 26.11 (Linux 6.12.40) Installer
LINUX /boot${KERNEL}
APPEND ${INIT} loglevel=4 root=LABEL=NIXOS copytoram
INITRD /boot${INITRD}

MENU END
`),
    ).toBe(true)
    expect(
      config.endsWith(`APPEND ${INIT} loglevel=4 root=LABEL=NIXOS console=ttyS0,115200n8\nINITRD /boot${INITRD}\n\nMENU END\n\nMENU END\n`),
    ).toBe(true)
    expect(config.match(/^MENU BEGIN /gm)).toHaveLength(9)
    expect(config.match(/^MENU END$/gm)).toHaveLength(9)
  })

  test('labels are single words and unique, even where a specialisation is named like a variant', () => {
    const spec = bootspec({ specialisations: { copytoram: bootspec(), 'a b': bootspec(), a_b: bootspec() } })
    const labels = isolinuxConfig(menuEntries(spec)).match(/^LABEL .*$/gm) ?? []
    expect(labels.slice(0, 6)).toEqual([
      'LABEL boot',
      'LABEL boot-a_b',
      'LABEL boot-a_b-2',
      'LABEL boot-copytoram',
      'LABEL boot-copytoram-2',
      'LABEL boot-copytoram-a_b',
    ])
    expect(new Set(labels).size).toBe(4 * 9)
  })

  test('the default is the first entry, whichever that is', () => {
    const firstOf = (choice: object): string[] =>
      isolinuxConfig(menuEntries(NESTED, choice))
        .match(/^(DEFAULT|LABEL) .*$/gm)
        ?.slice(0, 2) ?? []
    expect(firstOf({})).toEqual(['DEFAULT boot', 'LABEL boot'])
    expect(firstOf({ defaultEntry: 'quiet' })).toEqual(['DEFAULT boot-quiet', 'LABEL boot-quiet'])
    expect(firstOf({ hideBase: true })).toEqual(['DEFAULT boot-No_GUI', 'LABEL boot-No_GUI'])
  })

  test('titles that it cannot show as they are', () => {
    const menu = menuEntries(bootspec(), { labelPrefix: 'Größe ^1 ' })
    expect(changedByIsolinux(menu, { menuTitle: '日' })).toEqual(['日', 'Größe ^1 NixOS 26.11 (Linux 6.12.40) Installer'])
    expect(changedByIsolinux(menuEntries(bootspec()))).toEqual([])
    expect(isolinuxConfig(menu)).toContain('MENU LABEL Gr??e 1 NixOS')
  })

  test('without a menu module it asks at a prompt; a picture is for vesamenu only', () => {
    const menu = menuEntries(bootspec())
    expect(isolinuxConfig(menu).split('\n').slice(0, 4)).toEqual(['SERIAL 0 115200', 'TIMEOUT 100', 'PROMPT 1', 'DEFAULT boot'])
    expect(isolinuxConfig(menu, { menuModule: 'menu.c32', background: '/b.png' })).not.toContain('BACKGROUND')
    expect(isolinuxConfig(menu, { menuModule: 'vesamenu.c32', background: '/b.png' })).toContain('\nMENU BACKGROUND /b.png\n')
  })

  test.each([
    [10, 'TIMEOUT 100'],
    [0, 'TIMEOUT 1'],
    [null, 'TIMEOUT 0'],
    [3599, 'TIMEOUT 35990'],
  ])('a timeout of %s s', (timeoutSeconds, line) => {
    expect(isolinuxConfig(menuEntries(bootspec(), { timeoutSeconds })).split('\n')[1]).toBe(line)
  })

  test('labels show what a BIOS screen can, and no hot keys', () => {
    const config = isolinuxConfig(menuEntries(bootspec({ label: 'Ünï ^C "q" 50%' })))
    expect(config).toContain('\nMENU LABEL ?n? C "q" 50% Installer\n')
  })

  test('parameters stand as they are', () => {
    const config = isolinuxConfig(menuEntries(bootspec({ kernelParams: ['a="b c"', "d='e'", '$f', 'g\\h'] })))
    expect(config).toContain(`\nAPPEND ${INIT} a="b c" d='e' $f g\\h\n`)
  })

  test('limits', () => {
    const config =
      (spec: ReturnType<typeof bootspec>, timeoutSeconds = 1) =>
      () =>
        isolinuxConfig(menuEntries(spec, { timeoutSeconds }))
    expect(config(bootspec({ kernelParams: [LONG] }))).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    expect(config(bootspec({ label: 'y'.repeat(5000) }))).toThrow(/syslinux reads 4095/)
    expect(config(bootspec({ kernel: `${KERNEL}${'k'.repeat(200)}` }))).toThrow(/syslinux takes 255/)
    expect(config(bootspec({ kernel: `${KERNEL} x` }))).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
    expect(config(bootspec({ initrd: `${INITRD},x` }))).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
    expect(config(bootspec(), 3600)).toThrow(/3599 s is the most/)
  })

  test('a command line of exactly what the kernel takes, and one byte more', () => {
    // The longest variant is added behind it, and BOOT_IMAGE= and initrd= around it.
    const variant = ' systemd.mask=display-manager.service plymouth.enable=0'
    const rest = `BOOT_IMAGE=/boot${KERNEL} ${INIT} ${variant} initrd=/boot${INITRD}`.length
    const config = (length: number) => () => isolinuxConfig(menuEntries(bootspec({ kernelParams: ['x'.repeat(length)] })))
    expect(config(2047 - rest)).not.toThrow()
    expect(config(2048 - rest)).toThrow(/is 2048 bytes, the kernel takes 2047/)
  })
})

describe('grub.cfg', () => {
  test('entries, quoting and submenus', () => {
    const config = grubConfig(menuEntries(NESTED, { timeoutSeconds: 5 }))
    expect(config.startsWith('set default=0\nset timeout=5\n')).toBe(true)
    const marker = '/EFI/nixos-installer-image'
    expect(config).toContain(`\nif [ ! -f ($root)${marker} ]; then\n  search --no-floppy --set=root --file ${marker}\nfi\nexport root\n`)
    expect(grubConfig(menuEntries(NESTED), { marker: '/EFI/mine' }).match(/\/EFI\/mine/g)).toHaveLength(2)
    expect(config).toContain(`
menuentry 'NixOS 26.11 (Linux 6.12.40) Installer' --class installer {
  terminal_output console
  linux /boot${KERNEL} \${isoboot} ${INIT} loglevel=4
  initrd /boot${INITRD}
}
menuentry 'Bob'\\''s NixOS 50% $HOME Installer (No GUI)' --class installer {
`)
    expect(config).toContain(`linux /boot${KERNEL} \${isoboot} ${INIT} quiet 'live.note=two words'\n`)
    expect(config).toContain(`
submenu 'Options' --class submenu {
  submenu 'Copy ISO Files to RAM' --class copytoram {
    menuentry 'NixOS 26.11 (Linux 6.12.40) Installer' --class installer {
      terminal_output console
      linux /boot${KERNEL} \${isoboot} ${INIT} loglevel=4 copytoram
      initrd /boot${INITRD}
    }
`)
    expect(config.match(/^ *menuentry .* --class installer \{$/gm)).toHaveLength(4 * 9)
    expect(config.match(/^ {2}submenu /gm)).toHaveLength(8)
  })

  test('timeouts', () => {
    expect(grubConfig(menuEntries(bootspec(), { timeoutSeconds: null }))).toContain('\nset timeout=-1\n')
    expect(grubConfig(menuEntries(bootspec(), { timeoutSeconds: 0 }))).toContain('\nset timeout=0\n')
  })

  test('special characters of the GRUB shell stay what they are', () => {
    const config = grubConfig(
      menuEntries(bootspec({ kernelParams: ['a=$x', 'b={c}', 'd=e;f', 'g=#h', 'root=LABEL=i\\x20j', 'k=l&&m|n<o>p'] })),
    )
    expect(config).toContain(` 'a=$x' 'b={c}' 'd=e;f' 'g=#h' 'root=LABEL=i\\x20j' 'k=l&&m|n<o>p'\n`)
  })

  test('what GRUB would change or the kernel would cut', () => {
    const config =
      (...kernelParams: string[]) =>
      () =>
        grubConfig(menuEntries(bootspec({ kernelParams })))
    expect(config("a='b'")).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
    expect(config('a\\b')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
    expect(config(LONG)).toThrow(expect.objectContaining({ code: 'LIMIT' }))
  })

  describe.skipIf(oracle('grub-script-check').skip)('by grub-script-check', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kilnix-grub-'))
    afterAll(() => rmSync(folder, { recursive: true }))
    const check = (text: string) => {
      const file = join(folder, 'grub.cfg')
      writeFileSync(file, text)
      return run('grub-script-check', [file]).status
    }
    const odd = bootspec({ label: `'"\\ $x \${y} {z} ; & | < > # \`w\` %`, kernelParams: ['a="b c"', `d=\${e}`, 'f={g', '#h'] })

    test('valid', () => {
      expect(check(grubConfig(menuEntries(NESTED, { volumeId: 'A B' })))).toBe(0)
      expect(check(grubConfig(menuEntries(odd)))).toBe(0)
      const further = [
        { title: "it's {one}", start: { kind: 'program', efi: '/entries/a.efi', linux: '/entries/b.bin' } },
        { title: 'two', start: { kind: 'program', efi: '/entries/a.efi' } },
        { title: 'three', start: { kind: 'program', linux: '/entries/b.bin' } },
        { title: 'four', start: { kind: 'nextDevice' } },
      ] as const
      const look = { fonts: ['/a b.pf2'], background: '/boot/splash.jpg', serial: { unit: 0, speed: 9600 } }
      for (const style of ['graphical', 'text'] as const) {
        expect(check(grubConfig({ ...menuEntries(odd), further }, { ...look, style }))).toBe(0)
      }
    })

    test('the check sees a quote or a brace that is missing', () => {
      const config = grubConfig(menuEntries(odd))
      expect(check(config.replace("'\\''", "'"))).not.toBe(0)
      expect(check(config.replace(/}\n$/, '\n'))).not.toBe(0)
    })
  })
})

describe('systemd-boot', () => {
  const files = systemdBootConfig(menuEntries(NESTED))

  test('loader.conf names the first entry', () => {
    expect(files.texts.get('loader/loader.conf')).toBe('timeout 10\ndefault nixos-00-0000-default.conf\nconsole-mode keep\n')
    const forced = systemdBootConfig(menuEntries(bootspec(), { timeoutSeconds: null }))
    expect(forced.texts.get('loader/loader.conf')).toMatch(/^timeout menu-force\n/)
  })

  test('an entry', () => {
    const kernel = '0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-linux-6.12.40-bzImage.efi'
    const initrd = '1d1aqs2xfkjb3xzbm7kbq4yrqk5wvz0b-initrd-linux-6.12.40-initrd.efi'
    expect(
      files.texts.get('loader/entries/nixos-08-0003-serial-quiet.conf'),
    ).toBe(`title NixOS 26.11 (Linux 6.12.40) Installer (quiet) - Serial console=ttyS0,115200n8
sort-key nixos-08-0003
linux /EFI/nixos/${kernel}
initrd /EFI/nixos/${initrd}
options ${INIT} quiet live.note="two words" console=ttyS0,115200n8
`)
    expect(files.kernels.get(KERNEL)).toBe(`EFI/nixos/${kernel}`)
  })

  test('file names, sort keys and titles are unique and in menu order', () => {
    const entries = [...files.texts].filter(([path]) => path.startsWith('loader/entries/'))
    expect(entries).toHaveLength(4 * 9)
    const paths = entries.map(([path]) => path)
    expect(paths).toEqual([...paths].sort())
    expect(paths[1]).toBe('loader/entries/nixos-00-0001-default-no_gui.conf')
    expect(new Set(entries.map(([, text]) => text.split('\n')[0])).size).toBe(4 * 9)
    const keys = entries.map(([, text]) => text.split('\n')[1])
    expect(keys).toEqual([...new Set(keys)].sort())
  })

  test('names that FAT cannot hold, or tells apart by case only, are replaced', () => {
    const kernel = '/nix/store/0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-linux?x/Image'
    const initrd = '/nix/store/0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-linux_x/IMAGE'
    const paths = [...systemdBootConfig(menuEntries(bootspec({ kernel, initrd }))).kernels.values()]
    expect(paths).toHaveLength(2)
    for (const path of paths) expect(path).toMatch(/^EFI\/nixos\/[0-9a-zA-Z+._=-]+\.efi$/)
    expect(new Set(paths.map((path) => path.toLowerCase())).size).toBe(2)
    const long = `${KERNEL.slice(0, -8)}${'k'.repeat(230)}`
    expect(() => systemdBootConfig(menuEntries(bootspec({ kernel: `${long}/bzImage` })))).toThrow(
      expect.objectContaining({ code: 'LIMIT' }),
    )
  })

  test('a command line that the kernel would cut', () => {
    expect(() => systemdBootConfig(menuEntries(bootspec({ kernelParams: [LONG] })))).toThrow(expect.objectContaining({ code: 'LIMIT' }))
  })
})
