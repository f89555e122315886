/** A disk in every container, read back: by our readers, by qemu-img, by tar. Damage in the store is found in each. */
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CONTAINERS, type InputFormat, type OutputFormat } from '../../src/disks/containers.ts'
import { type DiskOptions, disk } from '../../src/images/disk/index.ts'
import { saveImage } from '../../src/io/output.ts'
import { FileSource } from '../../src/io/source.ts'
import { digest } from '../disks/containers.ts'
import { changesOf, flipByte, type HarmableStore, harmableStore } from '../faults/harm.ts'
import { oracle, runOk } from '../oracles/tools.ts'
import { readTar } from '../readers/tar-reader.ts'
import { type DiskWork, diskWork, MEBIBYTE, tableOf } from './disk-support.ts'

let work: DiskWork
let raw: string
let harmable: HarmableStore
beforeAll(async () => {
  work = await diskWork()
  raw = await digestOf((await work.build()).file)
  harmable = harmableStore(join(work.small.root, 'nix/store'), work.at('pristine'))
})
afterAll(() => work.remove())

/** Of the disk in a container: where bytes lie that are not zero, and which. */
async function digestOf(file: string, format?: InputFormat): Promise<string> {
  const source = await FileSource.open(file)
  try {
    return await digest((await CONTAINERS.open(source, format)).image)
  } finally {
    await source.close()
  }
}

const QEMU: Readonly<Partial<Record<OutputFormat, string>>> = {
  raw: 'raw',
  qcow2: 'qcow2',
  'qcow2-compressed': 'qcow2',
  vdi: 'vdi',
  vhd: 'vpc',
  'vhd-fixed': 'vpc',
  vhdx: 'vhdx',
  vmdk: 'vmdk',
  'vmdk-stream': 'vmdk',
}

describe.each(CONTAINERS.outputFormats)('a disk as %s', (format) => {
  it('is the same disk', async () => {
    const { file, bytes } = await work.build({ format, fileName: 'my disk.img' })
    if (format === 'raw.tar.gz') {
      const [member, ...others] = readTar(gunzipSync(bytes))
      expect([member?.path.toString(), others.length]).toEqual(['disk.raw', 0])
      writeFileSync(work.at('unpacked'), member?.content ?? '')
      expect(await digestOf(work.at('unpacked'))).toBe(raw)
      return
    }
    if (format === 'ova') {
      mkdirSync(work.at('ova'))
      runOk('tar', ['-C', work.at('ova'), '-xf', file])
      expect(readdirSync(work.at('ova')).sort()).toEqual(['my_disk.img-disk1.vmdk', 'my_disk.img.mf', 'my_disk.img.ovf'])
      for (const [, name = '', sum] of readFileSync(work.at('ova', 'my_disk.img.mf'), 'utf8').matchAll(/^SHA256\((.*)\)= (.*)$/gm)) {
        expect(
          createHash('sha256')
            .update(readFileSync(work.at('ova', name)))
            .digest('hex'),
        ).toBe(sum)
      }
      expect(await digestOf(work.at('ova', 'my_disk.img-disk1.vmdk'))).toBe(raw)
      return
    }
    expect(await digestOf(file)).toBe(raw)
    const qemu = QEMU[format] ?? ''
    if (oracle('qemu-img').skip) return
    const info = JSON.parse(runOk('qemu-img', ['info', '--output=json', '-f', qemu, file]).text)
    // What is given as the size of a fixed VHD is whole MiB, and stays what it is.
    expect(info['virtual-size']).toBe((await disk({ ...work.base, format })).plan.diskSize)
    runOk('qemu-img', ['convert', '-f', qemu, '-O', 'raw', file, work.at('converted')])
    expect(await digestOf(work.at('converted'), 'raw')).toBe(raw)
    if (!oracle('sfdisk').skip) expect(tableOf(work.at('converted')).partitions).toHaveLength(2)
  })

  // Threads compress, or carry files; containers that do neither do not know of them.
  const threads: readonly OutputFormat[] = ['raw', 'qcow2-compressed', 'vmdk-stream', 'ova', 'raw.tar.gz']
  if (threads.includes(format)) {
    it('is the same bytes again, and with any number of threads', async () => {
      const fast: Partial<DiskOptions> = format === 'raw' ? {} : { compression: { name: 'gzip', level: 1 } }
      const image = async (jobs: number) => {
        const { image: one } = await disk({ ...work.base, ...fast, format })
        return (await saveImage(one, work.at('again'), { jobs, force: true })).sha256
      }
      expect(await image(1)).toBe(await image(3))
    })
  }

  it('is not written from a store with a wrong bit', async () => {
    const file = join(harmable.named('contents'), 'text-70000')
    expect(await errorAfter({ format }, file, flipByte)).toMatchObject({ code: 'HASH_MISMATCH', path: `/nix/store/${dirname(file)}` })
  })
})

/** The error of a disk whose store is harmed between plan and writing. */
async function errorAfter(options: Partial<DiskOptions>, path: string, action: (path: string) => void): Promise<unknown> {
  const output = work.at('output', 'disk')
  mkdirSync(dirname(output), { recursive: true })
  const { image } = await disk({ ...work.base, ...options })
  harmable.harm(path, action)
  try {
    return await saveImage(image, output, { jobs: 2 }).catch((error: unknown) => error)
  } finally {
    harmable.heal(path)
    expect(readdirSync(dirname(output))).toEqual([])
  }
}

describe('a store that changes before a disk of it is written', () => {
  const shrunk = 10
  const cases = [{ format: 'raw' }, { format: 'qcow2-compressed' }, { rootFileSystem: 'squashfs' }] as const

  it.each(cases.flatMap((options) => changesOf(shrunk).map((change) => [options, ...change] as const)))(
    '%j, a file that %s',
    async (options, _, action, code) => {
      const file = join(harmable.named('contents'), 'text-70000')
      const path = code === 'HASH_MISMATCH' ? `/nix/store/${dirname(file)}` : join(work.small.root, 'nix/store', file)
      expect(await errorAfter(options, file, action)).toMatchObject({ code, path })
    },
  )

  it.each(changesOf(shrunk))('the kernel, which is on the disk twice, that %s', async (_, action, code) => {
    // It was proven when the disk was planned; what is read now is compared with that.
    const told = code === 'HASH_MISMATCH' ? 'CHANGED' : code
    expect(await errorAfter({}, join(harmable.named('linux-6.1.176'), 'bzImage'), action)).toMatchObject({ code: told })
  })

  it('in one bit of a file, in any of its paths: HASH_MISMATCH naming the path', async () => {
    const paths = work.small.storePaths.map((path) => basename(path))
    const files = paths.map((path) => harmable.fileBelow(path)).filter((file) => file !== undefined)
    expect(files.length).toBeGreaterThan(8)
    for (const file of files) {
      const path = `/nix/store/${file.split('/')[0]}`
      expect(await errorAfter({ layout: 'none' }, file, flipByte)).toMatchObject({ code: 'HASH_MISMATCH', path })
    }
  })

  it('is written as it is where nothing is to be verified', async () => {
    const { image } = await disk({ ...work.base, verify: false })
    const file = join(harmable.named('contents'), 'text-70000')
    await harmable.whileHarmed(file, flipByte, async () => {
      expect(await saveImage(image, work.at('unverified'), { jobs: 1 })).toMatchObject({ size: expect.any(Number) })
    })
    expect(await digestOf(work.at('unverified'))).not.toBe(raw)
    rmSync(work.at('unverified'))
  })

  it('with an addition that changes: CHANGED', async () => {
    const source = work.at('added')
    writeFileSync(source, 'before')
    const { image } = await disk({ ...work.base, add: [{ target: '/added', source }] })
    writeFileSync(source, 'before and after')
    await expect(saveImage(image, work.at('output', 'disk'), { jobs: 1 })).rejects.toMatchObject({ code: 'CHANGED', path: source })
    expect(existsSync(work.at('output', 'disk'))).toBe(false)
  })

  it('is put back by these tests', async () => {
    chmodSync(work.folder, 0o755)
    expect(await digestOf((await work.build()).file)).toBe(raw)
  })
})

describe('times and names in containers', () => {
  it.each(CONTAINERS.outputFormats)('%s has a time of its own, or takes ours', async (format) => {
    for (const mtimeSeconds of [0, 315_532_800, 1_700_000_000]) {
      const { image } = await disk({ ...work.base, format, mtimeSeconds, layout: 'legacy+gpt' })
      expect(image).toBeDefined()
    }
  })

  it('of a fixed VHD: whole MiB, as Azure demands, and a footer', async () => {
    const { file } = await work.build({ format: 'vhd-fixed' })
    const { size } = statSync(file)
    expect((size - 512) % MEBIBYTE).toBe(0)
    expect(
      readFileSync(file)
        .subarray(size - 512, size - 504)
        .toString(),
    ).toBe('conectix')
  })

  it.each([
    ['nixos.img', 'raw'],
    ['a/b.RAW', 'raw'],
    ['x.qcow2', 'qcow2'],
    ['x.vdi', 'vdi'],
    ['x.vhd', 'vhd'],
    ['x.vpc', 'vhd'],
    ['x.vhdx', 'vhdx'],
    ['x.vmdk', 'vmdk'],
    ['x.ova', 'ova'],
    ['x.raw.tar.gz', 'raw.tar.gz'],
    ['x.tar.gz', 'raw.tar.gz'],
    ['qcow2', undefined],
    ['folder.vdi/x', undefined],
    ['', undefined],
  ])('%s asks for %s', (name, format) => {
    expect(CONTAINERS.formatOfName(name)).toBe(format)
  })

  it.each(CONTAINERS.outputFormats)('%s takes any file name', async (format) => {
    const write = await CONTAINERS.writer(format)
    const image = { size: MEBIBYTE, extents: [] }
    for (const fileName of ['', '.ova', 'ä ö/ü"\n.ova', 'x'.repeat(255), basename(work.folder)]) {
      expect(write(image, { seed: 's', fileName })).toBeDefined()
    }
  })
})
