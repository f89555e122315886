/** Initrds from inputs that are damaged, change or are too large, to places that take no more, and with signals. */
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type InitrdOptions, initrd } from '../../src/images/initrd.ts'
import { saveProduct } from '../../src/images/save.ts'
import type { GrowingImage } from '../../src/io/image.ts'
import { type SaveOptions, saveImage } from '../../src/io/output.ts'
import { PARTIAL_NAME } from '../../src/io/private-folder.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import type { Target } from '../../src/io/target.ts'
import { changesOf, flipByte, grow, type Harm, type HarmableStore, harmableStore, removed, shrinkTo, toPipe } from './harm.ts'
import { errorOf, expectNothingLeft, makePlaces, type Places } from './netboot-support.ts'
import {
  errorLine,
  finish,
  kilnix,
  kilnixMeasured,
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
const GIBIBYTE = 1 << 30

let work: Work
let store: HarmableStore
let places: Places
let output: string
let right: string
/** A folder of the host to add, and an archive to prepend. */
let added: string
let archive: string
const at = (name: string): string => join(work.folder, name)

beforeAll(async () => {
  work = await smallWork()
  store = harmableStore(join(work.closure.root, 'nix/store'), at('pristine'))
  places = makePlaces(work.folder)
  output = join(places.output, 'initrd')
  added = at('added')
  archive = at('archive')
  await makeInputs()
  await save()
  right = sha256Of(output)
  rmSync(output)
})
afterAll(() => work.remove())
expectNothingLeft(() => places)

async function makeInputs(): Promise<void> {
  rmSync(added, { recursive: true, force: true })
  mkdirSync(join(added, 'sub'), { recursive: true })
  writeFileSync(join(added, 'sub/file'), Buffer.alloc(200_000, 'added '))
  rmSync(archive, { force: true, recursive: true })
  rmSync(`${archive}.moved`, { force: true })
  await saveProduct(await initrd({ add: [{ target: 'first', source: added }], compression: { name: 'none' } }), archive, { jobs: 1 })
}

const options = (more: Partial<InitrdOptions> = {}): InitrdOptions => ({
  closure: work.closure.folder,
  root: work.closure.root,
  compression: { name: 'lz4' },
  ...more,
})
const inputs = (): Partial<InitrdOptions> => ({ prepend: [archive], add: [{ target: 'host', source: added }] })

async function save(more: Partial<InitrdOptions> = {}, saving: SaveOptions & { readonly onPlanned?: () => void } = {}) {
  const { image } = await initrd(options(more))
  saving.onPlanned?.()
  return saveImage(image, output, { jobs: 2, ...saving })
}

function expectRight(): void {
  expect(sha256Of(output)).toBe(right)
  rmSync(output)
}

describe('what goes in', () => {
  it('was damaged before', async () => {
    const file = join(store.named('contents'), 'text-70000')
    const path = `/nix/store/${dirname(file)}`
    const cases: [string, Harm, object][] = [
      [file, flipByte, { code: 'HASH_MISMATCH', path }],
      [file, grow, { code: 'HASH_MISMATCH', path }],
      [file, shrinkTo(10), { code: 'HASH_MISMATCH', path }],
      [file, removed, { code: 'HASH_MISMATCH', path }],
      [file, toPipe, { code: 'UNSUPPORTED' }],
      [dirname(file), removed, { code: 'NOT_FOUND', path }],
    ]
    for (const [place, harm, error] of cases) {
      expect(await store.whileHarmed(place, harm, () => errorOf(save())), `${place}: ${harm.name}`).toMatchObject(error)
    }
  })

  it('changes after the plan: of the store, the first and the last file', async () => {
    for (const file of [join(store.named('contents'), 'text-70000'), join(store.named('linux-6.1.176'), 'release')]) {
      for (const [what, harm, code] of changesOf(5)) {
        const path = code === 'HASH_MISMATCH' ? `/nix/store/${dirname(file)}` : join(work.closure.root, 'nix/store', file)
        const error = await errorOf(save({}, { onPlanned: () => store.harm(file, harm) })).finally(() => store.heal(file))
        expect(error, `${file} ${what}`).toMatchObject({ code, path })
      }
    }
    const path = store.named('linux-6.1.176')
    const gone = await errorOf(save({}, { onPlanned: () => store.harm(path, removed) })).finally(() => store.heal(path))
    expect(gone).toMatchObject({ code: 'CHANGED' })
    await save()
    expectRight()
  })

  it('changes after the plan: of the host', async () => {
    for (const [what, harm, code] of changesOf(100)) {
      // Nobody knows what the host's files should hold.
      if (code === 'HASH_MISMATCH') continue
      for (const path of [archive, join(added, 'sub/file')]) {
        const error = await errorOf(save(inputs(), { onPlanned: () => harm(path) })).finally(makeInputs)
        expect(error, `${path} ${what}`).toMatchObject({ code, path })
      }
    }
  })

  it('is listed without hashes, or with wrong ones', async () => {
    await save({ closure: join(work.closure.folder, 'qR.txt') })
    expectRight()
    const listing = at('listing')
    const text = readFileSync(join(work.closure.folder, 'registration'), 'utf8')
    writeFileSync(listing, text.replace('\nsha256:0sjjj', '\nsha256:1sjjj'))
    expect(await errorOf(save({ closure: listing }))).toMatchObject({ code: 'HASH_MISMATCH' })
    writeFileSync(listing, '{"hello": ["world"]}')
    expect(await errorOf(save({ closure: listing }))).toMatchObject({ code: 'BAD_INPUT' })
  })

  it('is a pipe, a folder, a link in a circle, nothing, or text', async () => {
    mkdirSync(at('piped/sub'), { recursive: true })
    writeFileSync(at('piped/sub/file'), '')
    toPipe(at('piped/sub/file'))
    writeFileSync(at('text'), 'text\n')
    writeFileSync(at('zeros'), Buffer.alloc(8192))
    writeFileSync(at('empty'), '')
    symlinkSync('circle', at('circle'))
    const cases: [Partial<InitrdOptions>, object][] = [
      [
        { add: [{ target: 'host', source: at('piped') }] },
        { code: 'UNSUPPORTED', message: expect.stringContaining('sub/file: is a pipe') },
      ],
      [{ prepend: [at('piped/sub/file')] }, { code: 'UNSUPPORTED' }],
      [{ prepend: [added] }, { code: 'BAD_INPUT' }],
      [{ prepend: [at('circle')] }, { code: 'UNREADABLE' }],
      [{ prepend: [at('nothing')] }, { code: 'NOT_FOUND' }],
      [{ prepend: [at('text')] }, { code: 'BAD_INPUT' }],
      [{ prepend: [at('zeros')] }, { code: 'BAD_INPUT' }],
      [{ prepend: [at('empty')] }, { code: 'BAD_INPUT' }],
      [{ prepend: ['/dev/zero'] }, { code: 'UNSUPPORTED' }],
      [{ links: [{ target: 'nix/store', destination: 'x' }] }, { code: 'USAGE' }],
      [{ links: [{ target: 'TRAILER!!!', destination: 'x' }] }, { code: expect.stringMatching(/^(?:UNSUPPORTED|USAGE|LIMIT)$/) }],
      [{ links: [{ target: 'x', destination: 'y'.repeat(5000) }] }, { code: 'LIMIT' }],
    ]
    for (const [more, error] of cases) expect(await errorOf(save(more)), JSON.stringify(more)).toMatchObject(error)
  })

  it.skipIf(NOT_UNPRIVILEGED)('may not be read', async () => {
    for (const folder of [work.folder, places.output, places.scratch]) chmodSync(folder, 0o777)
    chmodSync(join(added, 'sub/file'), 0)
    const args = ['initrd', ...work.input, '--add', `host=${added}`, '--quiet', '-o', output]
    const { status, stdout, stderr } = await kilnix(args, UNPRIVILEGED).finally(makeInputs)
    expect(stderr).toMatch(errorLine('UNREADABLE', `${join(added, 'sub/file')}: cannot be read (EACCES)`))
    expect({ status, stdout: stdout.length }).toEqual({ status: 1, stdout: 0 })
  })
})

describe('sizes without sense', () => {
  function sparse(name: string, size: number): string {
    const file = at(name)
    // A cpio archive of nothing, and then zeros.
    writeFileSync(file, `070701${'0'.repeat(8 * 11)}0000000b00000000TRAILER!!!\0\0\0\0`)
    truncateSync(file, size)
    return file
  }

  it('a file of 4 GiB and more, or two together, before anything is written', async () => {
    for (const size of [4 * GIBIBYTE, 6 * GIBIBYTE, 2 ** 43]) {
      const huge = sparse('huge', size)
      const cases = [
        [['--add', `a/file=${huge}`], 'a/file'],
        [['--prepend', huge], huge],
      ] as const
      for (const [args, named] of cases) {
        const { status, stdout, stderr, peakBytes } = await kilnixMeasured(['initrd', ...args, '--quiet', '-o', output])
        expect(stderr).toMatch(errorLine('LIMIT', named))
        expect({ status, stdout: stdout.length }).toEqual({ status: 1, stdout: 0 })
        expect(peakBytes).toBeLessThan(160 * MEBIBYTE)
      }
    }
    const half = sparse('half', 2 * GIBIBYTE)
    expect(await errorOf(initrd({ prepend: [half, half] }))).toMatchObject({ code: 'LIMIT', path: half })
  })

  it('an uncompressed archive of files that are 4 GiB together, before anything is written', async () => {
    const add = ['a', 'b', 'c'].map((target) => ({ target, source: sparse(target, 1536 * MEBIBYTE) }))
    expect(await errorOf(initrd({ add, compression: { name: 'none' } }))).toMatchObject({
      code: 'LIMIT',
      message: expect.stringMatching(/^initrd: at least 48\d{8} bytes, it has to be smaller than 4294967296; /),
    })
    // Compression may make it fit.
    expect((await initrd({ add, compression: { name: 'lz4' } })).plan.archiveBytes).toBeGreaterThan(4 * GIBIBYTE)
    const args = add.flatMap(({ target, source }) => ['--add', `${target}=${source}`])
    for (const more of [['--dry-run'], ['-o', output], ['-o', '-']]) {
      const { status, stdout, stderr } = await kilnix(['initrd', ...args, '--compression', 'none', '--quiet', ...more])
      expect(stderr).toMatch(errorLine('LIMIT', 'at least'))
      expect({ status, stdout: stdout.length }).toEqual({ status: 1, stdout: 0 })
    }
  })

  it('an initrd of 2 GiB is told of', async () => {
    const nothing = async (): Promise<void> => undefined
    const nowhere: Target = { write: nothing, setSize: nothing, read: async (_position, length) => new Uint8Array(length) }
    const notes: string[] = []
    const onProgress = (event: ProgressEvent): void => void (event.kind === 'note' && notes.push(event.message))
    const { image } = await initrd({ prepend: [sparse('half', 2 * GIBIBYTE)], onProgress })
    expect((await (image as GrowingImage).pack(nowhere, 0, { jobs: 1 })).size).toBe(2 * GIBIBYTE)
    expect(notes).toEqual(['initrd is 2.0 GiB; iPXE and UEFI firmware often load no more than 2 GiB'])
  })
})

describe('an output that fails', () => {
  type Call = (this: unknown, ...args: unknown[]) => Promise<unknown>
  let handles: { write: Call }
  let write: Call
  beforeAll(async () => {
    const probe = await open(at('probe'), 'w')
    handles = Object.getPrototypeOf(probe)
    write = handles.write
    await probe.close()
  })
  afterEach(() => {
    handles.write = write
  })

  it('at any byte', async () => {
    let count = 0
    handles.write = function (...args) {
      count++
      return write.apply(this, args)
    }
    await save(inputs())
    rmSync(output)
    expect(count).toBeGreaterThan(5)
    for (let which = 0; which < count; which += which < 3 ? 1 : Math.max(1, count >> 3)) {
      const code = which % 2 === 0 ? 'ENOSPC' : 'EIO'
      let number = 0
      handles.write = function (...args) {
        return number++ < which
          ? write.apply(this, args)
          : Promise.reject(Object.assign(new Error(`${code}: a fault that was asked for`), { code }))
      }
      const error = await errorOf(save(inputs()))
      expect(error, `write ${which} of ${count}`).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining(code) })
      expect(leftIn(places.output)).toEqual([])
    }
  })

  it.skipIf(NO_MOUNT)('because the disk is full: of the file, of standard output, of the scratch file', async () => {
    const command = ['initrd', ...work.input, '--quiet', '-o']
    await withDisk(places.output, 4 * MEBIBYTE, async () => {
      const { status, stdout, stderr } = await kilnix([...command, output])
      expect(stderr).toMatch(errorLine('WRITE_FAILED', `${output}: cannot be written (ENOSPC): the file system is full`))
      expect({ status, stdout: stdout.length, left: leftIn(places.output) }).toEqual({ status: 1, stdout: 0, left: [] })
      const redirected = openSync(join(places.output, 'redirected'), 'w')
      const streamed = await kilnix([...command, '-'], { stdio: ['ignore', redirected, 'pipe'] })
      closeSync(redirected)
      expect(streamed.stderr).toMatch(errorLine('WRITE_FAILED', /standard output: .*ENOSPC/))
      expect(streamed.status).toBe(1)
    })
    await withDisk(places.scratch, 4 * MEBIBYTE, async () => {
      const { status, stdout, stderr } = await kilnix([...command, '-'])
      expect(stderr).toMatch(
        errorLine('WRITE_FAILED', `scratch file in ${places.scratch} (TMPDIR chooses the folder): cannot be written (ENOSPC)`),
      )
      expect({ status, stdout: stdout.length, left: leftIn(places.scratch) }).toEqual({ status: 1, stdout: 0, left: [] })
    })
  })

  it('because its reader leaves', async () => {
    const child = start(['initrd', ...work.input, '--quiet', '-o', '-'])
    child.stdout?.destroy()
    const { status, stderr } = await finish(child)
    expect({ status, stderr }).toEqual({ status: 141, stderr: '' })
  })

  it('because it is an input, or lies within one', async () => {
    const before = [leftIn(added), sha256Of(archive)]
    const cases: [string[], string, string][] = [
      [['--prepend', archive], archive, 'is the input'],
      [['--add', `a=${added}`], join(added, 'initrd'), 'lies within the input'],
      [['--add', `a=${added}`], added, 'is a folder'],
      [work.input.slice(), join(work.closure.folder, 'registration'), 'is the input'],
    ]
    for (const [args, place, message] of cases) {
      const { status, stdout, stderr } = await kilnix(['initrd', ...args, '--force', '--quiet', '-o', place])
      expect(stderr).toContain(message)
      expect({ status, stdout: stdout.length }).toEqual({ status: message === 'is a folder' ? 1 : 2, stdout: 0 })
    }
    expect([leftIn(added), sha256Of(archive)]).toEqual(before)
  })
})

describe('a plan', () => {
  it('is printed as a table or as JSON, and nothing is written', async () => {
    const args = ['initrd', ...work.input, '--prepend', archive, '--link', '/init=/x', '--dry-run']
    const json = await kilnix([...args, '--json', '-o', output])
    expect(json).toMatchObject({ status: 0, stderr: '' })
    const image = await initrd({
      ...options({ compression: { name: 'zstd', level: 1 } }),
      prepend: [archive],
      links: [{ target: 'init', destination: '/x' }],
    })
    expect(JSON.parse(json.stdout.toString())).toEqual(image.plan)
    const table = await kilnix(args)
    expect(table).toMatchObject({ status: 0, stderr: '' })
    expect(table.stdout.toString()).toMatch(/^prepended\n(?:.*\n)*pathCount +14\n(?:.*\n)*compression\n {2}name +zstd\n {2}level +1\n$/)
    for (const wrong of [['--json'], ['--style', 'single'], ['--pieces', 'x']]) {
      expect((await kilnix(['initrd', ...work.input, '-o', output, ...wrong])).status).toBe(2)
    }
  })
})

describe('an initrd that is interrupted', () => {
  it('by a worker that dies', async () => {
    let died = 0
    for (const which of [0, 1]) {
      let count = 0
      const kill = (worker: Worker): void => void (count++ === which && worker.once('online', () => void worker.terminate()))
      process.on('worker', kill)
      const saving = save({ compression: { name: 'zstd', level: 15 } }).finally(() => process.off('worker', kill))
      const outcome = await saving.then(() => undefined).catch((error: unknown) => error)
      // The one that is killed may have had nothing to do.
      if (outcome === undefined) rmSync(output)
      else expect(outcome).toMatchObject({ code: 'WORKER_DIED', message: expect.stringContaining('fewer jobs') })
      died += outcome === undefined ? 0 : 1
    }
    expect(died).toBeGreaterThan(0)
  })

  it('by an abort at any event', async () => {
    let count = 0
    await save(inputs(), { onProgress: () => count++ })
    rmSync(output)
    for (const last of [0, 1, count >> 1]) {
      const abort = new AbortController()
      let seen = 0
      const onProgress = (): void => void (seen++ === last && abort.abort())
      expect(await errorOf(save(inputs(), { signal: abort.signal, onProgress })), `${last}`).toMatchObject({ code: 'ABORTED' })
      expect(leftIn(places.output)).toEqual([])
    }
  })

  const STATUS = { SIGINT: 130, SIGTERM: 143, SIGKILL: undefined } as const
  const NAMES = Object.keys(STATUS) as (keyof typeof STATUS)[]
  const seed = Number(process.env.KILNIX_SEED ?? Date.now() % 1_000_000)
  const args = () => ['initrd', ...work.input, '--prepend', archive, '--force', '-o', output]
  let digest: string
  let milliseconds: number
  beforeEach(() => rmSync(output, { force: true }))
  beforeAll(async () => {
    const started = performance.now()
    expect(await kilnix(args())).toMatchObject({ status: 0 })
    milliseconds = performance.now() - started
    digest = sha256Of(output)
    rmSync(output)
  })

  it.each(NAMES.flatMap((name) => [1, 2].map((turn) => [name, turn] as const)))(
    `by %s at a random moment, number %i (KILNIX_SEED=${seed})`,
    async (name, turn) => {
      const delay = randomNumbers(seed + turn + 10 * NAMES.indexOf(name))() * milliseconds
      const child = start(args())
      const ended = finish(child)
      await Promise.race([setTimeout(delay), ended])
      child.kill(name)
      const { status, signal, stderr } = await ended
      const isThere = existsSync(output)
      if (isThere) expect(sha256Of(output)).toBe(digest)
      if (status === 0) expect(isThere).toBe(true)
      rmSync(output, { force: true })
      const left = leftIn(places.output)
      for (const file of left) rmSync(join(places.output, file), { recursive: true })
      if (name === 'SIGKILL') {
        for (const file of left) expect(file).toMatch(PARTIAL_NAME)
      } else {
        expect(left).toEqual([])
        if (signal === null) expect([0, STATUS[name]]).toContain(status)
        else expect(signal).toBe(name)
        if (status === STATUS[name]) expect(stderr).toContain(`kilnix: cancelled by ${name}\n`)
      }
    },
  )
})
