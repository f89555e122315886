import { describe, expect, it } from 'vitest'
import { type ExtlinuxOptions, extlinuxConfig, extlinuxTree, joinedInitrd } from '../../src/boot/extlinux.ts'
import type { DiskBootspec } from '../../src/boot/generation.ts'
import { diskBootFiles } from '../../src/boot/systemd-boot-disk.ts'
import type { DirectoryNode, FileNode } from '../../src/tree/tree.ts'
import { failure } from '../nix/scratch.ts'
import { bootspec, INITRD, KERNEL, NESTED, TOPLEVEL } from './bootspecs.ts'

const OPTIONS: ExtlinuxOptions = { mtimeSeconds: 315_532_800, version: '26.11.20260701' }
const TREES = '/nix/store/5h1aqs2xfkjb3xzbm7kbq4yrqk5wvz0f-device-tree-overlays'

function file(text: string): FileNode {
  return {
    kind: 'file',
    mode: 0o444,
    uid: 0,
    gid: 0,
    mtimeSeconds: 1,
    size: text.length,
    content: { kind: 'bytes', bytes: Buffer.from(text) },
  }
}

function paths(node: DirectoryNode, prefix = ''): string[] {
  return node.entries.flatMap((entry) => {
    const path = `${prefix}${Buffer.from(entry.name)}`
    return entry.node.kind === 'directory' ? paths(entry.node, `${path}/`) : [path]
  })
}

describe('extlinux.conf', () => {
  it('has the system as the default and as its generation', () => {
    const entry = (label: string, title: string) => `
LABEL ${label}
  MENU LABEL ${title}
  LINUX ../nixos/0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-linux-6.12.40-bzImage
  INITRD ../nixos/1d1aqs2xfkjb3xzbm7kbq4yrqk5wvz0b-initrd-linux-6.12.40-initrd
  APPEND init=${TOPLEVEL}/init loglevel=4
`
    expect(extlinuxConfig(bootspec(), OPTIONS).split('\n').slice(2).join('\n')).toBe(
      `DEFAULT nixos-default
MENU TITLE ------------------------------------------------------------
TIMEOUT 50
${entry('nixos-default', 'NixOS - Default')}${entry('nixos-1-default', 'NixOS - Configuration 1-default (1980-01-01 00:00 - 26.11.20260701)')}`,
    )
    expect(extlinuxConfig(bootspec(), OPTIONS)).toMatch(/^#.*\n#.*\nDEFAULT/)
  })

  it('has specialisations, whose labels are single words', () => {
    const config = extlinuxConfig(NESTED, { ...OPTIONS, kernelParams: ['extra'], mtimeSeconds: 1_769_948_100 })
    expect(config.match(/^LABEL .*$/gm)).toEqual([
      'LABEL nixos-default',
      'LABEL nixos-1-default',
      'LABEL nixos-1-No_GUI',
      'LABEL nixos-1-No_GUI_deeper',
      'LABEL nixos-1-quiet',
    ])
    expect(config).toContain('(2026-02-01 12:15 - 26.11')
    expect(config).toContain(`  APPEND init=${TOPLEVEL}/init quiet live.note="two words" extra\n`)
  })

  it.each([
    [5, 50],
    [0, -10],
    [null, 0],
  ])('waits %s s', (timeoutSeconds, tenths) => {
    expect(extlinuxConfig(bootspec(), { ...OPTIONS, timeoutSeconds })).toContain(`\nTIMEOUT ${tenths}\n`)
  })

  it('names the folder of device trees, or one of them', () => {
    const folder = '../nixos/5h1aqs2xfkjb3xzbm7kbq4yrqk5wvz0f-device-tree-overlays'
    expect(extlinuxConfig(bootspec(), { ...OPTIONS, deviceTrees: TREES })).toContain(`\n  FDTDIR ${folder}\n`)
    const one = extlinuxConfig(bootspec(), { ...OPTIONS, deviceTrees: TREES, deviceTreeName: 'vendor/board.dtb' })
    expect(one).toContain(`\n  FDT ${folder}/vendor/board.dtb\n`)
    expect(one).not.toContain('FDTDIR')
  })

  it('says what cannot be', async () => {
    const config =
      (spec: DiskBootspec, options: object = {}) =>
      () =>
        extlinuxConfig(spec, { ...OPTIONS, ...options })
    await failure(config(bootspec({ kernelParams: ['x'.repeat(2048)] })), 'LIMIT', /extlinux: .* the kernel takes 2047/)
    await failure(config(bootspec(), { version: 'a\nb' }), 'BAD_INPUT', /version .*control character/)
    await failure(config(bootspec(), { deviceTreeName: 'board.dtb' }), 'USAGE', /lies in no folder/)
    await failure(config(bootspec(), { deviceTrees: TREES, deviceTreeName: 'a\nb' }), 'BAD_INPUT', /device tree/)
  })

  it('loads the device tree that boot.json names, and several initrds as one', () => {
    const extensions = { 'org.nixos.systemd-boot': { devicetree: `${TREES}/board.dtb` }, 'org.nixos.extra-initrd.v1': { paths: [TREES] } }
    const two = bootspec({ extensions })
    const name = joinedInitrd([INITRD, TREES]) ?? ''
    expect(name).toMatch(/^\/[0-9a-f]{32}-initrds$/)
    const config = extlinuxConfig(two, { ...OPTIONS, deviceTrees: TREES })
    expect(config).toContain(`\n  INITRD ../nixos${name}\n`)
    expect(config).toContain('\n  FDT ../nixos/5h1aqs2xfkjb3xzbm7kbq4yrqk5wvz0f-device-tree-overlays-board.dtb\n')
    const kernels = new Map([KERNEL, name, `${TREES}/board.dtb`].map((path) => [path, file(path)]))
    expect(paths(extlinuxTree({ bootspec: two, kernels }, OPTIONS))).toContain(`nixos${name}`)
  })
})

describe('the tree', () => {
  const kernels = new Map(diskBootFiles(NESTED).map((path) => [path, file(path)]))

  it('has the menu, kernels and device trees', async () => {
    expect(paths(extlinuxTree({ bootspec: NESTED, kernels }, OPTIONS))).toEqual([
      'extlinux/extlinux.conf',
      'nixos/0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-linux-6.12.40-bzImage',
      'nixos/1d1aqs2xfkjb3xzbm7kbq4yrqk5wvz0b-initrd-linux-6.12.40-initrd',
      'nixos/2e1aqs2xfkjb3xzbm7kbq4yrqk5wvz0c-initrd-recovery-initrd',
    ])
    const deviceTrees: DirectoryNode = {
      kind: 'directory',
      mode: 0o555,
      uid: 0,
      gid: 0,
      mtimeSeconds: 1,
      entries: [{ name: Buffer.from('board.dtb'), node: file('tree') }],
    }
    const options = { ...OPTIONS, deviceTrees: TREES }
    expect(paths(extlinuxTree({ bootspec: bootspec(), kernels, deviceTrees }, options)).at(-1)).toBe(
      'nixos/5h1aqs2xfkjb3xzbm7kbq4yrqk5wvz0f-device-tree-overlays/board.dtb',
    )
    await failure(() => extlinuxTree({ bootspec: bootspec(), kernels }, options), 'USAGE', /folder of device trees .* is not given/)
    await failure(() => extlinuxTree({ bootspec: bootspec(), kernels: new Map() }, OPTIONS), 'NOT_FOUND', /is not in the closure/)
  })
})
