/** The package as it would be published: packed, installed elsewhere, run and imported. */
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, type SmallClosure, unpackSmall } from '../fixtures/unpack.ts'
import { run, runOk } from './oracles/tools.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MEBIBYTE = 1 << 20

interface Manifest {
  readonly name: string
  readonly version: string
  readonly type: string
  readonly license: string
  readonly engines: Readonly<Record<string, string>>
  readonly bin: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly files: readonly string[]
  readonly scripts: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

interface Packed {
  readonly filename: string
  readonly unpackedSize: number
  readonly size: number
  readonly files: readonly { readonly path: string; readonly size: number; readonly mode: number }[]
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest

describe('package.json', () => {
  it('names files that are there', () => {
    const targets = Object.values(manifest.exports).flatMap((target) => (typeof target === 'string' ? [target] : Object.values(target)))
    expect(targets).toContain('./dist/index.d.ts')
    for (const path of [...targets, ...Object.values(manifest.bin), ...manifest.files])
      expect(existsSync(join(ROOT, path.replace(/^!/, ''))), path).toBe(true)
    // Types come first: TypeScript takes the first condition that fits.
    for (const target of Object.values(manifest.exports)) if (typeof target === 'object') expect(Object.keys(target)[0]).toBe('types')
  })

  it('is that of an ESM package for Node 24 under MIT', () => {
    expect(manifest).toMatchObject({ name: 'kilnix', type: 'module', license: 'MIT', engines: { node: '>=24' } })
    expect(manifest.version).toMatch(/^\d+\.\d+\.\d+$/)
  })

  it('asks for nothing when it is installed, and runs nothing then', () => {
    expect(manifest.dependencies ?? {}).toEqual({})
    for (const version of Object.values(manifest.optionalDependencies ?? {})) expect(version).toMatch(/^\d+\.\d+\.\d+$/)
    for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) expect(manifest.scripts).not.toHaveProperty(script)
  })
})

describe('the package', () => {
  let work: string
  let packed: Packed
  let consumer: string
  let installed: string
  let small: SmallClosure
  // The npm and the Node of this very run; the network is not asked for anything.
  const npm = (args: readonly string[], cwd: string) =>
    runOk('npm', [...args, '--offline', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd,
      env: { npm_config_update_notifier: 'false' },
    })

  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), 'kilnix-package-'))
    small = await unpackSmall(join(work, 'closure'))
    // Not in the checkout: other tests may run from its dist.
    const copy = join(work, 'checkout')
    mkdirSync(copy)
    for (const name of readdirSync(ROOT)) {
      if (!['node_modules', 'dist', '.git', '.cache', 'out', 'fixtures'].includes(name))
        cpSync(join(ROOT, name), join(copy, name), { recursive: true })
    }
    symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
    const report = npm(['pack', '--json', '--pack-destination', work], copy)
    packed = packReport(report.text)
    consumer = join(work, 'consumer')
    mkdirSync(consumer)
    writeFileSync(join(consumer, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
    npm(['install', '--ignore-scripts', '--omit=optional', join(work, packed.filename)], consumer)
    installed = join(consumer, 'node_modules/kilnix')
  }, 120_000)
  afterAll(() => removeStore(work))

  const kilnix = (...args: string[]) => run(process.execPath, [join(consumer, 'node_modules/.bin/kilnix'), ...args], { cwd: consumer })
  const input = () => ['--closure', small.folder, '--root', small.root]

  it('holds the program, its types, the sources that those lead to, its documents, and nothing else', () => {
    const paths = packed.files.map(({ path }) => path)
    for (const path of [
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
      'package.json',
      'bin/kilnix.js',
      'docs/cli.md',
      'docs/kilnix.schema.json',
    ]) {
      expect(paths).toContain(path)
    }
    for (const path of ['dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js', 'dist/threads/worker.js']) expect(paths).toContain(path)
    const strange = paths.filter((path) => !/^(bin|dist|docs|src)\/|^(README\.md|LICENSE|CHANGELOG\.md|package\.json)$/.test(path))
    expect(strange).toEqual([])
    // With the sources of the command it would be taken for a checkout, and run them.
    expect(paths.filter((path) => path.startsWith('src/cli/'))).toEqual([])
    expect(paths.filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts') && !path.startsWith('src/'))).toEqual([])
    for (const path of paths.filter((name) => name.endsWith('.d.ts.map') && !name.startsWith('dist/cli/'))) {
      const { sources } = JSON.parse(readFileSync(join(installed, path), 'utf8')) as { readonly sources: readonly string[] }
      for (const source of sources) expect(existsSync(join(installed, dirname(path), source)), `${path}: ${source}`).toBe(true)
    }
    expect(packed.files.filter(({ size }) => size >= MEBIBYTE)).toEqual([])
    expect((packed.files.find(({ path }) => path === 'bin/kilnix.js')?.mode ?? 0) & 0o111).toBe(0o111)
    console.log(`the package: ${paths.length} files, ${packed.size} bytes packed, ${packed.unpackedSize} unpacked`)
    expect(packed.unpackedSize).toBeLessThan(6 * MEBIBYTE)
  })

  it('brings every module that one of its modules imports', () => {
    const missing: string[] = []
    for (const { path } of packed.files.filter(({ path: name }) => name.endsWith('.js'))) {
      const text = readFileSync(join(installed, path), 'utf8')
      for (const [, target = ''] of text.matchAll(/(?:from|import)\s*\(?\s*'(\.{1,2}\/[^']+)'/g)) {
        if (!existsSync(join(installed, dirname(path), target))) missing.push(`${path}: ${target}`)
      }
    }
    expect(missing).toEqual([])
  })

  it('is all that its installation brings', () => {
    expect(readdirSync(join(consumer, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual(['kilnix'])
  })

  it('says its version and helps', () => {
    expect(kilnix('--version').text).toBe(`${manifest.version}\n`)
    expect(kilnix('help', 'iso').text).toMatch(/^Write a bootable ISO image/)
  })

  it.each(['squashfs', 'iso'])('makes the %s that the checkout makes', (command) => {
    const args = [command, ...input(), '--compression', command === 'iso' ? 'lz4' : 'zstd:1', '--jobs', '2', '--quiet', '-o']
    const results = [
      kilnix(...args, 'installed'),
      run(process.execPath, [join(ROOT, 'bin/kilnix.js'), ...args, 'checkout'], { cwd: consumer }),
    ]
    for (const { status, stderr } of results) expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const [ours, theirs] = ['installed', 'checkout'].map((name) => readFileSync(join(consumer, name)))
    expect(ours?.equals(theirs as Buffer)).toBe(true)
    expect(statSync(join(consumer, 'installed')).size).toBeGreaterThan(MEBIBYTE)
    for (const name of ['installed', 'checkout']) rmSync(join(consumer, name))
  })

  it('says which package xz needs, where that is not installed', () => {
    const { status, stderr } = kilnix('squashfs', ...input(), '--compression', 'xz', '--quiet', '-o', 'x')
    expect(stderr).toMatch(/^kilnix: error \[UNSUPPORTED\]: .*npm install node-liblzma.*\n$/)
    expect(status).toBe(1)
    expect(existsSync(join(consumer, 'x'))).toBe(false)
  })

  it('is a library whose types hold in a strict project that checks them, too', () => {
    writeFileSync(
      join(consumer, 'use.ts'),
      `import { type ErrorCode, ImageError, imageStream, iso, type IsoPlan, type SavedFile, saveProduct } from 'kilnix'
export async function build(signal: AbortSignal): Promise<[IsoPlan, SavedFile]> {
  const product = await iso({ closure: './closure-info', kernelParams: ['quiet'], compression: { name: 'zstd', level: 3 } })
  imageStream(product.image, { signal }).destroy()
  const [saved] = await saveProduct(product, 'nixos.iso', { signal, onProgress: (event) => void event.kind })
  return [product.plan, saved]
}
export const isFull = (error: unknown): ErrorCode | undefined => (error instanceof ImageError ? error.code : undefined)
`,
    )
    const strict = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false, noEmit: true }
    const compilerOptions = {
      ...strict,
      target: 'es2024',
      lib: ['es2024'],
      module: 'nodenext',
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules/@types')],
    }
    writeFileSync(join(consumer, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.ts'] }))
    const tsc = () => run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', consumer], { cwd: consumer })
    expect(tsc()).toMatchObject({ status: 0, text: '' })
    // A wrong use is seen, so the types are not just any.
    writeFileSync(join(consumer, 'use.ts'), `import { iso } from 'kilnix'\nexport const image = iso({ closure: 1 })\n`)
    expect(tsc().text).toContain("Type 'number' is not assignable to type 'string'")
  })

  it('runs as a library, and exports nothing by accident', () => {
    writeFileSync(
      join(consumer, 'use.mjs'),
      `import * as kilnix from 'kilnix'
const { storeSquashfs, saveProduct } = kilnix
const product = await storeSquashfs({ closure: process.argv[2], root: process.argv[3], compression: { name: 'lz4' } })
const [{ size }] = await saveProduct(product, 'library.squashfs', { jobs: 2 })
console.log(JSON.stringify({ size, names: Object.keys(kilnix).sort() }))
`,
    )
    const { status, text, stderr } = run(process.execPath, ['use.mjs', small.folder, small.root], { cwd: consumer })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const { size, names } = JSON.parse(text) as { size: number; names: string[] }
    expect(size).toBe(statSync(join(consumer, 'library.squashfs')).size)
    expect(names).toEqual(
      expect.arrayContaining(['ImageError', 'imageStream', 'iso', 'saveImage', 'saveProduct', 'squashfs', 'storeSquashfs']),
    )
    const deep = run(process.execPath, ['--input-type=module', '-e', "import 'kilnix/dist/cli/main.js'"], { cwd: consumer })
    expect(deep.stderr).toContain('ERR_PACKAGE_PATH_NOT_EXPORTED')
  })

  const versions = otherNodes()
  it.skipIf(versions.length === 0)(
    'makes the same with every Node that it allows, and says nothing else',
    async () => {
      const store = small.storePaths[0] ?? ''
      const results = async (node: string): Promise<readonly string[]> => {
        const said: string[] = []
        for (const command of [
          ['disk', '--format', 'qcow2-compressed'],
          ['zfs', '--seed', 'x', '--format', 'qcow2'],
          ['netboot', '--style', 'per-path', '--kexec'],
          ['replace', '--replace', `${store}=${store}`, '--whole-store'],
        ]) {
          const [name = '', ...options] = command
          const args = [join(installed, 'bin/kilnix.js'), name, ...input(), ...options, '--quiet', '-o', 'made']
          const { status, stderr } = run(node, args, { cwd: consumer })
          const made = join(consumer, 'made')
          said.push(`${name} ${status} ${stderr} ${existsSync(made) ? contentHash(made) : 'nothing'}`)
          if (existsSync(made)) await (statSync(made).isDirectory() ? removeStore(made) : rm(made))
        }
        return said
      }
      const expected = await results(process.execPath)
      for (const line of expected) expect(line).toMatch(/^\w+ 0 {2}[0-9a-f]{64}$/)
      for (const node of versions) expect(await results(node), node).toEqual(expected)
    },
    300_000,
  )

  const old = oldNode()
  it.skipIf(old === undefined)('says a sentence to an old Node, and nothing else', () => {
    const { status, text, stderr } = run(old ?? '', [join(installed, 'bin/kilnix.js'), '--version'])
    expect(stderr).toMatch(/^kilnix: Node \d+\.\d+\.\d+ is too old, 24 is needed.*\n$/)
    expect({ status, text }).toEqual({ status: 2, text: '' })
  })
})

/** npm 11 prints a list, npm 12 an object by name. */
function packReport(text: string): Packed {
  const [first] = Object.values(JSON.parse(text) as Readonly<Record<string, Packed>>)
  if (first === undefined) throw new Error(`npm pack reports nothing: ${text}`)
  return first
}

/** The Nodes of `fixtures/nodes.sh`: the oldest and the newest that `engines` allows. */
function otherNodes(): readonly string[] {
  const found = ['24.0.0', '26'].map((version) => join(ROOT, '.cache/node', version, 'bin/node')).filter((path) => existsSync(path))
  if (found.length === 2) return found
  if (process.env.CI === 'true') throw new Error('fixtures/nodes.sh has not run')
  console.warn('skipped: fixtures/nodes.sh has not fetched other versions of Node')
  return []
}

/** Of a file, or of the names and contents of all files in a folder. */
function contentHash(path: string): string {
  const hash = createHash('sha256')
  const paths = statSync(path).isDirectory() ? readdirSync(path, { recursive: true, encoding: 'utf8' }).sort() : ['']
  for (const name of paths) {
    const stats = lstatSync(join(path, name))
    hash.update(`${name} ${stats.mode.toString(8)} `)
    if (stats.isFile()) hash.update(readFileSync(join(path, name)))
  }
  return hash.digest('hex')
}

/** The machine's own Node, where it is older than 24. */
function oldNode(): string | undefined {
  const found = ['/usr/bin/node', '/usr/local/bin/node'].find(
    (path) => existsSync(path) && Number(/^v(\d+)/.exec(run(path, ['--version']).text)?.[1]) < 24,
  )
  if (found === undefined) console.warn('skipped: no Node older than 24 is installed on this machine')
  return found
}
