/** Binary caches that real Nix has made and signed, old and new, in every compression: what we fetch is what its own store holds. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { saveProduct } from '../../../src/images/save.ts'
import { storeSquashfs } from '../../../src/images/squashfs.ts'
import { fetchClosure } from '../../../src/nix/cache/fetch.ts'
import type { Closure } from '../../../src/nix/listing/closure.ts'
import { readClosure } from '../../../src/nix/listing/read.ts'
import { DATABASE_SCHEMA, nixDatabase } from '../../../src/nix/store/database.ts'
import type { StoreInput } from '../../../src/system/input.ts'
import { saveStore } from '../../../src/system/saved-store.ts'
import { run } from '../../oracles/tools.ts'
import { NIX_PROGRAMS, type NixTools, nixTools, skipNix } from '../nix-tools.ts'
import { failure, scratchFolder } from '../scratch.ts'
import { base, closureFrom, file, folder, link } from '../store-samples.ts'
import { CacheServer, type Files, newKey } from './server.ts'

const [LIB, APP, TOP] = [base('lib'), base('app'), base('top')]
const SAMPLES = {
  [LIB]: { tree: folder({ 'lib.so': file('some library '.repeat(20_000)), empty: folder({}) }), references: [LIB] },
  [APP]: { tree: folder({ bin: folder({ app: file('app', 0o555) }), lib: link(`/nix/store/${LIB}`) }), references: [LIB] },
  [TOP]: { tree: file('top'), references: [APP, LIB] },
}
const ROOT = `/nix/store/${TOP}`
const OLD_AND_NEW = NIX_PROGRAMS.filter(({ suite }) => suite !== 'trixie')
const COMPRESSIONS = ['xz', 'zstd', 'none', 'bzip2', 'br', 'gzip']

describe.skipIf(skipNix)('binary caches of real Nix', () => {
  const at = scratchFolder()
  const server = new CacheServer()
  let listed: Closure
  let fromFolder: string
  beforeAll(async () => {
    await server.listen()
    const closure = await closureFrom(SAMPLES)
    const overlay = new Map(Object.entries(SAMPLES).map(([baseName, { tree }]) => [baseName, tree]))
    await saveStore({ closure, root: '/none', overlay }, at('store'), { paths: 'all' })
    mkdirSync(at('store/nix/var/nix/db'), { recursive: true })
    writeFileSync(at('store/nix/var/nix/db/db.sqlite'), nixDatabase(closure))
    writeFileSync(at('store/nix/var/nix/db/schema'), DATABASE_SCHEMA)
    listed = await readClosure(at('store/closure.json'))
    fromFolder = await squashfs({ closure: at('store/closure.json'), root: at('store') })
  })
  afterAll(async () => {
    await server.close()
    run('chmod', ['-R', 'u+w', at('store')])
  })

  async function squashfs(input: StoreInput): Promise<string> {
    const product = await storeSquashfs({ ...input, compression: { name: 'zstd', level: 1 } })
    try {
      const [saved] = await saveProduct(product, at('store.squashfs'), { force: true, jobs: 1 })
      return saved?.sha256 ?? ''
    } finally {
      await product.close()
    }
  }

  describe.each(OLD_AND_NEW)('$suite', ({ suite, folder: programs }) => {
    let nix: NixTools
    let key: string
    beforeAll(() => {
      nix = nixTools(at(`home-${suite}`), programs)
      const [secret, open] = [at(`secret-${suite}`), at(`public-${suite}`)]
      nix.ok(at('store'), 'nix-store', ['--generate-binary-cache-key', 'real-1', secret, open])
      key = readFileSync(open, 'utf8').trim()
    })

    it.each(COMPRESSIONS)('%s: a squashfs by http and by file is that of the folder', { timeout: 60_000 }, async (compression) => {
      const cache = at(`cache-${suite}-${compression}`)
      const url = pathToFileURL(cache).href
      nix.ok(at('store'), 'nix', [
        'copy',
        '--no-check-sigs',
        '--to',
        `${url}?compression=${compression}&secret-key=${at(`secret-${suite}`)}`,
        ROOT,
      ])
      server.use(filesOf(cache))
      const input = { paths: [ROOT], trustedPublicKeys: [key] }
      const byFile = { ...input, from: [url], narCache: at(`nars-${suite}-${compression}`) }
      const { closure } = await fetchClosure([ROOT], { ...byFile, threads: 'none' })
      expect(closure.paths).toEqual(listed.paths)
      expect(await squashfs({ ...input, from: [server.url], narCache: at(`nars-http-${suite}-${compression}`) })).toBe(fromFolder)
      if (compression === 'none') expect(await squashfs(byFile)).toBe(fromFolder)
      const other = { from: [url], trustedPublicKeys: [newKey('real-1').text], narCache: at('none'), threads: 'none' } as const
      await failure(() => fetchClosure([ROOT], other), 'UNTRUSTED', /real-1.* is not right/)
    })
  })
})

/** All files below the folder. */
function filesOf(folder_: string): Files {
  const names = readdirSync(folder_, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return new Map(
    names.map(({ parentPath, name }) => {
      const path = join(parentPath, name)
      return [path.slice(folder_.length + 1), readFileSync(path)]
    }),
  )
}
