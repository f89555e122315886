/** The closure from a database: every form SQLite gives it, with writers at work, and damaged. */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { Turns } from '../../../src/io/turns.ts'
import type { Closure, ClosurePath } from '../../../src/nix/listing/closure.ts'
import { withDatabase } from '../../../src/nix/local/database.ts'
import { localClosure } from '../../../src/nix/local/index.ts'
import { nixDatabase } from '../../../src/nix/store/database.ts'
import { storePath } from '../../../src/nix/store/store-path.ts'
import { failure, scratchFolder } from '../scratch.ts'
import { base } from '../store-samples.ts'
import { addPaths, type DatabaseForm, nixDatabaseAt } from './nix-database.ts'

const scratch = scratchFolder()
const hash = new Uint8Array(32).fill(0x5a)
const at = (name: string): string => storePath(base(name))

/** A path for each name, which refers to the names that are given. */
function closureOf(references: Readonly<Record<string, readonly string[]>>): Closure {
  const paths = Object.entries(references).map(
    ([name, others], index): ClosurePath => ({
      path: at(name),
      baseName: base(name),
      narHash: hash,
      narSize: 96 + 8 * index,
      references: others.map(at).sort(),
    }),
  )
  return { kind: 'path-info', paths: paths.sort((a, b) => (a.path < b.path ? -1 : 1)), hashesKnown: true, referencesKnown: true }
}

/** So many paths that tables and indexes have several levels; each refers to a few, and the first to all. */
function large(count: number): Closure {
  const names = Array.from({ length: count }, (_, index) => `p${index}`)
  return closureOf(
    Object.fromEntries(
      names.map((name, index) => [name, index === 0 ? names : names.slice(index, index + 4).filter((_, place) => place !== 1)]),
    ),
  )
}

const SMALL = closureOf({ app: ['app', 'lib', 'data'], lib: ['base'], data: ['base'], base: [] })

function filesOf(root: string, { paths }: Closure): void {
  for (const { path } of paths) mkdirSync(`${root}${path}`, { recursive: true })
}

const read = async (name: string, path = at('app')) => (await localClosure([path], { store: scratch(name) })).closure

beforeAll(() => {
  filesOf(scratch('files'), SMALL)
})

describe('the closure from the database', () => {
  it.each<[string, DatabaseForm]>([
    ['as Nix has it', {}],
    ['of Nix before 2.0', { schema: 5 }],
    ['without content addresses', { schema: 7 }],
    ['with small pages', { pageSize: 512, signatureLength: 3000 }],
    ['with large pages', { pageSize: 65536, signatureLength: 100_000 }],
    ['with long signatures', { signatureLength: 20_000 }],
    ['without a log', { journalMode: 'delete' }],
    ['without a log, with a journal that stays', { journalMode: 'truncate' }],
  ])('%s', async (name, form) => {
    const root = scratch(name)
    filesOf(root, SMALL)
    const database = nixDatabaseAt(root, SMALL, form)
    const open = await read(name)
    database.close()
    const closed = await read(name)
    for (const { kind, paths, hashesKnown } of [open, closed]) {
      expect(kind).toBe('nix-database')
      expect(hashesKnown).toBe(true)
      expect(paths).toEqual(SMALL.paths)
    }
  })

  it('that disk images are given', async () => {
    filesOf(scratch('ours'), SMALL)
    mkdirSync(scratch('ours/nix/var/nix/db'), { recursive: true })
    writeFileSync(scratch('ours/nix/var/nix/db/db.sqlite'), nixDatabase(SMALL))
    expect((await read('ours')).paths).toEqual(SMALL.paths)
  })

  it('with tables of several levels, partly in the log', async () => {
    const closure = large(1000)
    const root = scratch('large')
    filesOf(root, closure)
    const database = nixDatabaseAt(root, { ...closure, paths: closure.paths.slice(0, 500) }, { pageSize: 512 })
    database.exec('pragma wal_checkpoint(truncate)')
    addPaths(database, { ...closure, paths: closure.paths.slice(500) })
    // References to what came later.
    const known = await read('large', at('p7'))
    addReferences(database, closure)
    const whole = await read('large', at('p0'))
    database.close()
    expect(whole.paths).toEqual(closure.paths)
    expect(known.paths.length).toBeLessThan(closure.paths.length)
  })

  it('without what is not committed, and with what is, whoever writes', async () => {
    const root = scratch('busy')
    filesOf(root, SMALL)
    const database = nixDatabaseAt(root, SMALL)
    database.exec('pragma cache_size = 1; begin immediate')
    database.exec(`delete from Refs; update ValidPaths set narSize = 8; create table Filler (x text);`)
    // So much that pages are written to the log before the end of the transaction.
    const fill = database.prepare('insert into Filler values (?)')
    for (let index = 0; index < 200; index++) fill.run('x'.repeat(4000))
    expect(statSync(`${root}/nix/var/nix/db/db.sqlite-wal`).size).toBeGreaterThan(400_000)
    expect((await read('busy')).paths).toEqual(SMALL.paths)
    database.exec('rollback')
    expect((await read('busy')).paths).toEqual(SMALL.paths)
    database.exec('delete from Refs')
    expect((await read('busy')).paths).toHaveLength(1)
    database.close()
  })

  it('as it is left by a writer that was killed', async () => {
    const root = scratch('killed')
    filesOf(root, SMALL)
    const database = nixDatabaseAt(scratch('alive'), SMALL)
    mkdirSync(`${root}/nix/var/nix`, { recursive: true })
    cpSync(scratch('alive/nix/var/nix/db'), `${root}/nix/var/nix/db`, { recursive: true })
    rmSync(`${root}/nix/var/nix/db/db.sqlite-shm`)
    database.close()
    expect((await read('killed')).paths).toEqual(SMALL.paths)
  })

  it('leaves no trace: no file is made, written or locked', async () => {
    const root = scratch('trace')
    filesOf(root, SMALL)
    nixDatabaseAt(root, SMALL).close()
    const folder = `${root}/nix/var/nix/db`
    chmodSync(`${folder}/db.sqlite`, 0o444)
    chmodSync(folder, 0o555)
    const state = (): unknown[] => readdirSync(folder).map((name) => [name, statSync(`${folder}/${name}`, { bigint: true }).mtimeNs])
    const before = state()
    expect((await read('trace')).paths).toEqual(SMALL.paths)
    expect(state()).toEqual(before)
    chmodSync(folder, 0o755)
  })

  it('of one moment, though it is written to while it is read', async () => {
    const root = scratch('moment')
    const database = nixDatabaseAt(root, closureOf({ a: ['b'], b: [], c: [] }))
    let attempts = 0
    const turns = new Turns()
    const sizes = await withDatabase(`${root}/nix/var/nix/db`, turns, async (query) => {
      const [first] = await query([at('a')])
      // Another size for all, at first copied into the database as well.
      if (++attempts <= 2) {
        database.exec('update ValidPaths set narSize = narSize + 800')
        if (attempts === 1) database.exec('pragma wal_checkpoint(truncate); update ValidPaths set narSize = narSize + 800')
      }
      const [second] = await query([at('b')])
      return [first?.narSize, second?.narSize]
    })
    // What is added to the log in the second attempt does no harm to it.
    expect(attempts).toBe(2)
    expect(sizes).toEqual([96 + 1600, 104 + 1600])
    database.close()
  })

  it('is read beside a writer that only adds to the log', async () => {
    const root = scratch('adding')
    const database = nixDatabaseAt(root, SMALL)
    database.exec('create table Filler (x text)')
    let attempts = 0
    await withDatabase(`${root}/nix/var/nix/db`, new Turns(), async (query) => {
      attempts++
      await query([at('app')])
      database.exec(`insert into Filler values ('x')`)
    })
    expect(attempts).toBe(2)
    database.close()
  })

  it('waits for a transaction without a log', async () => {
    const root = scratch('journal')
    filesOf(root, SMALL)
    const database = nixDatabaseAt(root, SMALL, { journalMode: 'delete' })
    const journal = `${root}/nix/var/nix/db/db.sqlite-journal`
    database.exec('begin immediate; delete from Refs; update ValidPaths set narSize = 0')
    expect(existsSync(journal)).toBe(true)
    // Nothing of it is in the database yet.
    expect((await read('journal')).paths).toEqual(SMALL.paths)
    database.exec('pragma cache_size = 1; create table Filler (x text)')
    const fill = database.prepare('insert into Filler values (?)')
    for (let index = 0; index < 200; index++) fill.run('x'.repeat(4000))
    expect(readFileSync(journal)[0]).not.toBe(0)
    const reading = read('journal')
    await setTimeout(60)
    database.exec('rollback')
    expect((await reading).paths).toEqual(SMALL.paths)
    database.close()
  })

  it('asks for paths that are valid, with their files', async () => {
    const root = scratch('missing')
    filesOf(root, closureOf({ lib: [] }))
    nixDatabaseAt(root, SMALL).close()
    const options = { store: root }
    await failure(
      () => localClosure([at('none')], options),
      'NOT_FOUND',
      /-none is not valid in the store of the Nix database .*nix-store --realise/,
    )
    await failure(
      () => localClosure([at('lib')], options),
      'NOT_FOUND',
      /1 of 2 paths are valid for Nix, but their files are not below .*--repair.*\n.*-base/,
    )
    expect((await localClosure([at('lib')], { ...options, root: scratch('files') })).root).toBe(scratch('files'))
  })
})

describe('what is no database of Nix', () => {
  const file = (name: string): string => scratch(name, 'nix/var/nix/db/db.sqlite')
  const refused = (name: string, message: RegExp, code: 'UNREADABLE' | 'NOT_FOUND' = 'UNREADABLE') =>
    failure(() => localClosure([at('app')], { store: scratch(name) }), code, message)

  beforeAll(() => {
    nixDatabaseAt(scratch('whole'), SMALL).close()
  })
  const copy = (name: string): void => cpSync(scratch('whole'), scratch(name), { recursive: true })

  it('is said', async () => {
    await refused('nowhere', /no Nix here: tried the Nix database .*nowhere\/nix\/var\/nix\/db\/db\.sqlite \(no such file\)/, 'NOT_FOUND')
    copy('empty')
    truncateSync(file('empty'), 0)
    await refused('empty', /it is empty/)
    copy('text')
    writeFileSync(file('text'), 'x'.repeat(8192))
    await refused('text', /it is no SQLite database/)
    copy('newer')
    writeFileSync(scratch('newer/nix/var/nix/db/schema'), '11')
    await refused('newer', /its schema is "11"; 10 is the newest/)
    copy('folder')
    renameSync(file('folder'), `${file('folder')}-old`)
    mkdirSync(file('folder'))
    await refused('folder', /EISDIR/)
    const other = nixDatabaseAt(scratch('other'), SMALL)
    other.exec('alter table Refs rename to Others')
    other.close()
    await refused('other', /it is no database of Nix: it has no sqlite_autoindex_Refs_1/)
    copy('short')
    truncateSync(file('short'), 3 * 4096)
    await refused('short', /it is damaged/)
  })

  it('ends wherever it is damaged, in an error or as it was', async () => {
    copy('damaged')
    filesOf(scratch('damaged'), SMALL)
    const whole = readFileSync(file('whole'))
    let errors = 0
    for (let at_ = 0; at_ < whole.length; at_ += at_ < 4096 ? 37 : 211) {
      const bytes = Buffer.from(whole)
      bytes[at_] = (bytes[at_] ?? 0) ^ 0xff
      writeFileSync(file('damaged'), bytes)
      await read('damaged').catch((error: Error) => {
        errors++
        expect(error.name, `${at_}: ${error.stack}`).toBe('ImageError')
      })
    }
    expect(errors).toBeGreaterThan(10)
  })

  it('is not read from a tree that leads to itself', async () => {
    copy('circle')
    const bytes = readFileSync(file('circle'))
    const copyOf = scratch('circle/copy')
    copyFileSync(file('circle'), copyOf)
    // Page 1 becomes an interior page whose last child is itself.
    bytes.writeUInt8(5, 100)
    bytes.writeUInt16BE(0, 103)
    bytes.writeUInt32BE(1, 108)
    writeFileSync(file('circle'), bytes)
    await refused('circle', /a tree goes in circles/)
  })
})

function addReferences(database: ReturnType<typeof nixDatabaseAt>, { paths }: Closure): void {
  database.exec('begin')
  const refer = database.prepare(
    'insert or ignore into Refs select a.id, b.id from ValidPaths a, ValidPaths b where a.path = ? and b.path = ?',
  )
  for (const { path, references } of paths) for (const reference of references) refer.run(path, reference)
  database.exec('commit')
}
