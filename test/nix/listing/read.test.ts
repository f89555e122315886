import { copyFileSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Closure, listedPath } from '../../../src/nix/listing/closure.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { rebuildRegistration } from '../../../src/nix/listing/rebuild.ts'
import { formatRegistration } from '../../../src/nix/listing/registration.ts'
import { hashNar } from '../../../src/nix/nar/digest.ts'
import { formatSri, isContentAddress } from '../../../src/nix/store/hash.ts'
import { failure, scratchFolder } from '../scratch.ts'
import { base, file, folder } from '../store-samples.ts'

const listing = (name: string): string => new URL(`../../../fixtures/listings/${name}`, import.meta.url).pathname
const REGISTRATION = readFileSync(listing('closure-info/registration'), 'latin1')

/** The real registration reduced to the paths of `closure`. */
function registrationOf(closure: Closure): string {
  const records = REGISTRATION.split(/(?<=\n)(?=\/nix\/store\/[^\n]*\nsha256:)/)
  return records.filter((record) => closure.paths.some(({ path }) => record.startsWith(`${path}\nsha256:`))).join('')
}

async function* bytes(text: string, size = text.length): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < text.length; start += size) yield Buffer.from(text.slice(start, start + size), 'latin1')
}

const read = (text: string, size?: number): Promise<Closure> => readClosure('-', { stdin: bytes(text, size) })

describe('readClosure', () => {
  const scratch = scratchFolder()

  it.each([
    ['closure-info', 'closure-info', 40],
    ['closure-info/registration', 'registration', 40],
    ['dump-db.txt', 'dump-db', 40],
    ['attrs.json', 'structured-attributes', 40],
    ['path-info-nix-2.8.json', 'path-info', 6],
    ['path-info-nix-2.26.json', 'path-info', 5],
    ['path-info-format-1.json', 'path-info', 6],
    ['path-info-format-2.json', 'path-info', 6],
  ])('reads %s as %s and gives the registration that Nix gave', async (name, kind, count) => {
    const closure = await readClosure(listing(name))
    expect(closure).toMatchObject({ kind, hashesKnown: true, referencesKnown: true })
    expect(closure.paths).toHaveLength(count)
    const registration = Buffer.from(formatRegistration(closure)).toString('latin1')
    expect(registration).toBe(registrationOf(closure))
    if (count === 40) expect(registration).toBe(REGISTRATION)
  })

  it('takes hashes of zeros with size 0 as not known, one by one, and unknown-deriver as no deriver', async () => {
    const path = (name: string): string => `/nix/store/${'0'.repeat(31)}${name}-${name}`
    const zeros = [path('a'), '0'.repeat(64), '0', 'unknown-deriver', '0', '']
    const known = [path('b'), '1'.repeat(64), '96', '', '1', path('a'), '']
    const info = (narHash: string, narSize: number, references: string[], deriver: string | null) => ({
      ...{ narHash, narSize, references, deriver },
    })
    const sri = (digit: string): string => formatSri(Buffer.from(digit.repeat(64), 'hex'))
    const json = { [path('a')]: info(sri('0'), 0, [], 'unknown-deriver'), [path('b')]: info(sri('1'), 96, [path('a')], null) }
    for (const text of [zeros.join('\n') + known.join('\n'), JSON.stringify(json)]) {
      const closure = await read(text)
      expect(closure.hashesKnown).toBe(false)
      expect(closure.paths).toEqual([
        { path: path('a'), baseName: path('a').slice(11), references: [] },
        { path: path('b'), baseName: path('b').slice(11), references: [path('a')], narHash: expect.anything(), narSize: 96 },
      ])
    }
    // A size that cannot be is refused with any other hash, and zeros with any other size are a hash.
    await expect(read(known.join('\n').replace('\n96\n', '\n0\n'))).rejects.toMatchObject({ code: 'BAD_INPUT' })
    expect((await read(zeros.join('\n').replace('\n0\n', '\n96\n'))).hashesKnown).toBe(true)
  })

  it('keeps the hashes that are listed when others are found in the files, so that both are compared', async () => {
    const at = (name: string): string => `/nix/store/${base(name)}`
    const nodes = ['a', 'b'].map((name) => ({ name: Buffer.from(base(name)), node: file(name) }))
    const [a = '', b = ''] = ['a', 'b'].map((name) =>
      [at(name), name === 'a' ? '0'.repeat(64) : '1'.repeat(64), name === 'a' ? '0' : '112', '', '0', ''].join('\n'),
    )
    const closure = await rebuildRegistration(await read(a + b), { ...folder({}), entries: nodes })
    const found = await hashNar(file('a'), 'a')
    expect(listedPath(closure, base('a'))).toMatchObject({ narHash: found.hash, narSize: found.size })
    expect(listedPath(closure, base('b'))).toMatchObject({ narHash: new Uint8Array(32).fill(0x11), narSize: 112 })
  })

  it.each([
    ['a binary cache', 'nix-cache-info', /it is a binary cache; list the closure of a path in it \(nix path-info -r --json --store file:/],
    ['a system', 'init', /it is a system; list its closure \(nix path-info -r --json /],
    ['the root of a store', 'nix/store/x', /it is the root of a store/],
    ['what kilnix wrote', 'closure-info/store-paths', /its listing is .*closure-info$/],
  ])('says what to give instead of %s', async (_, member, message) => {
    const root = scratch(`folder-${member.replaceAll('/', '-')}`)
    mkdirSync(join(root, dirname(member)), { recursive: true })
    writeFileSync(join(root, member), '')
    await failure(() => readClosure(root), 'NOT_FOUND', message)
  })

  it('reads content addresses in every layout that has them, and to the same text', async () => {
    const known = new Map<string, string>()
    for (const name of [
      'path-info-nix-2.8.json',
      'path-info-nix-2.26.json',
      'path-info-format-1.json',
      'path-info-format-2.json',
      'attrs.json',
    ]) {
      const addressed = (await readClosure(listing(name))).paths.filter(({ ca }) => ca !== undefined)
      expect(addressed.length, name).toBeGreaterThan(1)
      for (const { path, ca = '' } of addressed) {
        expect(ca, name).toMatch(/^(text|fixed|fixed:r):sha256:[0-9a-z]{52}$/)
        expect(known.get(path) ?? ca, `${name}: ${path}`).toBe(ca)
        known.set(path, ca)
      }
    }
    expect(new Set([...known.values()].map((ca) => ca.slice(0, ca.indexOf('sha'))))).toEqual(new Set(['text:', 'fixed:', 'fixed:r:']))
  })

  // The same paths as Nix 2.34.8 lists them in format 2 and in format 1.
  it.each([
    ['flat', 'md5-dk76iD3aHhHbR2ccSju9ng==', 'fixed:md5:4yplxll7378zdi27ns7n4glkkn'],
    ['flat', 'sha1-VcpihuPk9Pul0ESDM/qZ/FpASnM=', 'fixed:sha1:fd540npwk7x370s4s2jzpx74wf365jjm'],
    ['flat', 'sha256-mOpuTyFvL7S2n/+bOkSELDhobKaF8/VdxIxdP7EQe+Q=', 'fixed:sha256:1r3v22qkypccqifzbww5lrn6hf1chi23m6zzkyvb8bvg457nxslq'],
    ['git', 'sha1-FMrcsqLhWawRZovQQZD5ka30LKg=', 'fixed:git:sha1:m0ng9bciz6843l4bcq8sqng1lardrjhl'],
    ['nar', 'blake3-Q4vGoEnYSlkxFXA2STHpC+dm7iQsQn8qjFbJjwW2iqc=', 'fixed:r:blake3:19wanq2qzjanihm7yhic4kp6drqbx4qljdkh2lqmjjnq96hcd2s3'],
    [
      'nar',
      'sha512-OGRCepEEShq6izl337yf7LOH6XipVh2B/IVVvkPWfVzA4vfwRX+2nXycLkUzPcglChoSA8xB781dCtxObX7wkQ==',
      'fixed:r:sha512:28z0zkd9vf0lpfdxx0wq0qj3852bj1x6d2jx73wknv7yighyzic0p3xsr1vwmc5zj0ismm9g3lqgczckyydyxrrifx1ljh4j5x44r1q',
    ],
    ['text', 'sha256-SG6kYiTRu0+2gPNPfJrZao8k7Ii+c+qOWmxlJg6cuKc=', 'text:sha256:19xqkh72crbcba7flwxyi3n293vav6d7qkzkh2v4zfyi4iia8vj8'],
  ])('spells a content address by %s, %s, as Nix registers it', async (method, hash, text) => {
    const two = JSON.parse(readFileSync(listing('path-info-format-2.json'), 'utf8'))
    for (const info of Object.values<{ ca: unknown }>(two.info)) info.ca = { method, hash }
    const { paths } = await read(JSON.stringify(two))
    expect(new Set(paths.map(({ ca }) => ca))).toEqual(new Set([text]))
    expect(isContentAddress(text)).toBe(true)
  })

  it('reads hashes that are objects', async () => {
    const two = JSON.parse(readFileSync(listing('path-info-format-2.json'), 'utf8'))
    const registered = registrationOf(await read(JSON.stringify(two)))
    const object = (text: string): object => ({ algorithm: text.split('-')[0], format: 'base64', hash: text.slice(text.indexOf('-') + 1) })
    for (const info of Object.values<{ narHash: unknown; ca: { hash: unknown } | null }>(two.info)) {
      info.narHash = object(info.narHash as string)
      if (info.ca) info.ca.hash = object(info.ca.hash as string)
    }
    const closure = await read(JSON.stringify(two))
    expect(Buffer.from(formatRegistration(closure)).toString()).toBe(registered)
    expect(closure.paths.some(({ ca }) => ca !== undefined)).toBe(true)
  })

  it('keeps a content address that it does not know as it is', async () => {
    const two = JSON.parse(readFileSync(listing('path-info-format-2.json'), 'utf8'))
    for (const info of Object.values<{ ca: unknown }>(two.info)) info.ca = { method: 'git', hash: 'sha1-x' }
    const { paths } = await read(JSON.stringify(two))
    expect(new Set(paths.map(({ ca }) => ca))).toEqual(new Set(['{"method":"git","hash":"sha1-x"}']))
  })

  it('reads path-info format 3, where signatures are objects', async () => {
    const two = JSON.parse(readFileSync(listing('path-info-format-2.json'), 'utf8'))
    for (const info of Object.values<{ signatures: unknown; version: number }>(two.info)) {
      info.signatures = [{ keyName: 'example-1', sig: 'AA==' }]
      info.version = 3
    }
    const closure = await read(JSON.stringify({ ...two, version: 3 }))
    expect(Buffer.from(formatRegistration(closure)).toString()).toBe(registrationOf(closure))
  })

  it('reads an exportReferencesGraph file: references, no hashes', async () => {
    const closure = await readClosure(listing('references-graph.txt'))
    expect(closure).toMatchObject({ kind: 'references-graph', hashesKnown: false, referencesKnown: true })
    const registered = await readClosure(listing('closure-info'))
    expect(closure.paths.map(({ path, references }) => ({ path, references }))).toEqual(
      registered.paths.map(({ path, references }) => ({ path, references })),
    )
    expect(() => formatRegistration(closure)).toThrow(/rebuild/)
  })

  it('reads a plain list: nothing but paths, sorted', async () => {
    for (const [name, count] of [
      ['path-list.txt', 6],
      ['closure-info/store-paths', 40],
    ] as const) {
      const closure = await readClosure(listing(name))
      expect(closure).toMatchObject({ kind: 'path-list', hashesKnown: false, referencesKnown: false })
      expect(closure.paths.map(({ path }) => path)).toEqual(readFileSync(listing(name), 'utf8').trim().split('\n').sort())
      expect(closure.paths).toHaveLength(count)
    }
  })

  it('keeps the deriver where the listing has it', async () => {
    for (const name of ['dump-db.txt', 'path-info-nix-2.8.json', 'path-info-format-2.json']) {
      const closure = await readClosure(listing(name))
      expect(listedPath(closure, 'sy0ikq2blcmdb4zqapmq3hsp4chcivxv-etc')?.deriver).toBe(
        '/nix/store/fg00dv6px0h8rxszjrqddhry49j8iac9-etc.drv',
      )
      expect(listedPath(closure, 'px85s279gvj3pyafr9wpvpq18f82rw7p-builder-note.txt')?.deriver).toBeUndefined()
    }
  })

  it('takes derivers in an exportReferencesGraph file for derivers', async () => {
    const graph = ['/nix/store/px85s279gvj3pyafr9wpvpq18f82rw7p-a', '/nix/store/fg00dv6px0h8rxszjrqddhry49j8iac9-a.drv', '0', ''].join('\n')
    expect(await read(graph)).toMatchObject({
      kind: 'references-graph',
      paths: [{ deriver: '/nix/store/fg00dv6px0h8rxszjrqddhry49j8iac9-a.drv' }],
    })
  })

  it('gives the same for any cut of the input into chunks, line ends of DOS and a missing or further last line end', async () => {
    for (const name of ['closure-info/registration', 'dump-db.txt', 'references-graph.txt', 'path-list.txt', 'path-info-format-2.json']) {
      const text = readFileSync(listing(name), 'latin1')
      const expected = await read(text)
      for (const [variant, size] of [
        [text, 1],
        [text, 7],
        [text, 4096],
        [text.replaceAll('\n', '\r\n'), 33],
        [text.replace(/\n$/, ''), 100],
        [`${text}\n`, 100],
        [`${text}\n\n\r\n`, 1],
      ] as const) {
        expect(await read(variant, size)).toEqual(expected)
      }
    }
  })

  it('reads references in any order and sorts them', async () => {
    const text = REGISTRATION.replace(
      /^(sha256:[^\n]*\n7448\n\n40\n)((?:[^\n]*\n){40})/m,
      (_all, head: string, list: string) => `${head + list.trimEnd().split('\n').reverse().join('\n')}\n`,
    )
    expect(text).not.toBe(REGISTRATION)
    expect(Buffer.from(formatRegistration(await read(text))).toString()).toBe(REGISTRATION)
  })

  it('reads one path-info record alike in every spelling of its hash', async () => {
    const [entry] = (await readClosure(listing('closure-info'))).paths.filter((path) => path.references.length === 0)
    if (entry?.narHash === undefined) throw new Error('no path without references')
    const record = (narHash: string): string => JSON.stringify({ [entry.path]: { narHash, narSize: entry.narSize, references: [] } })
    const hex = Buffer.from(entry.narHash).toString('hex')
    for (const narHash of [formatSri(entry.narHash), `sha256:${hex}`, hex]) {
      expect((await read(record(narHash))).paths).toEqual([entry])
    }
  })

  it('joins several graphs of structured attributes, and those in an object named closures', async () => {
    const attributes = JSON.parse(readFileSync(listing('attrs.json'), 'utf8'))
    const { closure } = attributes
    const note = closure.filter((entry: { path: string }) => /note/.test(entry.path))
    const expected = await readClosure(listing('attrs.json'))
    expect((await read(JSON.stringify({ closure, notes: note, env: {} }))).paths).toEqual(expected.paths)
    expect((await read(JSON.stringify({ name: 'x', closures: { one: closure, two: note } }))).paths).toEqual(expected.paths)
  })

  it('follows a link to a closureInfo folder, as nix-build leaves one', async () => {
    symlinkSync(listing('closure-info'), scratch('result'))
    expect((await readClosure(scratch('result'))).kind).toBe('closure-info')
  })

  it('checks that the three files of a closureInfo folder agree', async () => {
    const folder = scratch('info')
    cpSync(listing('closure-info'), folder, { recursive: true })
    const expectFailure = async (file: string, change: (text: string) => string, message: RegExp): Promise<void> => {
      const text = readFileSync(listing(`closure-info/${file}`), 'utf8')
      writeFileSync(`${folder}/${file}`, change(text))
      await expect(readClosure(folder)).rejects.toThrow(message)
      copyFileSync(listing(`closure-info/${file}`), `${folder}/${file}`)
    }
    expect((await readClosure(folder)).paths).toHaveLength(40)
    await expectFailure('total-nar-size', () => '155013432\n', /total-nar-size: says 155013432 bytes.*155013424/)
    await expectFailure('total-nar-size', () => '', /not a whole number/)
    await expectFailure('total-nar-size', (text) => text + text, /not a whole number/)
    await expectFailure(
      'store-paths',
      (text) => text.replace(/.*note-with-ref.*\n/, ''),
      /note-with-ref.txt is in .*registration, but not here/,
    )
    await expectFailure('store-paths', (text) => `${text}/nix/store/00000000000000000000000000000000-x\n`, /0-x is listed here, but not in/)
    await expectFailure('store-paths', (text) => text + text, /distinct/)
    await expectFailure(
      'registration',
      () => readFileSync(listing('closure-info/store-paths'), 'utf8'),
      /registration: this is a path-list/,
    )
    await expectFailure('registration', () => '', /empty/)
  })
})
