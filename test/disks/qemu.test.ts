/** qemu-img reads what we write, and we read what qemu-img writes. */
import { mkdirSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decode } from '../../src/bytes/decode.ts'
import { type InputFormat, CONTAINERS as REGISTRY } from '../../src/disks/containers.ts'
import { ova } from '../../src/disks/ova/index.ts'
import { openRaw } from '../../src/disks/raw/index.ts'
import { footer, geometryOf } from '../../src/disks/vhd/disk.ts'
import { fixedVhd } from '../../src/disks/vhd/index.ts'
import { vhdx } from '../../src/disks/vhdx/index.ts'
import { type ConvertOptions, convertDisk } from '../../src/images/disk/convert.ts'
import { bytesExtent, type Image } from '../../src/io/image.ts'
import { saveImage } from '../../src/io/output.ts'
import { FileSource } from '../../src/io/source.ts'
import { oracle, run, runOk } from '../oracles/tools.ts'
import { CONTAINERS, content, digest, random, randomDisk, written } from './containers.ts'
import { vhdxRegions, withLog } from './made-files.ts'

const missing = oracle('qemu-img').skip
const folder = mkdtempSync(join(tmpdir(), 'kilnix-containers-'))
const raw = join(folder, 'disk.raw')
const next = random(4711)
/** With data over the boundaries of blocks of every size. */
const disk: Image = {
  size: 3 * 2 ** 26 + 512 * 7,
  extents: [
    bytesExtent(
      0,
      Uint8Array.from({ length: 3 << 20 }, (_, at) => (at * at) >> 7),
    ),
    bytesExtent(
      32 * 2 ** 20 - 70_000,
      Uint8Array.from({ length: 140_001 }, () => next(256)),
    ),
    bytesExtent(
      2 ** 27 - 5,
      Uint8Array.from({ length: 11 }, () => 1 + next(255)),
    ),
    bytesExtent(2 ** 27 + 2 ** 20, content(random(2), 200_000)),
    bytesExtent(
      3 * 2 ** 26 + 5,
      Uint8Array.from({ length: 3579 }, () => next(256)),
    ),
  ],
}
let wanted = ''

/** Each 64 KiB of a byte of its own. */
const striped = (size: number): Buffer => {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at < size; at += 65536) bytes.fill(1 + ((at / 65536) % 250), at, at + 65536)
  return bytes
}

beforeAll(async () => {
  await saveImage(disk, raw, { digest: false })
  wanted = await digest(disk)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const isChecked = (qemu: string): boolean => qemu !== 'vpc'

async function readBack(path: string, openImage: (source: FileSource) => Promise<Image>): Promise<{ digest: string; probed: InputFormat }> {
  const source = await FileSource.open(path)
  try {
    return { digest: await digest(await openImage(source)), probed: await REGISTRY.probe(source) }
  } finally {
    await source.close()
  }
}

const PROBED: Readonly<Record<string, InputFormat>> = { qcow2: 'qcow2', vdi: 'vdi', vpc: 'vhd', vhdx: 'vhdx', vmdk: 'vmdk' }

describe.skipIf(missing).each(CONTAINERS)('$name by qemu-img', ({ name, qemu, write, open: openImage }) => {
  const path = join(folder, name.replaceAll(/[^a-z0-9]/g, '-'))

  it('is sound, of the right kind and equal to the disk', async () => {
    await saveImage(write(disk), path, { digest: false })
    const info = JSON.parse(runOk('qemu-img', ['info', '--output=json', path]).text)
    // A fixed VHD begins with the disk, so qemu-img takes it for a raw one.
    if (name !== 'vhd, fixed') expect(info).toMatchObject({ format: qemu, 'virtual-size': disk.size })
    if (name.includes('zstd')) expect(info['format-specific'].data['compression-type']).toBe('zstd')
    if (name.includes('zlib')) expect(info['format-specific'].data['compression-type']).toBe('zlib')
    if (name === 'vmdk, stream') expect(info['format-specific'].data['create-type']).toBe('streamOptimized')
    if (name === 'vmdk') expect(info['format-specific'].data['create-type']).toBe('monolithicSparse')
    if (isChecked(qemu)) {
      expect(runOk('qemu-img', ['check', '--output=json', '-f', qemu, path]).text).not.toMatch(/"(corruptions|leaks|check-errors)": [1-9]/)
    }
    expect(runOk('qemu-img', ['compare', '-f', 'raw', '-F', qemu, raw, path]).text).toContain('identical')
    const back = await readBack(path, openImage)
    expect(back).toEqual({ digest: wanted, probed: PROBED[qemu] })
  })

  it('is refused when it is damaged', async () => {
    const handle = await open(path, 'r+')
    try {
      const bytes = Buffer.alloc(Math.min((await handle.stat()).size, 8 << 20))
      // A stream has its data behind the header, which would be refused at once.
      const from = 512
      await handle.read(bytes, 0, bytes.length - from, from)
      const noise = random(1)
      for (let at = 0; at < bytes.length - from; at += 97) bytes[at] = noise(256)
      await handle.write(bytes, 0, bytes.length - from, from)
    } finally {
      await handle.close()
    }
    const checked = isChecked(qemu) ? run('qemu-img', ['check', '-f', qemu, path]).status : 1
    const compared = run('qemu-img', ['compare', '-f', 'raw', '-F', qemu, raw, path]).status
    expect(checked !== 0 || compared !== 0).toBe(true)
    expect(compared).not.toBe(0)
    const back = await readBack(path, openImage).catch((error: unknown) => {
      expect(error).toMatchObject({ name: 'ImageError' })
      return { digest: 'refused' }
    })
    expect(back.digest).not.toBe(wanted)
  })
})

/** Name, format for qemu-img, its options, further arguments, and the reader. */
const FOREIGN = [
  ['qcow2', 'qcow2', '', []],
  ['qcow2', 'qcow2', 'compat=0.10', []],
  ['qcow2', 'qcow2', 'compat=0.10', ['-c']],
  ['qcow2', 'qcow2', 'cluster_size=4096', ['-c']],
  ['qcow2', 'qcow2', 'compression_type=zstd', ['-c']],
  ['qcow2', 'qcow2', 'compression_type=zstd,cluster_size=2M', ['-c']],
  ['qcow2', 'qcow2', 'preallocation=metadata,lazy_refcounts=on,refcount_bits=64', []],
  ['vdi', 'vdi', '', []],
  ['vdi', 'vdi', 'static=on', []],
  ['vhd, dynamic', 'vpc', 'subformat=dynamic,force_size=on', []],
  ['vhd, fixed', 'vpc', 'subformat=fixed,force_size=on', []],
  ['vhdx', 'vhdx', 'subformat=dynamic', []],
  ['vhdx', 'vhdx', 'subformat=dynamic,block_size=1M', []],
  ['vhdx', 'vhdx', 'subformat=fixed', []],
  ['vmdk', 'vmdk', 'subformat=monolithicSparse', []],
  ['vmdk', 'vmdk', 'subformat=monolithicSparse,zeroed_grain=on', []],
  ['vmdk', 'vmdk', 'subformat=streamOptimized', []],
] as const

describe.skipIf(missing)('what qemu-img writes', () => {
  it.each(FOREIGN)('%s (%s, -o %s, %j) reads back equal', async (name, format, options, further) => {
    const small = join(folder, 'foreign.raw')
    const path = join(folder, 'foreign')
    for (const image of [randomDisk(31), { ...disk, size: 2 ** 26 + 512, extents: disk.extents.slice(0, 2) }]) {
      await saveImage(image, small, { digest: false, force: true })
      runOk('qemu-img', ['convert', '-f', 'raw', '-O', format, ...(options === '' ? [] : ['-o', options]), ...further, small, path])
      const openImage = CONTAINERS.find((container) => container.name === name)?.open ?? openRaw
      expect((await readBack(path, openImage)).digest).toBe(await digest(image))
    }
  })

  const at = (name: string): string => join(folder, name)
  /** What we read of it, as a raw disk, is what qemu-img reads of it. */
  const readsEqual = async (input: string, options: Omit<ConvertOptions, 'input'>, theirs: readonly string[] = [input]): Promise<void> => {
    const { image, close } = await convertDisk({ input, ...options, format: 'raw', fileName: 'x' })
    await saveImage(image, at('ours'), { digest: false, force: true })
    await close()
    runOk('qemu-img', ['convert', '-O', 'raw', ...theirs, at('theirs')])
    runOk('cmp', [at('ours'), at('theirs')])
  }

  it('is read with what it lies on, when that is named', async () => {
    runOk('qemu-img', ['convert', '-O', 'vmdk', raw, at('base.vmdk')])
    for (const [name, args] of [
      ['extended', ['-f', 'qcow2', '-o', 'extended_l2=on', '-b', raw, '-F', 'raw']],
      ['plain', ['-f', 'qcow2', '-o', 'cluster_size=4096', '-b', raw, '-F', 'raw']],
      ['change.vmdk', ['-f', 'vmdk', '-o', 'zeroed_grain=on', '-b', at('base.vmdk'), '-F', 'vmdk']],
      ['alone', ['-f', 'qcow2', '-o', 'extended_l2=on', '-b', at('plain'), '-F', 'qcow2']],
    ] as const) {
      runOk('qemu-img', ['create', '-q', ...args, at(name)])
      for (const command of ['write -P 7 65536 3000', 'write -P 9 134217728 700000', 'write -z 1048576 524288', 'write -z 33030144 66048'])
        runOk('qemu-io', ['-f', args[1], '-c', command, at(name)])
    }
    await readsEqual(at('extended'), { backing: [raw] })
    await readsEqual(at('plain'), { backing: [raw] })
    await readsEqual(at('change.vmdk'), { backing: [at('base.vmdk')] })
    await readsEqual(at('alone'), { backing: [at('plain'), raw] })
    await expect(convertDisk({ input: at('alone'), backing: [at('plain')] })).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  it('is read with its data in another file, in several files, and as of a snapshot', async () => {
    runOk('qemu-img', ['convert', '-O', 'qcow2', '-o', `data_file=${at('data')},data_file_raw=on`, raw, at('external')])
    await readsEqual(at('external'), { dataFile: at('data') })
    mkdirSync(at('files'))
    for (const [kind, name] of [
      ['monolithicFlat', 'mono'],
      ['twoGbMaxExtentSparse', 'split'],
      ['twoGbMaxExtentFlat', 'flat'],
    ] as const) {
      const path = join(at('files'), `${name}.vmdk`)
      runOk('qemu-img', ['convert', '-O', 'vmdk', '-o', `subformat=${kind}`, raw, path])
      await readsEqual(path, { extents: at('files') })
      await expect(convertDisk({ input: path })).rejects.toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('extents') })
    }
    runOk('qemu-img', ['convert', '-O', 'qcow2', raw, at('shot')])
    runOk('qemu-img', ['snapshot', '-c', 'before', at('shot')])
    runOk('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 3000000', at('shot')])
    runOk('qemu-img', ['snapshot', '-c', 'after', at('shot')])
    runOk('qemu-io', ['-f', 'qcow2', '-c', 'write -z 0 1000000', at('shot')])
    for (const snapshot of ['before', '2', 'after']) await readsEqual(at('shot'), { snapshot }, ['-l', snapshot, at('shot')])
    await readsEqual(at('shot'), {})
  })

  it('has replayed a log of a VHDX as we read it', async () => {
    const bytes = striped(8 << 20)
    const memory = await written(vhdx({ size: bytes.length, extents: [bytesExtent(0, bytes)] }, { seed: 's', blockSize: 1 << 20 }))
    const file = Buffer.from(await memory.read(0, memory.size))
    const { bat } = vhdxRegions(file)
    const first = Number(file.readBigUInt64LE(bat) & ~0xfffffn)
    const table = Uint8Array.from(file.subarray(bat, bat + 4096))
    table.set(file.subarray(bat, bat + 8), 8)
    table.set(file.subarray(bat + 8, bat + 16), 0)
    const entries = [{ data: [[first, new Uint8Array(4096).fill(200)]], zeros: [[first + 65536, 8192]] }, { data: [[bat, table]] }] as const
    // Of a log that goes on at its beginning QEMU replays the last entry only (block/vhdx-log.c looks there first).
    writeFileSync(at('log.vhdx'), withLog(file, entries))
    const { image, close } = await convertDisk({ input: at('log.vhdx'), format: 'raw', fileName: 'x' })
    await saveImage(image, at('ours'), { digest: false, force: true })
    await close()
    expect(run('qemu-img', ['check', '-r', 'all', at('log.vhdx')]).text).toContain('repaired')
    runOk('qemu-img', ['compare', '-f', 'vhdx', '-F', 'raw', at('log.vhdx'), at('ours')])
  })

  it('is refused when it is cut short', async () => {
    for (const { name, qemu, open: openImage } of CONTAINERS) {
      if (name.includes(',') && !name.startsWith('vhd,')) continue
      const path = join(folder, 'cut')
      runOk('qemu-img', ['convert', '-f', 'raw', '-O', qemu, raw, path])
      truncateSync(path, Math.floor(statSync(path).size * 0.6))
      await expect(readBack(path, openImage), name).rejects.toMatchObject({ code: 'BAD_INPUT' })
    }
  })
})

describe.skipIf(missing)('sizes', () => {
  it('of a VHD have the geometry that qemu-img computes', async () => {
    const path = join(folder, 'geometry')
    for (const size of ['1M', '17M', '80M', '200M', '507M', '1G', '9G', '31G', '127G', '500G', '2000G']) {
      runOk('qemu-img', ['create', '-q', '-f', 'vpc', path, size])
      const source = await FileSource.open(path)
      const record = decode(footer, await source.read(0, 512), 0, 'footer')
      await source.close()
      const { cylinders, heads, sectorsPerTrack } = record
      expect(geometryOf(record.currentSize), size).toEqual({ cylinders, heads, sectorsPerTrack })
    }
  })

  it('of a fixed VHD are whole MiB, as Azure has them', async () => {
    const path = join(folder, 'azure.vhd')
    await saveImage(fixedVhd({ ...disk, size: disk.size }, { seed: 's' }), path, { digest: false })
    const virtualSize = JSON.parse(runOk('qemu-img', ['info', '--output=json', '-f', 'vpc', path]).text)['virtual-size']
    expect(virtualSize).toBe(3 * 2 ** 26 + 2 ** 20)
    expect(statSync(path).size).toBe(virtualSize + 512)
  })
})

describe.skipIf(missing || oracle('bsdtar').skip)('ova', () => {
  it('is an archive of descriptor, manifest and disk, in this order', async () => {
    const path = join(folder, 'a.ova')
    await saveImage(ova(disk, { seed: 's', name: 'nixos' }), path)
    expect(runOk('bsdtar', ['-tf', path]).text).toBe('nixos.ovf\nnixos.mf\nnixos-disk1.vmdk\n')
    runOk('bsdtar', ['-xf', path, '-C', folder])
    const manifest = runOk('cat', [join(folder, 'nixos.mf')]).text
    const lines = ['nixos.ovf', 'nixos-disk1.vmdk'].map((name) => {
      const [sum] = runOk('sha256sum', [join(folder, name)]).text.split(' ')
      return `SHA256(${name})= ${sum}\n`
    })
    expect(manifest).toBe(lines.join(''))
    const vmdkPath = join(folder, 'nixos-disk1.vmdk')
    const descriptor = runOk('cat', [join(folder, 'nixos.ovf')]).text
    expect(descriptor).toContain(`ovf:size="${statSync(vmdkPath).size}"`)
    expect(descriptor).toContain(`ovf:capacity="${disk.size}"`)
    expect(runOk('qemu-img', ['compare', '-f', 'raw', '-F', 'vmdk', raw, vmdkPath]).text).toContain('identical')
    const parsed = 'import sys,xml.dom.minidom as m; print(len(m.parse(sys.argv[1]).getElementsByTagName("Item")))'
    if (!oracle('python3').skip) expect(runOk('python3', ['-c', parsed, join(folder, 'nixos.ovf')]).text.trim()).toBe('5')
  })
})
