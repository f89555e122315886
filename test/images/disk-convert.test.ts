/** Disks from one container into another, and what is refused: by our readers and by qemu-img. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CONTAINERS, type OutputFormat } from '../../src/disks/containers.ts'
import { qcow2 } from '../../src/disks/qcow2/index.ts'
import { type ConvertOptions, convertDisk } from '../../src/images/disk/convert.ts'
import { bytesExtent } from '../../src/io/image.ts'
import { saveImage } from '../../src/io/output.ts'
import { FileSource } from '../../src/io/source.ts'
import { content, digest, random, written } from '../disks/containers.ts'
import { oracle, run, runOk } from '../oracles/tools.ts'

const MEBIBYTE = 1 << 20

let folder: string
const at = (...names: string[]): string => join(folder, ...names)
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kilnix-convert-'))
  mkdirSync(at('in'))
  mkdirSync(at('out'))
  await saveImage(DISK, at('in', 'raw'))
  for (const format of READ) {
    if (format !== 'raw') await convert({ input: at('in', 'raw'), format }, at('in', format))
  }
  wanted = await digestOf(at('in', 'raw'))
})
afterAll(() => rm(folder, { recursive: true }))

/** Containers that can be read too. */
const READ = CONTAINERS.outputFormats.filter((format) => format !== 'raw.tar.gz')
const QEMU: Readonly<Partial<Record<OutputFormat, string>>> = {
  'qcow2-compressed': 'qcow2',
  'vmdk-stream': 'vmdk',
  vhd: 'vpc',
  'vhd-fixed': 'vpc',
}

const next = random(20_261_121)
/** Text, noise and zeros, at the beginning, anywhere and at the very end of a disk of 8 MiB. */
const DISK = {
  size: 8 * MEBIBYTE,
  extents: [0, 65_000, 3_000_000, 6 * MEBIBYTE + 1, 8 * MEBIBYTE - 512].map((start) =>
    bytesExtent(start, content(next, start === 0 ? 40_000 : 512)),
  ),
}
let wanted: string

/** Convert as the command does; the file appears whole or not at all. */
async function convert(options: Omit<ConvertOptions, 'fileName'>, output: string, jobs = 2) {
  const converted = await convertDisk({ ...options, fileName: 'disk' })
  try {
    return { ...(await saveImage(converted.image, output, { jobs })), plan: converted.plan }
  } finally {
    await converted.close()
  }
}

async function digestOf(file: string): Promise<string> {
  const source = await FileSource.open(file)
  try {
    return await digest((await CONTAINERS.open(source)).image)
  } finally {
    await source.close()
  }
}

describe('convert', () => {
  it.each(READ.flatMap((from) => CONTAINERS.outputFormats.map((to) => [from, to] as const)))('%s to %s', async (from, to) => {
    const { image, plan, close } = await convertDisk({ input: at('in', from), format: to, fileName: 'disk' })
    const memory = await written(image)
    await close()
    expect(plan).toMatchObject({ inputFormat: from.replace(/-.*/, ''), format: to, diskSize: DISK.size })
    const archive = at('out', 'archive')
    const unpacked = { ova: 'disk-disk1.vmdk', 'raw.tar.gz': 'disk.raw' }[to as string]
    if (unpacked === undefined) expect(await digest((await CONTAINERS.open(memory)).image)).toBe(wanted)
    else {
      writeFileSync(archive, await memory.read(0, memory.size))
      runOk('tar', ['-C', at('out'), '-xf', archive])
      expect(await digestOf(at('out', unpacked))).toBe(wanted)
      for (const name of readdirSync(at('out'))) rmSync(at('out', name))
    }
  })

  it.skipIf(oracle('qemu-img').skip).each(READ.filter((format) => format !== 'ova'))(
    '%s is equal to raw for qemu-img, and what qemu-img makes of it for us',
    async (format) => {
      const qemu = QEMU[format] ?? format
      runOk('qemu-img', ['compare', '-f', 'raw', '-F', qemu, at('in', 'raw'), at('in', format)])
      if (format === 'raw') return
      const theirs = at('out', 'theirs')
      runOk('qemu-img', ['convert', '-f', 'raw', '-O', qemu, ...(qemu === 'vpc' ? ['-o', 'force_size=on'] : []), at('in', 'raw'), theirs])
      await convert({ input: theirs, format: 'raw' }, at('out', 'ours'))
      runOk('cmp', [at('in', 'raw'), at('out', 'ours')])
      const bytes = readFileSync(at('out', 'ours'))
      bytes[3_000_001] = (bytes[3_000_001] ?? 0) ^ 1
      writeFileSync(at('out', 'ours'), bytes)
      expect(run('qemu-img', ['compare', '-f', 'raw', '-F', qemu, at('out', 'ours'), at('in', format)]).status).toBe(1)
      for (const name of readdirSync(at('out'))) rmSync(at('out', name))
    },
  )

  it('names what is in an OVA after the file that is read where no name is given, as to standard output', async () => {
    cpSync(at('in', 'qcow2'), at('in', 'system.v2.qcow2'))
    const { image, close } = await convertDisk({ input: at('in', 'system.v2.qcow2'), format: 'ova' })
    const memory = await written(image)
    await close()
    rmSync(at('in', 'system.v2.qcow2'))
    writeFileSync(at('out', 'stream'), await memory.read(0, memory.size))
    expect(runOk('tar', ['-tf', at('out', 'stream')]).text).toMatch(/^system\.v2\.ovf\nsystem\.v2[-.a-z0-9]*\n/)
    rmSync(at('out', 'stream'))
  })

  it('depends on its seed where the format has identifiers', async () => {
    const made = async (format: OutputFormat, seed: string) => {
      await convert({ input: at('in', 'qcow2'), format, seed }, at('out', 'seeded'))
      const bytes = readFileSync(at('out', 'seeded'))
      rmSync(at('out', 'seeded'))
      return bytes
    }
    for (const format of ['vdi', 'vhd', 'vhd-fixed', 'vhdx', 'vmdk', 'vmdk-stream'] as const) {
      expect((await made(format, 'one')).equals(await made(format, 'one')), format).toBe(true)
      expect((await made(format, 'one')).equals(await made(format, 'two')), format).toBe(false)
    }
    for (const format of ['raw', 'qcow2'] as const) expect((await made(format, 'one')).equals(await made(format, 'two'))).toBe(true)
  })

  it('takes the format that is given, and follows links', async () => {
    const { plan } = await convert({ input: at('in', 'qcow2'), inputFormat: 'raw', format: 'raw' }, at('out', 'as-raw'))
    expect(plan).toMatchObject({ inputFormat: 'raw', diskSize: statSync(at('in', 'qcow2')).size })
    runOk('cmp', [at('in', 'qcow2'), at('out', 'as-raw')])
    rmSync(at('out', 'as-raw'))
    symlinkSync(at('in', 'vdi'), at('link'))
    expect((await convert({ input: at('link'), format: 'raw' }, at('out', 'linked'))).plan.inputFormat).toBe('vdi')
    rmSync(at('out', 'linked'))
  })

  it('reads standard input, whatever its container', async () => {
    const chunks = async function* (file: string): AsyncGenerator<Uint8Array> {
      const bytes = readFileSync(file)
      for (let start = 0; start < bytes.length; start += 100_000) yield bytes.subarray(start, start + 100_000)
    }
    for (const format of ['raw', 'vdi', 'vmdk-stream', 'ova'] as const) {
      const { plan } = await convert({ input: '-', stdin: chunks(at('in', format)), format: 'qcow2' }, at('out', 'piped'))
      expect([plan.input, plan.diskSize]).toEqual(['-', DISK.size])
      expect(await digestOf(at('out', 'piped'))).toBe(wanted)
      rmSync(at('out', 'piped'))
    }
    for (const stdin of [chunks(at('empty')), undefined]) {
      writeFileSync(at('empty'), '')
      const input = stdin === undefined ? at('empty') : '-'
      await expect(convertDisk({ input, ...(stdin && { stdin }) })).rejects.toMatchObject({
        code: 'BAD_INPUT',
        message: expect.stringMatching(/is empty/),
      })
    }
    await expect(convertDisk({ input: '-' })).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('puts several disks into one OVA, and reads each of them by name or number', async () => {
    const inputs = { input: at('in', 'raw'), additionalDisks: [at('in', 'qcow2'), at('other')] }
    writeFileSync(at('other'), Buffer.alloc(MEBIBYTE, 5))
    const { plan } = await convert({ ...inputs, format: 'ova' }, at('several.ova'))
    expect(plan.additionalDisks).toEqual([
      { input: at('in', 'qcow2'), inputFormat: 'qcow2', diskSize: DISK.size },
      { input: at('other'), inputFormat: 'raw', diskSize: MEBIBYTE },
    ])
    for (const disk of ['1', 'disk-disk2.vmdk']) {
      await convert({ input: at('several.ova'), disk, format: 'qcow2' }, at('out', 'one'))
      expect(await digestOf(at('out', 'one'))).toBe(wanted)
      rmSync(at('out', 'one'))
    }
    await expect(convertDisk({ input: at('several.ova') })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining("3 ('disk-disk3.vmdk')"),
    })
    await expect(convertDisk({ ...inputs, format: 'qcow2' })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('ova'),
    })
    const names = ['one', 'two'].map((seed) => convert({ ...inputs, format: 'ova', seed }, at('out', seed)))
    await Promise.all(names)
    expect(readFileSync(at('out', 'one')).equals(readFileSync(at('out', 'two')))).toBe(false)
    for (const name of readdirSync(at('out'))) rmSync(at('out', name))
  })

  it('reads files of a VMDK from the folder that is named, and no others', async () => {
    mkdirSync(at('extents'))
    writeFileSync(at('extents', 'd-flat.vmdk'), readFileSync(at('in', 'raw')))
    const describe = (name: string): void =>
      writeFileSync(at('d.vmdk'), `# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\nRW ${DISK.size / 512} FLAT "${name}" 0\n`)
    describe('d-flat.vmdk')
    const made = await convertDisk({ input: at('d.vmdk'), extents: at('extents') })
    expect(made.inputs).toEqual([at('d.vmdk'), at('extents', 'd-flat.vmdk')])
    expect(made.plan.dataBytes).toBeLessThan(DISK.size / 2)
    await made.close()
    for (const name of ['../in/raw', at('in', 'raw'), '..', 'a\\b']) {
      describe(name)
      await expect(convertDisk({ input: at('d.vmdk'), extents: at('extents') })).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    }
  })

  it('unpacks what is compressed as a whole, in one part or several, and finds what is damaged', async () => {
    const raw = readFileSync(at('in', 'raw'))
    const [first, second] = [raw.subarray(0, 3_000_001), raw.subarray(3_000_001)]
    const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])
    const packed = {
      'one.gz': gzipSync(raw),
      'two.gz': Buffer.concat([gzipSync(first), gzipSync(second)]),
      'one.zst': zstdCompressSync(raw),
      'two.zst': Buffer.concat([zstdCompressSync(first), skippable, zstdCompressSync(second)]),
      'disk.qcow2.zst': zstdCompressSync(readFileSync(at('in', 'qcow2'))),
    }
    for (const [name, bytes] of Object.entries(packed)) {
      writeFileSync(at(name), bytes)
      const { plan } = await convert({ input: at(name), format: 'vdi' }, at('out', 'unpacked'))
      expect([plan.inputFormat, plan.diskSize], name).toEqual([name.includes('qcow2') ? 'qcow2' : 'raw', DISK.size])
      expect(await digestOf(at('out', 'unpacked')), name).toBe(wanted)
      rmSync(at('out', 'unpacked'))
      for (const damaged of [bytes.subarray(0, -5), bytes.subarray(0, 100), Buffer.concat([bytes, Buffer.from('more')])]) {
        writeFileSync(at(name), damaged)
        await expect(convertDisk({ input: at(name) }), `${name} of ${damaged.length}`).rejects.toMatchObject({
          code: 'BAD_INPUT',
          path: at(name),
        })
      }
      writeFileSync(at(name), bytes)
      await expect(convertDisk({ input: at(name), signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' })
    }
    const asItIs = await convertDisk({ input: at('one.gz'), inputFormat: 'raw' })
    expect(asItIs.plan.diskSize).toBe(packed['one.gz'].length)
    await asItIs.close()
    await expect(convertDisk({ input: at('one.gz'), backing: [at('one.gz')] })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/is the same file/),
    })
    await expect(convertDisk({ input: at('one.gz'), backing: [at('one.zst')] })).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('keeps a disk of terabytes sparse', async () => {
    const huge = { size: 2 ** 40, extents: [bytesExtent(2 ** 39, Buffer.from('in the middle'))] }
    await saveImage(qcow2(huge), at('huge.qcow2'), { digest: false })
    for (const format of ['vhdx', 'vmdk', 'vdi', 'qcow2-compressed'] as const) {
      const converted = await convertDisk({ input: at('huge.qcow2'), format, fileName: 'x' })
      await saveImage(converted.image, at('huge.out'), { jobs: 2, digest: false })
      await converted.close()
      expect(statSync(at('huge.out')).blocks * 512).toBeLessThan(16 * MEBIBYTE)
      expect(await digestOf(at('huge.out'))).toBe(await digest(huge))
      rmSync(at('huge.out'))
    }
  })
})

describe('convert refuses', () => {
  it('what is not there, no file, or an archive of a disk', async () => {
    const failing = (input: string, more: Partial<ConvertOptions> = {}) =>
      convertDisk({ input, format: 'raw', fileName: 'x', ...more }).then(
        async ({ close, plan }) => {
          await close()
          return { plan }
        },
        (error: unknown) => error,
      )
    expect(await failing(at('nothing'))).toMatchObject({ code: 'NOT_FOUND', path: at('nothing') })
    expect(await failing(at('in'))).toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('is not a regular file') })
    expect(await failing('/dev/null')).toMatchObject({ code: 'UNSUPPORTED', path: '/dev/null' })
    runOk('mkfifo', [at('fifo')])
    expect(await failing(at('fifo'))).toMatchObject({ code: 'UNSUPPORTED' })
    runOk('tar', ['-C', at('in'), '-cf', at('packed.tar'), 'raw'])
    expect(await failing(at('packed.tar'))).toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('a tar archive and no OVA'),
    })
    await convert({ input: at('in', 'raw'), format: 'raw.tar.gz' }, at('packed.tar.gz'))
    expect(await failing(at('packed.tar.gz'))).toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('a tar archive and no OVA'),
    })
    expect(await failing(at('packed.tar'), { inputFormat: 'ova' })).toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('.vmdk'),
    })
    expect(await failing(at('packed.tar'), { inputFormat: 'raw' })).toMatchObject({ plan: { inputFormat: 'raw' } })
  })

  it.each(READ.filter((format) => format !== 'raw'))('a %s that is another, or cut short anywhere', async (format) => {
    const read = format.replace(/-.*/, '') as NonNullable<ConvertOptions['inputFormat']>
    const others = (['qcow2', 'vdi', 'vhd', 'vhdx', 'vmdk'] as const).filter((other) => other !== read)
    for (const inputFormat of others) {
      await expect(convertDisk({ input: at('in', format), inputFormat, format: 'raw', fileName: 'x' }), inputFormat).rejects.toMatchObject({
        code: expect.stringMatching(/^(BAD_INPUT|UNSUPPORTED)$/),
      })
    }
    const { size } = statSync(at('in', format))
    for (const part of [0.001, 0.5, 1 - 512 / size]) {
      writeFileSync(at('cut'), readFileSync(at('in', format)))
      truncateSync(at('cut'), Math.floor((size * part) / 512) * 512)
      const error = await convert({ input: at('cut'), inputFormat: read, format: 'raw' }, at('out', 'cut')).catch(
        (caught: unknown) => caught,
      )
      // The end of a monolithic qcow2, VMDK or VHDX may hold zeros that nobody misses.
      if (error instanceof Error) expect(error).toMatchObject({ code: expect.stringMatching(/^(BAD_INPUT|UNSUPPORTED)$/) })
      else {
        expect(await digestOf(at('out', 'cut')), `${format} to ${part}`).toBe(wanted)
        rmSync(at('out', 'cut'))
      }
      expect(readdirSync(at('out'))).toEqual([])
    }
  })

  it('an input that shrinks while it is read: CHANGED', async () => {
    for (const format of ['raw', 'qcow2-compressed', 'vdi'] as const) {
      writeFileSync(at('shrinking'), readFileSync(at('in', 'raw')))
      const converted = await convertDisk({ input: at('shrinking'), format, fileName: 'x' })
      truncateSync(at('shrinking'), 100_000)
      await expect(saveImage(converted.image, at('out', 'x'), { jobs: 2 })).rejects.toMatchObject({
        code: 'CHANGED',
        path: at('shrinking'),
      })
      await converted.close()
      expect(readdirSync(at('out'))).toEqual([])
    }
  })

  it('an input that is written to while it is read: CHANGED', async () => {
    writeFileSync(at('written'), readFileSync(at('in', 'raw')))
    const converted = await convertDisk({ input: at('written'), format: 'qcow2', fileName: 'x' })
    writeFileSync(at('written'), readFileSync(at('in', 'raw')).fill(7))
    await expect(saveImage(converted.image, at('out', 'x'), { jobs: 2 })).rejects.toMatchObject({ code: 'CHANGED', path: at('written') })
    await converted.close()
  })

  it('and can be cancelled while a raw disk is searched for zeros', async () => {
    writeFileSync(at('large'), '')
    truncateSync(at('large'), 2 ** 40)
    const stop = new AbortController()
    setTimeout(() => stop.abort(), 50)
    await expect(convertDisk({ input: at('large'), format: 'qcow2', fileName: 'x', signal: stop.signal })).rejects.toMatchObject({
      code: 'ABORTED',
    })
  })
})
