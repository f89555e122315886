/** What can go wrong while a disk is written or converted: the error arrives, nothing is left, nobody hangs or lives on. */
import fs, { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { OutputFormat } from '../../src/disks/containers.ts'
import { convertDisk } from '../../src/images/disk/convert.ts'
import { type DiskOptions, disk } from '../../src/images/disk/index.ts'
import { saveImage } from '../../src/io/output.ts'
import { flipByte, type HarmableStore, harmableStore, removed } from './harm.ts'
import {
  type Ended,
  errorLine,
  finish,
  kilnix,
  leftIn,
  NO_MOUNT,
  NOT_UNPRIVILEGED,
  randomNumbers,
  sha256Of,
  smallWork,
  start,
  UNPRIVILEGED,
  type Work,
  withDisk,
} from './support.ts'

const MEBIBYTE = 1 << 20
const PAGE = 4096

let work: Work
let folder: string
let output: string
let input: readonly string[]
let base: DiskOptions
let harmable: HarmableStore
beforeAll(async () => {
  work = await smallWork()
  const { closure } = work
  folder = join(work.folder, 'output')
  output = join(folder, 'disk')
  mkdirSync(folder)
  input = ['--closure', closure.folder, '--root', closure.root, '--jobs', '2', '--free', '0', '--esp-size', '20M', '--quiet']
  base = { closure: closure.folder, root: closure.root, freeSize: 0, espSize: 20 * MEBIBYTE }
  harmable = harmableStore(join(closure.root, 'nix/store'), join(work.folder, 'pristine'))
})
afterAll(() => work.remove())
afterEach(() => {
  for (const name of leftIn(folder)) rmSync(join(folder, name), { recursive: true })
})

const SHAPES: readonly (readonly string[])[] = [
  ['--format', 'raw'],
  ['--format', 'qcow2-compressed', '--compression', 'zstd:1'],
  ['--format', 'vmdk-stream', '--compression', 'gzip:1'],
  ['--format', 'ova', '--compression', 'gzip:1'],
  ['--format', 'raw', '--root-fs', 'squashfs'],
]

describe.skipIf(NO_MOUNT)('a full disk', () => {
  it.each(SHAPES.map((shape) => [shape]))('under %j, from nothing to one page too few', async (shape) => {
    const small = join(work.folder, 'small')
    mkdirSync(small, { recursive: true })
    const file = join(small, 'disk')
    const build = () => kilnix(['disk', ...input, ...shape, '-o', file])
    const needed = await withDisk(small, 256 * MEBIBYTE, async () => {
      expect(await build()).toMatchObject({ status: 0, stderr: '' })
      return statSync(file).blocks * 512
    })
    const sizes = [0.6 * needed, needed - PAGE]
    if (shape.includes('raw')) sizes.unshift(PAGE)
    for (const size of sizes) {
      await withDisk(small, Math.floor(size / PAGE) * PAGE, async () => {
        const { status, stdout, stderr } = await build()
        expect(stderr).toMatch(errorLine('WRITE_FAILED', `${file}: cannot be written (ENOSPC): the file system is full`))
        expect({ status, stdout: stdout.length, left: leftIn(small) }).toEqual({ status: 1, stdout: 0, left: [] })
      })
    }
    // That what is needed is enough, with the first alone.
    if (shape === SHAPES[0]) await withDisk(small, needed, async () => expect(await build()).toMatchObject({ status: 0, stderr: '' }))
  })

  it('under the scratch file of a packed root in a container, and of a container on standard output', async () => {
    const small = join(work.folder, 'small')
    mkdirSync(small, { recursive: true })
    for (const more of [
      ['--root-fs', 'squashfs', '--format', 'qcow2', '-o', output],
      ['--format', 'qcow2-compressed', '-o', '-'],
    ]) {
      await withDisk(small, 4 * MEBIBYTE, async () => {
        const { status, stdout, stderr } = await kilnix(['disk', ...input, ...more], { env: { TMPDIR: small } })
        expect(stderr).toMatch(
          errorLine('WRITE_FAILED', `scratch file in ${small} (TMPDIR chooses the folder): cannot be written (ENOSPC)`),
        )
        expect({ status, stdout: stdout.length, left: [...leftIn(small), ...leftIn(folder)] }).toEqual({ status: 1, stdout: 0, left: [] })
      })
    }
  })
})

// biome-ignore lint/suspicious/noExplicitAny: calls are handed on as they come
type Call = (this: any, ...args: unknown[]) => Promise<unknown>

describe('a write that fails', () => {
  let handles: { write: Call }
  let write: Call
  const liveWorkers = new Set<Worker>()
  const onWorker = (worker: Worker): void => {
    liveWorkers.add(worker)
    worker.on('exit', () => liveWorkers.delete(worker))
  }
  beforeAll(async () => {
    const probe = await open(join(work.folder, 'probe'), 'w')
    handles = Object.getPrototypeOf(probe)
    write = handles.write
    await probe.close()
    process.on('worker', onWorker)
  })
  afterAll(() => void process.off('worker', onWorker))
  let openFiles: number
  beforeEach(() => {
    openFiles = readdirSync('/dev/fd').length
  })
  afterEach(() => {
    handles.write = write
    syncBuiltinESMExports()
    expect(liveWorkers.size).toBe(0)
    expect(readdirSync('/dev/fd').length).toBe(openFiles)
  })

  async function save(options: Partial<DiskOptions>): Promise<unknown> {
    const { image } = await disk({ ...base, ...options })
    return saveImage(image, output, { jobs: 2, digest: false }).catch((error: unknown) => error)
  }

  const cases: readonly Partial<DiskOptions>[] = [
    { format: 'raw' },
    { format: 'qcow2-compressed', compression: { name: 'zstd', level: 1 } },
    { format: 'vmdk-stream', compression: { name: 'gzip', level: 1 } },
    { format: 'ova', compression: { name: 'gzip', level: 1 } },
    { format: 'vhdx' },
  ]

  it.each(cases)('at byte k of %j, all over the file', { timeout: 60_000 }, async (options) => {
    const writes: { position: number; length: number }[] = []
    handles.write = function (...args) {
      writes.push({ length: args[2] as number, position: args[3] as number })
      return write.apply(this, args)
    }
    expect(await save(options)).toMatchObject({ size: expect.any(Number) })
    rmSync(output)
    // The first, some within, and the last ones: headers, tables, second tables, footers.
    const chosen = writes.filter((_, index) => index === 0 || index === writes.length >> 1 || index >= writes.length - 3)
    for (const [index, { position, length }] of chosen.entries()) {
      const k = position + ([0, length >> 1, length - 1][index % 3] ?? 0)
      const code = index % 2 === 0 ? 'ENOSPC' : 'EIO'
      handles.write = function (...args) {
        const [bytes, offset, count, at] = args as [Uint8Array, number, number, number]
        if (k < at || k >= at + count) return write.apply(this, args)
        if (k > at) return write.call(this, bytes, offset, k - at, at)
        return Promise.reject(Object.assign(new Error(`${code}: a fault that was asked for`), { code }))
      }
      expect(await save(options), `byte ${k}`).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining(code) })
      expect([liveWorkers.size, leftIn(folder)]).toEqual([0, []])
    }
  })

  it('in link', async () => {
    const { linkSync } = fs
    fs.linkSync = () => {
      throw Object.assign(new Error('EXDEV'), { code: 'EXDEV' })
    }
    syncBuiltinESMExports()
    try {
      expect(await save({})).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining('EXDEV') })
      expect(leftIn(folder)).toEqual([])
    } finally {
      fs.linkSync = linkSync
      syncBuiltinESMExports()
    }
  })

  it.each([0, 20, 60])('because a worker of the block pool dies after %d ms', async (milliseconds) => {
    for (const format of ['qcow2-compressed', 'vmdk-stream'] as const) {
      process.once('worker', (worker: Worker) => setTimeout(() => void worker.terminate(), milliseconds))
      expect(await save({ format, compression: { name: 'gzip', level: 9 } })).toMatchObject({ code: 'WORKER_DIED' })
      expect(leftIn(folder)).toEqual([])
    }
  })

  it('and one that is cancelled', async () => {
    for (const [format, at] of [
      ['raw', 1],
      ['qcow2-compressed', 1],
      ['ova', 3 * MEBIBYTE],
    ] as const) {
      const { image } = await disk({ ...base, format })
      const stop = new AbortController()
      const onProgress = (event: { kind: string; doneBytes?: number }): void => {
        if (event.kind === 'bytes' && (event.doneBytes ?? 0) >= at) stop.abort()
      }
      await expect(saveImage(image, output, { jobs: 2, signal: stop.signal, onProgress })).rejects.toMatchObject({ code: 'ABORTED' })
      expect(leftIn(folder)).toEqual([])
    }
  })
})

const STATUS = { SIGINT: 130, SIGTERM: 143, SIGKILL: undefined } as const
type Name = keyof typeof STATUS
const NAMES = Object.keys(STATUS) as Name[]
/** KILNIX_SEED repeats a run. */
const seed = Number(process.env.KILNIX_SEED ?? Date.now() % 1_000_000)

describe('a signal', () => {
  it.each(SHAPES.slice(0, 2).map((shape) => [shape]))(
    `at random moments of %j (KILNIX_SEED=${seed})`,
    { timeout: 120_000 },
    async (shape) => {
      const args = ['disk', ...input, ...shape, '--force', '-o', output]
      const started = performance.now()
      expect(await kilnix(args)).toMatchObject({ status: 0 })
      const milliseconds = performance.now() - started
      const right = sha256Of(output)
      rmSync(output)
      const random = randomNumbers(seed)
      const judge = (name: Name, pid: number | undefined, { status, signal, stderr }: Ended): void => {
        if (existsSync(output)) expect(sha256Of(output)).toBe(right)
        else expect(status).not.toBe(0)
        if (name === 'SIGKILL') return
        expect(leftIn(folder).filter((file) => file.startsWith(`.kilnix-${pid}-`))).toEqual([])
        if (signal !== null) expect(signal).toBe(name)
        else expect([0, STATUS[name]]).toContain(status)
        expect(stderr).not.toContain('internal error')
      }
      for (let index = 0; index < NAMES.length; index++) {
        const name = NAMES[index % NAMES.length] ?? 'SIGKILL'
        const child = start(args)
        const ended = finish(child)
        await Promise.race([delay(random() * milliseconds * 1.05), ended])
        child.kill(name)
        judge(name, child.pid, await ended)
        rmSync(output, { force: true })
      }
      expect(await kilnix(args)).toMatchObject({ status: 0 })
      expect(sha256Of(output)).toBe(right)
    },
  )
})

describe('inputs of a disk', () => {
  it.skipIf(NOT_UNPRIVILEGED)('that may not be read: UNREADABLE', async () => {
    chmodSync(work.folder, 0o755)
    chmodSync(folder, 0o777)
    const path = join(work.closure.root, 'nix/store', harmable.named('contents'), 'many/file-7')
    chmodSync(path, 0)
    const args = ['disk', ...input, '-o', output]
    const { status, stderr } = await kilnix(args, UNPRIVILEGED)
    chmodSync(path, 0o444)
    expect(stderr).toMatch(errorLine('UNREADABLE', `${path}: cannot be read (EACCES)`))
    expect([status, leftIn(folder)]).toEqual([1, []])
    expect(await kilnix(args, UNPRIVILEGED)).toMatchObject({ status: 0, stderr: '' })
  })

  it('that are gone or damaged', async () => {
    const build = () => kilnix(['disk', ...input, '-o', output])
    const etc = harmable.named('etc')
    const gone = await harmable.whileHarmed(etc, removed, build)
    expect(gone.stderr).toMatch(errorLine('NOT_FOUND', etc))
    const kernel = join(harmable.named('linux-6.1.176'), 'bzImage')
    const damaged = await harmable.whileHarmed(kernel, flipByte, build)
    expect(damaged.stderr).toMatch(errorLine('HASH_MISMATCH', `/nix/store/${harmable.named('linux-6.1.176')}: `))
    expect([gone.status, damaged.status, leftIn(folder)]).toEqual([1, 1, []])
    expect(await harmable.whileHarmed(kernel, flipByte, () => kilnix(['disk', ...input, '--no-verify', '-o', output]))).toMatchObject({
      status: 0,
    })
  })

  it('that are the output: USAGE, and nothing is written', async () => {
    const configuration = join(folder, 'configuration.nix')
    writeFileSync(configuration, '{ }\n')
    symlinkSync(configuration, join(folder, 'link'))
    for (const [what, args] of [
      [configuration, ['--configuration', configuration]],
      [configuration, ['--add', `/etc/x=${configuration}`]],
      [configuration, ['--add', `/etc/x=${join(folder, 'link')}`]],
      [join(folder, 'new'), ['--add', `/srv=${folder}`]],
      [join(work.closure.folder, 'registration'), []],
      [join(work.closure.root, 'nix/store', harmable.named('contents'), 'prefix'), []],
    ] as const) {
      const before = existsSync(what) ? sha256Of(what) : undefined
      const { status, stderr } = await kilnix(['disk', ...input, ...args, '--force', '-o', what])
      expect(stderr).toMatch(/^kilnix: the output .* choose another place\n/)
      expect(stderr).toContain(what)
      expect(status).toBe(2)
      expect(existsSync(what) ? sha256Of(what) : undefined).toBe(before)
    }
  })
})

describe('convert', () => {
  let raw: string
  beforeAll(async () => {
    raw = join(work.folder, 'disk.raw')
    const { image } = await disk({ ...base, layout: 'legacy+gpt' })
    await saveImage(image, raw, { jobs: 2 })
  })

  it('never writes over what it reads, by any name', async () => {
    const before = sha256Of(raw)
    const link = join(work.folder, 'link')
    symlinkSync(raw, link)
    fs.linkSync(raw, `${raw}.hard`)
    for (const [from, to] of [
      [raw, raw],
      [link, raw],
    ] as const) {
      const { status, stderr } = await kilnix(['convert', from, '--format', 'qcow2', '--force', '--quiet', '-o', to])
      expect(stderr, `${from} to ${to}`).toContain(`kilnix: the output ${to} is the input ${from}`)
      expect(status).toBe(2)
    }
    // A link is replaced, not followed.
    for (const to of [link, `${raw}.hard`]) {
      expect(await kilnix(['convert', raw, '--format', 'qcow2', '--force', '--quiet', '-o', to])).toMatchObject({ status: 0 })
    }
    expect(sha256Of(raw)).toBe(before)
    rmSync(`${raw}.hard`)
  })

  it('refuses what is no file, and an input that is cut short', async () => {
    const refused = async (from: string, code: string, text: string | RegExp, ...more: string[]) => {
      const { status, stderr } = await kilnix(['convert', from, ...more, '--quiet', '-o', output])
      expect(stderr).toMatch(errorLine(code, text))
      expect([status, leftIn(folder)]).toEqual([code === 'USAGE' ? 2 : 1, []])
    }
    await refused(join(work.folder, 'nothing'), 'NOT_FOUND', 'does not exist')
    await refused(work.folder, 'UNSUPPORTED', 'is not a regular file')
    await refused('/dev/zero', 'UNSUPPORTED', 'is not a regular file')
    await refused(raw, 'BAD_INPUT', 'qcow2', '--input-format', 'qcow2')
    expect(await kilnix(['convert', raw, '--quiet', '-o', `${raw}.vdi`])).toMatchObject({ status: 0 })
    fs.truncateSync(`${raw}.vdi`, 5 * MEBIBYTE)
    await refused(`${raw}.vdi`, 'BAD_INPUT', 'vdi')
  })

  it.each<[string, OutputFormat, (bytes: Buffer) => void, RegExp | undefined]>([
    [
      'a qcow2 whose table is its own data',
      'qcow2',
      (bytes) => bytes.writeBigUInt64BE(bytes.readBigUInt64BE(40), Number(bytes.readBigUInt64BE(40))),
      undefined,
    ],
    ['a qcow2 of 2^62 bytes', 'qcow2', (bytes) => bytes.writeBigUInt64BE(2n ** 62n, 24), /qcow2/],
    ['a qcow2 with clusters of 2^31 bytes', 'qcow2', (bytes) => bytes.writeUInt32BE(31, 20), /qcow2/],
    ['a qcow2 with a table of 2^31 entries', 'qcow2', (bytes) => bytes.writeUInt32BE(2 ** 31, 36), undefined],
    ['a qcow2 with a backing file', 'qcow2', (bytes) => bytes.writeBigUInt64BE(512n, 8), /qcow2/],
    ['a VDI of 2^31 blocks', 'vdi', (bytes) => bytes.writeUInt32LE(2 ** 31, 384), undefined],
    ['a VDI whose blocks are one', 'vdi', (bytes) => bytes.fill(0, bytes.readUInt32LE(340), bytes.readUInt32LE(340) + 16), /twice/],
    [
      'a VHD with another checksum',
      'vhd',
      (bytes) => bytes.fill(1, bytes.length - 440, bytes.length - 430) && bytes.fill(1, 72, 80),
      /vhd/,
    ],
    ['a VHDX without regions', 'vhdx', (bytes) => bytes.fill(0, 192 << 10, 320 << 10), /vhdx/],
    ['a VMDK of 2^60 sectors', 'vmdk', (bytes) => bytes.writeBigUInt64LE(2n ** 60n, 12), /vmdk/],
    ['a VMDK whose tables lie outside', 'vmdk', (bytes) => bytes.writeBigUInt64LE(2n ** 40n, 56), /vmdk/],
  ])('refuses %s, or reads what makes sense of it, at once and without memory for it', async (_, format, damage, message) => {
    const good = await convertDisk({ input: raw, format, fileName: 'x' })
    const file = join(work.folder, 'hostile')
    await saveImage(good.image, file, { jobs: 2, force: true, digest: false })
    await good.close()
    const bytes = readFileSync(file)
    damage(bytes)
    writeFileSync(file, bytes)
    const before = process.memoryUsage().arrayBuffers
    const read = async (): Promise<void> => {
      const bad = await convertDisk({ input: file, inputFormat: format as 'qcow2', format: 'raw', fileName: 'x' })
      await saveImage(bad.image, output, { jobs: 1, digest: false }).finally(() => bad.close())
    }
    const error = await read().catch((caught: unknown) => caught)
    if (message === undefined) expect([error, statSync(output).size]).toEqual([undefined, statSync(raw).size])
    else
      expect(error).toMatchObject({
        code: expect.stringMatching(/^(BAD_INPUT|UNSUPPORTED|LIMIT)$/),
        message: expect.stringMatching(message),
      })
    rmSync(output, { force: true })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * MEBIBYTE)
    expect(leftIn(folder)).toEqual([])
  })

  it('notices that its input is written to: CHANGED', async () => {
    const file = join(work.folder, 'changing')
    writeFileSync(file, readFileSync(raw))
    const child = start(['convert', file, '--format', 'qcow2-compressed', '--compression', 'gzip:9', '--progress', 'plain', '-o', output])
    let said = ''
    child.stderr?.on('data', (text) => {
      if (!said.includes('compressing') && String(text).includes('compressing')) fs.utimesSync(file, 1, 1)
      said += String(text)
    })
    const { status, stderr } = await finish(child)
    expect(stderr).toContain('[CHANGED]')
    expect([status, leftIn(folder)]).toEqual([1, []])
  })
})
