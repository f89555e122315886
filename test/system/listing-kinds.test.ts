/** One closure by every kind of listing: every command writes the same bytes, and says so when it is asked for what a kind has not. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { formatPathInfo } from '../../src/nix/listing/path-info.ts'
import { readClosure } from '../../src/nix/listing/read.ts'
import { nixDatabase } from '../../src/nix/store/database.ts'
import { formatSri, parseNix32 } from '../../src/nix/store/hash.ts'
import { loadClosure } from '../../src/system/store.ts'
import type { Report, Request } from '../faults/every-output.ts'
import { kilnix, smallWork, type Work } from '../faults/support.ts'
import { addTwin } from '../images/twins.ts'
import { specOfToplevel } from './assemble/of-store.ts'

const EVERY_OUTPUT = fileURLToPath(new URL('../faults/every-output.ts', import.meta.url))

let work: Work
/** By kind, with a path beside the system's closure that takes the place of one in it. */
let listings: ReadonlyMap<string, string>
let pair: string

interface Info {
  readonly path: string
  readonly narHash: string
  readonly narSize: number
  readonly references: readonly string[]
  readonly deriver?: string
}

const DIGEST = '0sjjj9z1dhilhpc8pq4154czrb79z9cm044jvn75kxcjv6v5l2m5'

beforeAll(async () => {
  work = await smallWork()
  const { folder, closure } = work
  const at = (name: string): string => join(folder, name)
  const original = join(closure.folder, 'path-info.json')
  const twin = await addTwin({ listing: original, root: closure.root, into: folder }, 'self-reference-1.0')
  pair = twin.pair
  const { paths } = await readClosure(twin.listing)
  const infos = paths.map(({ path, narHash = new Uint8Array(), narSize = 0, references, deriver }): Info => {
    const hash = `sha256-${Buffer.from(narHash).toString('base64')}`
    return { path, narHash: hash, narSize, references, ...(deriver !== undefined && { deriver }) }
  })
  const hex = ({ narHash }: Info): string => Buffer.from(narHash.slice(7), 'base64').toString('hex')
  const record = (info: Info, hash: string, deriver: string): string =>
    `${[info.path, hash, info.narSize, deriver, info.references.length, ...info.references].join('\n')}\n`
  const records = (prefix: string, hasDeriver: boolean): string =>
    infos.map((info) => record(info, `${prefix}${hex(info)}`, hasDeriver ? (info.deriver ?? '') : '')).join('')
  const write = (name: string, text: string | Uint8Array): string => {
    writeFileSync(at(name), text)
    return at(name)
  }
  mkdirSync(at('info'))
  write('info/store-paths', infos.map(({ path }) => `${path}\n`).join(''))
  write('info/registration', records('sha256:', false))
  write('info/total-nar-size', `${infos.reduce((sum, { narSize }) => sum + narSize, 0)}\n`)
  const base = (path: string): string => path.slice('/nix/store/'.length)
  const formatTwo = infos.map(({ path, references, deriver = null, ...info }) => [
    base(path),
    {
      ...info,
      ca: { method: 'nar', hash: formatSri(parseNix32(DIGEST, 32) ?? new Uint8Array()) },
      deriver: deriver && base(deriver),
      references: references.map(base),
    },
  ])
  listings = new Map([
    ['closure-info', at('info')],
    ['registration', write('registration', records('sha256:', false))],
    ['registration with derivers', write('derivers', records('sha256:', true))],
    ['dump-db', write('dump-db', records('', true))],
    [
      'references-graph',
      write('graph', infos.map(({ path, references }) => `${[path, '', references.length, ...references].join('\n')}\n`).join('')),
    ],
    ['path-list', write('list', infos.map(({ path }) => `${path}\n`).join(''))],
    [
      'structured-attributes',
      write('attrs', JSON.stringify({ closure: infos.map(({ deriver, ...info }) => ({ ...info, ca: `fixed:r:sha256:${DIGEST}` })) })),
    ],
    [
      'path-info of old',
      write('old', JSON.stringify(infos.map((info) => ({ ...info, ca: `fixed:r:sha256:${DIGEST}`, registrationTime: 7, ultimate: true })))),
    ],
    ['path-info, format 1', write('one', formatPathInfo({ kind: 'path-info', hashesKnown: true, referencesKnown: true, paths }))],
    ['path-info, format 2', write('two', JSON.stringify({ version: 2, storeDir: '/nix/store', info: Object.fromEntries(formatTwo) }))],
  ])
  writeFileSync(at('spec.json'), JSON.stringify(specOfToplevel(closure.root, closure.toplevel, folder)))
})
afterAll(() => work.remove())

describe('a closure', () => {
  it('is the same, whatever kind of listing it is read from', async () => {
    const { root } = work.closure
    const [first, ...others] = await Promise.all([...listings.values()].map((closure) => loadClosure({ closure, root })))
    expect(others.length).toBe(9)
    for (const { closure } of others) expect(closure.paths).toEqual(first?.closure.paths)
    const databases = new Set([first, ...others].map((one) => one && Buffer.from(nixDatabase(one.closure)).toString('base64')))
    expect(databases.size).toBe(1)
  })

  it('keeps derivers and content addresses when it is told to, where the listing has both', async () => {
    const { root } = work.closure
    for (const [kind, closure] of listings) {
      const loading = loadClosure({ closure, root, provenance: true })
      if (!kind.startsWith('path-info')) {
        await expect(loading, kind).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('has not both') })
        continue
      }
      const { closure: kept } = await loading
      expect(kept.paths.filter(({ deriver }) => deriver !== undefined).length, kind).toBeGreaterThan(5)
      expect(kept.paths.filter(({ ca }) => ca !== undefined).length, kind).toBeGreaterThan(0)
      const written = await readClosure(listings.get('path-info, format 1') ?? '')
      if (kind === 'path-info, format 1') expect(nixDatabase(kept)).toEqual(nixDatabase(written))
    }
    const listed = JSON.parse(readFileSync(listings.get('path-info, format 2') ?? '', 'utf8'))
    const file = join(work.folder, 'strange-address.json')
    const [info] = Object.values<{ ca: unknown }>(listed.info)
    for (const ca of [
      { method: 'tree', hash: 'sha256-IytGadZ77OWET6Hqn131SIpbuA1QkAbuaIJQZGiDdkk=' },
      { method: 'nar', hash: 'crc32-AAAA' },
      'fixed:x',
    ]) {
      Object.assign(info ?? {}, { ca })
      writeFileSync(file, JSON.stringify(listed))
      expect((await loadClosure({ closure: file, root })).closure.paths).toEqual(
        (await loadClosure({ closure: listings.get('registration') ?? '', root })).closure.paths,
      )
      await expect(loadClosure({ closure: file, root, provenance: true })).rejects.toMatchObject({
        code: 'UNSUPPORTED',
        message: expect.stringMatching(/content address of \S+ is .*of a kind that is not known.*leave provenance out/),
      })
    }
    const args = ['--closure', listings.get('registration') ?? '', '--root', root, '--replace', pair]
    const { status, stderr } = await kilnix(['replace', ...args, '--provenance', '-o', join(work.folder, 'never')])
    expect(stderr).toContain('has not both; give that of nix path-info --json, or leave --provenance out')
    expect(status).toBe(2)
  })

  it('has the content addresses of what is made, whatever it is listed by', async () => {
    const [oldPath = '', newPath = ''] = pair.split('=')
    const addresses = async (kind: string): Promise<unknown> => {
      const { closure, overlay } = await loadClosure({
        closure: listings.get(kind) ?? '',
        root: work.closure.root,
        replacements: [{ oldPath, newPath }],
        toplevelSpec: join(work.folder, 'spec.json'),
      })
      const made = closure.paths.filter(({ baseName }) => overlay.has(baseName))
      expect(made.every(({ ca }) => ca?.startsWith('fixed:r:sha256:'))).toBe(true)
      return closure.paths.map(({ path, ca }) => [path, ca])
    }
    expect(await addresses('path-info of old')).toEqual(await addresses('registration'))
  })
})

describe('every command', () => {
  it('writes the same bytes for a registration and a list of paths', async () => {
    const { root } = work.closure
    const [oldPath = ''] = pair.split('=')
    const build = (listing: string): Request['outputs'] => {
      const base = ['--closure', listing, '--root', root, '--quiet']
      const packed = ['--compression', 'zstd:1', '--block-size', '128K']
      const out = ['-o', 'OUT']
      return [
        ['iso', ['iso', ...base, ...packed, ...out]],
        ['squashfs', ['squashfs', ...base, ...packed, ...out]],
        ...['manifest', 'per-path'].map(
          (style) => [`netboot, ${style}`, ['netboot', ...base, ...packed, '--style', style, ...out]] as const,
        ),
        ['disk', ['disk', ...base, '--free', '0', '--esp-size', '20M', ...out]],
        ['zfs', ['zfs', ...base, '--root-size', 'auto', '--free', '8M', '--boot-size', '64M', ...out]],
        ['replace', ['replace', ...base, '--replace', pair, ...out]],
        ['toplevel', ['toplevel', join(work.folder, 'spec.json'), ...base, ...out]],
        ['initrd', ['initrd', ...base, '--link', `/init=${oldPath}`, '--compression', 'zstd:1', ...out]],
      ]
    }
    // Of the others the closures are the same.
    const kinds = ['registration', 'path-list']
    const request: Request = {
      folder: join(work.folder, 'out'),
      outputs: kinds.flatMap((kind) => build(listings.get(kind) ?? '').map(([name, args]) => [`${kind}: ${name}`, args] as const)),
      report: join(work.folder, 'report'),
    }
    const env = { ...process.env, SOURCE_DATE_EPOCH: '' }
    const child = spawn(process.execPath, [EVERY_OUTPUT, JSON.stringify(request)], { env, stdio: ['ignore', 'ignore', 'inherit'] })
    expect(await once(child, 'close')).toEqual([0, null])
    const report = JSON.parse(readFileSync(request.report, 'utf8')) as Report
    const ofKind = (kind: string): unknown =>
      Object.fromEntries(
        Object.entries(report).flatMap(([name, digest]) => (name.startsWith(`${kind}: `) ? [[name.slice(kind.length), digest]] : [])),
      )
    const wanted = ofKind('registration')
    expect(Object.values(wanted as object).filter((digest) => String(digest).startsWith('status'))).toEqual([])
    for (const kind of kinds) expect(ofKind(kind), kind).toEqual(wanted)
  }, 600_000)
})
