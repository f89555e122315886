/** Network boots as the command makes them, but in this process, where what is left behind can be counted. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeEach, expect } from 'vitest'
import type { CodecSpec } from '../../src/codecs/codec.ts'
import { type NetbootOptions, netboot } from '../../src/images/netboot/index.ts'
import type { Product } from '../../src/images/product.ts'
import { saveProduct } from '../../src/images/save.ts'
import type { SavedFile } from '../../src/io/folder.ts'
import type { BuildContext } from '../../src/io/image.ts'
import { PARTIAL_NAME } from '../../src/io/private-folder.ts'
import { generatedClosure } from '../e2e/closures.ts'
import { type HarmableStore, harmableStore } from './harm.ts'
import { leftIn, smallWork, type Work } from './support.ts'

export const STYLES = ['single', 'manifest', 'per-path'] as const

/** Fast, and more than one block a large file. */
const FAST: Partial<NetbootOptions> = { compression: { name: 'lz4' }, blockSize: 131072 }

export interface SaveHooks extends Partial<BuildContext> {
  readonly force?: boolean
  readonly kexec?: CodecSpec
  readonly onPlanned?: () => void
  readonly onBuilt?: () => void
}

/** All of `kilnix netboot` but its texts. */
export async function saveNetboot(options: NetbootOptions, output: string, hooks: SaveHooks = {}): Promise<SavedFile[]> {
  const { force = false, kexec, onPlanned, onBuilt, ...given } = hooks
  const recipe = await netboot({ ...options, ...(kexec && { kexec: true, kexecCompression: kexec }) })
  onPlanned?.()
  const context = { jobs: 2, ...given }
  const observed: Product = {
    ...recipe,
    files: async () => {
      const files = await recipe.files(context)
      onBuilt?.()
      return files
    },
  }
  return saveProduct(observed, output, { force, digest: true, ...context })
}

export type Style = (typeof STYLES)[number]

/** The small closure, which may be harmed, and what each style makes of it. */
export interface Fixture extends Places {
  readonly work: Work
  readonly store: HarmableStore
  /** In `output`; not there yet. */
  readonly result: string
  /** Pieces of all styles, not to be harmed. */
  readonly pieces: string
  readonly right: Readonly<Record<Style, Readonly<Record<string, string>>>>
  /** Within the store. */
  readonly kernel: string
  readonly ownInitrd: string
  at(name: string): string
  options(more?: Partial<NetbootOptions>): NetbootOptions
  /** To `result`. */
  save(more?: Partial<NetbootOptions>, hooks?: SaveHooks): Promise<SavedFile[]>
  /** The result is that of `style`, and is taken away. */
  expectRight(style: Style): void
  takeAway(): void
}

export async function netbootFixture(): Promise<Fixture> {
  const work = await smallWork()
  const at = (name: string): string => join(work.folder, name)
  const store = harmableStore(join(work.closure.root, 'nix/store'), at('pristine'))
  const places = makePlaces(work.folder)
  const result = join(places.output, 'netboot')
  const pieces = at('pieces')
  const options: Fixture['options'] = (more) => ({ closure: work.closure.folder, root: work.closure.root, ...FAST, ...more })
  const save: Fixture['save'] = (more, hooks) => saveNetboot(options(more), result, hooks)
  const takeAway = (): void => rmSync(result, { recursive: true })
  const right = { single: {}, manifest: {}, 'per-path': {} }
  for (const style of STYLES) {
    await save({ style, pieces })
    right[style] = digestsIn(result)
    takeAway()
  }
  const expectRight = (style: Style): void => {
    expect(digestsIn(result)).toEqual(right[style])
    takeAway()
  }
  const kernel = join(store.named('linux-6.1.176'), 'bzImage')
  const ownInitrd = join(store.named('initrd-linux-6.1.176'), 'initrd')
  return { ...places, work, store, result, pieces, right, kernel, ownInitrd, at, options, save, expectRight, takeAway }
}

/** What a promise is rejected with. */
export async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`no error but ${JSON.stringify(value)}`)
    },
    (error: unknown) => error,
  )
}

/** SHA-256 of each file below `folder`, by path. */
export function digestsIn(folder: string): Record<string, string> {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()
  const files = paths.filter((path) => statSync(join(folder, path)).isFile())
  return Object.fromEntries(
    files.map((path) => [
      path,
      createHash('sha256')
        .update(readFileSync(join(folder, path)))
        .digest('hex'),
    ]),
  )
}

/** Each piece in `folder` has the content that its name says; other names are those of runs that were killed. */
export function expectWholePieces(folder: string): void {
  for (const name of leftIn(folder)) {
    if (PARTIAL_NAME.test(name)) continue
    const [, sha256] = /-([0-9a-f]{64})\.[a-z0-9.]+$/.exec(name) ?? []
    expect(
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
      name,
    ).toBe(sha256)
  }
}

export interface Places {
  /** Where results are written; empty before each test and, by `expectNothingLeft`, after it. */
  readonly output: string
  /** What is TMPDIR meanwhile. */
  readonly scratch: string
}

/** Folders within `folder`, of which `scratch` is TMPDIR until the end of the tests. */
export function makePlaces(folder: string): Places {
  const places = { output: join(folder, 'output'), scratch: join(folder, 'scratch') }
  for (const place of Object.values(places)) mkdirSync(place)
  process.env.TMPDIR = places.scratch
  return places
}

const { TMPDIR } = process.env
const live = new Set<Worker>()
const onWorker = (worker: Worker): void => {
  live.add(worker)
  worker.once('exit', () => live.delete(worker))
}

/** After each test of the file: no thread, no open file, nothing in the places, hidden or not. */
export function expectNothingLeft(places: () => Places): void {
  let openFiles: number
  beforeEach(() => {
    openFiles = readdirSync('/dev/fd').length
    process.on('worker', onWorker)
  })
  afterEach(async () => {
    process.off('worker', onWorker)
    for (let wait = 0; wait < 100 && readdirSync('/dev/fd').length > openFiles; wait++) await setTimeout(10)
    const { output, scratch } = places()
    expect({ threads: live.size, output: leftIn(output), scratch: leftIn(scratch) }).toEqual({ threads: 0, output: [], scratch: [] })
    expect(readdirSync('/dev/fd').length).toBeLessThanOrEqual(openFiles)
  })
  afterAll(() => {
    if (TMPDIR === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = TMPDIR
  })
}

/** The largest closure of this machine that is a system: CI has made the live one. */
const LARGE = new URL('../../.cache/closures/large/', import.meta.url).pathname
const liveSystem = generatedClosure('live')

/** `--closure` and `--root` of it, or undefined. */
export const LARGEST_INPUT: readonly string[] | undefined = existsSync(join(LARGE, 'registration'))
  ? ['--closure', LARGE, '--root', join(LARGE, 'root')]
  : liveSystem.skip
    ? undefined
    : ['--closure', liveSystem.folder, '--root', liveSystem.root]
