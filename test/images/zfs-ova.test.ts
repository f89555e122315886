/** All disks of a pool in one appliance: each of them, read back, is the image that is written without it. */
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { main } from '../../src/cli/main.ts'
import { CONTAINERS } from '../../src/disks/containers.ts'
import { isImageProduct } from '../../src/images/product.ts'
import { saveProduct } from '../../src/images/save.ts'
import { type ZfsOptions, zfs } from '../../src/images/zfs/index.ts'
import { FileSource } from '../../src/io/source.ts'
import { digest } from '../disks/containers.ts'
import { madeSystem } from './made-system.ts'

const MEBIBYTE = 1 << 20
const folder = mkdtempSync(join(tmpdir(), 'kilnix-zfs-ova-'))
const at = (...names: string[]): string => join(folder, ...names)
afterAll(() => rmSync(folder, { recursive: true }))

const { options: made } = madeSystem(at('system'))
const base: ZfsOptions = { ...made, bootSize: 24 * MEBIBYTE, rootSize: 'auto', freeSize: 0 }

/** Size and digest of a disk. */
async function diskIn(file: string, disk?: string): Promise<readonly [size: number, digest: string]> {
  const source = await FileSource.open(file)
  try {
    const { image } = await CONTAINERS.open(source, undefined, disk === undefined ? {} : { disk })
    return [image.size, await digest(image)]
  } finally {
    await source.close()
  }
}

async function descriptorOf(file: string): Promise<string> {
  const source = await FileSource.open(file)
  try {
    return Buffer.from(await source.read(0, 16384)).toString('latin1')
  } finally {
    await source.close()
  }
}

describe('an appliance', () => {
  it('has the boot disk and the root disk, and the machine that is asked for', async () => {
    await saveProduct(await zfs(base), at('raw'))
    const product = await zfs({
      ...base,
      format: 'ova',
      fileName: 'two.ova',
      cpuCount: 3,
      hardwareVersion: 17,
      compression: { name: 'gzip', level: 1 },
    })
    expect(isImageProduct(product)).toBe(true)
    expect(product.plan).toMatchObject({ format: 'ova', layout: 'two-disk', files: ['two.ova'], bootSize: 24 * MEBIBYTE })
    expect(product.plan.poolGuid).toBe((await zfs(base)).plan.poolGuid)
    await saveProduct(product, at('two.ova'))
    expect(await diskIn(at('two.ova'), '1')).toEqual(await diskIn(at('raw', 'nixos.boot.img')))
    expect(await diskIn(at('two.ova'), 'two-disk2.vmdk')).toEqual(await diskIn(at('raw', 'nixos.root.img')))
    await expect(diskIn(at('two.ova'))).rejects.toMatchObject({ code: 'USAGE' })
    const text = await descriptorOf(at('two.ova'))
    expect(text).toContain('3 virtual CPUs')
    expect(text).toContain('vmx-17')
    expect(text).toContain('key="firmware" vmw:value="efi"')
  })

  it('has one disk where the layout has one', async () => {
    const options: ZfsOptions = { ...base, layout: 'single-disk' }
    await saveProduct(await zfs(options), at('single'))
    await saveProduct(await zfs({ ...options, format: 'ova' }), at('single.ova'))
    expect(await diskIn(at('single.ova'))).toEqual(await diskIn(at('single', 'nixos.root.img')))
  })

  it.each<[Partial<ZfsOptions>, string, RegExp]>([
    [{ cpuCount: 2 }, 'USAGE', /cpuCount: raw describes no machine/],
    [{ format: 'ova', sectorSize: 4096 }, 'UNSUPPORTED', /those of ova have 512/],
    [{ format: 'ova', compression: { name: 'zstd' } }, 'UNSUPPORTED', /ova cannot be compressed by zstd/],
    [{ format: 'ova', memorySize: 5 * MEBIBYTE + 1 }, 'USAGE', /whole MiB/],
  ])('%j is refused before anything is packed', async (options, code, message) => {
    await expect(zfs({ ...base, ...options })).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
  })
})

describe('the command', () => {
  const given = (): string[] => [
    'zfs',
    '--closure',
    made.closure,
    '--root',
    made.root,
    '--no-verify',
    '--boot-size=24M',
    '--root-size=auto',
    '--free=0',
  ]

  it('writes one file where its name or --format asks for an appliance, and a folder else', async () => {
    expect(await main([...given(), '--quiet', '--cpus=3', '-o', at('by-name.ova')])).toBe(0)
    expect(await main([...given(), '--quiet', '--format=ova', '-o', at('by-format')])).toBe(0)
    expect(statSync(at('by-name.ova')).isFile()).toBe(true)
    expect(statSync(at('by-format')).isFile()).toBe(true)
    expect(await diskIn(at('by-name.ova'), '2')).toEqual(await diskIn(at('by-format'), '2'))
    expect(await descriptorOf(at('by-name.ova'))).toContain('3 virtual CPUs')
    // Nothing is replaced unasked, and no name promises something else.
    expect(await main([...given(), '--quiet', '-o', at('by-name.ova')])).toBe(1)
    expect(await main([...given(), '--quiet', '--format=ova', '-o', at('disk.qcow2')])).toBe(2)
    expect(existsSync(at('disk.qcow2'))).toBe(false)
  })
})
