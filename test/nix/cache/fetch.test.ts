/** Closures of binary caches: what is fetched is what is in them, and every fault has its error and leaves nothing. */
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../../src/errors.ts'
import { type FetchOptions, fetchClosure } from '../../../src/nix/cache/fetch.ts'
import { NarCache } from '../../../src/nix/cache/nar-cache.ts'
import { parseNetrc } from '../../../src/nix/cache/netrc.ts'
import { formatNix32 } from '../../../src/nix/store/hash.ts'
import { failure, scratchFolder } from '../scratch.ts'
import { base, file, folder, link } from '../store-samples.ts'
import { CacheServer, cacheOf, type Fault, type Files, newKey } from './server.ts'

const at = scratchFolder()
const key = newKey('test-1')
const [LIB, APP, TOP] = [base('lib'), base('app'), base('top')]
const SAMPLES = {
  [LIB]: { tree: folder({ 'lib.so': file('x'.repeat(100_000)) }), references: [LIB] },
  [APP]: { tree: folder({ bin: folder({ app: file('app', 0o555) }), lib: link(`/nix/store/${LIB}`) }), references: [LIB] },
  [TOP]: { tree: file('top'), references: [APP, LIB] },
}
const ROOT = `/nix/store/${TOP}`
const server = new CacheServer()
beforeAll(() => server.listen())
afterAll(() => server.close())

let count = 0
const newFolder = (): string => at(`nars-${count++}`)
const HTTP = { backoffMs: 1, stallMs: 300, attempts: 3 }

function options(given: Partial<FetchOptions> = {}): FetchOptions {
  return { from: [server.url], trustedPublicKeys: [key.text], narCache: newFolder(), threads: 'none', http: HTTP, ...given }
}

const narName = (files: Files, baseName: string): string =>
  /^URL: (.*)$/m.exec(files.get(`${baseName.slice(0, 32)}.narinfo`)?.toString() ?? '')?.[1] ?? ''

/** With the lines of one narinfo changed. */
function edited(files: Files, baseName: string, change: (text: string) => string): Files {
  const name = `${baseName.slice(0, 32)}.narinfo`
  return new Map([...files, [name, Buffer.from(change(files.get(name)?.toString() ?? ''))]])
}

/** Files of NARs, whole or not. */
const left = (narCache: string): string[] => (existsSync(narCache) ? readdirSync(narCache) : [])

describe('fetchClosure', () => {
  it.each(['none', 'zstd', 'gzip', 'br'])('gives the closure and its NARs: %s', async (compression) => {
    const { files, closure } = await cacheOf(SAMPLES, { compression, key })
    server.use(files)
    const fetched = await fetchClosure([ROOT], options())
    expect(fetched.closure).toEqual({ ...closure, kind: 'binary-cache' })
    expect(fetched.roots).toEqual([ROOT])
    for (const { baseName, narHash } of closure.paths) {
      const nar = readFileSync(fetched.nars.get(baseName)?.file ?? '')
      expect(createHash('sha256').update(nar).digest()).toEqual(Buffer.from(narHash as Uint8Array))
    }
  })

  it('reads caches in folders, with their keys and, where nobody asks, without', async () => {
    const { files } = await cacheOf(SAMPLES, {})
    for (const [name, bytes] of files) {
      mkdirSync(dirname(at('cache', name)), { recursive: true })
      writeFileSync(at('cache', name), bytes)
    }
    const from = [pathToFileURL(at('cache')).href]
    await failure(() => fetchClosure([ROOT], options({ from })), 'UNTRUSTED', /it is not signed; name the key/)
    const notes: string[] = []
    const onProgress: FetchOptions['onProgress'] = (event) => event.kind === 'note' && notes.push(event.message)
    const { nars } = await fetchClosure([ROOT], options({ from, checkSignatures: false, onProgress }))
    expect(nars.size).toBe(3)
    expect(notes).toEqual(['signatures of store paths are not checked'])
    await failure(() => fetchClosure([ROOT], options({ checkSignatures: false })), 'USAGE', /only for file: caches/)
  })

  it('takes what was kept, after a look at it, and fetches what is damaged there', async () => {
    const { files } = await cacheOf(SAMPLES, { key })
    server.use(files)
    const narCache = newFolder()
    const first = await fetchClosure([ROOT], options({ narCache }))
    const kept = first.nars.get(LIB)?.file ?? ''
    const bytes = readFileSync(kept)
    server.use(files)
    await fetchClosure([ROOT], options({ narCache }))
    expect(server.requests.filter((name) => name.startsWith('nar/'))).toEqual([])
    writeFileSync(kept, Buffer.from(bytes).fill(0x20, 500, 600))
    truncateSync(first.nars.get(APP)?.file ?? '', 8)
    await fetchClosure([ROOT], options({ narCache }))
    expect(readFileSync(kept).equals(bytes)).toBe(true)
    expect(server.requests.filter((name) => name.startsWith('nar/')).sort()).toEqual([narName(files, LIB), narName(files, APP)].sort())
  })

  it('asks the caches in the order of their priorities, and goes on where a path is not there', async () => {
    const { files } = await cacheOf(SAMPLES, { key, priority: 30 })
    const other = new CacheServer()
    await other.listen()
    try {
      other.use(new Map([['nix-cache-info', Buffer.from('StoreDir: /nix/store\nPriority: 10\n')]]))
      server.use(files)
      await fetchClosure([ROOT], options({ from: [server.url, other.url] }))
      expect(other.requests.filter((name) => name.endsWith('.narinfo'))).toHaveLength(3)
      const from = [`${server.url}?priority=1`, other.url]
      other.use(other.files)
      await fetchClosure([ROOT], options({ from }))
      expect(other.requests).toEqual(['nix-cache-info'])
      const missing = `/nix/store/${base('missing')}`
      const { message } = await failure(() => fetchClosure([missing], options({ from })), 'NOT_FOUND', /no binary cache has it/)
      expect(message).toContain(`asked were ${server.url}, ${other.url}`)
    } finally {
      await other.close()
    }
  })

  it('goes on after errors of the server, and from where a response was cut', async () => {
    const { files } = await cacheOf(SAMPLES, { key, compression: 'none' })
    const lib = narName(files, LIB)
    const ranges: (string | undefined)[] = []
    server.use(files, (name, request, response, before) => {
      if (name === 'nix-cache-info' && before === 0) response.writeHead(429, { 'retry-after': '0' }).end()
      else if (name.endsWith('.narinfo') && before < 2) response.writeHead(503).end()
      else if (name === lib && before === 0) {
        const bytes = files.get(lib) as Buffer
        response.writeHead(200, { 'content-length': bytes.length, etag: '"1"' })
        response.write(bytes.subarray(0, 50_000), () => setTimeout(() => response.destroy(), 20))
      } else {
        if (name === lib) ranges.push(request.headers.range)
        return false
      }
      return true
    })
    const { nars } = await fetchClosure([ROOT], options())
    expect(nars.size).toBe(3)
    expect(ranges).toEqual(['bytes=50000-'])
  })

  it('follows redirects, and tells passwords to the host they are for only', async () => {
    const { files } = await cacheOf(SAMPLES, { key })
    const other = new CacheServer()
    await other.listen()
    const seen: (string | undefined)[][] = [[], []]
    try {
      server.use(files, (name, request, response) => {
        seen[0]?.push(request.headers.authorization)
        if (!name.startsWith('nar/')) return false
        response.writeHead(302, { location: `${other.url}/${name}` }).end()
        return true
      })
      other.use(files, (_name, request) => {
        seen[1]?.push(request.headers.authorization)
        return false
      })
      const from = [server.url.replace('//', '//me:s3cret@').replace('127.0.0.1', 'localhost')]
      await expect(fetchClosure([ROOT], options({ from }))).rejects.toMatchObject({
        code: 'FETCH_FAILED',
        message: expect.stringMatching(/it redirects to 127\.0\.0\.1, which was not named/),
      })
      expect(seen[1]).toEqual([])
      await fetchClosure([ROOT], options({ from, redirectHosts: ['127.0.0.1'] }))
      expect(new Set(seen[0])).toEqual(new Set([`Basic ${Buffer.from('me:s3cret').toString('base64')}`]))
      expect(new Set(seen[1])).toEqual(new Set([undefined]))
      seen[0]?.splice(0)
      await fetchClosure([ROOT], options({ http: { ...HTTP, logins: parseNetrc('machine 127.0.0.1 login a password b') } }))
      expect(new Set(seen[0])).toEqual(new Set([`Basic ${Buffer.from('a:b').toString('base64')}`]))
    } finally {
      await other.close()
    }
  })

  it('goes through proxies: whole addresses of http:, and tunnels for https:', async () => {
    const { files } = await cacheOf(SAMPLES, { key })
    const seen: string[] = []
    const proxy = createServer((request, response) => {
      seen.push(`${request.url} ${request.headers.host} ${request.headers['proxy-authorization']} ${request.headers.authorization}`)
      const bytes = files.get(new URL(request.url ?? '').pathname.slice(1))
      response.writeHead(bytes === undefined ? 404 : 200).end(bytes)
    })
    proxy.on('connect', (request, socket) => {
      seen.push(`${request.method} ${request.url} ${request.headers['proxy-authorization']}`)
      socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    try {
      const url = `http://me:s3cret@127.0.0.1:${(proxy.address() as AddressInfo).port}`
      const http = { ...HTTP, attempts: 1, proxies: { http: url, https: url } }
      const { nars } = await fetchClosure([ROOT], options({ from: ['http://cache.example:81'], http }))
      expect(nars.size).toBe(3)
      const login = `Basic ${Buffer.from('me:s3cret').toString('base64')}`
      expect(seen[0]).toBe(`http://cache.example:81/nix-cache-info cache.example:81 ${login} undefined`)
      seen.splice(0)
      const tunnelled = options({ from: ['https://cache.example'], http })
      const { message } = await failure(() => fetchClosure([ROOT], tunnelled), 'FETCH_FAILED', /cache\.example/)
      expect(message).not.toContain('s3cret')
      expect(seen).toEqual([`CONNECT cache.example:443 ${login}`])
    } finally {
      proxy.closeAllConnections()
      await new Promise((resolve) => proxy.close(resolve))
    }
  })

  const status =
    (code: number, which: (name: string) => boolean, headers = {}): Fault =>
    (name, _request, response) => {
      if (!which(name)) return false
      response.writeHead(code, headers).end()
      return true
    }
  const isNar = (name: string): boolean => name.startsWith('nar/')
  const withNar = (change: (bytes: Buffer) => Buffer) => (files: Files) => {
    const name = narName(files, LIB)
    return new Map([...files, [name, change(files.get(name) as Buffer)]])
  }
  const FAULTS: readonly (readonly [about: string, code: ErrorCode, message: RegExp, files: (files: Files) => Files, fault?: Fault])[] = [
    ['no cache', 'NOT_FOUND', /this is no binary cache/, () => new Map()],
    [
      'another store',
      'UNSUPPORTED',
      /of the store '\/gnu\/store'/,
      (files) => new Map([...files, ['nix-cache-info', Buffer.from('StoreDir: /gnu/store\n')]]),
    ],
    ['500 for ever', 'FETCH_FAILED', /it answers 500, 3 times/, (files) => files, status(500, (name) => name.endsWith('.narinfo'))],
    ['403', 'FETCH_FAILED', /answers 403: .*netrc/, (files) => files, status(403, isNar)],
    [
      '403 for a path',
      'NOT_FOUND',
      /no binary cache has it; asked were http:[^ ]* \(which answers 403\)/,
      (files) => files,
      status(403, (name) => name.endsWith('.narinfo')),
    ],
    ['a redirect loop', 'FETCH_FAILED', /redirects follow each other/, (files) => files, status(302, isNar, { location: '/nar/again' })],
    [
      'a redirect to a file',
      'FETCH_FAILED',
      /from http: to file:/,
      (files) => files,
      status(302, isNar, { location: 'file:///etc/passwd' }),
    ],
    [
      'silence',
      'FETCH_FAILED',
      /nothing comes any more/,
      (files) => files,
      (name, _request, response) => {
        if (isNar(name)) response.writeHead(200, { 'content-length': 1000 }).flushHeaders()
        return isNar(name)
      },
    ],
    ['a NAR that is not there', 'NOT_FOUND', /does not have the file of .*that it names/, (files) => files, status(404, isNar)],
    ['wrong bytes', 'HASH_MISMATCH', /the file has the hash/, withNar((bytes) => Buffer.from(bytes).fill(1, 300, 310))],
    ['too long', 'BAD_INPUT', /has more than the \d+ bytes/, withNar((bytes) => Buffer.concat([bytes, bytes]))],
    ['too short', 'FETCH_FAILED', /ends after \d+ of \d+ bytes/, withNar((bytes) => bytes.subarray(0, -1))],
    [
      'another NAR, rightly packed',
      'HASH_MISMATCH',
      /bytes/,
      (files) =>
        edited(withNar(() => gzipSync(Buffer.alloc(50_000)))(files), LIB, (text) =>
          text.replace(/^File.*\n/gm, '').replace('none', 'gzip'),
        ),
    ],
    [
      'a bomb',
      'HASH_MISMATCH',
      /holds more than the 100\d+ bytes of the NAR/,
      (files) =>
        edited(withNar(() => gzipSync(Buffer.alloc(64 << 20)))(files), LIB, (text) =>
          text.replace(/^File.*\n/gm, '').replace('none', 'gzip'),
        ),
    ],
    [
      'a changed size',
      'UNTRUSTED',
      /is not right/,
      (files) => edited(files, LIB, (text) => text.replace(/^NarSize: (\d+)$/m, 'NarSize: 1000')),
    ],
    [
      'another name of the key',
      'UNTRUSTED',
      /it is signed by 'evil', and trusted are 'test-1'/,
      (files) => edited(files, LIB, (text) => text.replace('test-1:', 'evil:')),
    ],
    ['no signature', 'UNTRUSTED', /it is not signed/, (files) => edited(files, LIB, (text) => text.replace(/^Sig.*\n/m, ''))],
    [
      'a content address that is another',
      'UNTRUSTED',
      /content address .* has the hash part/,
      (files) => edited(files, LIB, (text) => text.replace(/^Sig.*\n/m, `CA: fixed:r:sha256:${'0'.repeat(52)}\n`)),
    ],
    [
      'a narinfo of another path',
      'BAD_INPUT',
      /it is of \S+-app, and \S+-lib was asked for/,
      (files) => new Map([...files, [`${LIB.slice(0, 32)}.narinfo`, files.get(`${APP.slice(0, 32)}.narinfo`) as Buffer]]),
    ],
    [
      'a reference that is not there',
      'NOT_FOUND',
      /-lib, which \S+ refers to: no binary cache has it/,
      (files) => new Map([...files].filter(([name]) => !name.startsWith(LIB.slice(0, 32)))),
    ],
    [
      'a file elsewhere',
      'BAD_INPUT',
      /its file is not in this cache, but at http:\/\/evil/,
      (files) => edited(files, LIB, (text) => text.replace(/^URL: .*$/m, 'URL: http://evil.example/x')),
    ],
    [
      'a compression nobody knows',
      'UNSUPPORTED',
      /compressed with 'lrzip'; known are none, xz/,
      (files) => edited(files, LIB, (text) => text.replace('Compression: none', 'Compression: lrzip')),
    ],
  ]
  it.each(FAULTS.map((one) => ({ about: one[0], code: one[1], one })))('$about: $code, and nothing is left', async ({ one }) => {
    const [, code, message, change, fault] = one
    const { files } = await cacheOf(SAMPLES, { key, compression: 'none' })
    server.use(change(files), fault)
    const narCache = newFolder()
    await failure(() => fetchClosure([ROOT], options({ narCache })), code, message)
    for (const name of left(narCache)) {
      expect(name).toMatch(/\.nar$/)
      const hash = createHash('sha256')
        .update(readFileSync(join(narCache, name)))
        .digest()
      expect(name).toBe(`${formatNix32(hash)}.nar`)
    }
  })

  it('takes paths that are addressed by their content, without a signature', async () => {
    const { files } = await cacheOf({ [LIB]: SAMPLES[LIB] as never }, { compression: 'none' })
    const { contentAddressed } = await import('../../../src/nix/store/content-address.ts')
    const made = await contentAddressed({ name: 'lib', tree: folder({ a: file('text') }), references: [] })
    expect(files.size).toBe(3)
    const cache = await cacheOf({ [made.baseName]: { tree: made.tree, references: [] } }, { compression: 'none' })
    server.use(edited(cache.files, made.baseName, (text) => `${text}CA: ${made.ca}\n`))
    const { closure } = await fetchClosure([made.path], options())
    expect(closure.paths.map(({ ca }) => ca)).toEqual([made.ca])
  })

  it('says no passwords', async () => {
    server.use(new Map())
    const from = [server.url.replace('//', '//me:s3cret@')]
    const error = await failure(() => fetchClosure([ROOT], options({ from })), 'NOT_FOUND', /no binary cache/)
    expect(JSON.stringify([error.message, error.stack, error.path])).not.toContain('s3cret')
  })
})

describe('images', () => {
  it('are the same from a cache, from what was kept of it, and from the folder that is fetched', async () => {
    const { saveProduct } = await import('../../../src/images/save.ts')
    const { storeSquashfs } = await import('../../../src/images/squashfs.ts')
    const { fetchedStore } = await import('../../../src/system/fetched-store.ts')
    const { saveStore } = await import('../../../src/system/saved-store.ts')
    const { files } = await cacheOf(SAMPLES, { key })
    server.use(files)
    const input = { paths: [ROOT], from: [server.url], trustedPublicKeys: [key.text], narCache: newFolder() }
    const out = at('fetched')
    const store = await fetchedStore(input)
    const { written } = await saveStore(store, out, { paths: 'made' })
    expect(written).toHaveLength(3)
    await store.close()
    const digestOf = async (given: Parameters<typeof storeSquashfs>[0]): Promise<string> => {
      const product = await storeSquashfs(given)
      const [saved] = await saveProduct(product, at('store.squashfs'), { force: true })
      await product.close()
      return saved?.sha256 ?? ''
    }
    const folder = await digestOf({ closure: join(out, 'closure-info'), root: out })
    expect(folder).toHaveLength(64)
    expect(await digestOf(input)).toBe(folder)
    expect(await digestOf({ ...input, narCache: newFolder() })).toBe(folder)
  })

  it('say what does not go together', async () => {
    const { openSource } = await import('../../../src/system/source.ts')
    const from = [server.url]
    await failure(() => openSource({ from, closure: 'x' }), 'USAGE', /closure does not go with from/)
    await failure(() => openSource({ closure: 'x', narCache: 'y' }), 'USAGE', /narCache says something of binary caches/)
    await failure(() => openSource({ from, narCache: newFolder() }), 'USAGE', /no store path is named/)
  })
})

describe('folder of NARs', () => {
  it('is cut down to its limit, but not what is of today', async () => {
    const narCache = newFolder()
    mkdirSync(narCache, { mode: 0o700 })
    const names = ['a', 'b', 'c'].map((letter) => `${letter.repeat(52)}.nar`)
    for (const [index, name] of names.entries()) {
      writeFileSync(join(narCache, name), Buffer.alloc(1000))
      const day = new Date(Date.UTC(2020, 0, 1 + index))
      if (name !== names[2]) utimesSync(join(narCache, name), day, day)
    }
    const cache = await NarCache.open(narCache, 2000)
    await cache.trim()
    expect(left(narCache).filter((name) => name.endsWith('.nar'))).toEqual(names.slice(1))
    cache.close()
    const none = await NarCache.open(narCache, 0)
    await none.trim()
    none.close()
    expect(left(narCache)).toEqual(names.slice(2))
  })

  it('belongs to nobody else', async () => {
    const narCache = newFolder()
    mkdirSync(narCache)
    chmodSync(narCache, 0o777)
    await failure(() => NarCache.open(narCache, 0), 'UNTRUSTED', /folder of NARs may be written to by others/)
  })
})
