import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { unpackSmall } from '../../../fixtures/unpack.ts'
import type { Closure, ClosurePath } from '../../../src/nix/listing/closure.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { formatRegistration } from '../../../src/nix/listing/registration.ts'
import { DATABASE_SCHEMA, nixDatabase, SQLITE_HEADER } from '../../../src/nix/store/database.ts'
import { derivationOutputs } from '../../../src/nix/store/derivation.ts'
import { formatNix32, formatSha256 } from '../../../src/nix/store/hash.ts'
import { storeTrees } from '../../../src/nix/store/store-trees.ts'
import { oracle, runOk } from '../../oracles/tools.ts'
import { type NixTools, nixTools, skipNix } from '../nix-tools.ts'
import { failure, scratchFolder } from '../scratch.ts'

const SMALL = join(import.meta.dirname, '../../../fixtures/small')
const scratch = scratchFolder()

/** A closure of `count` paths; each refers to itself and to `references` earlier ones. */
function syntheticClosure(count: number, references: number): Closure {
  const names = Array.from(
    { length: count },
    (_, index) => `${formatNix32(sha256(`path ${index}`).subarray(0, 20))}-package-${index}`,
  ).sort()
  let state = 1
  const random = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state % below
  }
  const paths = names.map((baseName, index): ClosurePath => {
    const referred = new Set([index])
    for (let reference = 0; reference < references; reference++) referred.add(random(index + 1))
    return {
      path: `/nix/store/${baseName}`,
      baseName,
      narHash: sha256(baseName),
      narSize: 96 + 8 * index,
      references: [...referred].sort((a, b) => a - b).map((at) => `/nix/store/${names[at]}`),
    }
  })
  return { kind: 'registration', paths, hashesKnown: true, referencesKnown: true }
}

function sha256(text: string): Uint8Array {
  return createHash('sha256').update(text).digest()
}

/** Rows of each query, by SQLite of Python; the file is not changed. */
function query(file: string, ...sql: readonly string[]): unknown[][][] {
  const program = `import json, sqlite3, sys
database = sqlite3.connect('file:' + sys.argv[1] + '?immutable=1', uri=True)
print(json.dumps([database.execute(sql).fetchall() for sql in sys.argv[2:]]))`
  return JSON.parse(runOk('python3', ['-c', program, file, ...sql]).text)
}

function databaseFile(name: string, bytes: Uint8Array): string {
  writeFileSync(scratch(name), bytes)
  return scratch(name)
}

describe('the bytes', () => {
  it('have a header of the write-ahead log, and nothing of the moment', async () => {
    const bytes = Buffer.from(nixDatabase(await readClosure(join(SMALL, 'registration'))))
    expect(bytes.toString('latin1', 0, 16)).toBe('SQLite format 3\0')
    expect(bytes.readUInt16BE(16)).toBe(4096)
    expect([...bytes.subarray(18, 24)]).toEqual([2, 2, 0, 64, 32, 32])
    expect(bytes.readUInt32BE(24)).toBe(1)
    expect(bytes.readUInt32BE(28) * 4096).toBe(bytes.length)
    // No free pages, schema format 4, no vacuuming by itself, UTF-8, user version and application id 0.
    expect([36, 44, 52, 56, 60, 64, 68].map((at) => bytes.readUInt32BE(at))).toEqual([0, 4, 0, 1, 0, 0, 0])
    expect(bytes.readUInt32BE(92)).toBe(1)
    expect(bytes.readUInt32BE(96)).toBe(3_046_000)
    expect(SQLITE_HEADER.size).toBe(100)
  })

  it('are the same every time, in every process, and nothing is said on standard error', async () => {
    const bytes = nixDatabase(await readClosure(join(SMALL, 'registration')))
    expect(Buffer.compare(bytes, nixDatabase(await readClosure(join(SMALL, 'registration'))))).toBe(0)
    const program = `
      import { readClosure } from ${JSON.stringify(join(import.meta.dirname, '../../../src/nix/listing/read.ts'))}
      import { nixDatabase } from ${JSON.stringify(join(import.meta.dirname, '../../../src/nix/store/database.ts'))}
      process.stdout.write(nixDatabase(await readClosure(${JSON.stringify(join(SMALL, 'registration'))})))`
    writeFileSync(scratch('once.mjs'), program)
    const once = runOk(process.execPath, [scratch('once.mjs')], { env: { TZ: 'Asia/Tokyo', LC_ALL: 'tr_TR.UTF-8' } })
    expect(once.stderr).toBe('')
    expect(Buffer.compare(bytes, once.stdout)).toBe(0)
  })

  it('differ with the registration time, and with nothing of it but that column', async () => {
    const closure = await readClosure(join(SMALL, 'registration'))
    const [early, late] = [nixDatabase(closure), nixDatabase(closure, { registrationTime: 315_532_800 })]
    expect(Buffer.compare(early, late)).not.toBe(0)
    const times = (bytes: Uint8Array): unknown =>
      query(databaseFile('times.sqlite', bytes), 'select distinct registrationTime from ValidPaths')
    expect([times(early), times(late)]).toEqual([[[[1]]], [[[315_532_800]]]])
  })
})

describe('errors', () => {
  it('of a closure without hashes or references, and of a time that is none', async () => {
    const list = await readClosure(join(import.meta.dirname, '../../../fixtures/listings/path-list.txt'))
    await failure(() => nixDatabase(list), 'USAGE', /\(path-list\) has no hash, size or references.*rebuild/)
    const closure = syntheticClosure(2, 1)
    await failure(() => nixDatabase({ ...closure, referencesKnown: false }), 'USAGE', /rebuild the registration/)
    await failure(() => nixDatabase({ ...closure, paths: closure.paths.slice(1) }), 'NOT_FOUND', /which is not in the closure/)
    for (const registrationTime of [-1, 1.5, Number.NaN]) {
      await failure(() => nixDatabase(closure, { registrationTime }), 'USAGE', /no whole number|not a whole number/)
    }
  })

  it('of a Node without SQLite', async () => {
    await pretending(undefined, () => failure(() => nixDatabase(syntheticClosure(1, 0)), 'UNSUPPORTED', /was built without SQLite/))
  })
})

/** Runs `action` as if the SQLite of this Node were `module`. */
async function pretending(module: unknown, action: () => unknown): Promise<void> {
  const { getBuiltinModule } = process
  process.getBuiltinModule = (() => module) as unknown as typeof getBuiltinModule
  try {
    await action()
  } finally {
    process.getBuiltinModule = getBuiltinModule
  }
}

describe('with a Node before 24.16, which gives no bytes from memory', () => {
  const old = () => {
    class Old extends process.getBuiltinModule('node:sqlite').DatabaseSync {}
    Object.defineProperty(Old.prototype, 'serialize', { value: undefined })
    return { DatabaseSync: Old }
  }
  const { TMPDIR } = process.env
  afterEach(() => {
    if (TMPDIR === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = TMPDIR
  })

  it('the bytes are the same, through a file that nobody else can reach and that is gone afterwards', async () => {
    const closure = syntheticClosure(3000, 4)
    const expected = nixDatabase(closure)
    // The path stands in a statement.
    process.env['TMPDIR'] = scratch("it's")
    mkdirSync(scratch("it's"))
    const seen: string[] = []
    const { DatabaseSync } = old()
    class Watched extends DatabaseSync {
      override exec(sql: string): void {
        super.exec(sql)
        for (const name of readdirSync(scratch("it's"))) seen.push(`${name} ${(statSync(scratch("it's", name)).mode & 0o777).toString(8)}`)
      }
    }
    await pretending({ DatabaseSync: Watched }, () => expect(Buffer.compare(nixDatabase(closure), expected)).toBe(0))
    // This very Node may be such a one.
    expect(seen).toEqual([expect.stringMatching(/^\.kilnix-partial-\w{6} 700$/)])
    expect(readdirSync(scratch("it's"))).toEqual([])
  })

  it('a folder for scratch files that is not there is an error that names it', async () => {
    process.env['TMPDIR'] = scratch('nowhere')
    await pretending(old(), async () => {
      const error = await failure(() => nixDatabase(syntheticClosure(1, 0)), 'WRITE_FAILED', /ENOENT.*TMPDIR.*24\.16/)
      expect(error.path).toBe(scratch('nowhere'))
    })
  })
})

describe.skipIf(oracle('python3').skip)('by another SQLite', () => {
  it.each([
    [5000, 6, 4],
    [40_000, 3, 60],
  ])('%i paths are whole, and quickly written', (count, references, secondLimit) => {
    const closure = syntheticClosure(count, references)
    const started = performance.now()
    const bytes = nixDatabase(closure)
    expect((performance.now() - started) / 1000).toBeLessThan(secondLimit)
    const file = databaseFile(`${count}.sqlite`, bytes)
    const referenceCount = closure.paths.reduce((sum, path) => sum + path.references.length, 0)
    const [middle, ...rest] = query(
      file,
      `select path from Refs join ValidPaths on reference = id where referrer = ${count / 2 + 1} order by id`,
      'pragma integrity_check',
      'pragma foreign_key_check',
      'select count(*), max(id), (select count(*) from Refs), (select seq from sqlite_sequence) from ValidPaths',
    )
    expect(rest).toEqual([[['ok']], [], [[count, count, referenceCount, count]]])
    expect(middle?.flat()).toEqual(closure.paths[count / 2]?.references)
  })

  it('sees a damaged page and a reference to nothing', () => {
    const bytes = nixDatabase(syntheticClosure(500, 3))
    const damaged = bytes.slice()
    // The number of cells of a page in the middle.
    damaged.fill(0xff, 20 * 4096 + 3, 20 * 4096 + 5)
    expect(() => query(databaseFile('damaged.sqlite', damaged), 'pragma integrity_check')).toThrow('database disk image is malformed')
    const file = databaseFile('dangling.sqlite', bytes)
    runOk('python3', [
      '-c',
      "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute('delete from ValidPaths where id = 1'); d.commit()",
      file,
    ])
    expect(query(file, 'pragma foreign_key_check')[0]?.length).toBeGreaterThan(0)
  })
})

describe.skipIf(skipNix)('by the real Nix', () => {
  let nix: NixTools
  let closure: Closure
  let toplevel: string
  let root: string

  /** A store with the files of the small closure and `database`, and its toplevel as the one root. */
  function storeWith(name: string, database: Uint8Array): string {
    const store = scratch(name)
    mkdirSync(store)
    // Hard links: nobody writes to files of a store.
    runOk('cp', ['-al', join(root, 'nix'), join(store, 'nix')])
    mkdirSync(join(store, 'nix/var/nix/db'), { recursive: true })
    mkdirSync(join(store, 'nix/var/nix/gcroots'))
    writeFileSync(join(store, 'nix/var/nix/db/db.sqlite'), database)
    writeFileSync(join(store, 'nix/var/nix/db/schema'), DATABASE_SCHEMA)
    runOk('ln', ['-s', toplevel, join(store, 'nix/var/nix/gcroots/system')])
    return store
  }
  const databaseOf = (store: string): string => join(store, 'nix/var/nix/db/db.sqlite')

  beforeAll(async () => {
    nix = nixTools(scratch('home'))
    const small = await unpackSmall(scratch('small'))
    closure = await readClosure(small.folder)
    toplevel = small.toplevel
    root = small.root
  })

  it('verifies and answers, and is not changed by being asked', () => {
    const bytes = nixDatabase(closure)
    const store = storeWith('answers', bytes)
    nix.ok(store, 'nix-store', ['--verify', '--check-contents'])
    const info = JSON.parse(nix.ok(store, 'nix', ['path-info', '-r', '--json', toplevel]).text)
    const listed: { path: string; narSize: number; references: string[]; narHash: string }[] = Array.isArray(info)
      ? info
      : Object.entries(info).map(([path, value]) => ({ ...(value as object), path }))
    expect(listed.map(({ path }) => path).sort()).toEqual(closure.paths.map(({ path }) => path))
    for (const { path, narSize, references, narHash } of listed) {
      const entry = closure.paths.find((one) => one.path === path)
      expect({ narSize, references: [...references].sort(), narHash }).toEqual({
        narSize: entry?.narSize,
        references: entry?.references,
        narHash: `sha256-${Buffer.from(entry?.narHash ?? []).toString('base64')}`,
      })
    }
    for (const { path } of closure.paths.filter((_, index) => index % 4 === 0)) {
      const referrers = closure.paths.filter((one) => one.references.includes(path)).map((one) => one.path)
      expect(nix.ok(store, 'nix-store', ['-q', '--referrers', path]).text.split('\n').filter(Boolean).sort()).toEqual(referrers)
    }
    expect(Buffer.compare(readFileSync(databaseOf(store)), bytes)).toBe(0)
  })

  it('collects what is dead, adds and deletes', () => {
    const store = storeWith('garbage', nixDatabase(closure))
    expect(nix.ok(store, 'nix-store', ['--gc', '--print-dead']).text).toBe('')
    expect(nix.ok(store, 'nix-store', ['--gc', '--print-live']).text.trim().split('\n')).toHaveLength(closure.paths.length)
    writeFileSync(scratch('added'), 'something new\n')
    const added = nix.ok(store, 'nix-store', ['--add', scratch('added')]).text.trim()
    nix.ok(store, 'nix-store', ['--check-validity', added])
    expect(nix.ok(store, 'nix-store', ['--gc', '--print-dead']).text.trim()).toBe(added)
    nix.ok(store, 'nix-store', ['--delete', added])
    expect(nix.run(store, 'nix-store', ['--check-validity', added]).status).not.toBe(0)
    nix.ok(store, 'nix-store', ['--verify', '--check-contents'])
    // With another root all goes but what that one needs.
    const kept = closure.paths.find(({ references, path }) => path !== toplevel && references.some((one) => one !== path))?.path ?? ''
    const needed = nix.ok(store, 'nix-store', ['-qR', kept]).text.trim().split('\n').sort()
    expect(needed.length).toBeLessThan(closure.paths.length)
    runOk('ln', ['-sfn', kept, join(store, 'nix/var/nix/gcroots/system')])
    nix.ok(store, 'nix-store', ['--gc'])
    nix.ok(store, 'nix-store', ['--verify', '--check-contents'])
    expect(nix.ok(store, 'nix-store', ['--dump-db']).text.match(/^\/nix\/store\/.*\n[0-9a-f]{64}$/gm)).toHaveLength(needed.length)
  })

  it('has the rows of --load-db, ids and derivation outputs included', async () => {
    const derivation = `derivation { name = "thing"; system = "x86_64-linux"; builder = "/bin/sh"; outputs = [ "out" "dev" ]; source = ./once.nix; }`
    writeFileSync(scratch('once.nix'), derivation)
    const made = scratch('made')
    mkdirSync(made)
    const drv =
      nix
        .ok(made, 'nix-instantiate', [scratch('once.nix')])
        .text.trim()
        .split('\n')
        .at(-1) ?? ''
    writeFileSync(scratch('dump'), nix.ok(made, 'nix-store', ['--dump-db']).stdout)
    const derivations = await readClosure(scratch('dump'))
    expect(derivations.paths.map(({ path }) => path)).toContain(drv)
    const outputs = await derivationOutputs(storeTrees(derivations, { root: made }))
    expect([...(outputs.get(drv)?.keys() ?? [])]).toEqual(['dev', 'out'])

    const withDeriver: Closure = { ...closure, paths: closure.paths.map((path, index) => (index === 3 ? { ...path, deriver: drv } : path)) }
    for (const [name, listed, options] of [
      ['small', closure, {}],
      ['deriver', withDeriver, {}],
      ['derivations', derivations, { derivationOutputs: outputs }],
    ] as const) {
      const store = scratch(`loaded-${name}`)
      mkdirSync(join(store, 'nix'), { recursive: true })
      if (listed === derivations) cpSync(join(made, 'nix/store'), join(store, 'nix/store'), { recursive: true })
      // Our registration leaves derivers out, as closureInfo does.
      const records = listed.paths.map(({ path, narHash = new Uint8Array(), narSize, deriver = '', references }) =>
        [path, formatSha256(narHash), narSize, deriver, references.length, ...references, ''].join('\n'),
      )
      if (listed === closure) expect(records.join('')).toBe(Buffer.from(formatRegistration(closure)).toString())
      nix.ok(store, 'nix-store', ['--load-db'], Buffer.from(records.join('')))
      const loaded = databaseOf(store)
      runOk('python3', ['-c', 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("pragma wal_checkpoint(truncate)")', loaded])
      const own = databaseFile(`own-${name}.sqlite`, nixDatabase(listed, options))
      const rows = [
        'select id, path, hash, deriver, narSize, ultimate, sigs, ca from ValidPaths order by rowid',
        'select rowid, referrer, reference from Refs order by rowid',
        'select * from DerivationOutputs order by drv, id',
        'select * from sqlite_sequence',
      ]
      expect(query(own, ...rows), name).toEqual(query(loaded, ...rows))
    }
  })

  it('has the schema that Nix makes, but for what newer ones take away', () => {
    const store = scratch('fresh')
    mkdirSync(store)
    nix.ok(store, 'nix-store', ['--init'])
    expect(readFileSync(join(store, 'nix/var/nix/db/schema'), 'latin1')).toBe(DATABASE_SCHEMA)
    runOk('python3', [
      '-c',
      'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("pragma wal_checkpoint(truncate)")',
      databaseOf(store),
    ])
    const objects = (file: string): string[] =>
      (query(file, 'select sql from sqlite_master where sql is not null')[0] ?? [])
        .map(([sql]) => String(sql).replace(/--.*$/gm, '').replace(/\s+/g, ' ').trim())
        .filter((sql) => !/IndexReferrer|SchemaMigrations/.test(sql))
        .sort()
    const own = databaseFile('own.sqlite', nixDatabase(closure))
    expect(objects(own)).toEqual(objects(databaseOf(store)))
    expect(query(own, 'select * from SchemaMigrations')).toEqual([[['20260309-drop-redundant-indexreferrer']]])
  })

  it('is refused where a hash is wrong, a path missing, a row lost', () => {
    const [first, ...others] = closure.paths
    if (first === undefined) throw new Error('the closure is empty')
    const wrong = storeWith('wrong-hash', nixDatabase({ ...closure, paths: [{ ...first, narHash: sha256('') }, ...others] }))
    const verified = nix.run(wrong, 'nix-store', ['--verify', '--check-contents'])
    expect(verified.status).not.toBe(0)
    expect(verified.stderr).toContain(`${first.path}' was modified`)

    const vanished = storeWith('vanished', nixDatabase(closure))
    const leaf = others.find(({ path }) => closure.paths.some((one) => one.path !== path && one.references.includes(path)))?.path ?? ''
    rmSync(join(vanished, leaf), { recursive: true })
    const missing = nix.run(vanished, 'nix-store', ['--verify'])
    expect(missing.status).not.toBe(0)
    expect(missing.stderr).toContain('disappeared')

    const without = closure.paths.filter(({ path }) => path !== toplevel)
    const lost = storeWith('lost', nixDatabase({ ...closure, paths: without }))
    expect(nix.run(lost, 'nix-store', ['--check-validity', toplevel]).status).not.toBe(0)
    expect(nix.ok(lost, 'nix-store', ['--gc', '--print-dead']).text).toContain(toplevel)
  })
})
