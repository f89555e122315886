import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { unpackSmall } from '../../fixtures/unpack.ts'
import { efiArchitecture } from '../../src/boot/efi.ts'
import type { DiskBootspec } from '../../src/boot/generation.ts'
import { diskBootFiles, diskMenu, type SystemdBootDiskOptions, systemdBootDisk } from '../../src/boot/systemd-boot-disk.ts'
import { parseBootspec } from '../../src/system/bootspec.ts'
import type { DirectoryNode, FileNode } from '../../src/tree/tree.ts'
import { writeTree } from '../images/write-tree.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'
import { oracle, runOk } from '../oracles/tools.ts'
import { bootspec, INITRD, INITRD_2, KERNEL, NESTED, TOPLEVEL } from './bootspecs.ts'
import { tinyInitrd } from './tiny-initrd.ts'

const TIME = 315_532_800
const scratch = scratchFolder()

const LINUX = 'EFI/nixos/0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-linux-6.12.40-bzImage.efi'
const RAMDISK = 'EFI/nixos/1d1aqs2xfkjb3xzbm7kbq4yrqk5wvz0b-initrd-linux-6.12.40-initrd.efi'

/** `bootspec` with extensions of nixpkgs. */
function extended(extensions: Record<string, unknown>): DiskBootspec {
  return { ...bootspec(), extensions } as DiskBootspec
}

function file(content: string | Uint8Array): FileNode {
  const bytes = Buffer.from(content)
  return { kind: 'file', mode: 0o644, uid: 7, gid: 7, mtimeSeconds: 9, size: bytes.length, content: { kind: 'bytes', bytes } }
}

function parts(spec: DiskBootspec = bootspec()) {
  const kernels = new Map(diskBootFiles(spec).map((path) => [path, file(`content of ${path}`)]))
  return { bootspec: spec, architecture: efiArchitecture('x86_64-linux'), program: file('systemd-boot'), kernels }
}

/** Paths of files and, with a slash at the end, of empty folders. */
function paths(node: DirectoryNode | undefined, prefix = ''): string[] {
  return (node?.entries ?? []).flatMap((entry) => {
    const path = `${prefix}${Buffer.from(entry.name)}`
    if (entry.node.kind !== 'directory') return [path]
    return entry.node.entries.length === 0 ? [`${path}/`] : paths(entry.node, `${path}/`)
  })
}

describe('entries', () => {
  it('are named by their content, in the lines of nixpkgs, without a line break at the end', () => {
    const menu = diskMenu(bootspec(), { mtimeSeconds: TIME })
    const text = [
      'title NixOS',
      'version Generation 1 NixOS 26.11 (Linux 6.12.40), built on 1980-01-01',
      `linux /${LINUX}`,
      `initrd /${RAMDISK}`,
      `options init=${TOPLEVEL}/init loglevel=4`,
      'sort-key nixos',
    ].join('\n')
    const name = `nixos-${createHash('sha256').update(text).digest('hex')}.conf`
    expect([...menu.entries]).toEqual([[name, text]])
    expect(menu.loaderConf).toBe(`timeout 5\ndefault ${name}\nconsole-mode keep\n`)
    expect([...menu.kernels]).toEqual([
      [KERNEL, LINUX],
      [INITRD, RAMDISK],
    ])
  })

  it('follow the options', () => {
    const options = {
      mtimeSeconds: 1_769_904_000,
      distroName: 'Ärger OS',
      kernelParams: ['quiet'],
      consoleMode: 'max',
      editor: false,
    } as const
    const menu = diskMenu(bootspec(), { ...options, timeoutSeconds: null })
    const [[name, text] = ['', '']] = menu.entries
    expect(text).toMatch(/^title Ärger OS\nversion .*, built on 2026-02-01\n/)
    expect(text).toContain('loglevel=4 quiet\n')
    expect(menu.loaderConf).toBe(`timeout menu-force\ndefault ${name}\neditor 0\nconsole-mode max\n`)
    expect(diskMenu(bootspec(), { ...options, timeoutSeconds: 0 }).loaderConf).toMatch(/^timeout 0\n/)
  })

  it('come for every specialisation, the system first', () => {
    const menu = diskMenu(NESTED, { mtimeSeconds: TIME })
    const lines = (word: string): string[] =>
      [...menu.entries.values()].map((text) => new RegExp(`^${word} .*$`, 'm').exec(text)?.[0] ?? '')
    expect(lines('title')).toEqual(['title NixOS', 'title NixOS (No GUI)', 'title NixOS (No GUI deeper)', 'title NixOS (quiet)'])
    expect(lines('version')[1]).toBe("version Generation 1 Bob's NixOS 50% $HOME, built on 1980-01-01")
    expect(lines('options')[3]).toBe(`options init=${TOPLEVEL}/init quiet live.note="two words"`)
    expect(menu.loaderConf).toContain(`default ${[...menu.entries.keys()][0]}\n`)
    expect([...menu.kernels.keys()]).toEqual([KERNEL, INITRD, INITRD_2])
  })

  it('have what extensions of boot.json ask for', async () => {
    const tree = '/nix/store/5h1aqs2xfkjb3xzbm7kbq4yrqk5wvz0f-device-tree/vendor/board.dtb'
    const extra = '/nix/store/6i1aqs2xfkjb3xzbm7kbq4yrqk5wvz0g-extra'
    const spec = extended({
      'org.nixos.systemd-boot': { sortKey: 'a-nixos', devicetree: tree },
      'org.nixos.extra-initrd.v1': { paths: [extra] },
      'com.example.other': 7,
    })
    const [text = ''] = diskMenu(spec, { mtimeSeconds: TIME }).entries.values()
    expect(text.split('\n').slice(3)).toEqual([
      `initrd /${RAMDISK}`,
      'initrd /EFI/nixos/6i1aqs2xfkjb3xzbm7kbq4yrqk5wvz0g-extra.efi',
      `options init=${TOPLEVEL}/init loglevel=4`,
      'devicetree /EFI/nixos/5h1aqs2xfkjb3xzbm7kbq4yrqk5wvz0f-device-tree-board.dtb.efi',
      'sort-key a-nixos',
    ])
    expect(diskBootFiles(spec)).toEqual([KERNEL, INITRD, extra, tree])
    for (const [extensions, message] of [
      [{ 'org.nixos.systemd-boot': [] }, /"org\.nixos\.systemd-boot": it is no object/],
      [{ 'org.nixos.systemd-boot': { sortKey: 1 } }, /"sortKey" is no text/],
      [{ 'org.nixos.systemd-boot': { sortKey: 'a\nb' } }, /control character/],
      [{ 'org.nixos.systemd-boot': { devicetree: '/etc/passwd' } }, /is no path below \/nix\/store/],
      [{ 'org.nixos.systemd-boot': { devicetree: '/nix/store/../../etc' } }, /is no path below/],
      [{ 'org.nixos.extra-initrd.v1': { paths: extra } }, /"paths" is no array/],
      [{ 'org.nixos.extra-initrd.v1': { paths: [7] } }, /7 is no path/],
    ] as const) {
      await failure(() => diskMenu(extended(extensions), { mtimeSeconds: TIME }), 'BAD_INPUT', message)
    }
  })

  it('say what cannot be', async () => {
    const menu =
      (spec: DiskBootspec, options: object = {}) =>
      () =>
        diskMenu(spec, { mtimeSeconds: TIME, ...options })
    await failure(menu(bootspec({ kernelParams: ['x'.repeat(2048)] })), 'LIMIT', /the kernel takes 2047/)
    await failure(menu(bootspec({ kernel: `${KERNEL.replace('bzImage', 'k'.repeat(250))}` })), 'LIMIT', /FAT takes 255/)
    await failure(menu(bootspec(), { distroName: 'a\nlinux /evil' }), 'BAD_INPUT', /title .*control character/)
    await failure(menu(bootspec(), { consoleMode: 'keep\neditor 1' }), 'BAD_INPUT', /console mode/)
    await failure(menu(bootspec(), { timeoutSeconds: 1.5 }), 'USAGE', /whole number of seconds/)
    for (const mtimeSeconds of [-1, 0.5, 253_402_300_800])
      await failure(menu(bootspec(), { mtimeSeconds }), 'USAGE', /between 1970 and the end of 9999/)
  })
})

describe('trees', () => {
  const [entry = ''] = diskMenu(bootspec(), { mtimeSeconds: TIME }).entries.keys()

  it('are as bootctl and systemd-boot-builder leave them', async () => {
    const { esp, extendedBoot } = systemdBootDisk(parts(), { mtimeSeconds: TIME })
    expect(extendedBoot).toBeUndefined()
    expect(paths(esp).sort()).toEqual(
      [
        'EFI/BOOT/BOOTX64.EFI',
        'EFI/Linux/',
        LINUX,
        RAMDISK,
        'EFI/systemd/systemd-bootx64.efi',
        `loader/entries/${entry}`,
        'loader/entries.srel',
        'loader/loader.conf',
      ].sort(),
    )
    await failure(
      () => systemdBootDisk({ ...parts(), kernels: new Map() }, { mtimeSeconds: TIME }),
      'NOT_FOUND',
      /bzImage is not in the closure/,
    )
  })

  it('with a second partition have all but the program and loader.conf there', () => {
    const { esp, extendedBoot } = systemdBootDisk(parts(), { mtimeSeconds: TIME, extendedBootPartition: true })
    expect(paths(esp).sort()).toEqual(['EFI/BOOT/BOOTX64.EFI', 'EFI/systemd/systemd-bootx64.efi', 'loader/loader.conf'])
    expect(paths(extendedBoot).sort()).toEqual(['EFI/Linux/', LINUX, RAMDISK, `loader/entries/${entry}`, 'loader/entries.srel'].sort())
  })
})

describe.skipIf(oracle('cpio').skip)('with systemd-boot of the small closure', () => {
  let root: string
  let spec: DiskBootspec
  let kernels: Map<string, FileNode>
  let program: FileNode

  beforeAll(async () => {
    const small = await unpackSmall(scratch('small'))
    root = small.root
    const json = parseBootspec(readFileSync(join(root, small.toplevel, 'boot.json')), 'boot.json')
    spec = json
    const initrd = file(tinyInitrd(scratch('initrd'), root))
    kernels = new Map(diskBootFiles(spec).map((path) => [path, path.endsWith('/initrd') ? initrd : file(readFileSync(join(root, path)))]))
    const systemd = readdirSync(join(root, 'nix/store')).find((name) => name.includes('-systemd-')) ?? ''
    program = file(readFileSync(join(root, 'nix/store', systemd, 'lib/systemd/boot/efi/systemd-bootx64.efi')))
  })

  function trees(options: Partial<SystemdBootDiskOptions>) {
    const kernelParams = ['console=ttyS0,115200n8']
    return systemdBootDisk(
      { bootspec: spec, architecture: efiArchitecture('x86_64-linux'), program, kernels },
      { mtimeSeconds: TIME, kernelParams, ...options },
    )
  }

  it.skipIf(oracle('bootctl', 'unshare').skip)('is listed by bootctl, which misses a kernel that is not there', () => {
    const { esp } = trees({})
    writeTree(esp, scratch('esp'))
    mkdirSync(scratch('mounted'))
    // bootctl looks at whole file systems only.
    const script =
      'mount -t tmpfs none "$1" && cp -r "$2/." "$1" && SYSTEMD_RELAX_ESP_CHECKS=1 exec bootctl --no-pager --esp-path="$1" $3 list'
    const list = (json: string): string =>
      runOk('unshare', ['-rm', 'sh', '-c', script, 'sh', scratch('mounted'), scratch('esp'), json]).text
    // One object a line; an array in newer ones.
    const listed = list('--json=short')
      .trim()
      .split('\n')
      .flatMap((line) => JSON.parse(line) as Record<string, unknown>[])
    const menu = diskMenu(spec, { mtimeSeconds: TIME, kernelParams: ['console=ttyS0,115200n8'] })
    expect(listed.map(({ id }) => id).sort()).toEqual([...menu.entries.keys()].sort())
    const linux = menu.kernels.get(spec.kernel) ?? ''
    expect(listed.find(({ id }) => id === [...menu.entries.keys()][0])).toMatchObject({
      title: 'NixOS',
      sortKey: 'nixos',
      linux: `/${linux}`,
      version: expect.stringMatching(/^Generation 1 .*, built on 1980-01-01$/),
    })
    expect(list('')).toContain(linux)
    expect(list('')).not.toContain('No such file')
    rmSync(join(scratch('esp'), linux))
    expect(list('')).toContain('No such file')
  })
})
