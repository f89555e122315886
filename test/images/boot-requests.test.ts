/** What a system asks of what starts it, by boot.json or in place of it, comes into every kind of image, or is said. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { diskBoot } from '../../src/images/disk/boot.ts'
import { type DiskOptions, disk } from '../../src/images/disk/index.ts'
import { iso } from '../../src/images/iso.ts'
import { netboot } from '../../src/images/netboot/index.ts'
import { loadClosure } from '../../src/system/store.ts'
import { systemOf } from '../../src/system/system.ts'
import type { TreeNode } from '../../src/tree/tree.ts'
import { failure } from '../nix/scratch.ts'
import { bootProgram, type MadeSystem, madeSystem, PARTS, SYSTEM } from './made-system.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-requests-'))
afterAll(() => rmSync(folder, { recursive: true }))

let count = 0
const made = (system: MadeSystem = {}) => madeSystem(join(folder, `root-${count++}`), system)

const DTB = { 'org.nixos.systemd-boot': { devicetree: `${PARTS}/board.dtb` } }
const files = { [`${PARTS}/board.dtb`]: 'a tree' }

/** Paths of files, and the text of those that are text. */
function filesIn(node: TreeNode | undefined, path = ''): Map<string, string> {
  if (node?.kind === 'directory')
    return new Map(node.entries.flatMap((entry) => [...filesIn(entry.node, `${path}/${Buffer.from(entry.name)}`)]))
  if (node?.kind !== 'file') return new Map()
  return new Map([[path, node.content.kind === 'bytes' ? Buffer.from(node.content.bytes).toString() : '']])
}

async function bootOf(system: ReturnType<typeof made>, loader: 'systemd-boot' | 'uki' | 'extlinux' | 'none') {
  const layout = loader === 'extlinux' ? 'legacy' : 'efi'
  return diskBoot(await systemOf(await loadClosure(system.options), {}), { ...system.options, loader, layout, mtimeSeconds: 1 })
}

describe('a device tree', () => {
  it('comes into an ISO', async () => {
    const system = made({ extensions: DTB, files })
    const { plan } = await iso(system.options)
    expect(plan.layout.sharedFiles?.map(({ path }) => path)).toContain(`/EFI/nixos/${'2'.repeat(32)}-parts-board.dtb.efi`)
    expect(system.notes).toEqual([])
  })

  it('comes onto a disk, whatever starts it', async () => {
    const entry = [...filesIn((await bootOf(made({ extensions: DTB, files }), 'systemd-boot')).esp)]
    expect(entry.find(([path]) => path.startsWith('/loader/entries/nixos-'))?.[1]).toContain('\ndevicetree /EFI/nixos/')
    const extlinux = filesIn((await bootOf(made({ extensions: DTB, files }), 'extlinux')).rootBoot)
    expect(extlinux.get('/extlinux/extlinux.conf')).toMatch(/\n {2}FDT \.\.\/nixos\/2{32}-parts-board\.dtb\n/)
    const trees = made({ files: { [`${PARTS}/trees/vendor/one.dtb`]: '' } })
    symlinkSync(`${PARTS}/trees`, join(trees.options.root, SYSTEM, 'dtbs'))
    const folders = filesIn((await bootOf(trees, 'extlinux')).rootBoot)
    expect(folders.get('/extlinux/extlinux.conf')).toMatch(/\n {2}FDTDIR \.\.\/nixos\/2{32}-parts-trees\n/)
    expect([...folders.keys()]).toContain(`/nixos/${'2'.repeat(32)}-parts-trees/vendor/one.dtb`)
  })

  it('is said to be missing from a network boot, and is an error where that is wanted', async () => {
    const system = made({ extensions: DTB, files })
    await netboot(system.options)
    expect(system.notes).toEqual([expect.stringContaining('board.dtb, which a network boot cannot hand over')])
    await failure(() => netboot({ ...system.options, strict: true }), 'BAD_INPUT', /board\.dtb/)
  })
})

describe('an image that nothing starts', () => {
  const diskOf = (changes: Partial<DiskOptions>) => {
    const system = made()
    return { system, plan: disk({ ...system.options, freeSize: 0, espSize: 40 << 20, ...changes }) }
  }

  it('is said to be one, but where that is asked for', async () => {
    for (const layout of ['legacy', 'legacy+boot', 'legacy+gpt', 'none'] as const) {
      const { system, plan } = diskOf({ layout })
      await plan
      expect(system.notes, layout).toEqual([
        expect.stringContaining(`the layout ${layout} has no EFI system partition, and no boot program for BIOS`),
      ])
      await failure(() => diskOf({ layout, strict: true }).plan, 'BAD_INPUT', /nothing starts this disk/)
      for (const bootLoader of ['none', 'extlinux'] as const) {
        const meant = diskOf({ layout, bootLoader })
        await meant.plan
        expect(meant.system.notes).toEqual([])
      }
    }
    const hybrid = diskOf({ layout: 'hybrid' })
    await hybrid.plan
    expect(hybrid.system.notes).toEqual(['the layout hybrid starts by UEFI only: no boot program for BIOS is written'])
  })

  it('is an ISO with a shim and no menu', async () => {
    const system = made()
    const efi = join(folder, `efi-${count}`)
    mkdirSync(join(efi, 'EFI/BOOT'), { recursive: true })
    writeFileSync(join(efi, 'EFI/BOOT/BOOTX64.EFI'), bootProgram('UEFI SHIM'))
    await iso({ ...system.options, efiBoot: efi })
    expect(system.notes).toEqual([expect.stringMatching(/BOOTX64\.EFI: is neither systemd-boot nor GRUB/)])
    await failure(() => iso({ ...system.options, efiBoot: efi, strict: true }), 'BAD_INPUT', /no menu is written/)
  })
})

describe('an extension that is not obeyed', () => {
  const xen = { extensions: { 'org.xenproject.bootspec.v2': { efiPath: '/x' } } }

  it('is said by every command that starts a system', async () => {
    const quiet = made({ specialisations: { xen } })
    await netboot(quiet.options)
    expect(quiet.notes).toEqual([])
    for (const make of [
      (system: ReturnType<typeof made>) => iso(system.options),
      (system: ReturnType<typeof made>) => netboot({ ...system.options, specialisation: 'xen' }),
      (system: ReturnType<typeof made>) => bootOf(system, 'systemd-boot'),
      (system: ReturnType<typeof made>) => bootOf(system, 'extlinux'),
    ]) {
      const system = made({ specialisations: { xen } })
      await make(system)
      expect(system.notes).toEqual([expect.stringContaining('without the hypervisor')])
    }
    await bootOf(quiet, 'none')
    expect(quiet.notes).toEqual([])
  })
})

describe('a system from before bootspec', () => {
  it('is started by what stands in place of boot.json', async () => {
    const old = made({
      bootJson: false,
      files: { [`${SYSTEM}/system`]: 'x86_64-linux', [`${SYSTEM}/kernel-params`]: 'loglevel=4', [`${SYSTEM}/nixos-version`]: '22.05' },
    })
    for (const name of ['kernel', 'initrd']) symlinkSync(`${PARTS}/${name}`, join(old.options.root, SYSTEM, name))
    const { plan } = await netboot(old.options)
    expect(plan).toMatchObject({ label: 'NixOS 22.05', kernel: 'kernel', parameters: `init=${SYSTEM}/init loglevel=4` })
    expect(old.notes).toEqual([expect.stringMatching(/-system has no boot\.json, as systems from before NixOS 23\.05/)])
    expect((await iso(old.options)).plan.entries).toMatchObject([{ title: 'NixOS 22.05 Installer' }])
  })
})
