/** Replaced paths, saved: what lies in the folder, what Nix says of it, and that images made in one go are the same. */
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../fixtures/unpack.ts'
import { disk } from '../../src/images/disk/index.ts'
import { iso } from '../../src/images/iso.ts'
import { netboot } from '../../src/images/netboot/index.ts'
import { storeSquashfs } from '../../src/images/squashfs.ts'
import { zfs } from '../../src/images/zfs/index.ts'
import type { GrowingImage, Image } from '../../src/io/image.ts'
import { saveImage } from '../../src/io/output.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { readClosure } from '../../src/nix/listing/read.ts'
import { formatRegistration } from '../../src/nix/listing/registration.ts'
import { planReplacement } from '../../src/nix/rewrite/replace.ts'
import { nixDatabase } from '../../src/nix/store/database.ts'
import { formatSha256, parseSha256 } from '../../src/nix/store/hash.ts'
import type { StoreInput } from '../../src/system/input.ts'
import { saveStore } from '../../src/system/saved-store.ts'
import { type LoadedClosure, loadClosure } from '../../src/system/store.ts'
import { imageFiles } from '../images/image-files.ts'
import { addTwin, type Twin } from '../images/twins.ts'
import { nixTools, skipNix } from '../nix/nix-tools.ts'
import { failure } from '../nix/scratch.ts'
import { run, runOk } from '../oracles/tools.ts'

let work: string
let root: string
let twin: Twin
let input: StoreInput
let store: LoadedClosure
const at = (...names: string[]): string => join(work, ...names)

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'kilnix-saved-'))
  const small = await unpackSmall(at('small'))
  root = small.root
  twin = await addTwin({ listing: small.folder, root, into: work }, 'busybox-static-1.35.0')
  input = { closure: twin.listing, root, replacements: [twin], provenance: true }
  store = await loadClosure(input)
  await saveStore(store, at('made'), { paths: 'made' })
  await saveStore(store, at('all'), { paths: 'all' })
}, 60_000)
afterAll(() => removeStore(work))

function pathsIn(folder: string): string[] {
  return readdirSync(join(folder, 'nix/store'))
    .sort()
    .map((name) => `/nix/store/${name}`)
}

describe('a replacement the wrong way round', () => {
  const swapped = (): StoreInput => ({ ...input, replacements: [{ oldPath: twin.newPath, newPath: twin.oldPath }] })

  it('is said, and is an error where replacements are strict', async () => {
    const notes: string[] = []
    const onProgress = (event: ProgressEvent): void => void (event.kind === 'note' && notes.push(event.message))
    expect((await loadClosure({ ...swapped(), onProgress })).overlay.size).toBe(0)
    expect(notes).toEqual([expect.stringContaining(`the other way round it is ${twin.oldPath}=${twin.newPath}`)])
    await failure(() => loadClosure({ ...swapped(), strict: true }), 'BAD_INPUT', /the other way round it is/)
    expect((await loadClosure({ ...input, strict: true })).overlay.size).toBe(store.overlay.size)
  })
})

describe('saveStore', () => {
  it('writes what is new, or all, and the listings of the whole closure', async () => {
    const listed = store.closure.paths.map(({ path }) => path)
    expect(pathsIn(at('all'))).toEqual(listed)
    expect(pathsIn(at('made'))).toEqual([...store.overlay.keys()].sort().map((name) => `/nix/store/${name}`))
    expect(store.overlay.size).toBeGreaterThan(3)
    expect(listed).not.toContain(twin.oldPath)
    expect(listed).toContain(twin.newPath)
    for (const folder of ['made', 'all']) {
      const info = await readClosure(at(folder, 'closure-info'))
      const json = await readClosure(at(folder, 'closure.json'))
      expect(Buffer.from(formatRegistration(info)).equals(Buffer.from(formatRegistration(store.closure)))).toBe(true)
      expect(Buffer.from(formatRegistration(json)).equals(Buffer.from(formatRegistration(store.closure)))).toBe(true)
      expect(json.paths.filter(({ ca }) => ca !== undefined).length).toBeGreaterThanOrEqual(store.overlay.size)
    }
  })

  it('gives everything the modes and times of a store', () => {
    const odd: string[] = []
    const walk = (path: string): void => {
      const stat = lstatSync(path)
      const mode = stat.mode & 0o7777
      const isRight = stat.isSymbolicLink() || mode === 0o555 || (stat.isFile() && mode === 0o444)
      if (!isRight || stat.mtimeMs !== 1000) odd.push(`${path} ${mode.toString(8)} ${stat.mtimeMs}`)
      if (stat.isDirectory()) for (const name of readdirSync(path)) walk(join(path, name))
    }
    for (const path of pathsIn(at('all'))) walk(`${at('all')}${path}`)
    expect(odd).toEqual([])
    for (const path of ['nix/store', 'nix', 'closure-info', '']) expect(lstatSync(at('all', path)).mtimeMs).toBe(1000)
  })

  it('leaves no name of an old path, and would be told of one', () => {
    const old = [...store.mapping.keys()].map((path) => path.slice(11, 43))
    const search = (): number => run('grep', ['-rqF', ...old.flatMap((hash) => ['-e', hash]), at('all', 'nix')]).status
    const links = (): string[] =>
      runOk('find', [at('all', 'nix'), '-type', 'l'])
        .text.trim()
        .split('\n')
        .map((path) => readlinkSync(path))
    expect(search()).toBe(1)
    expect(links().filter((target) => old.some((hash) => target.includes(hash)))).toEqual([])
    mkdirSync(at('all', 'nix', 'left-over'))
    writeFileSync(at('all', 'nix', 'left-over', 'file'), `x${old[0]}x`)
    expect(search()).toBe(0)
    runOk('rm', ['-r', at('all', 'nix', 'left-over')])
  })

  it('is all or nothing', async () => {
    await failure(() => saveStore(store, at('all'), { paths: 'all' }), 'EXISTS', /exists already/)
    await saveStore(store, at('twice'), { paths: 'made' })
    await saveStore(store, at('twice'), { paths: 'made', force: true })
    const [first] = store.closure.paths.filter(({ baseName }) => store.overlay.has(baseName))
    const wrong = {
      ...store.closure,
      paths: store.closure.paths.map((path) => (path === first ? { ...path, narHash: Buffer.alloc(32) } : path)),
    }
    await failure(() => saveStore({ ...store, closure: wrong }, at('wrong'), { paths: 'made' }), 'HASH_MISMATCH', /its files hash to/)
    await failure(() => saveStore({ ...store, root: at('nowhere') }, at('wrong'), { paths: 'all' }), 'NOT_FOUND', /is not there/)
    await failure(() => saveStore(store, at('wrong'), { paths: 'all', signal: AbortSignal.abort() }), 'ABORTED', /cancelled/)
    expect(readdirSync(work).filter((name) => name.includes('wrong') || name.includes('partial'))).toEqual([])
  })
})

describe('a store that changes after its paths were rewritten', () => {
  it('is found to have changed by whatever is made of it', async () => {
    const small = await unpackSmall(at('changing'))
    const again = await addTwin({ listing: small.folder, root: small.root, into: at('changing') }, 'busybox-static-1.35.0')
    const from: StoreInput = { closure: again.listing, root: small.root, replacements: [again] }
    const loaded = await loadClosure(from)
    const { image } = await storeSquashfs({ ...from, compression: { name: 'none' } })
    const path = join(small.toplevel, 'init')
    expect(loaded.mapping.has(small.toplevel)).toBe(true)
    const file = `${small.root}${path}`
    const bytes = readFileSync(file)
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
    runOk('chmod', ['u+w', file])
    writeFileSync(file, bytes)
    const mismatch = /-nixos-system-small-26\.05: its files hash to/
    await failure(() => saveStore(loaded, at('changed'), { paths: 'made' }), 'HASH_MISMATCH', mismatch)
    await failure(() => saveImage(image, at('changed'), { jobs: 2 }), 'HASH_MISMATCH', mismatch)
    writeFileSync(file, bytes.subarray(1))
    await failure(() => saveStore(loaded, at('changed'), { paths: 'made' }), 'CHANGED', /init: ended at byte/)
    await failure(() => saveImage(image, at('changed'), { jobs: 2 }), 'CHANGED', /init: ended at byte/)
    await failure(() => loadClosure(from), 'HASH_MISMATCH', /its NAR is|its files hash to/)
    expect(existsSync(at('changed'))).toBe(false)
  }, 60_000)
})

describe('images with replaced paths', () => {
  const contents = async (image: Image | GrowingImage): Promise<string> => {
    const { sha256 } = await saveImage(image, at('image'), { jobs: 2, force: true })
    return sha256 ?? ''
  }
  const fast = { compression: { name: 'zstd', level: 1 }, blockSize: 131072 } as const
  const kinds: Record<string, (from: StoreInput) => Promise<string>> = {
    squashfs: async (from) => contents((await storeSquashfs({ ...from, ...fast })).image),
    iso: async (from) => contents((await iso({ ...from, ...fast })).image),
    disk: async (from) => contents((await disk({ ...from, seed: 'same', format: 'qcow2' })).image),
    zfs: async (from) => {
      const product = await zfs({ ...from, seed: 'same', bootSize: 24 << 20, rootSize: 128 << 20 })
      const hashes: string[] = []
      for (const { image } of await imageFiles(product)) hashes.push(await contents(image))
      return hashes.join('\n')
    },
  }
  for (const style of ['single', 'manifest', 'per-path'] as const) {
    kinds[`netboot ${style}`] = async (from) => {
      const product = await netboot({ ...from, ...fast, style })
      const hashes: string[] = []
      for (const { path, image } of await imageFiles(product)) hashes.push(`${path} ${await contents(image)}`)
      await product.close()
      return hashes.join('\n')
    }
  }
  it.each(Object.keys(kinds))(
    '%s: made in one go it is that of the saved store',
    async (kind) => {
      const build = kinds[kind] as (typeof kinds)[string]
      const inOneGo = await build(input)
      // Content addresses of what was made are known in one go; of the saved store its listing has them.
      expect(inOneGo).toBe(await build({ closure: at('all', 'closure.json'), root: at('all'), provenance: true }))
      expect(inOneGo).not.toBe(await build({ closure: at('small'), root }))
    },
    60_000,
  )

  it('take the toplevel by its old name, spare its initrds, and tell what is odd', async () => {
    const { toplevel } = (await iso({ ...input, toplevel: readFileSync(at('small', 'toplevel'), 'utf8').trim() })).plan
    expect(toplevel).toBe(store.mapping.get(readFileSync(at('small', 'toplevel'), 'utf8').trim()))
    const notes: string[] = []
    const onProgress = (event: ProgressEvent): void => void (event.kind === 'note' && notes.push(event.message))
    const initrd = store.closure.paths.find(({ baseName }) => baseName.includes('-initrd-'))
    await loadClosure({ ...input, onProgress, cutoffs: ['/nix/store/00000000000000000000000000000000-x'] })
    expect(notes).toEqual(['/nix/store/00000000000000000000000000000000-x: is to be left alone, but is not in the closure'])
    expect(initrd === undefined ? false : store.overlay.has(initrd.baseName)).toBe(false)
    expect((await planReplacement(await readClosure(twin.listing), { replacements: [twin] })).rewritten.length).toBeGreaterThanOrEqual(
      store.overlay.size,
    )
  })
})

describe.skipIf(skipNix)('a saved store and Nix', () => {
  const nix = (name: string) => nixTools(at(`home-${name}`))

  it('is registered and verified; and not when a byte is another', () => {
    const tools = nix('load')
    runOk('cp', ['-a', at('all'), at('loaded')])
    tools.ok(at('loaded'), 'nix-store', ['--load-db'], readFileSync(at('loaded', 'closure-info/registration')))
    tools.ok(at('loaded'), 'nix-store', ['--verify', '--check-contents'])
    const [changed] = store.overlay.keys()
    expect(tools.ok(at('loaded'), 'nix-store', ['--check-validity', `/nix/store/${changed}`]).status).toBe(0)
    const file = runOk('find', [`${at('loaded')}/nix/store/${changed}`, '-type', 'f', '-size', '+0']).text.split('\n')[0] ?? ''
    runOk('sh', ['-c', 'chmod u+w "$1" && printf X >> "$1"', 'sh', file || at('loaded', 'closure.json')])
    const result = tools.run(at('loaded'), 'nix-store', ['--verify', '--check-contents'])
    expect([result.status !== 0, result.stderr]).toEqual([file !== '', expect.stringContaining(file === '' ? '' : 'was modified')])
  })

  it('has paths that make-content-addressed leaves as they are', () => {
    const tools = nix('again')
    runOk('cp', ['-a', at('all'), at('again')])
    tools.ok(at('again'), 'nix-store', ['--load-db'], readFileSync(at('again', 'closure-info/registration')))
    // Only those whose references are by content as well: Nix makes the others so, and then what refers to them.
    const byContent = new Set(store.closure.paths.filter(({ ca }) => ca !== undefined).map(({ path }) => path))
    const whole = [...byContent].filter((path) => reaches(path).every((one) => byContent.has(one)))
    expect(whole.length).toBeGreaterThan(1)
    const { rewrites } = JSON.parse(tools.ok(at('again'), 'nix', ['store', 'make-content-addressed', '--json', ...whole]).text)
    for (const path of whole) expect(rewrites[path]).toBe(path)
  })

  function reaches(path: string): string[] {
    const found = new Set([path])
    for (const one of found)
      for (const reference of store.closure.paths.find((listed) => listed.path === one)?.references ?? []) found.add(reference)
    return [...found]
  }

  it('has content addresses that Nix trusts without a signature', () => {
    const tools = nix('trust')
    runOk('cp', ['-a', at('all'), at('trusted')])
    mkdirSync(at('trusted/nix/var/nix/db'), { recursive: true })
    writeFileSync(at('trusted/nix/var/nix/db/db.sqlite'), nixDatabase(store.closure))
    writeFileSync(at('trusted/nix/var/nix/db/schema'), '10')
    const made = [...store.overlay.keys()].map((name) => `/nix/store/${name}`)
    tools.ok(at('trusted'), 'nix', ['store', 'verify', ...made])
    const unsigned = store.closure.paths.filter(({ ca }) => ca === undefined).map(({ path }) => path)
    expect(tools.run(at('trusted'), 'nix', ['store', 'verify', ...unsigned]).stderr).toContain('untrusted')
  })

  it('is taken from a binary cache without signatures, path by path; with another content it is not', () => {
    const tools = nix('copy')
    writeFileSync(at('home-copy/nix.conf'), `${readFileSync(at('home-copy/nix.conf'), 'utf8')}require-sigs = true\n`)
    const kept = { ...store.closure, paths: store.closure.paths.filter(({ baseName }) => !store.overlay.has(baseName)) }
    const made = store.closure.paths.filter(({ baseName }) => store.overlay.has(baseName))
    for (const damage of [false, true]) {
      const target = at(`copied-${damage}`)
      const cache = at(`cache-${damage}`)
      mkdirSync(join(target, 'nix/store'), { recursive: true })
      for (const { path } of kept.paths) runOk('cp', ['-a', `${at('all')}${path}`, `${target}${path}`])
      tools.ok(target, 'nix-store', ['--load-db'], formatRegistration(kept))
      mkdirSync(join(cache, 'nar'), { recursive: true })
      writeFileSync(join(cache, 'nix-cache-info'), 'StoreDir: /nix/store\n')
      for (const { path, baseName, narSize, references, ca } of made) {
        const nar = runOk('nix-store', ['--dump', `${at('all')}${path}`]).stdout
        if (damage) nar[nar.indexOf(baseName.slice(33, 36)) === -1 ? nar.length - 100 : 100] = 0x41
        // The registered hash is that of the damaged one: only the content address tells.
        const narHash = formatSha256(createHash('sha256').update(nar).digest())
        expect('digest' in parseSha256(narHash)).toBe(true)
        writeFileSync(join(cache, `nar/${baseName}.nar`), nar)
        const names = references.map((reference) => reference.slice('/nix/store/'.length)).join(' ')
        const info = [`StorePath: ${path}`, `URL: nar/${baseName}.nar`, 'Compression: none', `NarHash: ${narHash}`, `NarSize: ${narSize}`]
        writeFileSync(join(cache, `${baseName.slice(0, 32)}.narinfo`), [...info, `References: ${names}`, `CA: ${ca}`, ''].join('\n'))
      }
      const paths = made.map(({ path }) => path)
      const result = tools.run(target, 'nix', ['copy', '--no-recursive', '--from', `file://${cache}`, ...paths])
      expect(result.status === 0, result.stderr).toBe(!damage)
      if (damage) expect(result.stderr).toMatch(/ca hash mismatch|error: /)
      else tools.ok(target, 'nix-store', ['--verify', '--check-contents'])
    }
  }, 60_000)
})
