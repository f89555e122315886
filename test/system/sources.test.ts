/** One closure from everywhere: every recipe writes the same bytes. */
import { createReadStream, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, type SmallClosure, unpackSmall } from '../../fixtures/unpack.ts'
import { checkClosure } from '../../src/nix/inspect/check.ts'
import { readClosure } from '../../src/nix/listing/read.ts'
import { DATABASE_SCHEMA, nixDatabase } from '../../src/nix/store/database.ts'
import type { StoreInput } from '../../src/system/input.ts'
import { openSource } from '../../src/system/source.ts'
import { loadStore } from '../../src/system/store.ts'
import { CacheServer, cacheFiles, newKey } from '../nix/cache/server.ts'
import { madeBytes, RECIPES } from './same-bytes.ts'

const EXPORT = fileURLToPath(new URL('../../fixtures/small/closure.nixexport.gz', import.meta.url))

let work: string
let small: SmallClosure
let bytes: Buffer
const server = new CacheServer()
const key = newKey('sources-1')
const at = (...names: string[]): string => join(work, ...names)
const write = (name: string, content: Uint8Array | string): string => {
  writeFileSync(at(name), content)
  return at(name)
}

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'kilnix-sources-'))
  small = await unpackSmall(at('closure'))
  bytes = gunzipSync(readFileSync(EXPORT))
  write('closure.export', bytes)
  symlinkSync('closure.export', at('link'))
  // A store in a folder, as Nix has it: the files, and the database.
  mkdirSync(join(small.root, 'nix/var/nix/db'), { recursive: true })
  writeFileSync(join(small.root, 'nix/var/nix/db/db.sqlite'), nixDatabase(await readClosure(small.folder)))
  writeFileSync(join(small.root, 'nix/var/nix/db/schema'), DATABASE_SCHEMA)
  symlinkSync(small.toplevel, at('system'))
  mkdirSync(at('images'))
  const { closure, nars } = await openSource({ closure: at('closure.export') })
  const narOf = async (baseName: string): Promise<Buffer> => {
    const { start, size } = nars.get(baseName) ?? { start: 0, size: 0 }
    return bytes.subarray(start, start + size)
  }
  server.use(await cacheFiles(closure, narOf, { key }))
  await server.listen()
})
afterAll(async () => {
  await server.close()
  await removeStore(work)
})

/** The same closure. A source more is a line more. */
const SOURCES: Readonly<Record<string, () => StoreInput>> = {
  'an export in a file': () => ({ closure: at('closure.export'), root: '/nowhere' }),
  'a binary cache': () => ({ paths: [small.toplevel], from: [server.url], trustedPublicKeys: [key.text], narCache: at('nars') }),
  'a link to the system, and the store that has it': () => ({ paths: [at('system')], store: small.root }),
}

describe.each(Object.keys(SOURCES))('%s', (source) => {
  it.each(Object.keys(RECIPES))('gives the same %s as a folder and its listing', async (recipe) => {
    const fromFolder = await madeBytes(recipe, { closure: small.folder, root: small.root }, at('images'))
    expect(await madeBytes(recipe, SOURCES[source]?.() ?? {}, at('images'))).toEqual(fromFolder)
  })
})

describe('an export', () => {
  it('from a pipe is kept in a private folder, and nothing of it is left', async () => {
    const before = readdirSync(tmpdir())
    const notes: string[] = []
    const input: StoreInput = {
      closure: '-',
      stdin: createReadStream(at('closure.export'), { highWaterMark: 1000 }),
      onProgress: (event) => void (event.kind === 'note' && notes.push(event.message)),
    }
    const fromFolder = await madeBytes('squashfs', { closure: small.folder, root: small.root }, at('images'))
    expect(await madeBytes('squashfs', input, at('images'))).toEqual(fromFolder)
    expect(notes.join()).toContain('TMPDIR chooses')
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith('.kilnix-') && !before.includes(name))).toEqual([])
  })

  it('is found to be sound by a check, also by a link', async () => {
    const { closure, root, nars } = await openSource({ closure: at('link') })
    expect(closure.kind).toBe('export')
    expect(await checkClosure(closure, { root, nars, jobs: 1 })).toMatchObject({ problems: [], pathCount: 14 })
  })

  it('that changes after it was read is an error', async () => {
    const file = write('changed.export', bytes)
    const store = await loadStore({ closure: file })
    const [[largest, nar] = ['', { start: 0, size: 0 }], [second] = ['']] = [...store.nars].sort(([, a], [, b]) => b.size - a.size)
    // What was open for the scan is closed.
    await setImmediate()
    const changed = Buffer.from(bytes)
    const middle = nar.start + (nar.size >> 1)
    changed.writeUInt8((changed[middle] as number) ^ 1, middle)
    writeFileSync(file, changed)
    await expect(store.trees.tree(largest)).rejects.toMatchObject({ code: 'HASH_MISMATCH' })
    writeFileSync(file, Buffer.concat([bytes, Buffer.alloc(8)]))
    await expect(store.trees.tree(second)).rejects.toMatchObject({ code: 'CHANGED' })
  })

  it.each([
    ['cut short', () => bytes.subarray(0, bytes.length - 100), /cut short|ends here/],
    ['with more behind it', () => Buffer.concat([bytes, Buffer.from('more')]), /bytes follow behind its end/],
    ['in which a path is there twice', () => Buffer.concat([bytes.subarray(0, -8), bytes]), /is listed twice/],
    ['without an end', () => bytes.subarray(0, -8), /ends here, too early/],
    ['of nothing', () => Buffer.alloc(8), /the listing is empty/],
  ])('%s is BAD_INPUT', async (_what, content, message) => {
    const open = openSource({ closure: write('bad.export', content()) })
    await expect(open).rejects.toMatchObject({ code: 'BAD_INPUT', message: expect.stringMatching(message) })
  })
})

describe('what is no closure', () => {
  it.each([
    ['a narinfo', 'StorePath: /nix/store/x\n', /a narinfo/],
    ['a derivation', 'Derive([("out",', /a derivation/],
    ['a NAR', '\x0d\0\0\0\0\0\0\0nix-archive-1\0\0\0', /a NAR/],
    ['a compressed export', '\x1f\x8b\x08', /compressed by gzip/],
    ['a squashfs', 'hsqs', /a squashfs image/],
  ])('%s is said to be it', async (_what, content, message) => {
    const error = { code: 'BAD_INPUT', message: expect.stringMatching(message) }
    await expect(openSource({ closure: write('what', Buffer.from(content, 'latin1')) })).rejects.toMatchObject(error)
    const stdin = createReadStream(at('what'))
    await expect(openSource({ closure: '-', stdin })).rejects.toMatchObject(error)
  })

  it('nothing, two things, and a store path for a listing are errors', async () => {
    await expect(openSource({})).rejects.toMatchObject({ code: 'USAGE' })
    await expect(openSource({ closure: 'a', paths: ['b'] })).rejects.toMatchObject({ code: 'USAGE' })
    symlinkSync(small.toplevel, at('result'))
    await expect(openSource({ closure: `${small.toplevel}` })).rejects.toThrow(/is a store path/)
  })
})
