/** Presets are valid: each gives a disk, as its cloud or hypervisor wants it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CONTAINERS } from '../../src/disks/containers.ts'
import { disk } from '../../src/images/disk/index.ts'
import { DISK_LAYOUTS } from '../../src/images/disk/names.ts'
import { DISK_PRESETS, diskPreset } from '../../src/images/disk/presets.ts'
import { type DiskWork, diskWork, MEBIBYTE } from './disk-support.ts'

let work: DiskWork
beforeAll(async () => {
  work = await diskWork()
})
afterAll(() => work.remove())

describe('presets', () => {
  it('have names of their own, in one line each', () => {
    const names = DISK_PRESETS.map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    for (const { name, about } of DISK_PRESETS) {
      expect(name).toMatch(/^[a-z][a-z0-9-]*$/)
      expect(about).toMatch(/^[^\n]{10,100}$/)
      expect(diskPreset(name).name).toBe(name)
    }
    expect(() => diskPreset('no such thing')).toThrow(/^preset is "no such thing"; there are raw-efi, /)
  })

  it.each(DISK_PRESETS)('$name plans a disk', async ({ format, layout, size }) => {
    expect(CONTAINERS.outputFormats).toContain(format)
    expect(DISK_LAYOUTS).toContain(layout)
    const { image, plan } = await disk({ closure: work.small.folder, root: work.small.root, format, layout, size })
    expect(image).toBeDefined()
    expect(plan).toMatchObject({ format, layout, ...(size !== 'auto' && { diskSize: size }) })
    expect((plan.diskSize ?? 0) % MEBIBYTE).toBe(0)
    expect(plan.rootFreeBytes).toBeGreaterThan(500 * MEBIBYTE)
  })

  it.each([
    ['azure', 'vhd-fixed'],
    ['google', 'raw.tar.gz'],
    ['hyperv', 'vhdx'],
    ['amazon', 'vhd'],
    ['vsphere', 'ova'],
  ])('%s is what its importer takes: %s', (name, format) => {
    expect(diskPreset(name).format).toBe(format)
  })

  it('can be asked for by the ending of a file, but for variants of a container', () => {
    const variants = ['qcow2-compressed', 'vhd-fixed', 'vmdk-stream']
    for (const format of CONTAINERS.outputFormats) {
      if (variants.includes(format)) continue
      expect(CONTAINERS.formatOfName(`nixos.${format}`)).toBe(format)
    }
  })
})
