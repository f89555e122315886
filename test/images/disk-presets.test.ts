/** Presets are valid: each gives a disk, as its cloud or hypervisor wants it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CONTAINERS } from '../../src/disks/containers.ts'
import { type DiskOptions, disk } from '../../src/images/disk/index.ts'
import { DISK_LAYOUTS } from '../../src/images/disk/names.ts'
import { DISK_PRESETS, diskPreset } from '../../src/images/disk/presets.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { written } from '../disks/containers.ts'
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
    expect(() => diskPreset('no such thing')).toThrow(/^preset is 'no such thing'; there are raw-efi, /)
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

  it('google gives whole GiB, and says so where a size that is asked for is none', async () => {
    const input = { closure: work.small.folder, root: work.small.root }
    const notes: string[] = []
    const onProgress = (event: ProgressEvent): void => void (event.kind === 'note' && notes.push(event.message))
    const { plan } = await disk({ ...input, preset: 'google', onProgress })
    expect([plan.format, plan.diskSize]).toEqual(['raw.tar.gz', 1024 * MEBIBYTE])
    const packed = await disk({ ...input, preset: 'google', rootFileSystem: 'squashfs' })
    expect(packed.plan.diskSize).toBeUndefined()
    expect(notes).toEqual([])
    await disk({ ...input, preset: 'google', size: 900 * MEBIBYTE, onProgress })
    expect(notes).toEqual([expect.stringContaining('raw.tar.gz is for disks of whole multiples of 1073741824')])
  })

  it('describes a machine for a BIOS where the layout is for one', async () => {
    const descriptor = async (options: Partial<DiskOptions>): Promise<string> => {
      const base = { closure: work.small.folder, root: work.small.root, freeSize: 0, format: 'ova' } as const
      const { image } = await disk({ ...base, compression: { name: 'gzip', level: 1 }, ...options })
      const memory = await written(image)
      return Buffer.from(await memory.read(512, 8192)).toString('latin1')
    }
    expect(await descriptor({})).toContain('vmw:value="efi"')
    expect(await descriptor({ layout: 'legacy' })).not.toContain('vmw:value')
    expect(await descriptor({ layout: 'legacy', firmware: 'efi', cpuCount: 7 })).toMatch(/7 virtual CPUs[\s\S]*vmw:value="efi"/)
    await expect(disk({ closure: work.small.folder, root: work.small.root, cpuCount: 7 })).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('can be asked for by the ending of a file, but for variants of a container', () => {
    const variants = ['qcow2-compressed', 'vhd-fixed', 'vmdk-stream']
    for (const format of CONTAINERS.outputFormats) {
      if (variants.includes(format)) continue
      expect(CONTAINERS.formatOfName(`nixos.${format}`)).toBe(format)
    }
  })
})
