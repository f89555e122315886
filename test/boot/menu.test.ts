import { describe, expect, test } from 'vitest'
import { commandLineWords, encodedLabel } from '../../src/boot/command-line.ts'
import { expectedVolumeId, isoPathOf, MENU_VARIANTS, type MenuBootspec, menuEntries } from '../../src/boot/index.ts'
import { bootspec, INITRD, INITRD_2, KERNEL, NESTED, TOPLEVEL } from './bootspecs.ts'

describe('menu entries', () => {
  test('the system first, then specialisations by name, each followed by its own', () => {
    const menu = menuEntries(NESTED)
    expect(menu.entries.map((entry) => entry.title)).toEqual([
      'NixOS 26.11 (Linux 6.12.40) Installer',
      "Bob's NixOS 50% $HOME Installer (No GUI)",
      'Deeper Installer (No GUI, deeper)',
      'NixOS 26.11 (Linux 6.12.40) Installer (quiet)',
    ])
    expect(new Set(menu.entries.map((entry) => entry.title)).size).toBe(4)
  })

  test('the default stands first, whichever way it is named, and the system itself can be left out', () => {
    const namesOf = (options: Parameters<typeof menuEntries>[1]) =>
      menuEntries(NESTED, options).entries.map(({ specialisation }) => specialisation.join('/'))
    expect(namesOf({ defaultEntry: 'No GUI/deeper' })).toEqual(['No GUI/deeper', '', 'No GUI', 'quiet'])
    expect(namesOf({ defaultEntry: 'Deeper Installer (No GUI, deeper)' })).toEqual(namesOf({ defaultEntry: 'No GUI/deeper' }))
    expect(namesOf({ defaultEntry: 'NixOS 26.11 (Linux 6.12.40) Installer' })).toEqual(namesOf({}))
    expect(namesOf({ hideBase: true, defaultEntry: 'quiet' })).toEqual(['quiet', 'No GUI', 'No GUI/deeper'])
    expect(menuEntries(bootspec({ specialisations: { other: bootspec({ initrd: INITRD_2 }) } }), { hideBase: true }).files).toEqual(
      [KERNEL, INITRD_2].sort(),
    )
    const refused = (spec: MenuBootspec, options: Parameters<typeof menuEntries>[1], code: string, message: RegExp) =>
      expect(() => menuEntries(spec, options)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }))
    refused(
      NESTED,
      { defaultEntry: 'deeper' },
      'NOT_FOUND',
      /defaultEntry is 'deeper'.*it has 'NixOS 26\.11.*', 'No GUI', 'No GUI\/deeper', 'quiet'/,
    )
    refused(NESTED, { hideBase: true, defaultEntry: 'NixOS 26.11 (Linux 6.12.40) Installer' }, 'NOT_FOUND', /no such entry/)
    refused(bootspec(), { hideBase: true }, 'USAGE', /hideBase: the system has no specialisation/)
  })

  test('kernels and initrds are listed once', () => {
    expect(menuEntries(NESTED).files).toEqual([KERNEL, INITRD, INITRD_2].sort())
    expect(isoPathOf(KERNEL)).toBe(`/boot${KERNEL}`)
  })

  test('defaults are those of nixpkgs; prefix, suffix and timeout can be given', () => {
    expect(menuEntries(bootspec()).timeoutSeconds).toBe(10)
    const menu = menuEntries(bootspec(), { labelPrefix: 'My ', labelSuffix: '', timeoutSeconds: null })
    expect(menu.timeoutSeconds).toBeNull()
    expect(menu.entries[0]?.title).toBe('My NixOS 26.11 (Linux 6.12.40)')
    expect(() => menuEntries(bootspec(), { timeoutSeconds: 1.5 })).toThrow(expect.objectContaining({ code: 'USAGE' }))
    expect(() => menuEntries(bootspec(), { timeoutSeconds: -1 })).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })

  test('the eight variants of nixpkgs', () => {
    expect(MENU_VARIANTS.map((variant) => `${variant.className}: ${variant.parameters}`)).toEqual([
      'copytoram: copytoram',
      'nomodeset: nomodeset',
      'debug: debug',
      'quirk-disable-displaymanager: systemd.mask=display-manager.service plymouth.enable=0',
      'rotate-90cw: fbcon=rotate:1',
      'rotate-180: fbcon=rotate:2',
      'rotate-90ccw: fbcon=rotate:3',
      'serial: console=ttyS0,115200n8',
    ])
  })

  test('a system without an initrd has an entry without one', () => {
    const menu = menuEntries(bootspec({ initrd: undefined }))
    expect(menu.entries[0]?.initrds).toEqual([])
    expect(menu.files).toEqual([KERNEL])
  })
})

describe('kernel parameters', () => {
  const parameters = (kernelParams: string[], options = {}) => menuEntries(bootspec({ kernelParams }), options).entries[0]?.parameters

  test('init, then the own ones, then the added ones, then the root', () => {
    expect(parameters(['a', 'b=c'], { kernelParams: ['d'], volumeId: 'nixos-26.11' })).toBe(
      `init=${TOPLEVEL}/init a b=c d root=LABEL=nixos-26.11`,
    )
  })

  test('a root that is named stays the only one', () => {
    expect(parameters(['root=fstab'], { volumeId: 'X' })).toBe(`init=${TOPLEVEL}/init root=fstab`)
    expect(parameters(['quiet root=LABEL=Y'], { volumeId: 'X' })).toBe(`init=${TOPLEVEL}/init quiet root=LABEL=Y`)
    expect(parameters(['"root=LABEL=Y Z"'], { volumeId: 'X' })).toBe(`init=${TOPLEVEL}/init "root=LABEL=Y Z"`)
    expect(parameters([], { kernelParams: ['root=/dev/sda'], volumeId: 'X' })).toBe(`init=${TOPLEVEL}/init root=/dev/sda`)
    expect(parameters(['rootflags=x', 'note="say root=x"'], { volumeId: 'X' })).toContain('root=LABEL=X')
    expect(parameters([])).toBe(`init=${TOPLEVEL}/init`)
  })

  test('a volume id with a blank is written as udev names it', () => {
    expect(encodedLabel('NixOS live é')).toBe('NixOS\\x20live\\x20\\xc3\\xa9')
    expect(parameters([], { volumeId: 'A B' })).toContain('root=LABEL=A\\x20B')
  })

  test('the label that a system expects is read back', () => {
    expect(expectedVolumeId(bootspec())).toBeUndefined()
    expect(expectedVolumeId(bootspec({ kernelParams: ['root=fstab'] }))).toBeUndefined()
    expect(expectedVolumeId(bootspec({ kernelParams: ['root=LABEL=A', 'root=LABEL=NixOS\\x20live\\x20\\xc3\\xa9'] }))).toBe('NixOS live é')
  })

  test('words are split as the kernel splits them', () => {
    expect(commandLineWords('a  b="c d" "e=f g" h""i "" j')).toEqual(['a', 'b=c d', 'e=f g', 'hi', '', 'j'])
    expect(() => commandLineWords('a="b c')).toThrow(expect.objectContaining({ code: 'BAD_INPUT' }))
  })
})

describe('what no menu can hold', () => {
  test.each([
    ['a line break in the label', bootspec({ label: 'a\nb' })],
    ['a line break in a parameter', bootspec({ kernelParams: ['a\nINITRD /x'] })],
    ['a NUL in init', bootspec({ init: '/nix/store/x/init\0' })],
    ['an open quote', bootspec({ kernelParams: ['a="b'] })],
    ['a kernel outside the store', bootspec({ kernel: '/boot/bzImage' })],
    ['a kernel that climbs', bootspec({ kernel: '/nix/store/../../etc/shadow' })],
    ['an initrd that is the store', bootspec({ initrd: '/nix/store/' })],
    ['a line break in the name of a specialisation', bootspec({ specialisations: { 'a\nb': bootspec() } })],
  ])('%s', (_, spec) => {
    expect(() => menuEntries(spec)).toThrow(expect.objectContaining({ code: 'BAD_INPUT' }))
  })

  test('an empty label', () => {
    expect(() => menuEntries(bootspec({ label: '' }), { labelSuffix: '' })).toThrow(/label is empty/)
  })
})
