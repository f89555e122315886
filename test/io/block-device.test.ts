/**
 * Block devices: what the kernel tells of them is read from folders of the same form, and what is written to them goes into a plain file that
 * is opened in their place. No machine that runs tests has a device to lose.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Asker, confirmDevice, describeDevice } from '../../src/cli/confirm.ts'
import { type BlockDevice, checkDevice, knownDevice, numberText } from '../../src/io/block-device.ts'
import { destinationOf } from '../../src/io/destination.ts'
import { writeDevice } from '../../src/io/device-output.ts'
import { bytesExtent, type GrowingImage, type Image } from '../../src/io/image.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { writeImage } from '../../src/io/stream.ts'
import { noise } from '../codecs/samples.ts'

const MEBIBYTE = 1 << 20
const folder = mkdtempSync(join(tmpdir(), 'kilnix-device-'))
const at = (...names: string[]): string => join(folder, ...names)
afterAll(() => rmSync(folder, { recursive: true }))

const places = { proc: at('proc'), sys: at('sys') }
const file = (path: string, text: string): void => {
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, `${text}\n`)
}
/** As mount lines are (proc_pid_mountinfo(5)): number, mount point, source. */
const mountLine = (number: string, point: string, source: string): string =>
  `22 1 ${number} / ${point} rw,relatime shared:1 - ext4 ${source} rw`
const mounted = (...lines: readonly string[]): void =>
  file(at('proc/self/mountinfo'), ['1 1 0:5 / /proc rw - proc proc rw', ...lines].join('\n'))

/** sdb with two partitions, of which the second holds dm-0; dm-1 on that; sda; and a card reader without a card. */
beforeAll(() => {
  const devices = at('sys/devices')
  const device = (path: string, number: string, sectors: number): void => {
    file(join(devices, path, 'dev'), number)
    file(join(devices, path, 'size'), String(sectors))
    file(join(devices, path, 'ro'), '0')
    mkdirSync(join(devices, path, 'holders'), { recursive: true })
    for (const [parent, name] of [
      ['dev/block', number],
      ['class/block', path.split('/').at(-1) ?? ''],
    ] as const) {
      mkdirSync(at('sys', parent), { recursive: true })
      symlinkSync(join(devices, path), at('sys', parent, name))
    }
  }
  for (const [path, number, sectors] of [
    ['usb/sdb', '8:16', 8192],
    ['usb/sdb/sdb1', '8:17', 2048],
    ['usb/sdb/sdb2', '8:18', 4096],
    ['ata/sda', '8:0', 1 << 20],
    ['usb/sdc', '8:32', 0],
    ['virtual/dm-0', '253:0', 4000],
    ['virtual/dm-1', '253:1', 4000],
  ] as const)
    device(path, number, sectors)
  for (const [path, text] of [
    ['usb/sdb/removable', '1'],
    ['usb/sdb/queue/logical_block_size', '4096'],
    ['usb/sdb/device/vendor', 'Kiln    '],
    ['usb/sdb/device/model', 'Stick 3000      '],
    ['usb/sdb/sdb1/partition', '1'],
    ['usb/sdb/sdb2/partition', '2'],
    ['ata/sda/removable', '0'],
    ['ata/sda/ro', '1'],
    ['usb/sdc/removable', '1'],
  ] as const)
    file(join(devices, path), text)
  mounted()
})

const ofNumber = (major: bigint, minor: bigint, path = '/dev/stick'): BlockDevice =>
  knownDevice({ path, realPath: '/dev/sdb', deviceNumber: (major << 8n) | minor }, places)

describe('what the kernel tells of a device', () => {
  it('is its size, its sectors, what it is, and what is on it', () => {
    expect(ofNumber(8n, 16n)).toEqual({
      path: '/dev/stick',
      realPath: '/dev/sdb',
      name: 'sdb',
      deviceNumber: 0x810n,
      size: 4 * MEBIBYTE,
      sectorSize: 4096,
      isPartition: false,
      isReadOnly: false,
      isRemovable: true,
      model: 'Kiln Stick 3000',
      partitions: ['sdb1', 'sdb2'],
      uses: [],
    })
    expect(ofNumber(8n, 17n)).toMatchObject({ name: 'sdb1', isPartition: true, isRemovable: true, sectorSize: 4096, size: MEBIBYTE })
    expect(describeDevice(ofNumber(8n, 16n))).toBe(
      '/dev/stick, which is /dev/sdb (Kiln Stick 3000, 4.0 MiB, removable; 2 partitions: sdb1, sdb2)',
    )
    expect(describeDevice(ofNumber(8n, 17n, '/dev/sdb'))).toBe('/dev/sdb (Kiln Stick 3000, 1.0 MiB, one partition of a disk)')
    expect(() => ofNumber(9n, 9n)).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringContaining('tells nothing') }),
    )
    // As glibc packs them: 12 bits of the major and 8 of the minor lie below, the rest above.
    expect([0x10300n, 0x810n, 0x1_0000_0310n, 0x1234_5617n].map(numberText)).toEqual(['259:0', '8:16', '3:1048592', '1110:74519'])
  })

  it('is a reason to leave it alone, where it is in use by itself or by what is built on it', () => {
    const refused = (message: RegExp): object => expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringMatching(message) })
    const disk = (): BlockDevice => ofNumber(8n, 16n)
    checkDevice(disk(), 4 * MEBIBYTE)
    expect(() => checkDevice(disk(), 4 * MEBIBYTE + 1)).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    expect(() => checkDevice(ofNumber(8n, 0n))).toThrow(refused(/is read-only/))
    expect(() => checkDevice(ofNumber(8n, 32n))).toThrow(refused(/has no medium/))
    mounted(mountLine('8:17', '/media/my\\040stick', '/dev/sdb1'))
    expect(() => checkDevice(disk())).toThrow(refused(/in use \(mounted on \/media\/my stick\)/))
    checkDevice(ofNumber(8n, 18n))
    mounted(mountLine('8:18', '/', '/dev/sdb2'))
    expect(() => checkDevice(disk())).toThrow(refused(/the root file system of this machine is on it/))
    mounted(mountLine('253:1', '/data', '/dev/mapper/data'))
    symlinkSync(at('sys/devices/virtual/dm-0'), at('sys/devices/usb/sdb/sdb2/holders/dm-0'))
    symlinkSync(at('sys/devices/virtual/dm-1'), at('sys/devices/virtual/dm-0/holders/dm-1'))
    for (const minor of [16n, 18n])
      expect(() => checkDevice(ofNumber(8n, minor))).toThrow(refused(/mounted on \/data, dm-0 is built on sdb2, dm-1 is built on dm-0/))
    checkDevice(ofNumber(8n, 17n))
    mounted()
    expect(() => checkDevice(disk())).toThrow(refused(/dm-0 is built on sdb2/))
    unlinkSync(at('sys/devices/usb/sdb/sdb2/holders/dm-0'))
    checkDevice(disk())
  })
})

describe('the question', () => {
  const device = (): BlockDevice => ofNumber(8n, 16n)
  const { signal } = new AbortController()
  const answering = (answer: string, asked: string[] = []): Asker => ({
    isTerminal: true,
    async ask(question) {
      asked.push(question)
      return answer
    },
  })

  it('is asked of a person, who has to say yes', async () => {
    const asked: string[] = []
    await confirmDevice(device(), signal, answering('yes', asked))
    expect(asked).toEqual([`${describeDevice(device())}. All that is on it will be lost. Write to it? Type yes: `])
    for (const answer of ['', 'y', 'no', 'YES']) {
      await expect(confirmDevice(device(), signal, answering(answer))).rejects.toMatchObject({ code: 'ABORTED' })
    }
  })

  it('is not asked of nobody', async () => {
    const nobody: Asker = { isTerminal: false, ask: () => Promise.reject(new Error('asked')) }
    await expect(confirmDevice(device(), signal, nobody)).rejects.toMatchObject({
      code: 'EXISTS',
      message: expect.stringContaining('use force'),
    })
  })
})

describe('writing', () => {
  const path = at('medium')
  const content = noise(2_500_000, 3)
  const image: Image = { size: 3 * MEBIBYTE + 512, extents: [bytesExtent(70_000, content)] }
  const wanted = Buffer.concat([Buffer.alloc(70_000), content, Buffer.alloc(image.size - 70_000 - content.length)])
  /** A plain file has the number of no device. */
  const device: BlockDevice = {
    ...({} as BlockDevice),
    path,
    realPath: path,
    size: 4 * MEBIBYTE,
    deviceNumber: 0n,
    isReadOnly: false,
    uses: [],
  }
  const filled = (): void => writeFileSync(path, Buffer.alloc(4 * MEBIBYTE, 0xff))
  const failing = (change: (handle: FileHandle, opened: number) => Partial<FileHandle>): Parameters<typeof writeDevice>[3] => {
    let opened = 0
    return async (name, flags) => {
      const handle = await open(name, flags)
      const bound = Object.fromEntries(
        (['write', 'read', 'datasync', 'stat', 'close'] as const).map((call) => [
          call,
          (handle[call] as (...all: never[]) => unknown).bind(handle),
        ]),
      )
      return { ...bound, ...change(handle, opened++) } as unknown as FileHandle
    }
  }

  it('leaves exactly the image, zeros too, and what lies behind it', async () => {
    filled()
    const events: ProgressEvent[] = []
    const saved = await writeDevice(image, device, { jobs: 1, onProgress: (event) => events.push(event) })
    expect(saved).toEqual({ size: image.size, sha256: createHash('sha256').update(wanted).digest('hex') })
    const bytes = readFileSync(path)
    expect(bytes.subarray(0, image.size).equals(wanted)).toBe(true)
    expect(bytes.subarray(image.size).every((byte) => byte === 0xff)).toBe(true)
    expect(events.flatMap((event) => (event.kind === 'stage' ? [event.stage] : []))).toEqual(['write', 'sync', 'compare'])
    expect(events.filter(({ kind }) => kind === 'note')).toEqual([])
  })

  it('clears the copy of an older partition table in the last sector, says so, and looks whether it is gone', async () => {
    const size = 4 * MEBIBYTE
    for (const sector of [512, 4096]) {
      filled()
      const before = readFileSync(path)
      before.write('EFI PART', size - sector)
      // One that does not lie in the last sector is data.
      before.write('EFI PART', size - 3 * sector)
      writeFileSync(path, before)
      const notes: string[] = []
      const context = { jobs: 1, onProgress: (event: ProgressEvent) => void (event.kind === 'note' && notes.push(event.message)) }
      await writeDevice(image, device, context)
      expect(notes).toEqual([expect.stringContaining('the copy of an older partition table (GPT) at its end was cleared')])
      const after = readFileSync(path)
      expect(after.subarray(0, image.size).equals(wanted)).toBe(true)
      expect(after.subarray(image.size).equals(before.fill(0, size - sector).subarray(image.size))).toBe(true)
      before.write('EFI PART', size - sector)
      writeFileSync(path, before)
      const forgetful = failing((handle, opened) =>
        opened === 1
          ? {}
          : {
              write: (async (bytes: Uint8Array, offset: number, length: number, position: number) =>
                position < image.size ? handle.write(bytes, offset, length, position) : { bytesWritten: length }) as never,
            },
      )
      await expect(writeDevice(image, device, context, forgetful)).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    }
    // An image with a table of its own at the end of the device stays as it is.
    const full: Image = { size, extents: [bytesExtent(size - 512, Buffer.from('EFI PART'.padEnd(512, 'x')))] }
    await writeDevice(full, device, { jobs: 1 })
    expect(readFileSync(path).toString('latin1', size - 512, size - 504)).toBe('EFI PART')
  })

  it('packs first what knows its size last', async () => {
    filled()
    const growing: GrowingImage = {
      sizeLimit: 2 ** 40,
      async pack(target, start, context) {
        await writeImage(image, target, start, context)
        await target.setSize(start + image.size)
        return image
      },
    }
    await writeDevice(growing, device, { jobs: 1 })
    expect(readFileSync(path).subarray(0, image.size).equals(wanted)).toBe(true)
    filled()
    await expect(writeDevice(growing, { ...device, size: MEBIBYTE }, { jobs: 1 })).rejects.toMatchObject({ code: 'LIMIT' })
    expect(readFileSync(path).every((byte) => byte === 0xff)).toBe(true)
  })

  it('finds what the medium has not kept', async () => {
    const notes: ProgressEvent[] = []
    const context = { jobs: 1, onProgress: (event: ProgressEvent) => void (event.kind === 'note' && notes.push(event)) }
    const forgetful = failing((handle, opened) =>
      opened === 0
        ? {}
        : {
            read: (async (bytes: Uint8Array, offset: number, length: number, position: number) => {
              const result = await handle.read(bytes, offset, length, position)
              if (position === 2 * MEBIBYTE) bytes[offset + 9] = (bytes[offset + 9] ?? 0) ^ 1
              return result
            }) as FileHandle['read'],
          },
    )
    await expect(writeDevice(image, device, context, forgetful)).rejects.toMatchObject({
      code: 'WRITE_FAILED',
      message: expect.stringContaining('1048576 bytes from byte 2097152 on are not read back as they were written'),
    })
    const shrunken = failing((_, opened) =>
      opened === 0 ? {} : { read: (async (bytes: Uint8Array) => ({ bytesRead: 0, buffer: bytes })) as never },
    )
    await expect(writeDevice(image, device, context, shrunken)).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    expect(notes).toHaveLength(2)
  })

  it('says what the system says: in use, full, broken, another device', async () => {
    const error = (code: string): Error => Object.assign(new Error(code), { code })
    const opening = (code: string) => () => Promise.reject(error(code))
    await expect(writeDevice(image, device, { jobs: 1 }, opening('EBUSY'))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('in use'),
    })
    await expect(writeDevice(image, device, { jobs: 1 }, opening('EACCES'))).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    for (const call of ['write', 'datasync'] as const) {
      const broken = failing(() => ({ [call]: () => Promise.reject(error('EIO')) }))
      await expect(writeDevice(image, device, { jobs: 1 }, broken), call).rejects.toMatchObject({ code: 'WRITE_FAILED', path })
    }
    await expect(writeDevice(image, { ...device, deviceNumber: 5n }, { jobs: 1 })).rejects.toMatchObject({ code: 'CHANGED' })
    await expect(writeDevice(image, { ...device, uses: ['mounted on /x'] }, { jobs: 1 })).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await expect(writeDevice(image, device, { jobs: 1, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' })
  })
})

describe('what a path is to write to', () => {
  it('is a file, an open descriptor, or what takes bytes in order', () => {
    expect(destinationOf(at('nothing'))).toEqual({ kind: 'file' })
    expect(destinationOf(folder)).toEqual({ kind: 'file' })
    expect(destinationOf('/dev/stdout')).toEqual({ kind: 'descriptor', descriptor: 1 })
    for (const path of ['/dev/fd/63', '/proc/self/fd/63', `/proc/${process.pid}/fd/63`])
      expect(destinationOf(path)).toEqual({ kind: 'descriptor', descriptor: 63 })
    symlinkSync('/dev/stdout', at('link'))
    symlinkSync('link', at('link-to-link'))
    expect(destinationOf(at('link-to-link'))).toEqual({ kind: 'descriptor', descriptor: 1 })
    symlinkSync('circle', at('circle'))
    expect(destinationOf(at('circle'))).toEqual({ kind: 'file' })
    symlinkSync('/dev/null', at('null'))
    for (const path of ['/dev/null', at('null')]) expect(destinationOf(path)).toEqual({ kind: 'pipe' })
    for (const path of ['/dev/stdin', '/dev/stderr', '/dev/fd/2']) {
      expect(() => destinationOf(path)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
    }
  })
})
