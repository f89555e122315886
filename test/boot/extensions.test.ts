/** What extensions of boot.json ask for, and what is said of those that are not obeyed. */
import { describe, expect, it } from 'vitest'
import { bootExtensions, disobeyedExtensions, type Extensions, menuEntries } from '../../src/boot/index.ts'
import { failure } from '../nix/scratch.ts'
import { bootspec, INITRD, KERNEL } from './bootspecs.ts'

const TREE = '/nix/store/5h1aqs2xfkjb3xzbm7kbq4yrqk5wvz0f-device-tree/vendor/board.dtb'
const EXTRA = '/nix/store/6i1aqs2xfkjb3xzbm7kbq4yrqk5wvz0g-extra'
const LOADER = { name: 'systemd-boot', deviceTree: true }
const said = (extensions: Extensions, starter = LOADER): string[] => disobeyedExtensions(bootspec({ extensions }), [starter])

describe('extensions', () => {
  it('are read as nixpkgs and Lanzaboote write them', () => {
    expect(bootExtensions()).toEqual({ sortKey: 'nixos', deviceTree: undefined, extraInitrds: [], foreignInitrds: [] })
    const all = bootExtensions({
      'org.nixos.systemd-boot': { sortKey: 'a', devicetree: TREE },
      'org.nixos.extra-initrd.v1': { paths: [EXTRA, 'EFI/extra.img', '/EFI/more.img'] },
    })
    expect(all).toEqual({ sortKey: 'a', deviceTree: TREE, extraInitrds: [EXTRA], foreignInitrds: ['EFI/extra.img', '/EFI/more.img'] })
    expect(bootExtensions({ 'org.nix-community.lanzaboote': { sort_key: 'lanzaboote' } }).sortKey).toBe('lanzaboote')
  })

  it('have to be what they are', async () => {
    for (const [extensions, message] of [
      [{ 'org.nixos.systemd-boot': 'x' }, /it is no object/],
      [{ 'org.nix-community.lanzaboote': { sort_key: 1 } }, /is no text/],
      [{ 'org.nixos.extra-initrd.v1': { paths: [''] } }, /"" is no path/],
      [{ 'org.nixos.extra-initrd.v1': { paths: ['a\nb'] } }, /control character/],
      [{ 'org.nixos.extra-initrd.v1': { paths: ['/nix/store/../x'] } }, /is no path below/],
    ] as const) {
      await failure(() => bootExtensions(extensions), 'BAD_INPUT', message)
    }
  })

  it('come to the entries of every menu', () => {
    const extensions = { 'org.nixos.systemd-boot': { devicetree: TREE }, 'org.nixos.extra-initrd.v1': { paths: [EXTRA] } }
    const menu = menuEntries(bootspec({ extensions, furtherInitrds: ['/more'] }))
    expect(menu.entries).toMatchObject([{ initrds: [INITRD, EXTRA, '/more'], deviceTree: TREE }])
    expect(menu.files).toEqual(['/more', KERNEL, INITRD, TREE, EXTRA])
    expect(menuEntries(bootspec({ initrd: undefined, furtherInitrds: ['/more'] })).entries[0]?.initrds).toEqual([])
  })
})

describe('what is not obeyed is said:', () => {
  it.each<[string, Extensions, RegExp]>([
    [
      'initrds that are to lie on the EFI system partition',
      { 'org.nixos.extra-initrd.v1': { paths: ['EFI/x.img'] } },
      /\(EFI\/x\.img\); the image starts without/,
    ],
    [
      'Xen',
      { 'org.xenproject.bootspec.v1': {}, 'org.xenproject.bootspec.v2': {} },
      /org\.xenproject\.bootspec\.v2: .*without the hypervisor/,
    ],
    ['signatures', { 'org.nix-community.lanzaboote': { sort_key: 'x' } }, /are to be signed/],
    ['a field that is not known', { 'org.nixos.systemd-boot': { sortKey: 'x', ukiFile: 'y' } }, /org\.nixos\.systemd-boot has ukiFile/],
    [
      'an extension that is not known',
      { 'com.example': {}, 'org.nixos.extra-initrd.v2': {} },
      /not obeyed: com\.example, org\.nixos\.extra-initrd\.v2$/,
    ],
  ])('%s', (_what, extensions, message) => {
    expect(said(extensions)).toEqual([expect.stringMatching(message)])
  })

  it('a device tree, where nothing can hand it over', () => {
    const extensions = { 'org.nixos.systemd-boot': { devicetree: TREE } }
    expect(said(extensions)).toEqual([])
    expect(said(extensions, { name: 'iPXE', deviceTree: false })).toEqual([expect.stringContaining(`${TREE}, which iPXE cannot hand over`)])
  })

  it('nothing of what is obeyed, or is read by the system itself', () => {
    expect(said({ 'org.nixos.systemd-boot': { sortKey: 'x', devicetree: null }, 'org.nixos.nixos-init.v1': { any: 1 } })).toEqual([])
  })

  it('of specialisations too, and once', () => {
    const child = bootspec({ extensions: { 'com.example': {} } })
    const spec = bootspec({
      extensions: { 'com.example': {} },
      specialisations: { a: child, b: bootspec({ extensions: { 'com.other': {} } }) },
    })
    expect(disobeyedExtensions(spec, [LOADER])).toEqual([expect.stringContaining('com.example'), expect.stringContaining('com.other')])
  })
})
