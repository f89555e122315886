/** Toplevels from the parts of systems that Nix built; what is refused, and why; the checks of NixOS. */
import { chmodSync, existsSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { unpackSmall } from '../../../fixtures/unpack.ts'
import type { Closure } from '../../../src/nix/listing/closure.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { type AssembledToplevel, assembleToplevel } from '../../../src/system/assemble/index.ts'
import { parseToplevelSpec } from '../../../src/system/assemble/spec.ts'
import { parseBootspec } from '../../../src/system/bootspec.ts'
import type { DirectoryNode, TreeNode } from '../../../src/tree/tree.ts'
import { generatedClosure, toplevelOf } from '../../e2e/closures.ts'
import { compareWithDisk } from '../../images/compare-with-disk.ts'
import { failure, scratchFolder } from '../../nix/scratch.ts'
import { specOfToplevel } from './of-store.ts'
import type { Json } from './parts-support.ts'

interface Store {
  readonly closure: Closure
  readonly root: string
}

const scratch = scratchFolder()
let small: Store
let base: Json
let toplevel: string
let notes: string[] = []

beforeAll(async () => {
  const unpacked = await unpackSmall(scratch('small'))
  small = { closure: await readClosure(unpacked.folder), root: unpacked.root }
  toplevel = unpacked.toplevel
  base = specOfToplevel(unpacked.root, toplevel, scratch())
})

function assemble(spec: Json, store = small): Promise<AssembledToplevel> {
  notes = []
  return assembleToplevel({
    spec: parseToplevelSpec(Buffer.from(JSON.stringify(spec)), 'spec.json'),
    where: 'spec.json',
    folder: scratch(),
    store,
    onProgress: (event) => {
      if (event.kind === 'note') notes.push(event.message)
    },
  })
}

function nodeAt(tree: TreeNode | undefined, path: string): TreeNode | undefined {
  return path.split('/').reduce<TreeNode | undefined>((node, name) => {
    const entries = node?.kind === 'directory' ? (node as DirectoryNode).entries : []
    return entries.find((entry) => Buffer.from(entry.name).toString() === name)?.node
  }, tree)
}

function textAt(assembled: AssembledToplevel, path: string): string {
  const node = nodeAt(assembled.made.at(-1)?.tree, path)
  if (node?.kind === 'symlink') return `-> ${Buffer.from(node.target)}`
  if (node?.kind !== 'file' || node.content.kind !== 'bytes') throw new Error(`${path} is no file in memory`)
  return Buffer.from(node.content.bytes).toString()
}

describe('a toplevel of the parts of one that Nix built', () => {
  it('(small) has the same files but for the list of extra dependencies, which nixpkgs writes in another way', async () => {
    const ours = await assemble(base)
    const asNix = (bytes: Buffer): Buffer => Buffer.from(bytes.toString('latin1').replaceAll(ours.toplevel, toplevel), 'latin1')
    const differences = await compareWithDisk(ours.made.at(-1)?.tree, small.root + toplevel, asNix)
    // The fixture has an empty folder bin, and `echo` in place of `printf`.
    expect(differences).toEqual(['bin: is only in one', 'extra-dependencies: other bytes'])
    expect(textAt(ours, 'extra-dependencies')).toBe(' ')
  })

  const live = generatedClosure('live')
  it.skipIf(live.skip && !existsSync(join(live.folder, 'registration')))(
    '(live) has the same files, specialisations built anew',
    async () => {
      const store = { closure: await readClosure(live.folder), root: live.root }
      const original = toplevelOf(live.folder)
      const spec = specOfToplevel(live.root, original, scratch())
      const built = spec.specialisations as Record<string, string>
      const children = Object.fromEntries(Object.entries(built).map(([name, path]) => [name, specOfToplevel(live.root, path, scratch())]))
      for (const child of Object.values(children)) delete child.specialisations
      // Texts that name the specialisations by the paths that Nix gave them stay what they are.
      const ours = await assemble({ ...spec, specialisations: children }, store)
      expect(ours.made.map(({ path }) => path.slice(44))).toEqual([
        'nixos-system-live-quiet-26.05',
        'nixos-system-live-recovery-26.05',
        'nixos-system-live-26.05',
      ])
      const originals = [built.quiet ?? '', built.recovery ?? '', original]
      const asNix = (bytes: Buffer): Buffer =>
        Buffer.from(
          ours.made.reduce((text, { path }, index) => text.replaceAll(path, originals[index] ?? ''), bytes.toString('latin1')),
          'latin1',
        )
      for (const [index, { tree }] of ours.made.entries()) {
        // The fixture has no list of extra dependencies.
        expect(await compareWithDisk(tree, live.root + originals[index], asNix)).toEqual(['extra-dependencies: is only in one'])
      }
    },
  )

  it('is made again, and not one byte else', async () => {
    const [one, two] = [await assemble(base), await assemble(base)]
    expect(one.toplevel).toBe(two.toplevel)
    expect(one.made.at(-1)?.narHash).toEqual(two.made.at(-1)?.narHash)
  })

  it('holds in its closure what it refers to, and nothing else', async () => {
    const ours = await assemble({ ...base, files: {}, specialisations: {} })
    const names = ours.closure.paths.map(({ baseName }) => baseName.slice(33))
    expect(names).toContain('nixos-system-small-26.05')
    expect(names).not.toContain('nixos-system-small-verbose-26.05')
    expect(ours.closure.paths.map(({ path }) => path)).not.toContain(toplevel)
    for (const { references } of ours.closure.paths)
      for (const path of references) expect(ours.closure.paths.some((entry) => entry.path === path)).toBe(true)
  })

  it('has a boot.json that says where it lies', async () => {
    const ours = await assemble(base)
    const node = nodeAt(ours.made.at(-1)?.tree, 'boot.json')
    if (node?.kind !== 'file' || node.content.kind !== 'bytes') throw new Error('no boot.json')
    const bootspec = parseBootspec(node.content.bytes, 'boot.json')
    expect(bootspec.toplevel).toBe(ours.toplevel)
    expect(bootspec.init).toBe(`${ours.toplevel}/init`)
    expect([...bootspec.specialisations.keys()]).toEqual(['verbose'])
  })
})

describe('fields of the spec', () => {
  it('makes the files of each', async () => {
    const at = (name: string): string => small.closure.paths.find(({ baseName }) => baseName.slice(33).startsWith(name))?.path ?? ''
    writeFileSync(scratch('dry.sh'), 'dry @out@')
    const ours = await assemble({
      ...base,
      files: { 'a/b': { link: '@out@/sw' }, 'a/c': { text: 'own: @out@\n', executable: true }, 'a/d/e': { file: 'dry.sh' } },
      etcOverlay: { metadataImage: at('empty-file'), basedir: at('empty-directory') },
      deviceTrees: at('empty-directory'),
      activationScript: 'activate @out@\n',
      dryActivationScript: { file: 'dry.sh' },
      shell: `${at('busybox')}/bin/busybox`,
      switchToConfiguration: { program: `${at('busybox')}/bin/busybox`, installBootLoader: '/bin/install', distroId: 'mine' },
      preSwitchChecks: { second: 'true', first: 'false\n' },
      configurationName: '',
      configuration: { content: '{ }\n' },
      extraDependencies: [at('empty-file'), at('empty-directory')],
      systemdInterfaceVersion: 3,
    })
    expect(textAt(ours, 'a/b')).toBe(`-> ${ours.toplevel}/sw`)
    expect(textAt(ours, 'a/c')).toBe(`own: ${ours.toplevel}\n`)
    expect(textAt(ours, 'a/d/e')).toBe('dry @out@')
    expect(textAt(ours, 'etc-metadata-image')).toBe(`-> ${at('empty-file')}`)
    expect(textAt(ours, 'etc-basedir')).toBe(`-> ${at('empty-directory')}`)
    expect(textAt(ours, 'dtbs')).toBe(`-> ${at('empty-directory')}`)
    expect(textAt(ours, 'activate')).toBe(`activate ${ours.toplevel}\n\n`)
    expect(textAt(ours, 'dry-activate')).toBe(`dry ${ours.toplevel}\n`)
    expect(textAt(ours, 'configuration-name')).toBe('')
    expect(textAt(ours, 'init-interface-version')).toBe('systemd 3')
    expect(textAt(ours, 'extra-dependencies')).toBe(`${at('empty-file')} ${at('empty-directory')} `)
    const [checks, configuration] = ours.made
    expect(textAt(ours, 'configuration.nix')).toBe(`-> ${configuration?.path}`)
    expect(textAt(ours, 'bin/switch-to-configuration')).toContain(`\nexport PRE_SWITCH_CHECK='${checks?.path}/bin/pre-switch-checks'\n`)
    expect(textAt(ours, 'bin/switch-to-configuration')).toContain("\nexport DISTRO_ID='mine'\n")
    expect(ours.inputs).toEqual([scratch('dry.sh'), scratch('dry.sh')])
    const script = nodeAt(checks?.tree, 'bin/pre-switch-checks')
    if (script?.kind !== 'file' || script.content.kind !== 'bytes') throw new Error('no checks')
    const text = Buffer.from(script.content.bytes).toString()
    expect(text.indexOf("check 'first' failed")).toBeLessThan(text.indexOf("check 'second' failed"))
  })

  it('makes a container without a kernel', async () => {
    const { kernel, kernelParams, kernelModules, initrd, firmware, specialisations, label, ...rest } = base
    const ours = await assemble(rest)
    const tree = ours.made.at(-1)?.tree
    for (const name of ['boot.json', 'kernel', 'kernel-params', 'initrd']) expect(nodeAt(tree, name)).toBeUndefined()
    expect(nodeAt(tree, 'specialisation')?.kind).toBe('directory')
  })
})

describe('checks', () => {
  it('names all assertions that failed, as nixpkgs does', async () => {
    const assertions = [
      { assertion: false, message: 'The first.' },
      { assertion: true, message: 'Fine.' },
      { assertion: false, message: 'The second.' },
    ]
    const verbose = { ...base, specialisations: undefined, assertions: [{ assertion: false, message: 'Third.' }] }
    const error = await failure(
      () => assemble({ ...base, assertions, warnings: ['never shown'], specialisations: { verbose } }),
      'BAD_INPUT',
      /^Failed assertions:/,
    )
    expect(error.message).toBe('Failed assertions:\n- The first.\n- The second.\n- specialisation verbose: Third.')
    expect(notes).toEqual([])
  })

  it('shows warnings', async () => {
    await assemble({ ...base, warnings: ['Look out.'] })
    expect(notes).toEqual(['warning: Look out.'])
  })

  it('warns of an etc overlay and of nixos-init without the extension by which stage 1 finds them', async () => {
    const at = (name: string): string => small.closure.paths.find(({ baseName }) => baseName.slice(33).startsWith(name))?.path ?? ''
    const overlay = { metadataImage: at('empty-file'), basedir: at('empty-directory') }
    const extension = { etc_basedir: overlay.basedir, etc_metadata_image: overlay.metadataImage }
    await assemble({ ...base, etcOverlay: overlay })
    expect(notes.splice(0)).toEqual([
      'warning: etcOverlay is given, but extensions has no org.nixos.nixos-init.v1 with etc_basedir, etc_metadata_image, without which a stage 1 of NixOS from 26.05 on does not start the system',
    ])
    const init = { ...base, stage1: 'systemd', nixosInit: true, stage2: undefined, extensions: { 'org.nixos.nixos-init.v1': extension } }
    // The fixture's systemd has no program that could be init; what is said comes before that.
    await failure(() => assemble(init), 'NOT_FOUND', /systemd/)
    expect(notes.splice(0)).toEqual([
      expect.stringMatching(/nixosInit is given.* with firmware, modprobe_binary, nix_store_mount_opts, without/),
    ])
    const rest = { firmware: at('empty-directory'), modprobe_binary: '/bin/modprobe', nix_store_mount_opts: ['ro'] }
    await failure(() => assemble({ ...init, extensions: { 'org.nixos.nixos-init.v1': { ...extension, ...rest } } }), 'NOT_FOUND', /systemd/)
    await assemble({ ...base, etcOverlay: overlay, extensions: { 'org.nixos.nixos-init.v1': extension } })
    expect(notes).toEqual([])
  })

  it('notes store paths that a text names and the closure has not', async () => {
    const lost = `/nix/store/${'1'.repeat(32)}-lost`
    await assemble({ ...base, files: { note: { text: `see ${lost}/bin, and ${toplevel}` }, link: { link: lost } } })
    expect(notes).toEqual([`warning: spec.json names store paths that are not in the closure: ${lost}`])
  })

  it('names every forbidden path and why it is there', async () => {
    const forbidden = { ...base, forbiddenDependenciesRegexes: ['-busybox-static-[[:digit:].]+$', 'nothing like this', ''] }
    const error = await failure(() => assemble(forbidden), 'BAD_INPUT', /contains the following disallowed paths/)
    const [first = '', ...rest] = error.message.split('\n')
    expect(first).toMatch(/^System closure \/nix\/store\/[0-9a-z]{32}-nixos-system-small-26\.05 contains/)
    expect(rest).toHaveLength(1)
    expect(rest[0]).toMatch(
      /-busybox-static-\S+ \(forbidden by -busybox-static-\S+\): \S+-nixos-system-small-26\.05 -> \S+busybox-static-[\d.]+$/,
    )
  })

  it('lets extra dependencies be what is forbidden', async () => {
    const lone = small.closure.paths.find(({ baseName }) => baseName.endsWith('-empty-file'))?.path ?? ''
    expect(lone).not.toBe('')
    const spec = { ...base, files: {}, specialisations: {}, forbiddenDependenciesRegexes: ['-empty-file$'] }
    const allowed = await assemble({ ...spec, extraDependencies: [lone] })
    expect(allowed.closure.paths.map(({ path }) => path)).toContain(lone)
    await failure(() => assemble({ ...spec, files: { link: { link: lone } } }), 'BAD_INPUT', /disallowed/)
  })
})

describe('specs that are refused', () => {
  const cases: readonly [what: string, change: Json, code: 'BAD_INPUT' | 'NOT_FOUND' | 'UNSUPPORTED' | 'LIMIT', message: RegExp][] = [
    ['an unknown field', { kernl: 1 }, 'BAD_INPUT', /^spec\.json: 'kernl' is no field of a toplevel; there are \$schema, name/],
    ['a missing field', { sw: undefined }, 'BAD_INPUT', /^spec\.json: a toplevel needs 'sw'$/],
    ['a field of another kind', { kernelParams: 'quiet' }, 'BAD_INPUT', /^spec\.json\.kernelParams: is a string, an array is needed/],
    ['an item of another kind', { kernelParams: ['a', 1] }, 'BAD_INPUT', /^spec\.json\.kernelParams\[1\]: is a number/],
    ['two lines as one parameter', { kernelParams: ['a\nb'] }, 'BAD_INPUT', /kernelParams\[0\]: .*control characters/],
    ['a name that no path can have', { name: 'a b' }, 'BAD_INPUT', /^spec\.json\.name: 'a b' is not part of a store path name/],
    ['a path out of the store', { sw: '/etc' }, 'BAD_INPUT', /^spec\.json\.sw: '\/etc' is not a path in the store/],
    ['a path with dots', { sw: `/nix/store/${'0'.repeat(32)}-x/../y` }, 'BAD_INPUT', /empty parts, \. or \.\./],
    ['a path that is not listed', { sw: `/nix/store/${'0'.repeat(32)}-x` }, 'NOT_FOUND', /^spec\.json\.sw: .* is not in the closure/],
    ['an official key as extension', { extensions: { 'org.nixos.bootspec.v1': {} } }, 'BAD_INPUT', /belongs to bootspec itself/],
    [
      'an extension that is no object',
      { extensions: { 'com.example': 1 } },
      'BAD_INPUT',
      /^spec\.json\.extensions\.'?com\.example'?: is a number/,
    ],
    ['a number that jq prints in several ways', { extensions: { x: { y: 0.5 } } }, 'UNSUPPORTED', /x\.y: is 0\.5; only whole numbers/],
    ['a loader with what it has not', { loader: { id: 'grub', sortKey: 'x' } }, 'BAD_INPUT', /sortKey and deviceTree are of systemd-boot/],
    ['an extension twice', { loader: { id: 'systemd-boot' }, extensions: { 'org.nixos.systemd-boot': {} } }, 'BAD_INPUT', /leave one out/],
    ['an initrd without a kernel', { kernel: undefined }, 'BAD_INPUT', /'initrd' is given, but no 'kernel'/],
    ['no stage 2', { stage2: undefined }, 'BAD_INPUT', /'stage2' is needed: it becomes init/],
    ['nixos-init with scripted stage 1', { nixosInit: true }, 'BAD_INPUT', /'nixosInit' needs stage1 systemd/],
    ['systemd stage 1 without an initrd', { stage1: 'systemd', initrd: undefined }, 'BAD_INPUT', /stage1 is systemd, but/],
    ['a systemd without its program', { stage1: 'systemd' }, 'NOT_FOUND', /^spec\.json\.systemd: .*lib\/systemd\/systemd/],
    ['no label', { label: undefined }, 'BAD_INPUT', /needs 'label', or 'codeName' and 'kernelVersion'/],
    ['activation without dry activation', { activationScript: '' }, 'BAD_INPUT', /belong together/],
    ['checks without a switch', { preSwitchChecks: {} }, 'BAD_INPUT', /needs 'switchToConfiguration'/],
    ['a file in place of another', { files: { kernel: { text: '' } } }, 'BAD_INPUT', /has 'kernel' already/],
    ['a file below a file', { files: { 'system/x': { text: '' } } }, 'BAD_INPUT', /through 'system', which is no folder/],
    ['a file out of the toplevel', { files: { '../x': { text: '' } } }, 'BAD_INPUT', /is no path in the toplevel/],
    [
      'a file that is not there',
      { files: { x: { file: 'absent' } } },
      'NOT_FOUND',
      /^spec\.json\.files\.x: absent cannot be read \(ENOENT\)/,
    ],
    [
      'a specialisation with a slash',
      { specialisations: { 'a/b': toplevelLike() } },
      'BAD_INPUT',
      /cannot be the name of a specialisation/,
    ],
    ['a specialisation that is not listed', { specialisations: { a: toplevelLike() } }, 'NOT_FOUND', /^spec\.json\.specialisations\.a: /],
    [
      'a regular expression that is none',
      { forbiddenDependenciesRegexes: ['a', '('] },
      'BAD_INPUT',
      /^spec\.json\.forbiddenDependenciesRegexes\[1\]: '\('/,
    ],
    ['a back-reference', { forbiddenDependenciesRegexes: ['(a)\\1'] }, 'UNSUPPORTED', /back-references/],
  ]
  it.each(cases)('%s', async (_what, change, code, message) => {
    await failure(() => assemble({ ...base, ...change }), code, message)
  })

  it('specialisations within specialisations', async () => {
    const { specialisations, ...child } = base
    await failure(
      () => assemble({ ...base, specialisations: { a: { ...child, specialisations } } }),
      'BAD_INPUT',
      /'specialisations' is no field of a specialisation/,
    )
    // One that is there already, and has its own
    await failure(() => assemble({ ...base, specialisations: { a: toplevel } }), 'BAD_INPUT', /bootspec allows one level/)
  })

  it('links in a circle', async () => {
    chmodSync(small.root + base.sw, 0o755)
    symlinkSync('loop', `${small.root}${base.sw}/loop`)
    await failure(() => assemble({ ...base, etc: `${base.sw}/loop` }), 'BAD_INPUT', /^spec\.json\.etc: .*probably in a circle/)
  })

  it('names and nesting beyond all limits', async () => {
    await failure(() => assemble({ ...base, files: { ['x'.repeat(300)]: { text: '' } } }), 'LIMIT', /300 bytes, the limit is 255/)
    await failure(() => assemble({ ...base, files: { [Array(100).fill('x').join('/')]: { text: '' } } }), 'LIMIT', /levels deep/)
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`
    await failure(() => parseToplevelSpec(Buffer.from(deep), 'spec.json'), 'LIMIT', /^spec\.json: at position 256 .* nest deeper/)
  })

  it('a kernel that is a folder', async () => {
    await failure(() => assemble({ ...base, kernel: base.sw }), 'BAD_INPUT', /^spec\.json\.kernel: .* is a folder, a file is needed/)
  })

  it('JSON that is none, and a key that stands twice', async () => {
    await failure(() => parseToplevelSpec(Buffer.from('{'), 'spec.json'), 'BAD_INPUT', /^spec\.json: the JSON cannot be parsed/)
    await failure(
      () => parseToplevelSpec(Buffer.from('[]'), 'spec.json'),
      'BAD_INPUT',
      /^spec\.json: a toplevel is an object, this is an array/,
    )
    await failure(
      () => parseToplevelSpec(Buffer.from('{"name": "a",\n"name": "b"}'), 'spec.json'),
      'BAD_INPUT',
      /^spec\.json:2: 'name' stands twice/,
    )
  })
})

function toplevelLike(): string {
  return `/nix/store/${'0'.repeat(32)}-nixos-system-x`
}
