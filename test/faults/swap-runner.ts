/**
 * Makes one thing after the other, and each again with every opening of every file attacked, in a process in which
 * `swap-hook.ts` is loaded. The result is one line of JSON: what differed.
 */
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { disk } from '../../src/images/disk/index.ts'
import { iso } from '../../src/images/iso.ts'
import { type NetbootOptions, netboot } from '../../src/images/netboot/index.ts'
import { saveProduct } from '../../src/images/save.ts'
import { zfs } from '../../src/images/zfs/index.ts'
import { imageSha256 } from '../../src/io/digest.ts'
import { type GrowingImage, type Image, isGrowing } from '../../src/io/image.ts'
import { saveImage } from '../../src/io/output.ts'
import { imageSlice } from '../../src/io/slice.ts'
import { saveStore } from '../../src/system/saved-store.ts'
import { loadClosure } from '../../src/system/store.ts'
import { imageFiles } from '../images/image-files.ts'
import type { SwapRun } from './swap-hook.ts'
import type { SwapStore } from './swap-store.ts'

const folder = process.env['SWAP_FOLDER'] ?? ''
const store = JSON.parse(readFileSync(join(folder, 'store.json'), 'utf8')) as SwapStore
/** Commands, and what of the store they are known to open. */
const wanted = JSON.parse(process.argv[2] ?? '') as Record<string, readonly string[]>
const input = { closure: store.closure, root: store.root, toplevel: store.toplevel }
const FAST = { compression: { name: 'lz4' } } as const
const MEBIBYTE = 1 << 20
const DISK = { ...input, freeSize: 0, espSize: 40 * MEBIBYTE } as const

let made = 0

/** A path where nothing is. */
function output(): string {
  return join(folder, 'out', String(made++))
}

function digestOf(path: string): string {
  const stats = lstatSync(path)
  if (stats.isSymbolicLink()) return readlinkSync(path)
  if (stats.isFile()) return createHash('sha256').update(readFileSync(path)).digest('hex')
  return readdirSync(path)
    .sort()
    .map((name) => `${name} ${digestOf(join(path, name))}\n`)
    .join('')
}

async function fileOf(image: Image | GrowingImage): Promise<string> {
  const path = output()
  await saveImage(image, path, { jobs: 1, digest: false })
  return digestOf(path)
}

async function netbootTo(path: string, options: Partial<NetbootOptions>): Promise<string> {
  await saveProduct(await netboot({ ...input, ...FAST, ...options }), path, { jobs: 1, digest: false })
  return digestOf(path)
}

/** As a client sees it who asks for parts, in an order of his own. */
async function served(options: Partial<NetbootOptions>): Promise<string> {
  const product = await netboot({ ...input, ...FAST, ...options })
  const digests: string[] = []
  try {
    for (const { image } of (await imageFiles(product, { jobs: 1 })).slice(0, -1)) {
      if (isGrowing(image) || image.size < 100_000) continue
      const { size } = image
      for (const [start, end] of [
        [size - 1000, size],
        [0, size],
        [70_000, 70_001],
        [1000, size - 5],
        [0, size],
      ] as const)
        digests.push(await imageSha256(imageSlice(image, start, end)))
    }
  } finally {
    await product.close()
  }
  return digests.join()
}

async function storeOf(options: object, paths: 'made' | 'all'): Promise<string> {
  const path = output()
  await saveStore(await loadClosure({ ...input, ...options }), path, { paths })
  return digestOf(path)
}

async function zfsDisks(): Promise<string> {
  const product = await zfs({ ...input, bootSize: 'auto', rootSize: 'auto', freeSize: 0 })
  const digests: string[] = []
  for (const { image } of await imageFiles(product)) digests.push(await fileOf(image))
  return digests.join()
}

const replacements = [{ oldPath: store.library, newPath: store.otherLibrary }]
const pieces = (name: string) => ({ pieces: join(folder, `pieces of ${name}`) })

const COMMANDS: Readonly<Record<string, () => Promise<string>>> = {
  iso: async () => fileOf((await iso({ ...input, ...FAST })).image),
  'iso --replace': async () =>
    fileOf((await iso({ ...input, ...FAST, replacements, toplevelSpec: store.spec, toplevel: undefined } as never)).image),
  disk: async () => fileOf((await disk(DISK)).image),
  'disk of unified images': async () => fileOf((await disk({ ...DISK, bootLoader: 'uki', format: 'qcow2-compressed' })).image),
  'disk of squashfs': async () => fileOf((await disk({ ...DISK, rootFileSystem: 'squashfs', bootLoader: 'extlinux' })).image),
  zfs: zfsDisks,
  'netboot single': async () => netbootTo(output(), { style: 'single' }),
  'netboot manifest': async () => netbootTo(output(), { style: 'manifest' }),
  'netboot per-path': async () => netbootTo(output(), { style: 'per-path' }),
  'netboot single, pieces': async () => netbootTo(output(), { style: 'single', ...pieces('single') }),
  'netboot manifest, pieces': async () => netbootTo(output(), { style: 'manifest', ...pieces('manifest') }),
  'netboot per-path, pieces': async () => netbootTo(output(), { style: 'per-path', ...pieces('per-path') }),
  'served manifest': async () => served({ style: 'manifest', ...pieces('manifest') }),
  'served per-path': async () => served({ style: 'per-path', ...pieces('per-path') }),
  replace: async () => storeOf({ replacements }, 'made'),
  'replace --whole-store': async () => storeOf({ replacements }, 'all'),
  toplevel: async () => storeOf({ toplevelSpec: store.spec }, 'made'),
}

function isMaking(name: string): boolean {
  return name.includes('replace') || name === 'toplevel'
}

let runs = 0

async function attempt(command: () => Promise<string>, run: Omit<SwapRun, 'id'>): Promise<string> {
  writeFileSync(join(folder, 'run.json'), JSON.stringify({ id: ++runs, ...run } satisfies SwapRun))
  try {
    return await command()
  } catch (error) {
    return `error ${(error as { code?: string }).code ?? String(error)}`
  } finally {
    rmSync(join(folder, 'out'), { recursive: true, force: true })
    mkdirSync(join(folder, 'out'))
  }
}

function countOf(path: string): number {
  const start = `${runs}-${encodeURIComponent(path)}-`
  return readdirSync(join(folder, 'counts')).filter((name) => name.startsWith(start)).length
}

export interface SwapReport {
  /** What the command says when nothing is attacked. */
  readonly honest: string
  /** How often each file is opened. */
  readonly openings: Readonly<Record<string, number>>
  /** Attacks after which the result was another, and no error. */
  readonly believed: readonly string[]
  /** Codes of errors, and how often. */
  readonly errors: Readonly<Record<string, number>>
}

const reports: Record<string, SwapReport> = {}
for (const [name, attackedFiles] of Object.entries(wanted)) {
  const command = COMMANDS[name]
  if (command === undefined) throw new Error(`no command ${name}`)
  // With pieces there are some after the first time.
  if (name.includes('pieces') || name.includes('served')) await attempt(command, { bad: [] })
  const honest = await attempt(command, { bad: [] })
  const counts = attackedFiles.map((target) => {
    const path = store.targets[target]?.path ?? ''
    return [target, path, countOf(path)] as const
  })
  const believed: string[] = []
  const errors: Record<string, number> = {}
  for (const [target, path, count] of counts) {
    for (let first = 1; first <= count; first++) {
      const rest = Array.from({ length: 50 }, (_, index) => first + index)
      // Where paths are made anew, what is read twice may agree with itself.
      for (const bad of first > 1 && isMaking(name) ? [[first], rest] : [[first]]) {
        const result = await attempt(command, { path, bad })
        if (result.startsWith('error ')) errors[result] = (errors[result] ?? 0) + 1
        else if (result !== honest) believed.push(`${target}, opening ${first}${bad.length > 1 ? ' and all later ones' : ''} of ${count}`)
      }
    }
  }
  const openings = Object.fromEntries(counts.map(([target, , count]) => [target, count]))
  reports[name] = { honest, openings, believed, errors }
}
process.stdout.write(`${JSON.stringify(reports)}\n`)
