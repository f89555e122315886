/** The library from outside: what each entry exports and loads, and the blocks of `docs/library.md`. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../fixtures/unpack.ts'
import { run, runOk } from './oracles/tools.ts'
import { publicTypes } from './public-types.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc')

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest
/** `kilnix`, `kilnix/squashfs` ..., and their files. */
const ENTRIES = Object.entries(manifest.exports).flatMap(([path, target]) =>
  typeof target === 'string' ? [] : [{ name: path.replace('.', 'kilnix'), ...target }],
)
const BLOCKS = [...readFileSync(join(ROOT, 'docs/library.md'), 'utf8').matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code = '']) => code)
/** Entries that are not of one format. */
const ROOMS = ['kilnix', 'kilnix/closure', 'kilnix/images', 'kilnix/io', 'kilnix/nar', 'kilnix/server', 'kilnix/system', 'kilnix/tree']

let work: string
let built: string

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'kilnix-library-'))
  built = join(work, 'node_modules/kilnix')
  mkdirSync(built, { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(built, 'package.json'))
  runOk(process.execPath, [TSC, '-p', join(ROOT, 'tsconfig.build.json'), '--outDir', join(built, 'dist')])
  const small = await unpackSmall(join(work, 'closure'))
  symlinkSync(small.folder, join(work, 'closure-info'))
  symlinkSync(small.root, join(work, 'root'))
  mkdirSync(join(work, 'files/sub'), { recursive: true })
  writeFileSync(join(work, 'files/a'), 'a file\n')
  writeFileSync(join(work, 'files/sub/b'), 'another\n'.repeat(10_000))
  writeFileSync(join(work, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
}, 300_000)
afterAll(() => removeStore(work))

describe('the entries', () => {
  it('are one a file of src/entries that is no part of others, and the whole', () => {
    const shared = ['codecs', 'nodes', 'read-disks', 'sources', 'vocabulary']
    const files = readdirSync(join(ROOT, 'src/entries')).map((name) => name.replace('.ts', ''))
    expect(ENTRIES.map(({ name }) => name).sort()).toEqual(
      ['kilnix', ...files.filter((name) => !shared.includes(name)).map((name) => `kilnix/${name}`)].sort(),
    )
  })

  it.each(ENTRIES.map((entry) => [entry.name, entry] as const))('%s exports every type of its signatures', (_name, { types }) => {
    const { names, unnameable } = publicTypes(join(built, types))
    expect(names).toContain('ImageError')
    expect(unnameable).toEqual([])
  })

  it('sees a type that cannot be imported', () => {
    const file = join(work, 'bad.d.ts')
    writeFileSync(
      file,
      `import { type Image } from './image.js';\ninterface Hidden {\n    readonly a: Image;\n}\nexport declare function f(a: Hidden, b: 'Image'): Promise<import("./image.js").Extent>;\n`,
    )
    writeFileSync(join(work, 'image.d.ts'), 'export interface Image {\n}\nexport interface Extent {\n}\n')
    expect(
      publicTypes(file)
        .unnameable.map(({ type }) => type)
        .sort(),
    ).toEqual(['Extent', 'Hidden'])
    writeFileSync(join(work, 'good.d.ts'), `export * from './image.js';\nexport { type Extent as Run } from './image.js';\n`)
    expect(publicTypes(join(work, 'good.d.ts'))).toEqual({ names: ['Extent', 'Image', 'Run'], unnameable: [] })
  })

  it('has a map to its source for each declaration', () => {
    for (const { types } of ENTRIES) {
      expect(existsSync(join(built, `${types}.map`)), types).toBe(true)
    }
  })

  it.each(ENTRIES.filter(({ name }) => !ROOMS.includes(name)).map(({ name }) => name))('%s loads no other format', (name) => {
    const loaded = loadedBy(name)
    const formats = loaded
      .map((path) => /^(?:filesystems|archives|disks)\/(\w+)\//.exec(path)?.[1])
      .filter((format) => format !== undefined && format !== 'reading')
    const own = name.replace('kilnix/', '')
    // A hybrid ISO carries partition tables, each GPT a protective MBR, an appliance is a tar archive with a VMDK.
    const parts: Readonly<Record<string, readonly string[]>> = { iso9660: ['gpt', 'mbr'], gpt: ['mbr'], ova: ['tar', 'vmdk'] }
    expect([...new Set(formats)].sort()).toEqual([own, ...(parts[own] ?? [])].sort())
    expect(loaded.filter((path) => /^(?:images|system|nix|cli|server|boot)\//.test(path))).toEqual([])
  })
})

/** Modules of the library that an import brings, as Node says. */
function loadedBy(name: string): string[] {
  const code = `import { registerHooks } from 'node:module'
const loaded = []
registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
await import(${JSON.stringify(name)})
console.log(JSON.stringify(loaded))`
  writeFileSync(join(work, 'loaded.mjs'), code)
  const { text } = runOk(process.execPath, ['loaded.mjs'], { cwd: work })
  return (JSON.parse(text) as string[]).flatMap((url) => url.split('/kilnix/dist/').slice(1))
}

describe('docs/library.md', () => {
  it('has a block for each entry', () => {
    const imported = new Set(BLOCKS.flatMap((block) => [...block.matchAll(/from '(kilnix[^']*)'/g)].map(([, name]) => name)))
    expect(ENTRIES.map(({ name }) => name).filter((name) => name !== 'kilnix' && !imported.has(name))).toEqual([])
  })

  it('has blocks that hold in a strict project', () => {
    const files = BLOCKS.map((block, index) => {
      writeFileSync(join(work, `block-${index}.mts`), block)
      return `block-${index}.mts`
    })
    const compilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: false,
      noEmit: true,
      target: 'es2024',
      lib: ['es2024'],
      module: 'nodenext',
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules/@types')],
    }
    writeFileSync(join(work, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
    expect(run(process.execPath, [TSC, '-p', work], { cwd: work })).toMatchObject({ status: 0, text: '' })
  })

  it.each(
    BLOCKS.map((block, index) => [
      `${index + 1}: ${[...block.matchAll(/from '(kilnix[^']*)'/g)].map(([, name]) => name).join(', ')}`,
      block,
    ]),
  )('runs block %s', { timeout: 120_000 }, (_name, block) => {
    writeFileSync(join(work, 'block.mts'), block)
    const { status, stderr } = run(process.execPath, ['--disable-warning=ExperimentalWarning', 'block.mts'], { cwd: work })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })
})
