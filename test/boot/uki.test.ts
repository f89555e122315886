import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { unpackSmall } from '../../fixtures/unpack.ts'
import { efiArchitecture } from '../../src/boot/efi.ts'
import { COFF_HEADER_SIZE, DOS_HEADER, efiMachine, PE_HEADER, peImageSize } from '../../src/boot/pe.ts'
import { efiStubPath, planUnifiedKernelImage, SECTION_HEADER, type UnifiedKernelParts, unifiedKernelImage } from '../../src/boot/uki.ts'
import { fat } from '../../src/filesystems/fat/index.ts'
import { bytesImage, type Image } from '../../src/io/image.ts'
import { imageChunks } from '../../src/io/stream.ts'
import { treeAt } from '../../src/tree/merge.ts'
import { bootImage } from '../e2e/qemu.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'
import { oracle, run, runOk } from '../oracles/tools.ts'
import { sectionsOf } from '../readers/pe-reader.ts'
import { tinyInitrd } from './tiny-initrd.ts'

const scratch = scratchFolder()
const MIB = 1 << 20

/** A stub by the book: headers, and one page of code. */
function plainStub({ magic = 0x20b, headersSize = 1024, certificates = true } = {}): Buffer {
  const directories = magic === 0x20b ? 112 : 96
  const optionalHeaderSize = directories + 16 * 8
  const stub = Buffer.alloc(headersSize + 512 + 64)
  DOS_HEADER.write(stub, 0, { magic: Buffer.from('MZ'), peOffset: 64 })
  PE_HEADER.write(stub, 64, {
    signature: Buffer.from('PE\0\0'),
    machine: 0x8664,
    sectionCount: 1,
    symbolTableOffset: headersSize + 512,
    symbolCount: 3,
    optionalHeaderSize,
    optionalMagic: magic,
    initializedDataSize: 0,
    sectionAlignment: 512,
    fileAlignment: 512,
    imageSize: 0x1300,
    headersSize,
    checkSum: 0x1234,
    subsystem: 10,
  })
  const optional = 64 + COFF_HEADER_SIZE
  stub.writeUInt32LE(16, optional + directories - 4)
  if (certificates) stub.writeUInt32LE(headersSize + 512, optional + directories + 4 * 8)
  SECTION_HEADER.write(stub, optional + optionalHeaderSize, {
    name: Buffer.from('.text'),
    virtualSize: 0x210,
    virtualAddress: 0x1000,
    rawSize: 512,
    rawOffset: headersSize,
    characteristics: 0x6000_0020,
  })
  stub.fill(0xc3, headersSize, headersSize + 512)
  stub.fill('symbols and certificates', headersSize + 512)
  return stub
}

async function bytesOf(image: Image): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks(image)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function parts(changes: Partial<UnifiedKernelParts> = {}): UnifiedKernelParts {
  return {
    stub: plainStub(),
    kernel: bytesImage(Buffer.from('kernel'.repeat(200))),
    initrd: bytesImage(Buffer.from('initrd'.repeat(1000))),
    commandLine: 'init=/nix/store/x/init quiet',
    osRelease: 'ID=nixos\nPRETTY_NAME="NixOS"\n',
    kernelRelease: '6.12.40',
    ...changes,
  }
}

describe('unifiedKernelImage', () => {
  it('puts every part in a section, on pages of memory and of the file', async () => {
    const given = parts({ kernelMemorySize: 100_000 })
    expect(planUnifiedKernelImage(given)).toEqual({
      size: 10_752,
      imageSize: 0x2000 + 0x1000 * 3 + 0x2000 + 102_400,
      sections: [
        { name: '.osrel', virtualSize: 29, virtualAddress: 0x2000, rawOffset: 1536, rawSize: 512 },
        { name: '.cmdline', virtualSize: 28, virtualAddress: 0x3000, rawOffset: 2048, rawSize: 512 },
        { name: '.uname', virtualSize: 7, virtualAddress: 0x4000, rawOffset: 2560, rawSize: 512 },
        { name: '.initrd', virtualSize: 6000, virtualAddress: 0x5000, rawOffset: 3072, rawSize: 6144 },
        { name: '.linux', virtualSize: 100_000, virtualAddress: 0x7000, rawOffset: 9216, rawSize: 1536 },
      ],
    })
  })

  it('writes the headers, and leaves out symbols and certificates', async () => {
    for (const magic of [0x20b, 0x10b]) {
      const stub = plainStub({ magic })
      const bytes = await bytesOf(unifiedKernelImage(parts({ stub })))
      expect(bytes.length % 512).toBe(0)
      const pe = 64
      // Symbol table and count; checksum; size of headers as it was.
      expect([12, 16, 88, 84].map((at) => bytes.readUInt32LE(pe + at))).toEqual([0, 0, 0, 1024])
      const certificates = pe + 24 + (magic === 0x20b ? 112 : 96) + 4 * 8
      expect(stub.readUInt32LE(certificates)).not.toBe(0)
      expect(bytes.readBigUInt64LE(certificates)).toBe(0n)
      expect(bytes.includes('symbols and certificates')).toBe(false)
      const [text, ...added] = sectionsOf(bytes)
      expect(text).toEqual(sectionsOf(stub)[0])
      expect(added.map(({ name }) => name)).toEqual(['.osrel', '.cmdline', '.uname', '.initrd', '.linux'])
      expect(added.map(({ characteristics }) => characteristics)).toEqual([...Array(4).fill(0x4000_0040), 0x6000_0020])
      expect(bytes.readUInt32LE(pe + 32)).toBe(added.slice(0, 4).reduce((sum, { rawSize }) => sum + rawSize, 0))
      const last = added.at(-1)
      expect(bytes.readUInt32LE(pe + 80)).toBe(Math.ceil(((last?.virtualAddress ?? 0) + (last?.virtualSize ?? 0)) / 4096) * 4096)
      expect(efiMachine(bytes, 'uki')).toBe(0x8664)
      expect(peImageSize(bytes)).toBe(bytes.readUInt32LE(pe + 80))
    }
  })

  it('does not write into the stub', () => {
    const stub = plainStub()
    unifiedKernelImage(parts({ stub }))
    expect(stub.equals(plainStub())).toBe(true)
  })

  it('holds the bytes of every part, and zeros between', async () => {
    const [kernel, initrd, deviceTree] = [randomBytes(70_001), randomBytes(512), randomBytes(3)]
    const sparse: Image = {
      size: MIB,
      extents: [
        {
          start: 4096,
          length: 512,
          read: async function* () {
            yield initrd
          },
        },
      ],
    }
    const given = parts({ kernel: bytesImage(kernel), initrd: sparse, deviceTree: bytesImage(deviceTree), kernelRelease: undefined })
    const image = unifiedKernelImage(given)
    expect(image.extents.map(({ length }) => length).reduce((sum, length) => sum + length)).toBeLessThan(100_000)
    const bytes = await bytesOf(image)
    const content = (name: string): Buffer => {
      const section = sectionsOf(bytes).find((one) => one.name === name)
      if (section === undefined) throw new Error(name)
      const padding = bytes.subarray(
        section.rawOffset + Math.min(section.virtualSize, section.rawSize),
        section.rawOffset + section.rawSize,
      )
      expect(padding.every((byte) => byte === 0)).toBe(true)
      return bytes.subarray(section.rawOffset, section.rawOffset + section.virtualSize)
    }
    expect(sectionsOf(bytes).map(({ name }) => name)).toEqual(['.text', '.osrel', '.cmdline', '.dtb', '.initrd', '.linux'])
    expect(content('.linux').equals(kernel)).toBe(true)
    expect(content('.dtb').equals(deviceTree)).toBe(true)
    expect(content('.initrd').equals(await bytesOf(sparse))).toBe(true)
    expect(content('.cmdline').toString()).toBe(given.commandLine)
    expect(content('.osrel').toString()).toBe(given.osRelease)
    expect(content('.text').subarray(0, 512).equals(plainStub().subarray(1024, 1536))).toBe(true)
  })

  it('says what does not fit', async () => {
    const plan = (changes: Partial<UnifiedKernelParts>) => () => planUnifiedKernelImage(parts(changes))
    const zeros = (size: number): Image => ({ size, extents: [] })
    const pe = 64
    const changed = (change: (stub: Buffer) => void): Buffer => {
      const stub = plainStub()
      change(stub)
      return stub
    }
    // 64 + 24 + 240 bytes of headers and one section leave room for three more below 512.
    await failure(plan({ stub: plainStub({ headersSize: 512 }) }), 'LIMIT', /5 sections are to be added, .* room for 3; use the stub/)
    await failure(plan({ initrd: zeros(2 ** 32) }), 'LIMIT', /would be 42949\d+ bytes, the limit is 4294967295; use a boot menu/)
    await failure(plan({ kernelMemorySize: 2 ** 32 }), 'LIMIT', /the limit is 4294967295/)
    expect(plan({ initrd: zeros(2 ** 32 - MIB) })).not.toThrow()
    await failure(plan({ commandLine: 'x'.repeat(2048) }), 'LIMIT', /the kernel takes 2047/)
    await failure(plan({ commandLine: 'a\nb' }), 'BAD_INPUT', /control character 0x0a/)
    await failure(plan({ kernelRelease: '6.1\0' }), 'BAD_INPUT', /control character 0x00/)
    await failure(plan({ stub: Buffer.from('no program') }), 'BAD_INPUT', /the EFI stub is no EFI program/)
    await failure(plan({ stub: changed((stub) => stub.writeUInt16LE(3, pe + 92)) }), 'BAD_INPUT', /PE subsystem is 3/)
    await failure(plan({ stub: changed((stub) => stub.writeUInt16LE(0, pe + 6)) }), 'BAD_INPUT', /section table cannot be read/)
    await failure(plan({ stub: changed((stub) => stub.writeUInt16LE(0xffff, pe + 6)) }), 'BAD_INPUT', /section table cannot be read/)
    await failure(plan({ stub: changed((stub) => stub.writeUInt32LE(3, pe + 60)) }), 'BAD_INPUT', /section table cannot be read/)
    await failure(plan({ stub: plainStub().subarray(0, 1500) }), 'BAD_INPUT', /sections end at byte 1536, the file has 1500/)
    const odd = changed((stub) => stub.writeUInt16LE(0x107, pe + 24))
    await failure(() => unifiedKernelImage(parts({ stub: odd })), 'BAD_INPUT', /neither PE32 nor PE32\+/)
    const twice = await bytesOf(unifiedKernelImage(parts({ initrd: undefined, kernelRelease: undefined })))
    await failure(plan({ stub: twice, kernelRelease: undefined }), 'BAD_INPUT', /has a section \.osrel already/)
  })
})

describe.skipIf(oracle('cpio').skip)('with the stub of systemd', () => {
  let given: UnifiedKernelParts
  let file: string

  beforeAll(async () => {
    const small = await unpackSmall(scratch('small'))
    const spec = JSON.parse(readFileSync(join(small.root, small.toplevel, 'boot.json'), 'utf8'))['org.nixos.bootspec.v1']
    const stubPath = efiStubPath(small.toplevel, efiArchitecture('x86_64-linux'))
    expect(stubPath).toBe(`${small.toplevel}/systemd/lib/systemd/boot/efi/linuxx64.efi.stub`)
    const systemd = readdirSync(join(small.root, 'nix/store')).find((name) => name.includes('-systemd-')) ?? ''
    const debian = '/usr/lib/systemd/boot/efi/linuxx64.efi.stub'
    const own = join(small.root, 'nix/store', systemd, 'lib/systemd/boot/efi/linuxx64.efi.stub')
    const kernel = readFileSync(join(small.root, spec.kernel))
    given = {
      stub: readFileSync(readdirSync(join(own, '..')).includes('linuxx64.efi.stub') ? own : debian),
      kernel: bytesImage(kernel),
      kernelMemorySize: peImageSize(kernel),
      initrd: bytesImage(tinyInitrd(scratch('initrd'), small.root)),
      commandLine: `init=${spec.init} console=ttyS0,115200n8 panic=-1 kilnix.uki=größe`,
      osRelease: 'ID=nixos\nPRETTY_NAME="NixOS 26.05"\n',
      kernelRelease: '6.1.0',
    }
    file = scratch('linux.efi')
    writeFileSync(file, await bytesOf(unifiedKernelImage(given)))
  })

  it.skipIf(oracle('objdump', 'objcopy').skip)('is what binutils read', () => {
    const listed = runOk('objdump', ['-h', file]).text.matchAll(/^ *\d+ (\S+) +([0-9a-f]{8}) +([0-9a-f]{16}) +\S+ +([0-9a-f]{8}) /gm)
    const table = [...listed].map(([, name, size, address, offset]) => [
      name,
      ...[size, address, offset].map((hex) => Number.parseInt(hex ?? '', 16)),
    ])
    const plan = planUnifiedKernelImage(given)
    expect(table.slice(-5)).toEqual(
      plan.sections.map(({ name, virtualSize, rawSize, virtualAddress, rawOffset }) => [
        name,
        Math.min(virtualSize, rawSize),
        virtualAddress,
        rawOffset,
      ]),
    )
    const headers = runOk('objdump', ['-p', file]).text
    expect(headers).toContain(`SizeOfImage\t\t${plan.imageSize.toString(16).padStart(8, '0')}`)
    expect(headers).toMatch(/^Subsystem\s+0000000a\s+\(EFI application\)$/m)
    for (const [name, content] of [
      ['.cmdline', Buffer.from(given.commandLine)],
      ['.osrel', Buffer.from(given.osRelease)],
    ] as const) {
      runOk('objcopy', ['--dump-section', `${name}=${scratch('section')}`, file, scratch('copy')])
      expect(readFileSync(scratch('section')).subarray(0, content.length).equals(content)).toBe(true)
    }
    const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
    runOk('objcopy', ['--dump-section', `.initrd=${scratch('section')}`, file, scratch('copy')])
    const initrd = readFileSync(scratch('section')).subarray(0, given.initrd?.size)
    expect(hash(initrd)).toBe(hash(readFileSync(file).subarray(plan.sections[3]?.rawOffset).subarray(0, given.initrd?.size)))
  })

  it.skipIf(oracle('objdump', 'objcopy').skip)('is refused by binutils when it is cut', () => {
    writeFileSync(scratch('cut.efi'), readFileSync(file).subarray(0, 70_000))
    const cut = run('objcopy', ['--dump-section', `.initrd=${scratch('section')}`, scratch('cut.efi'), scratch('copy')])
    expect(`${cut.status} ${cut.stderr}`).toMatch(/^[1-9]/)
  })

  it.skipIf(oracle('qemu-system-x86_64').skip)(
    'starts the kernel with its command line and initrd, by firmware alone',
    async () => {
      const attributes = { mode: 0o555, uid: 0, gid: 0, mtimeSeconds: 315_532_800 }
      const bytes = readFileSync(file)
      const node = { kind: 'file', ...attributes, size: bytes.length, content: { kind: 'bytes', bytes } } as const
      const esp = fat(treeAt('EFI/BOOT/BOOTX64.EFI', node, attributes), { mtimeSeconds: 315_532_800, volumeSerial: 1, roundTo: MIB })
      mkdirSync(scratch('boot'))
      writeFileSync(scratch('boot/esp.img'), await bytesOf(esp))
      const lines = [/KILNIX-TINY .*init=\/nix\/store\/\S+\/init .* kilnix\.uki=gr/]
      const result = await bootImage(scratch('boot/esp.img'), { firmware: 'uefi', media: 'virtio', memoryMiB: 512, expect: lines })
      expect(result.ok, result.report).toBe(true)
    },
    600_000,
  )
})
