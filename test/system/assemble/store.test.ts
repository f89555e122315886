/** What a spec becomes: a store that Nix takes, images in one go, and a system in which paths are replaced at the same time. */
import { appendFileSync, chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../../fixtures/unpack.ts'
import { disk } from '../../../src/images/disk/index.ts'
import { netboot } from '../../../src/images/netboot/index.ts'
import { buildContext } from '../../../src/io/output.ts'
import type { StoreInput } from '../../../src/system/input.ts'
import { saveStore } from '../../../src/system/saved-store.ts'
import { type LoadedStore, loadClosure, loadStore } from '../../../src/system/store.ts'
import { bytesInStore } from '../../../src/system/store-files.ts'
import { findToplevel } from '../../../src/system/toplevel.ts'
import { provenTree } from '../../../src/tree/verified.ts'
import { kilnix } from '../../e2e/kilnix.ts'
import { nixTools, skipNix } from '../../nix/nix-tools.ts'
import { failure, scratchFolder } from '../../nix/scratch.ts'
import { oracle, runOk } from '../../oracles/tools.ts'
import { specOfToplevel } from './of-store.ts'
import { everythingSpec, PART_NAMES, writeParts } from './parts-support.ts'

const scratch = scratchFolder()
type SystemInput = StoreInput & { readonly closure: string; readonly root: string; readonly toplevelSpec: string }

/** A system that boots, and one whose parts are a few bytes each. */
let input: SystemInput
let tiny: SystemInput
let original: string
const removed: string[] = []

const fake = (letter: string, name: string): string => `/nix/store/${letter.repeat(32)}-${name}`
const OLD_ETC = fake('0', 'etc')
const NEW_ETC = fake('z', 'etc')

/** A store with the parts, in which everything but the listing is by hand. */
function makeTiny(): SystemInput {
  writeParts(scratch('parts'))
  mkdirSync(scratch('tiny/nix/store'), { recursive: true })
  // One digit of nix32 a part.
  const digits = [...'123456789abcdfghijklmnpqrsvwxy']
  const places = new Map(PART_NAMES.map((name, index) => [name, name === 'etc' ? OLD_ETC : fake(digits[index] ?? '', name)]))
  for (const [name, path] of places) cpSync(scratch('parts', name), scratch('tiny', path), { recursive: true })
  cpSync(scratch('parts/etc'), scratch('tiny', NEW_ETC), { recursive: true })
  writeFileSync(scratch('tiny', NEW_ETC, 'etc/os-release'), 'ID=other\n')
  writeFileSync(scratch('parts/spec.json'), JSON.stringify(everythingSpec((name) => places.get(name) ?? '')))
  writeFileSync(scratch('listing'), `${[...places.values(), NEW_ETC].join('\n')}\n`)
  return { closure: scratch('listing'), root: scratch('tiny'), toplevelSpec: scratch('parts/spec.json') }
}

beforeAll(async () => {
  const small = await unpackSmall(scratch('small'))
  original = small.toplevel
  writeFileSync(scratch('spec.json'), JSON.stringify(specOfToplevel(small.root, original, scratch())))
  input = { closure: small.folder, root: small.root, toplevelSpec: scratch('spec.json') }
  removed.push(small.root)
  tiny = makeTiny()
})
afterAll(async () => {
  for (const folder of removed) await removeStore(folder)
})

function toplevelIn(store: LoadedStore): Promise<string> {
  return findToplevel(store.trees)
}

describe('a store with an assembled system', () => {
  it('is whole: all digests hold, and the old system is not in it', async () => {
    const store = await loadStore(input)
    for (const digest of store.digests) await provenTree(digest)
    const paths = store.closure.paths.map(({ path }) => path)
    expect(paths).toContain(await toplevelIn(store))
    expect(paths).not.toContain(original)
    expect(store.digests).toHaveLength(paths.length)
    expect(store.inputs).toContain(scratch('spec.json'))
  })

  it.skipIf(skipNix)('is one that Nix takes, and checks', async () => {
    const store = await loadClosure(tiny)
    await saveStore(store, scratch('all'), { paths: 'all' })
    removed.push(scratch('all'))
    const nix = nixTools(scratch('home'))
    nix.ok(scratch('all'), 'nix-store', ['--load-db'], readFileSync(scratch('all/closure-info/registration')))
    nix.ok(scratch('all'), 'nix-store', ['--verify', '--check-contents'])
    const toplevel = await findToplevel(store.trees)
    const requisites = nix.ok(scratch('all'), 'nix-store', ['--query', '--requisites', toplevel]).text.trim().split('\n')
    expect(requisites.sort()).toEqual(store.closure.paths.map(({ path }) => path).sort())
    // Another byte is found.
    chmodSync(scratch('all', toplevel, 'kernel-params'), 0o644)
    appendFileSync(scratch('all', toplevel, 'kernel-params'), ' ')
    expect(nix.run(scratch('all'), 'nix-store', ['--verify', '--check-contents']).stderr).toContain('was modified')
  })

  it('is made by the command, and again only by force', async () => {
    const options = [tiny.toplevelSpec, '--closure', tiny.closure, '--root', tiny.root]
    const printed = await kilnix('toplevel', ...options, '-o', scratch('out'))
    removed.push(scratch('out'))
    const [toplevel = ''] = printed.split('\n').filter((line) => line.startsWith('/nix/store/'))
    const names = readdirSync(scratch('out/nix/store')).map((name) => name.slice(33))
    expect(names.sort()).toEqual(['closure-info', toplevel.slice(44), 'nixos-system-everything-26.11.rescue', 'switch-inhibitors'])
    expect(readFileSync(scratch('out/closure-info/store-paths'), 'utf8')).toContain(`${toplevel}\n`)
    const plan = JSON.parse(await kilnix('toplevel', ...options, '-o', scratch('out'), '--dry-run', '--json', '--quiet')) as {
      made: string[]
    }
    expect(plan).toMatchObject({ toplevel })
    expect(plan.made).toHaveLength(4)
    await expect(kilnix('toplevel', ...options, '-o', scratch('out'))).rejects.toThrow(/EXISTS/)
    await kilnix('toplevel', ...options, '--whole-store', '--force', '-o', scratch('out'))
    await kilnix('closure', 'check', scratch('out/closure-info'), '--root', scratch('out'))
  }, 30_000)

  it('does not write over what it reads', async () => {
    const options = [tiny.toplevelSpec, '--closure', tiny.closure, '--root', tiny.root, '--force']
    for (const output of [scratch('parts/activate.sh'), scratch('parts')]) {
      await expect(kilnix('toplevel', ...options, '-o', output)).rejects.toThrow(/kilnix: /)
    }
    expect(JSON.parse(readFileSync(tiny.toplevelSpec, 'utf8'))).toHaveProperty('nixosLabel')
  })
})

describe('images of an assembled system', () => {
  it.skipIf(oracle('unsquashfs').skip)('squashfs, in which the system lies', async () => {
    const options = ['--closure', tiny.closure, '--root', tiny.root, '--toplevel-spec', tiny.toplevelSpec]
    await kilnix('squashfs', ...options, '--compression', 'zstd:1', '-o', scratch('store.squashfs'))
    const toplevel = await toplevelIn(await loadStore(tiny))
    const bootJson = runOk('unsquashfs', ['-cat', scratch('store.squashfs'), `${toplevel.slice('/nix/store/'.length)}/boot.json`]).text
    expect(JSON.parse(bootJson)).toMatchObject({ 'org.nixos.bootspec.v1': { toplevel } })
    // What the system does not refer to is left out.
    expect(runOk('unsquashfs', ['-ll', scratch('store.squashfs')]).text).not.toContain(NEW_ETC.slice('/nix/store/'.length))
  })

  it('disk and netboot', async () => {
    expect((await disk({ ...input, format: 'raw' })).plan).toMatchObject({ toplevel: await toplevelIn(await loadStore(input)) })
    const toplevel = await toplevelIn(await loadStore(tiny))
    for (const style of ['single', 'manifest', 'per-path'] as const) {
      const product = await netboot({ ...tiny, withoutInitrdSecrets: true, style, compression: { name: 'lz4' } })
      expect(product.plan).toMatchObject({ toplevel })
      // The new paths go through the same hands as those of the host.
      if (style !== 'single') await product.files(buildContext({}))
      await product.close()
    }
  }, 30_000)
})

describe('a system in which a path is replaced at the same time', () => {
  it('refers to the new one, and so does its boot.json to itself', async () => {
    const before = await loadStore(tiny)
    const after = await loadStore({ ...tiny, replacements: [{ oldPath: OLD_ETC, newPath: NEW_ETC }] })
    for (const digest of after.digests) await provenTree(digest)
    const [one, two] = [await toplevelIn(before), await toplevelIn(after)]
    expect(two).not.toBe(one)
    const paths = after.closure.paths.map(({ path }) => path)
    expect(paths).toContain(NEW_ETC)
    expect(paths).not.toContain(OLD_ETC)
    expect(paths).not.toContain(one)
    const bootJson = JSON.parse((await bytesInStore(`${two}/boot.json`, after)).toString()) as Record<string, { toplevel: string }>
    expect(bootJson['org.nixos.bootspec.v1']?.toplevel).toBe(two)
    expect((await bytesInStore(`${two}/etc/os-release`, after)).toString()).toBe('ID=other\n')
    await saveStore(after, scratch('replaced'), { paths: 'made' })
    removed.push(scratch('replaced'))
    expect(readlinkSync(scratch('replaced', two, 'etc'))).toBe(`${NEW_ETC}/etc`)
  })
})

describe('specs that cannot be read', () => {
  it('say so', async () => {
    await failure(
      () => loadStore({ ...input, toplevelSpec: scratch('absent.json') }),
      'NOT_FOUND',
      /absent\.json: the spec cannot be read \(ENOENT\)/,
    )
    await failure(() => loadStore({ ...input, toplevelSpec: scratch() }), 'UNREADABLE', /the spec cannot be read \(EISDIR\)/)
  })

  it('print their failed assertions indented', async () => {
    const spec = JSON.parse(readFileSync(tiny.toplevelSpec, 'utf8')) as object
    const assertions = [1, 2].map((number) => ({ assertion: false, message: `Number ${number}.` }))
    writeFileSync(scratch('failing.json'), JSON.stringify({ ...spec, assertions }))
    const options = ['--closure', tiny.closure, '--root', tiny.root, '-o', scratch('never')]
    const error = await kilnix('toplevel', scratch('failing.json'), ...options).catch(String)
    expect(error).toContain('kilnix: error [BAD_INPUT]: Failed assertions:\n  - Number 1.\n  - Number 2.\n')
  })
})
