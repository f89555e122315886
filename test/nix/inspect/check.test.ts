/** A check finds what is wrong with a store, and only that. */
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, type SmallClosure, unpackSmall } from '../../../fixtures/unpack.ts'
import type { ProgressEvent } from '../../../src/io/progress.ts'
import { checkClosure } from '../../../src/nix/inspect/check.ts'
import { referenceHolders } from '../../../src/nix/inspect/holders.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { hashNar } from '../../../src/nix/nar/digest.ts'
import { narChunks } from '../../../src/nix/nar/dump.ts'
import { restoreNar } from '../../../src/nix/nar/restore.ts'
import { contentAddressed } from '../../../src/nix/store/content-address.ts'
import { formatSha256, formatSri } from '../../../src/nix/store/hash.ts'
import { storePolicy } from '../../../src/nix/store/store-policy.ts'
import { scanHost } from '../../../src/tree/scan.ts'
import { generatedClosure } from '../../e2e/closures.ts'
import { runOk } from '../../oracles/tools.ts'
import { removeTree } from '../../remove-tree.ts'
import { chunksOf } from '../nar/words.ts'
import { nixTools, skipNix } from '../nix-tools.ts'
import { failure } from '../scratch.ts'

let work = ''
let small: SmallClosure
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'kilnix-check-'))
  small = await unpackSmall(join(work, 'small'))
})
afterAll(() => removeStore(work))

const read = (file: string) => readClosure(file, { allowMissing: true })

/** A copy of the small closure's registration with other lines. */
async function changed(change: (text: string) => string) {
  const text = change(readFileSync(join(small.folder, 'registration'), 'utf8'))
  return readClosure('-', { stdin: chunksOf(Buffer.from(text)), allowMissing: true })
}

describe('a store that is right', () => {
  it.each(['registration', 'path-info.json', 'attrs.json', 'load-db.txt', '.'])('by %s', async (name) => {
    const report = await checkClosure(await read(join(small.folder, name)), { root: small.root, jobs: 2 })
    expect(report.problems).toEqual([])
    expect(report.notes).toEqual([])
    expect(report.hashedBytes).toBe(Number(readFileSync(join(small.folder, 'total-nar-size'), 'utf8')))
  })

  it('the report does not depend on the number of threads, and progress ends at the whole', async () => {
    const closure = await changed((text) => text.replace(/sha256:0/g, 'sha256:1'))
    const events: ProgressEvent[] = []
    const one = await checkClosure(closure, { root: small.root, jobs: 1, onProgress: (event) => events.push(event) })
    const four = await checkClosure(closure, { root: small.root, jobs: 4 })
    expect(four).toEqual(one)
    expect(events[0]).toEqual({ kind: 'stage', stage: 'hash', totalBytes: one.hashedBytes })
    expect(events.at(-1)).toEqual({ kind: 'bytes', stage: 'hash', doneBytes: one.hashedBytes })
  })

  const traps = generatedClosure('traps')
  it.skipIf(traps.skip)('content addresses of texts, files and folders are right', { timeout: 60_000 }, async () => {
    const closure = await read(join(traps.folder, 'path-info.json'))
    expect(closure.paths.filter(({ ca }) => ca !== undefined).length).toBeGreaterThan(4)
    const { problems, notes } = await checkClosure(closure, { root: traps.root })
    expect({ problems, notes }).toEqual({ problems: [], notes: [] })
    // Each address with another digit, and each with that of another kind, is wrong.
    const text = readFileSync(join(traps.folder, 'path-info.json'), 'utf8')
    for (const damage of [
      (ca: string) => ca.replace(/(.)$/, (digit) => (digit === '0' ? '1' : '0')),
      (ca: string) =>
        ca.startsWith('text:') ? ca.replace('text:', 'fixed:') : ca.replace(/^fixed:(r:)?/, (_all, r) => (r ? 'fixed:' : 'fixed:r:')),
    ]) {
      const wrong = text.replace(/"ca":"([^"]*)"/g, (_all, ca: string) => `"ca":"${damage(ca)}"`)
      const report = await checkClosure(await readClosure('-', { stdin: chunksOf(Buffer.from(wrong)) }), { root: traps.root })
      expect(report.problems.map(({ kind }) => kind)).toEqual(closure.paths.filter(({ ca }) => ca !== undefined).map(() => 'address'))
    }
    const unknown = text.replace(/"ca":"text:/g, '"ca":"fixed:git:')
    const report = await checkClosure(await readClosure('-', { stdin: chunksOf(Buffer.from(unknown)) }), { root: traps.root })
    expect(report.problems).toEqual([])
    expect(report.notes.map(({ kind }) => kind)).toEqual(['unchecked', 'unchecked'])
  })
})

describe('what is wrong with a listing', () => {
  it('a reference that is not listed, with and without the contents', async () => {
    const lines = readFileSync(join(small.folder, 'registration'), 'utf8').split('\n')
    const contents = small.storePaths.find((path) => path.endsWith('-contents')) ?? ''
    const at = lines.findIndex((line, index) => line === contents && lines[index + 1]?.startsWith('sha256:'))
    const count = Number(lines[at + 4])
    const text = [...lines.slice(0, at), ...lines.slice(at + 5 + count)].join('\n')
    const closure = await readClosure('-', { stdin: chunksOf(Buffer.from(text)), allowMissing: true })
    const listed = await checkClosure(closure, { contents: false })
    expect(listed.problems.length).toBeGreaterThan(0)
    for (const problem of listed.problems) expect(problem).toMatchObject({ kind: 'unlisted', message: expect.stringContaining(contents) })
    expect(await checkClosure(closure, { root: small.root })).toMatchObject({ problems: listed.problems })
    await failure(() => readClosure('-', { stdin: chunksOf(Buffer.from(text)) }), 'NOT_FOUND', /which is not in the listing/)
  })

  it('sizes, hashes, references that are too many or too few', async () => {
    const [first = ''] = small.storePaths
    const record = (text: string, change: (record: string[]) => string[]): string => {
      const lines = text.split('\n')
      const at = lines.findIndex((line, index) => line === first && lines[index + 1]?.startsWith('sha256:'))
      const end = at + 5 + Number(lines[at + 4])
      return [...lines.slice(0, at), ...change(lines.slice(at, end)), ...lines.slice(end)].join('\n')
    }
    const problems = async (change: (record: string[]) => string[]) => {
      const report = await checkClosure(await changed((text) => record(text, change)), { root: small.root })
      return [...report.problems, ...report.notes].map(({ path, kind }) => [path, kind])
    }
    expect(await problems((lines) => lines.with(2, String(Number(lines[2]) + 8)))).toEqual([[first, 'size']])
    expect(await problems((lines) => lines.with(1, `sha256:${'1'.repeat(52)}`))).toEqual([[first, 'hash']])
    const other = small.storePaths.find((path) => path.endsWith('-empty-directory')) ?? ''
    expect(await problems((lines) => [...lines.with(4, String(Number(lines[4]) + 1)), other])).toEqual([[first, 'reference']])
    const closure = await read(small.folder)
    const withReferences = closure.paths.filter(({ references }) => references.length > 0)
    const without = { ...closure, paths: closure.paths.map((entry) => ({ ...entry, references: [] })) }
    const report = await checkClosure(without, { root: small.root })
    expect(report.problems).toEqual([])
    expect(report.notes.map(({ kind }) => kind)).toEqual(withReferences.flatMap(({ references }) => references.map(() => 'unregistered')))
  })
})

describe('what is wrong with a store', () => {
  it('a byte, a file more, another link, another kind, a path that is not there, a pipe', async () => {
    const { folder, root, storePaths } = await unpackSmall(join(work, 'damaged'))
    const at = (name: string): string => join(root, storePaths.find((path) => path.slice(44) === name) ?? name)
    const program = at('program')
    const bytes = readFileSync(program)
    bytes[5] = (bytes[5] ?? 0) ^ 1
    chmodSync(program, 0o755)
    writeFileSync(program, bytes)
    chmodSync(at('empty-directory'), 0o755)
    writeFileSync(join(at('empty-directory'), 'more'), '')
    removeTree(at('link-to-program'))
    symlinkSync('nowhere', at('link-to-program'))
    removeTree(at('empty-file'))
    mkdirSync(at('empty-file'))
    removeTree(at('etc'))
    removeTree(at('contents'))
    runOk('mkfifo', [at('contents')])
    const { problems, notes } = await checkClosure(await read(folder), { root })
    const found: Record<string, string[]> = {}
    for (const { path, kind } of problems) found[path.slice(44)] = [...(found[path.slice(44)] ?? []), kind]
    expect(found).toEqual({
      'empty-directory': ['size', 'hash'],
      contents: ['unreadable'],
      'empty-file': ['size', 'hash'],
      etc: ['missing'],
      program: ['hash'],
      'link-to-program': ['size', 'hash', 'reference'],
    })
    expect(notes).toEqual([])
  })

  it('ends when the signal comes, also before the first path', async () => {
    const closure = await read(small.folder)
    await failure(() => checkClosure(closure, { root: small.root, signal: AbortSignal.abort() }), 'ABORTED', /cancelled/)
    const controller = new AbortController()
    const stop = () => controller.abort()
    await failure(() => checkClosure(closure, { root: small.root, signal: controller.signal, onProgress: stop }), 'ABORTED', /cancelled/)
  })
})

describe('content addresses of paths that refer to themselves', () => {
  it('are those that make-content-addressed gives, and wrong when a byte differs', async () => {
    const own = '0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-self'
    const source = join(work, 'self-source')
    mkdirSync(source)
    writeFileSync(join(source, 'file'), `I am /nix/store/${own}/file\n`)
    symlinkSync(`/nix/store/${own}/file`, join(source, 'link'))
    const made = await contentAddressed({ name: 'self', tree: scanHost(source, storePolicy()), references: [], selfReference: own })
    const root = join(work, 'self-root')
    mkdirSync(join(root, 'nix/store'), { recursive: true })
    await restoreNar(narChunks(made.tree, 'self'), join(root, made.path))
    const listing = (ca: string): string =>
      JSON.stringify([{ path: made.path, narHash: formatSri(made.narHash), narSize: made.narSize, references: made.references, ca }])
    const check = async (ca: string) =>
      (await checkClosure(await readClosure('-', { stdin: chunksOf(Buffer.from(listing(ca))) }), { root })).problems.map(({ kind }) => kind)
    expect(made.references).toEqual([made.path])
    expect(await check(made.ca)).toEqual([])
    expect(await check(`fixed:r:${formatSha256(made.narHash)}`)).toEqual(['address'])
    const file = join(root, made.path, 'file')
    chmodSync(file, 0o644)
    writeFileSync(file, readFileSync(file, 'utf8').replace('I am', 'I AM'))
    expect(await check(made.ca)).toEqual(['hash', 'address'])
  })

  it.skipIf(skipNix)('by Nix itself', { timeout: 60_000 }, async () => {
    const nix = nixTools(join(work, 'nix-home'))
    const store = (await unpackSmall(join(work, 'nix-store'))).root
    nix.ok(store, 'nix-store', ['--load-db'], readFileSync(join(small.folder, 'registration')))
    const made = nix.ok(store, 'nix', ['store', 'make-content-addressed', '-r', '--json', small.toplevel]).text
    const { rewrites } = JSON.parse(made) as { rewrites: Record<string, string> }
    const json = nix.ok(store, 'nix', ['path-info', '-r', '--json', rewrites[small.toplevel] ?? '']).stdout
    const closure = await readClosure('-', { stdin: chunksOf(json) })
    expect(closure.paths.every(({ ca }) => ca?.startsWith('fixed:r:sha256:'))).toBe(true)
    expect(closure.paths.some(({ path, references }) => references.includes(path))).toBe(true)
    const { problems } = await checkClosure(closure, { root: store })
    expect(problems).toEqual([])
  })
})

describe('holders of references', () => {
  it('are contents, targets and names; a hash part may lie across two chunks', async () => {
    const base = '0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-it'
    const folder = join(work, 'holders')
    mkdirSync(folder)
    writeFileSync(join(folder, 'far'), Buffer.concat([Buffer.alloc((1 << 20) - 10), Buffer.from(`${base} and ${base}`)]))
    writeFileSync(join(folder, 'none'), base.slice(0, 31))
    writeFileSync(join(folder, base), '')
    symlinkSync(`/nix/store/${base}/x`, join(folder, 'link'))
    const found = await referenceHolders(scanHost(folder, storePolicy()), [base, `1${base.slice(1)}`], 'x')
    expect(found.get(base)).toEqual([
      { member: base, kind: 'name', offset: 0 },
      { member: 'far', kind: 'content', offset: (1 << 20) - 10 },
      { member: 'link', kind: 'target', offset: 11 },
    ])
    expect(found.get(`1${base.slice(1)}`)).toEqual([])
    expect((await hashNar(scanHost(folder, storePolicy()), 'x')).size).toBeGreaterThan(1 << 20)
  })
})
