import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../src/errors.ts'
import type { Closure } from '../../src/nix/listing/closure.ts'
import { readClosure } from '../../src/nix/listing/read.ts'
import { resolveInStore } from '../../src/nix/store/resolve.ts'
import { type StoreTrees, storeTrees } from '../../src/nix/store/store-trees.ts'
import { parseBootspec } from '../../src/system/bootspec.ts'
import { findToplevel, loadBootspec, systemInitrds } from '../../src/system/toplevel.ts'
import { contentBytes } from '../../src/tree/content.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'

const base = (letter: string): string => `${letter.repeat(32)}-${letter}`
const path = (letter: string): string => `/nix/store/${base(letter)}`

/** A closure with the given references. */
function closureOf(graph: Readonly<Record<string, string>>): Promise<Closure> {
  const text = Object.entries(graph)
    .map(([letter, references]) => [path(letter), '', String(references.length), ...[...references].map(path), ''].join('\n'))
    .join('')
  return readText(text)
}

function readText(text: string): Promise<Closure> {
  return readClosure('-', {
    stdin: (async function* () {
      yield Buffer.from(text)
    })(),
  })
}

const treesOf = (closure: Closure, root: string): StoreTrees => storeTrees(closure, { root })

const SPEC = {
  init: `${path('a')}/init`,
  initrd: `${path('b')}/initrd`,
  kernel: `${path('c')}/bzImage`,
  kernelParams: ['loglevel=4', 'root=fstab'],
  label: 'NixOS Yarara 26.05 (Linux 6.12.1)',
  system: 'x86_64-linux',
  toplevel: path('a'),
}
const document = (changes: object = {}, rest: object = {}): Record<string, unknown> => ({
  'org.nixos.bootspec.v1': { ...SPEC, ...changes },
  'org.nixos.specialisation.v1': {},
  ...rest,
})
const parse = (value: unknown): unknown =>
  parseBootspec(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), 'boot.json')

describe('parseBootspec', () => {
  it('reads what nixpkgs writes', () => {
    expect(parse(document())).toEqual({ ...SPEC, specialisations: new Map(), extensions: {} })
    expect(parse(document({ initrd: undefined, initrdSecrets: `${path('d')}/bin/append` }))).toMatchObject({
      initrdSecrets: `${path('d')}/bin/append`,
    })
    expect(parse(document({ initrd: null }))).not.toHaveProperty('initrd')
    expect(parse(document({ kernel: path('c') }))).toMatchObject({ kernel: path('c') })
    expect(parse(document({ system: 'aarch64-linux', kernel: `${path('c')}/Image` }))).toMatchObject({ system: 'aarch64-linux' })
  })

  it('reads specialisations in order of names, and keeps extensions', () => {
    const extension = { 'org.nixos.systemd-boot': { sortKey: 'nixos' } }
    const child = (label: string): object => document({ label, toplevel: path('d'), init: `${path('d')}/init` }, extension)
    const parsed = parseBootspec(
      Buffer.from(
        JSON.stringify(
          document({}, { ...extension, 'org.nixos.specialisation.v1': { zsh: child('Z'), arm: child('A'), Zoo: child('O') } }),
        ),
      ),
      'boot.json',
    )
    expect([...parsed.specialisations.keys()]).toEqual(['Zoo', 'arm', 'zsh'])
    expect(parsed.specialisations.get('zsh')).toMatchObject({ label: 'Z', toplevel: path('d'), extensions: extension })
    expect(parsed.extensions).toEqual(extension)
  })

  it.each<[string, unknown, ErrorCode, RegExp]>([
    ['no JSON', 'kernel=/bzImage', 'BAD_INPUT', /cannot be parsed/],
    ['an array', '[]', 'BAD_INPUT', /no JSON object/],
    ['an empty object', '{}', 'BAD_INPUT', /"org.nixos.bootspec.v1" is missing/],
    ['another version', { 'org.nixos.bootspec.v2': {} }, 'UNSUPPORTED', /has 'org.nixos.bootspec.v2'; only/],
    ['a key twice', '{"org.nixos.bootspec.v1": {"label": "a", "label": "b"}}', 'BAD_INPUT', /'label' stands twice/],
    ['no kernel', document({ kernel: undefined }), 'BAD_INPUT', /"kernel" is missing/],
    ['an empty label', document({ label: '' }), 'BAD_INPUT', /"label" is missing, empty/],
    ['a number for a label', document({ label: 5 }), 'BAD_INPUT', /"label"/],
    ['parameters as text', document({ kernelParams: 'quiet' }), 'BAD_INPUT', /"kernelParams" is missing or no array/],
    ['a parameter that is no text', document({ kernelParams: ['a', 1] }), 'BAD_INPUT', /"kernelParams"\[1\] is no text/],
    ['a line end in a parameter', document({ kernelParams: ['a\nmenuentry x'] }), 'BAD_INPUT', /"kernelParams"\[0\].*control characters/],
    ['a line end in the label', document({ label: 'a\n' }), 'BAD_INPUT', /"label".*control characters/],
    ['a kernel out of the store', document({ kernel: '/boot/vmlinuz' }), 'BAD_INPUT', /"kernel" is '\/boot\/vmlinuz', not a path below/],
    ['a way out of the store', document({ kernel: `${path('c')}/../../../etc/shadow` }), 'BAD_INPUT', /not a plain path/],
    [
      'an initrd in no store path',
      document({ initrd: '/nix/store/initrd' }),
      'BAD_INPUT',
      /initrd: '\/nix\/store\/initrd' is no store path/,
    ],
    ['a toplevel with more than its path', document({ toplevel: `${path('a')}/x` }), 'BAD_INPUT', /toplevel: .*holds '\/'/],
    ['specialisations as an array', document({}, { 'org.nixos.specialisation.v1': [] }), 'BAD_INPUT', /is no object/],
    [
      'a specialisation without spec',
      document({}, { 'org.nixos.specialisation.v1': { x: {} } }),
      'BAD_INPUT',
      /specialisation x: the object/,
    ],
    [
      'a specialisation named as a path',
      document({}, { 'org.nixos.specialisation.v1': { '../x': document() } }),
      'BAD_INPUT',
      /'..\/x' cannot be the name/,
    ],
    [
      'a specialisation with a line end',
      document({}, { 'org.nixos.specialisation.v1': { 'x\n': document() } }),
      'BAD_INPUT',
      /control characters/,
    ],
  ])('refuses %s', async (_what, value, code, message) => {
    await failure(() => parse(value), code, message)
  })

  it('refuses nesting without end', async () => {
    let value = document()
    for (let level = 0; level < 17; level++) value = document({}, { 'org.nixos.specialisation.v1': { x: value } })
    await failure(() => parse(value), 'LIMIT', /nest more than 16/)
  })
})

describe('findToplevel and loadBootspec', () => {
  const scratch = scratchFolder()
  const makeStore = (root: string, carriers: string, others: string): string => {
    for (const letter of carriers + others) mkdirSync(scratch(root, path(letter)), { recursive: true })
    for (const letter of carriers)
      writeFileSync(scratch(root, path(letter), 'boot.json'), JSON.stringify(document({ toplevel: path(letter) })))
    return scratch(root)
  }

  it('finds the one system, and among a system and its specialisations the one nobody refers to', async () => {
    const root = makeStore('one', 'ad', 'bc')
    writeFileSync(scratch('one', path('f')), 'a file')
    expect(await findToplevel(treesOf(await closureOf({ a: 'abc', b: '', c: 'f', f: '' }), root))).toBe(path('a'))
    expect(await findToplevel(treesOf(await closureOf({ a: 'abcd', b: '', c: '', d: 'dc' }), root))).toBe(path('a'))
    expect(await findToplevel(treesOf(await closureOf({ a: 'a', b: 'a' }), root))).toBe(path('a'))
    expect(await loadBootspec(path('a'), treesOf(await closureOf({ a: '' }), root))).toMatchObject({ toplevel: path('a') })
  })

  it('asks where it cannot tell', async () => {
    const root = makeStore('two', 'ad', 'b')
    const both = await failure(
      async () => findToplevel(treesOf(await closureOf({ a: 'b', b: '', d: 'b' }), root)),
      'BAD_INPUT',
      /toplevel:\n {2}\S+a-a\n {2}\S+d-d$/,
    )
    expect(both.message).not.toContain('no references')
    const list = await readText(`${path('a')}\n${path('b')}\n${path('d')}\n`)
    await failure(() => findToplevel(treesOf(list, root)), 'BAD_INPUT', /the listing has no references/)
    expect(await findToplevel(treesOf(list, root), path('d'))).toBe(path('d'))
    expect(await findToplevel(treesOf(list, root), `${path('d')}/`)).toBe(path('d'))
    await failure(() => findToplevel(treesOf(list, root), path('b')), 'NOT_FOUND', /carries neither boot.json nor kernel-params/)
    await failure(() => findToplevel(treesOf(list, root), path('c')), 'NOT_FOUND', /not in the listing/)
    await failure(() => findToplevel(treesOf(list, root), '/run/current-system'), 'BAD_INPUT', /toplevel: .*not a path below/)
    await failure(
      async () => findToplevel(treesOf(await closureOf({ b: '' }), root)),
      'NOT_FOUND',
      /none of the 1 listed paths carries boot.json, nor kernel-params .*config.system.build.toplevel/,
    )
  })

  it('does not look through an output that is a link', async () => {
    const root = makeStore('linked', 'a', 'b')
    symlinkSync(scratch('linked', path('a')), scratch('linked', path('d')))
    expect(await findToplevel(treesOf(await closureOf({ a: '', d: '' }), root))).toBe(path('a'))
  })

  it('refuses a boot.json of another system, out of the listing, or too large', async () => {
    const root = makeStore('other', 'a', 'bc')
    writeFileSync(scratch('other', path('a'), 'boot.json'), JSON.stringify(document({ toplevel: path('b') })))
    const closure = await closureOf({ a: '', b: '' })
    await failure(() => loadBootspec(path('a'), treesOf(closure, root)), 'BAD_INPUT', /says that its toplevel is \S+b-b/)
    writeFileSync(scratch('other', path('a'), 'boot.json'), Buffer.alloc(16 * 1024 ** 2 + 1))
    await failure(() => loadBootspec(path('a'), treesOf(closure, root)), 'LIMIT', /the limit is 16777216/)
    for (const target of ['/etc/passwd', '../../../../../../../../../etc/passwd', `${path('c')}/boot.json`]) {
      rmSync(scratch('other', path('a'), 'boot.json'))
      symlinkSync(target, scratch('other', path('a'), 'boot.json'))
      await failure(() => loadBootspec(path('a'), treesOf(closure, root)), 'NOT_FOUND', /not below|leads out|not in the listing/)
    }
  })
})

describe('a system from before bootspec', () => {
  const scratch = scratchFolder()
  /** As NixOS 22.05 has it; `changes` replace files, or leave them out. */
  const makeOld = (root: string, letter: string, changes: Readonly<Record<string, string | undefined>> = {}): void => {
    const at = (...names: string[]): string => scratch(root, path(letter), ...names)
    mkdirSync(at('specialisation'), { recursive: true })
    mkdirSync(scratch(root, path('m'), 'lib/modules/5.15.94'), { recursive: true })
    mkdirSync(scratch(root, path('k')), { recursive: true })
    for (const name of ['bzImage', 'initrd', 'append']) writeFileSync(scratch(root, path('k'), name), name)
    const files = { system: 'x86_64-linux', 'nixos-version': '22.05.4694', 'kernel-params': 'loglevel=4 root=fstab', init: '', ...changes }
    for (const [name, text] of Object.entries(files)) if (text !== undefined) writeFileSync(at(name), text)
    symlinkSync(`${path('k')}/bzImage`, at('kernel'))
    symlinkSync(`${path('k')}/initrd`, at('initrd'))
    symlinkSync(`${path('k')}/append`, at('append-initrd-secrets'))
    symlinkSync(path('m'), at('kernel-modules'))
  }
  const open = async (root: string, graph: Readonly<Record<string, string>>) => {
    const trees = treesOf(await closureOf(graph), scratch(root))
    return loadBootspec(await findToplevel(trees), trees, () => told.push(root))
  }
  const told: string[] = []

  it('is found, and its entries are made from its links and files', async () => {
    makeOld('old', 'a')
    makeOld('old', 'd', { 'kernel-params': '' })
    symlinkSync(path('d'), scratch('old', path('a'), 'specialisation', 'quiet'))
    const found = await open('old', { a: 'kmd', k: '', m: '', d: 'km' })
    const own = {
      system: 'x86_64-linux',
      label: 'NixOS 22.05.4694 (Linux 5.15.94)',
      kernel: `${path('k')}/bzImage`,
      initrd: `${path('k')}/initrd`,
      initrdSecrets: `${path('k')}/append`,
      extensions: {},
    }
    const quiet = { ...own, toplevel: path('d'), init: `${path('d')}/init`, kernelParams: [], specialisations: new Map() }
    expect(found).toEqual({
      ...own,
      toplevel: path('a'),
      init: `${path('a')}/init`,
      kernelParams: ['loglevel=4', 'root=fstab'],
      specialisations: new Map([['quiet', quiet]]),
    })
    expect(told).toEqual(['old'])
    expect(await systemInitrds(treesOf(await closureOf({ a: 'kmd', k: '', m: '', d: 'km' }), scratch('old')))).toEqual([path('k')])
  })

  it('is not looked for where another path carries boot.json', async () => {
    makeOld('mixed', 'a')
    mkdirSync(scratch('mixed', path('f')), { recursive: true })
    writeFileSync(scratch('mixed', path('f'), 'boot.json'), JSON.stringify(document({ toplevel: path('f') })))
    expect(await findToplevel(treesOf(await closureOf({ a: 'km', k: '', m: '', f: '' }), scratch('mixed')))).toBe(path('f'))
  })

  it('lacks nothing that boot.json has to say', async () => {
    makeOld('bare', 'a', { system: undefined })
    await failure(() => open('bare', { a: 'km', k: '', m: '' }), 'BAD_INPUT', /a-a: has no boot\.json, and no file 'system' in place of it/)
    makeOld('odd', 'a', { 'kernel-params': 'a\nb' })
    await failure(
      () => open('odd', { a: 'km', k: '', m: '' }),
      'BAD_INPUT',
      /\(which has no boot\.json\): "kernelParams".*control characters/,
    )
    makeOld('unlisted', 'a')
    await failure(() => open('unlisted', { a: 'm', m: '' }), 'BAD_INPUT', /no file 'kernel'/)
  })
})

describe('resolveInStore', () => {
  const scratch = scratchFolder()

  it('follows links within the root and the listing', async () => {
    const at = (...parts: string[]): string => scratch('nix/store', ...parts)
    mkdirSync(at(base('a'), 'dir/inner'), { recursive: true })
    mkdirSync(at(base('x')), { recursive: true })
    writeFileSync(at(base('a'), 'dir/file'), 'twelve bytes', { mode: 0o755 })
    writeFileSync(at(base('x'), 'file'), 'not listed')
    const links: Record<string, string> = {
      absolute: `${path('a')}/dir/file`,
      odd: `//nix/.//store/${base('a')}//dir/./file`,
      relative: 'dir/file',
      up: 'dir/inner/../file',
      'through-link': 'dir/back/../dir/file',
      'dir/back': '../dir',
      'to-b': `../${base('b')}`,
      chain: 'relative',
      folder: 'dir',
      dangling: 'nothing',
      loop: 'loop2',
      loop2: 'loop',
      escape: '../../../etc/passwd',
      host: '/etc/passwd',
      'host-store': `/nix/store/../../etc/passwd`,
      unlisted: `${path('x')}/file`,
      'unlisted-relative': `../${base('x')}/file`,
      store: '..',
      'file-slash': 'dir/file/',
    }
    for (const [name, target] of Object.entries(links)) symlinkSync(target, at(base('a'), name))
    symlinkSync(`${path('a')}/dir/file`, at(base('b')))
    const closure = await closureOf({ a: '', b: '' })
    const resolve = (name: string): ReturnType<typeof resolveInStore> => resolveInStore(`${path('a')}/${name}`, treesOf(closure, scratch()))
    for (const name of [
      'dir/file',
      'absolute',
      'odd',
      'relative',
      'up',
      'through-link',
      'to-b',
      'chain',
      'folder/file',
      'dir//./file',
      'dir/back/file',
    ]) {
      const found = await resolve(name)
      expect(found, name).toMatchObject({ kind: 'file', size: 12, executable: true })
      expect(Buffer.from(found.path).toString(), name).toBe(`${path('a')}/dir/file`)
      const { content = { kind: 'bytes', bytes: Buffer.alloc(0) }, size } = found
      expect(Buffer.from(contentBytes({ content, size }, name)).toString(), name).toBe('twelve bytes')
    }
    expect(await resolveInStore(path('b'), treesOf(closure, `${scratch()}/`))).toMatchObject({ kind: 'file', size: 12 })
    for (const name of ['', 'dir', 'folder', 'folder/', 'dir/inner/..'])
      expect(await resolve(name), name).toMatchObject({ kind: 'directory', size: 0 })
    const failures: Record<string, [ErrorCode, RegExp]> = {
      nothing: ['NOT_FOUND', /there is no .*nothing/],
      dangling: ['NOT_FOUND', /a-a\/dangling: there is no .*nothing/],
      loop: ['BAD_INPUT', /more than 40 symbolic links/],
      escape: ['NOT_FOUND', /leads out of \/nix\/store/],
      host: ['NOT_FOUND', /leads to \/etc\/passwd, which is not below/],
      'host-store': ['NOT_FOUND', /leads out of/],
      unlisted: ['NOT_FOUND', /leads to \S+x-x, which is not in the listing/],
      'unlisted-relative': ['NOT_FOUND', /not in the listing/],
      [`../${base('x')}/file`]: ['NOT_FOUND', /not in the listing/],
      store: ['NOT_FOUND', /store directory itself/],
      '..': ['NOT_FOUND', /store directory itself/],
      'dir/file/more': ['NOT_FOUND', /is not a directory/],
      'dir/file/': ['NOT_FOUND', /is not a directory/],
      'file-slash': ['NOT_FOUND', /is not a directory/],
      'dir/file/..': ['NOT_FOUND', /is not a directory/],
    }
    for (const [name, [code, message]] of Object.entries(failures)) await failure(() => resolve(name), code, message)
    await failure(() => resolveInStore('/etc/passwd', treesOf(closure, scratch())), 'NOT_FOUND', /not below \/nix\/store/)
    await failure(() => resolveInStore('nix/store', treesOf(closure, scratch())), 'NOT_FOUND', /not below/)
  })

  it('takes names that are no UTF-8', async () => {
    mkdirSync(scratch('bytes/nix/store', base('a')), { recursive: true })
    const name = Buffer.from([0x2f, 0xff, 0x80])
    writeFileSync(Buffer.concat([Buffer.from(scratch('bytes', path('a'))), name]), 'x')
    symlinkSync(name.subarray(1), scratch('bytes', path('a'), 'link'))
    const found = await resolveInStore(`${path('a')}/link`, treesOf(await closureOf({ a: '' }), scratch('bytes')))
    expect(Buffer.from(found.path).equals(Buffer.concat([Buffer.from(path('a')), name]))).toBe(true)
  })
})
