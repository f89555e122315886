import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { hashNar } from '../../../src/nix/nar/digest.ts'
import { type ReplacedClosure, replaceDependencies } from '../../../src/nix/rewrite/replace.ts'
import { planReplacement } from '../../../src/nix/rewrite/replace-plan.ts'
import { contentAddressed } from '../../../src/nix/store/content-address.ts'
import { formatHex } from '../../../src/nix/store/hash.ts'
import type { FileNode, TreeNode } from '../../../src/tree/tree.ts'
import { failure } from '../scratch.ts'
import { base, closureFrom, file, folder, hashOf, link, type Sample, textOf } from '../store-samples.ts'

const at = (name: string): string => `/nix/store/${base(name)}`

/** A system that refers to a tool and an initrd, both of which refer to a library, which refers to another. */
function sampleStore(): Record<string, Sample> {
  const refer = (...names: string[]): string => names.map((name) => `${at(name)}/x\n`).join('')
  const of = (name: string, references: string[], tree: TreeNode): [string, Sample] => [
    base(name),
    { tree, references: references.map(base) },
  ]
  return Object.fromEntries([
    of('libc-1', [], file('old libc')),
    of('libc-2', [], file('new libc')),
    of('ssl-1.0', ['libc-1'], folder({ lib: file(`ssl ${refer('libc-1')}`) })),
    of('ssl-1.1', ['libc-1', 'ssl-1.1'], folder({ lib: file(`newer ssl ${refer('libc-1', 'ssl-1.1')}`) })),
    of(
      'tool',
      ['ssl-1.0', 'tool'],
      folder({ bin: file(`#!${refer('ssl-1.0')}${refer('tool')}`, 0o555), [base('ssl-1.0')]: link(at('ssl-1.0')) }),
    ),
    of('docs', [], file('no references')),
    of('initrd', ['ssl-1.0'], file(`packed ${refer('ssl-1.0')}`)),
    of('system', ['tool', 'docs', 'initrd', 'system'], folder({ init: file(refer('tool', 'docs', 'initrd', 'system')) })),
  ])
}

const SSL = { oldPath: at('ssl-1.0'), newPath: at('ssl-1.1') }
const LIBC = { oldPath: at('libc-1'), newPath: at('libc-2') }

async function replace(samples: Record<string, Sample>, options: Parameters<typeof planReplacement>[1]): Promise<ReplacedClosure> {
  const closure = await closureFrom(samples)
  return replaceDependencies(closure, (name) => (samples[name] as Sample).tree, { roots: [at('system')], ...options })
}

/** Names of the closure without their hash parts. */
function names({ closure }: ReplacedClosure): string[] {
  return closure.paths.map(({ baseName }) => baseName.slice(33)).sort()
}

/** What is wrong with a result: hashes, content addresses, references that are not those in the contents, names of old paths. */
async function faults(samples: Record<string, Sample>, result: ReplacedClosure): Promise<string[]> {
  const found: string[] = []
  const listed = new Map(result.closure.paths.map((path) => [path.baseName, path]))
  for (const { path, baseName, narHash, narSize, references, ca } of result.closure.paths) {
    const tree = result.overlay.get(baseName) ?? (samples[baseName] as Sample).tree
    const { hash, size } = await hashNar(tree, path)
    if (formatHex(hash) !== formatHex(narHash ?? hash.fill(0)) || size !== narSize) found.push(`${path}: hash`)
    const text = `${await textOf(tree)}`
    for (const reference of references) if (!listed.has(reference.slice(11))) found.push(`${path}: ${reference} is not in the closure`)
    const seen = [...listed.keys(), ...result.dropped.map((old) => old.slice(11))].filter((name) => text.includes(name.slice(0, 32)))
    if (
      seen
        .map((name) => `/nix/store/${name}`)
        .sort()
        .join() !== [...references].sort().join()
    )
      found.push(`${path}: holds ${seen}`)
    if (!result.overlay.has(baseName)) continue
    const again = await contentAddressed({ name: baseName.slice(33), tree, references, selfReference: baseName })
    if (again.path !== path || again.ca !== ca) found.push(`${path}: is not addressed by its content`)
  }
  return found
}

describe('replaceDependencies', () => {
  it('rewrites all that refers to a replaced path, and the closure has nothing else', async () => {
    const samples = sampleStore()
    const result = await replace(samples, { replacements: [SSL] })
    expect(names(result)).toEqual(['docs', 'initrd', 'libc-1', 'ssl-1.1', 'system', 'tool'])
    expect([...result.overlay.keys()].map((name) => name.slice(33)).sort()).toEqual(['initrd', 'system', 'tool'])
    expect([...result.dropped].sort()).toEqual(['initrd', 'libc-2', 'ssl-1.0', 'system', 'tool'].map(at).sort())
    expect(result.warnings).toEqual([])
    expect(result.mapping.get(at('ssl-1.0'))).toBe(at('ssl-1.1'))
    expect(result.mapping.get(at('system'))).toMatch(/-system$/)
    expect(result.mapping.get(at('docs'))).toBeUndefined()
    expect(await faults(samples, result)).toEqual([])
  })

  it('is told from one in which a reference is left over, a hash is wrong or a path is missing', async () => {
    const samples = sampleStore()
    const result = await replace(samples, { replacements: [SSL] })
    const [[name, tree] = ['', file('')]] = [...result.overlay].filter(([one]) => one.endsWith('-tool'))
    if (tree.kind !== 'directory') throw new Error(tree.kind)
    const leftOver = { ...tree, entries: [...tree.entries, { name: Buffer.from('z'), node: file(base('ssl-1.0')) }] }
    const withTree = (node: TreeNode): ReplacedClosure => ({ ...result, overlay: new Map([...result.overlay, [name, node]]) })
    expect(await faults(samples, withTree(leftOver))).toHaveLength(3)
    const without = {
      ...result,
      closure: { ...result.closure, paths: result.closure.paths.filter((path) => !path.baseName.endsWith('docs')) },
    }
    expect(await faults(samples, without)).not.toEqual([])
  })

  it('replaces within what replaces, and several at once', async () => {
    const samples = sampleStore()
    const result = await replace(samples, { replacements: [SSL, LIBC] })
    expect(names(result)).toEqual(['docs', 'initrd', 'libc-2', 'ssl-1.1', 'system', 'tool'])
    expect([...result.overlay.keys()].map((name) => name.slice(33)).sort()).toEqual(['initrd', 'ssl-1.1', 'system', 'tool'])
    expect(await faults(samples, result)).toEqual([])
    // One after the other is the same.
    const chained = await replace(samples, { replacements: [{ oldPath: at('libc-1'), newPath: at('libc-2') }] })
    expect(names(chained)).toEqual(['docs', 'initrd', 'libc-2', 'ssl-1.0', 'system', 'tool'])
    expect(await faults(samples, chained)).toEqual([])
  })

  it('leaves cut-offs alone, with all that they refer to', async () => {
    const samples = sampleStore()
    const result = await replace(samples, { replacements: [SSL], cutoffs: [at('initrd')] })
    expect(names(result)).toEqual(['docs', 'initrd', 'libc-1', 'ssl-1.0', 'ssl-1.1', 'system', 'tool'])
    expect([...result.overlay.keys()].map((name) => name.slice(33)).sort()).toEqual(['system', 'tool'])
    expect(await faults(samples, result)).toEqual([])
    const all = await replace(samples, { replacements: [SSL], cutoffs: [at('initrd'), at('tool')] })
    expect(all.overlay.size).toBe(0)
    expect(all.warnings).toEqual([
      `${at('ssl-1.0')}: is to be replaced with ${at('ssl-1.1')}, but all that refers to it is left alone, so nothing changes`,
    ])
    expect(names(all)).toEqual(['docs', 'initrd', 'libc-1', 'ssl-1.0', 'system', 'tool'])
    expect((await replace(samples, { replacements: [SSL], cutoffs: [at('nothing')] })).warnings).toEqual([
      `${at('nothing')}: is to be left alone, but is not in the closure`,
    ])
  })

  it('replaces a root, keeps to the roots it is given, and warns of what changes nothing', async () => {
    const samples = { ...sampleStore(), [base('systen')]: { tree: file('another'), references: [] } }
    const result = await replace(samples, { replacements: [{ oldPath: at('system'), newPath: at('systen') }] })
    expect(names(result)).toEqual(['systen'])
    const rooted = await replace(samples, { replacements: [SSL], roots: [at('tool')] })
    expect(names(rooted)).toEqual(['libc-1', 'ssl-1.1', 'tool'])
    // By themselves all paths are roots to which none refers, but for those that replace others.
    const closure = await closureFrom(samples)
    expect((await planReplacement(closure, { replacements: [SSL] })).roots.map((name) => name.slice(33)).sort()).toEqual([
      'libc-2',
      'system',
      'systen',
    ])
    expect((await planReplacement(closure, { replacements: [LIBC] })).roots.map((name) => name.slice(33)).sort()).toEqual([
      'ssl-1.1',
      'system',
      'systen',
    ])
    const itself = await replace(samples, { replacements: [{ oldPath: at('docs'), newPath: at('docs') }] })
    expect(itself.warnings).toEqual([`${at('docs')}: is to be replaced with itself, which changes nothing`])
    const missing = await replace(samples, { replacements: [{ oldPath: at('not-1.0'), newPath: at('ssl-1.1') }] })
    expect(missing.warnings).toEqual([`${at('not-1.0')}: is to be replaced, but is not in the closure`])
    expect(missing.overlay.size).toBe(0)
    const within = await replace(samples, { replacements: [SSL, { oldPath: at('libc-2'), newPath: at('libc-1') }] })
    expect(within.warnings).toEqual([`${at('libc-2')}: is to be replaced, but nothing in the closure refers to it`])
    const apart = await replace(samples, { replacements: [SSL], roots: [at('docs')] })
    expect(apart.warnings).toEqual([`${at('ssl-1.0')}: is to be replaced, but nothing in the closure refers to it`])
  })

  it('warns of a replacement the wrong way round', async () => {
    const closure = await closureFrom(sampleStore())
    const { warnings, rewritten } = await planReplacement(closure, { replacements: [{ oldPath: SSL.newPath, newPath: SSL.oldPath }] })
    expect(rewritten).toEqual([])
    expect(warnings).toEqual([
      `${SSL.newPath}: is to be replaced with ${SSL.oldPath}, but nothing refers to it, and the closure refers to that already; ` +
        `the other way round it is ${SSL.oldPath}=${SSL.newPath}`,
    ])
    expect((await planReplacement(closure, { replacements: [SSL] })).warnings).toEqual([])
    expect((await planReplacement(closure, { replacements: [SSL, LIBC] })).warnings).toEqual([])
  })

  it('refuses what cannot be done', async () => {
    const samples = {
      ...sampleStore(),
      [base('wrap-1')]: { tree: file(`wraps ${at('libc-1')}`), references: [base('libc-1')] },
      [base('x.drv')]: { tree: file(`Derive(${at('libc-1')})`), references: [base('libc-1')] },
    }
    const plan = async (replacements: Parameters<typeof planReplacement>[1]['replacements'], cutoffs?: string[]) =>
      planReplacement(await closureFrom(samples), { replacements, ...(cutoffs && { cutoffs }) })
    await failure(
      () => plan([{ oldPath: at('docs'), newPath: at('initrd') }]),
      'USAGE',
      /-docs \(name of 37 characters\) cannot be replaced with \S+-initrd \(39\)/,
    )
    await failure(
      () => plan([{ oldPath: at('docs'), newPath: at('dogs') }]),
      'NOT_FOUND',
      /-dogs: is to replace \S+-docs, but is not in the listing/,
    )
    await failure(
      () => plan([LIBC, { oldPath: at('libc-1'), newPath: at('wrap-1') }]),
      'USAGE',
      /is to be replaced with \S+-libc-2 and with \S+-wrap-1/,
    )
    await failure(() => plan([{ oldPath: at('libc-1'), newPath: at('wrap-1') }]), 'BAD_INPUT', /refers to what it replaces/)
    await failure(() => plan([LIBC]), 'UNSUPPORTED', /x\.drv: refers to a replaced path, but a derivation cannot be rewritten/)
    expect((await plan([LIBC], [at('x.drv')])).rewritten.map((name) => name.slice(33))).toContain('tool')
    await failure(() => plan([SSL, { oldPath: at('ssl-1.1'), newPath: at('ssl-1.0') }]), 'BAD_INPUT', /-ssl-1\.\d\n {2}is replaced with/)
    await failure(() => plan([{ oldPath: '/etc/passwd', newPath: at('docs') }]), 'BAD_INPUT', /is not a path below/)
    const closure = await closureFrom(samples)
    await failure(() => planReplacement({ ...closure, referencesKnown: false }, { replacements: [] }), 'USAGE', /needs the references/)
    await failure(() => planReplacement(closure, { replacements: [], roots: [at('gone')] }), 'NOT_FOUND', /is not in the listing/)
  })

  it('refuses a replacement that refers to what it replaces, unless it is left alone', async () => {
    const samples = {
      ...sampleStore(),
      [base('ssl-w.w')]: { tree: file(`wraps ${at('ssl-1.0')}`), references: [base('ssl-1.0')] },
    }
    const replacements = [{ oldPath: at('ssl-1.0'), newPath: at('ssl-w.w') }]
    await failure(
      () => replace(samples, { replacements }),
      'BAD_INPUT',
      /would have to refer to itself;[\s\S]*(is replaced with \S+-ssl-w\.w|refers to \S+-ssl-1\.0)\n[\s\S]*(refers to \S+-ssl-1\.0|is replaced with \S+-ssl-w\.w)$/,
    )
    const result = await replace(samples, { replacements, cutoffs: [at('ssl-w.w')] })
    expect(names(result)).toEqual(['docs', 'initrd', 'libc-1', 'ssl-1.0', 'ssl-w.w', 'system', 'tool'])
    expect(await faults(samples, result)).toEqual([])
  })

  it('names compressed files: those that hold an old name, and those of which it is not known', async () => {
    const samples = sampleStore()
    const tool = samples[base('tool')] as Sample
    if (tool.tree.kind !== 'directory') throw new Error('tool')
    const packed: Record<string, FileNode> = {
      'with.gz': file(gzipSync(`see ${at('ssl-1.0')}`)),
      'without.gz': file(gzipSync(`see ${at('docs')}`)),
      'own.gz': file(gzipSync(hashOf('tool'))),
      'broken.gz': file(gzipSync('x'.repeat(1000)).subarray(0, 20)),
      'module.xz': file(Buffer.from('fd377a585a000004', 'hex')),
      'image.squashfs': file('hsqs and more'),
      plain: file('BZ'),
    }
    const tree = {
      ...tool.tree,
      entries: [...tool.tree.entries, ...Object.entries(packed).map(([name, node]) => ({ name: Buffer.from(name), node }))],
    }
    const docs = { tree: file(gzipSync(at('ssl-1.0'))), references: [] }
    const result = await replace({ ...samples, [base('tool')]: { ...tool, tree }, [base('docs')]: docs }, { replacements: [SSL] })
    expect(result.warnings).toEqual(
      [
        `${at('tool')}: compressed files hold the name of a replaced path, and keep it: ${at('tool')}/with.gz (gzip), ${at('tool')}/own.gz (gzip)`,
        `${at('tool')}: compressed files may hold the name of a replaced path, and would keep it: ${at('tool')}/broken.gz (gzip), ${at('tool')}/module.xz (xz), ${at('tool')}/image.squashfs (squashfs)`,
      ].map((text) => expect.stringContaining(text.slice(0, 80))),
    )
    for (const name of ['with.gz', 'own.gz']) expect(result.warnings[0]).toContain(name)
    for (const name of ['broken.gz', 'module.xz', 'image.squashfs']) expect(result.warnings[1]).toContain(name)
    expect(result.warnings.join()).not.toContain('without.gz')
  })

  it('reads what it rewrites as it is registered, or not at all', async () => {
    const samples = sampleStore()
    const closure = await closureFrom(samples)
    const treeOf = (name: string): TreeNode =>
      name === base('tool') ? folder({ bin: file('something else') }) : (samples[name] as Sample).tree
    await failure(() => replaceDependencies(closure, treeOf, { replacements: [SSL] }), 'HASH_MISMATCH', /-tool: its NAR is/)
    const unverified = await replaceDependencies(closure, treeOf, { replacements: [SSL], verify: false })
    expect(names(unverified)).toContain('tool')
    const read: string[] = []
    const noted = (name: string): TreeNode => {
      read.push(name.slice(33))
      return (samples[name] as Sample).tree
    }
    await replaceDependencies(closure, noted, { replacements: [SSL] })
    expect(read.sort()).toEqual(['initrd', 'system', 'tool'])
    const signal = AbortSignal.abort()
    await failure(() => replaceDependencies(closure, treeOf, { replacements: [SSL], signal }), 'ABORTED', /cancelled/)
  })

  it('takes chains of references of any length', async () => {
    const nameOf = (index: number): string => base(`n${String(index).padStart(5, '0')}`)
    const path = (baseName: string, references: string[]) => ({
      path: `/nix/store/${baseName}`,
      baseName,
      references: references.map((name) => `/nix/store/${name}`),
    })
    const chain = Array.from({ length: 20_000 }, (_, index) => path(nameOf(index), index === 0 ? [] : [nameOf(index - 1)]))
    const paths = [...chain, path(base('n-zero'), [])].sort((a, b) => (a.baseName < b.baseName ? -1 : 1))
    const closure = { kind: 'references-graph', paths, hashesKnown: false, referencesKnown: true } as const
    const plan = await planReplacement(closure, { replacements: [{ oldPath: at('n00000'), newPath: at('n-zero') }] })
    expect(plan.rewritten).toHaveLength(19_999)
    expect(plan.rewritten[0]).toBe(nameOf(1))
  })
})
