/** The machine in an appliance, its disks and its manifest, as they are written. */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { CONTAINERS } from '../../src/disks/containers.ts'
import { type OvaOptions, ova } from '../../src/disks/ova/index.ts'
import { openVmdk } from '../../src/disks/vmdk/index.ts'
import { bytesExtent, type Image } from '../../src/io/image.ts'
import { bytesSource } from '../../src/io/source.ts'
import { digest, written } from './containers.ts'

const MEBIBYTE = 1 << 20
const disk = (text: string): Image => ({ size: 2 * MEBIBYTE, extents: [bytesExtent(100, Buffer.from(text))] })

interface Appliance {
  readonly names: readonly string[]
  readonly descriptor: string
  file(name: string): Buffer
}

async function appliance(images: Image | readonly Image[], options: Partial<OvaOptions> = {}): Promise<Appliance> {
  const memory = await written(ova(images, { seed: 's', name: 'vm', ...options }))
  const files = new Map(members(Buffer.from(await memory.read(0, memory.size))))
  const file = (name: string): Buffer => files.get(name) ?? Buffer.alloc(0)
  return { names: [...files.keys()], descriptor: file('vm.ovf').toString(), file }
}

/** Name and content of each member (POSIX.1-2024, pax, "ustar Interchange Format"). */
function* members(archive: Buffer): Generator<[name: string, content: Buffer]> {
  for (let at = 0; archive[at] !== 0; ) {
    const size = Number.parseInt(archive.toString('latin1', at + 124, at + 136), 8)
    const content = archive.subarray(at + 512, at + 512 + size)
    yield [archive.toString('latin1', at, at + 100).replace(/\0.*$/, ''), content]
    at += 512 + Math.ceil(size / 512) * 512
  }
}

const all = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, found = '']) => found)

describe('an appliance', () => {
  it('has the machine that is asked for', async () => {
    const usual = (await appliance(disk('one'))).descriptor
    expect(usual).toContain('<vssd:VirtualSystemType>vmx-10<')
    expect(all(usual, /VirtualQuantity>(\d+)</g)).toEqual(['2', '1536'])
    const asked = (await appliance(disk('one'), { cpuCount: 5, memorySize: 2 ** 32, hardwareVersion: 21 })).descriptor
    expect(asked).toContain('<vssd:VirtualSystemType>vmx-21<')
    expect(all(asked, /VirtualQuantity>(\d+)</g)).toEqual(['5', '4096'])
    // VirtualBox reads its own settings, and then nothing else.
    expect([all(asked, /<CPU count="(\d+)"/g), all(asked, / RAMSize="(\d+)"/g)]).toEqual([['5'], ['4096']])
  })

  it.each([
    ['sata', '20', 'vmware.sata.ahci', 'AHCI'],
    ['lsilogic', '6', 'lsilogic', 'LsiLogic'],
    ['ide', '5', 'PIIX4', 'PIIX4'],
  ] as const)(
    'has its disks at a controller %s, in the words of VMware and of VirtualBox',
    async (diskController, type, subType, theirs) => {
      const { descriptor } = await appliance(disk('one'), { diskController })
      const [, , controller = ''] = descriptor.split('<Item>').slice(1)
      expect([all(controller, /ResourceType>(.*)</g), all(controller, /ResourceSubType>(.*)</g)]).toEqual([[type], [subType]])
      expect(all(descriptor, /<StorageController name="\w+" type="(\w+)"/g)).toEqual([theirs])
    },
  )

  it('starts by EFI in VMware and VirtualBox, or by BIOS in both', async () => {
    const efi = (await appliance(disk('one'))).descriptor
    expect(efi).toContain('vmw:key="firmware" vmw:value="efi"')
    expect(efi).toContain('<Firmware type="EFI"/>')
    const bios = (await appliance(disk('one'), { firmware: 'bios' })).descriptor
    expect(bios).not.toMatch(/efi/i)
    expect(bios).not.toContain('vbox:Machine')
  })

  it('has several disks, each with its file, its place and its identifiers', async () => {
    const images = ['one', 'two', 'three'].map(disk)
    const { names, descriptor, file } = await appliance(images)
    const disks = [1, 2, 3].map((number) => `vm-disk${number}.vmdk`)
    expect(names).toEqual(['vm.ovf', 'vm.mf', ...disks])
    expect(all(descriptor, /<File ovf:href="(.*?)"/g)).toEqual(disks)
    expect(all(descriptor, /ovf:size="(\d+)"/g)).toEqual(disks.map((name) => String(file(name).length)))
    expect(all(descriptor, /HostResource>ovf:\/disk\/(.*)</g)).toEqual(['vmdisk1', 'vmdisk2', 'vmdisk3'])
    expect(all(descriptor, /AddressOnParent>(\d)</g)).toEqual(['0', '1', '2'])
    const ids = all(descriptor, /InstanceID>(\d+)</g)
    expect(new Set(ids).size).toBe(ids.length)
    const uuids = all(descriptor, /vbox:uuid="(.*?)"/g)
    expect(new Set(uuids).size).toBe(3)
    expect(all(descriptor, /<Image uuid="\{(.*?)\}"/g)).toEqual(uuids)
    for (const [index, name] of disks.entries()) {
      expect(await digest(await openVmdk(bytesSource(file(name))))).toBe(await digest(images[index] as Image))
    }
  })

  it.each(['sha256', 'sha1'] as const)('has a manifest by %s', async (manifestDigest) => {
    const { names, file } = await appliance([disk('one'), disk('two')], { manifestDigest })
    const lines = names
      .filter((name) => name !== 'vm.mf')
      .map((name) => {
        const sum = createHash(manifestDigest).update(file(name)).digest('hex')
        return `${manifestDigest.toUpperCase()}(${name})= ${sum}\n`
      })
    expect(file('vm.mf').toString()).toBe(lines.join(''))
  })

  it('is what a machine is asked for with, and nothing else', async () => {
    for (const format of CONTAINERS.outputFormats) {
      const write = await CONTAINERS.writer(format)
      const options = { seed: 's', fileName: 'disk', machine: { cpuCount: 3 } }
      if (format === 'ova') write(disk('one'), options)
      else expect(() => write(disk('one'), options)).toThrow(/cpuCount: \S+ describes no machine; leave it out, or choose ova/)
      write(disk('one'), { ...options, machine: {} })
    }
  })
})
