/** A running server, judged by curl and raw sockets: what it answers, tells and refuses. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { bytesImage } from '../../src/io/image.ts'
import type { ServeOptions } from '../../src/server/index.ts'
import { serveFiles } from '../../src/server/index.ts'
import { oracle } from '../oracles/tools.ts'
import { MEBIBYTE, sampleImage, served } from './sample.ts'
import { headAndBody, rawAnswer, rawSocket, serverFolder, sha256, startServer, untilClosed } from './support.ts'

const folder = serverFolder()

const runFile = promisify(execFile)

/** The oracle runs beside the server, which is in this process. */
async function curl(...args: readonly string[]): Promise<Buffer> {
  const options = { encoding: 'buffer', maxBuffer: 1 << 28 } as const
  return (await runFile('curl', ['--silent', '--show-error', '--max-time', '20', '--noproxy', '*', ...args], options)).stdout
}

/** Node, curl and we all mean the same by a head: lower-case names. */
function fieldsOf(head: string): Record<string, string> {
  const lines = head.trim().split('\r\n').slice(1)
  return Object.fromEntries(lines.map((line) => [line.split(': ', 1)[0]?.toLowerCase() ?? '', line.slice(line.indexOf(': ') + 2)]))
}

const small = served('/netboot.ipxe', bytesImage(Buffer.from('#!ipxe\nboot\n')), 'script')
const sample = sampleImage(4, folder)
const initrd = served('/initrd', sample.image, 'initrd-1')
/** More than the system holds for a connection. */
const large = served('/large', { size: 64 * MEBIBYTE, extents: [] })

describe.skipIf(oracle('curl').skip)('with curl', () => {
  it('sends files, lists and heads', async () => {
    const { url } = await startServer([small, initrd])
    expect((await curl(`${url}/netboot.ipxe`)).toString()).toBe('#!ipxe\nboot\n')
    expect((await curl(`${url}/initrd?x=1`)).equals(sample.bytes)).toBe(true)
    expect((await curl(url)).toString()).toBe(`     12 /netboot.ipxe\n${sample.image.size} /initrd\n`)
    const head = (await curl('--head', `${url}/initrd`)).toString()
    expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    const { date, ...fields } = fieldsOf(head)
    expect(date).toMatch(/ GMT$/)
    expect(fields).toEqual({
      'content-type': 'application/octet-stream',
      'content-length': String(sample.image.size),
      etag: '"initrd-1"',
      'accept-ranges': 'bytes',
      'cache-control': 'no-cache',
      connection: 'keep-alive',
      'keep-alive': 'timeout=5',
    })
  })

  it.each(['0-0', '0-', '1000-200000', '-1', '-70000', '500000-3000000', '4000000-99999999'])('sends the range %s', async (range) => {
    const { url } = await startServer([initrd])
    const answer = headAndBody(await curl('--include', '--range', range, `${url}/initrd`))
    const [, first, last] = /^(\d*)-(\d*)$/.exec(range) ?? []
    const { size } = sample.image
    const start = first === '' ? size - Number(last) : Number(first)
    const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1)
    expect(answer.head).toMatch(/^HTTP\/1\.1 206 Partial Content\r\n/)
    expect(fieldsOf(answer.head)).toMatchObject({
      'content-range': `bytes ${start}-${end - 1}/${size}`,
      'content-length': String(end - start),
    })
    expect(answer.body.equals(sample.bytes.subarray(start, end))).toBe(true)
  })

  it('answers several ranges with the whole, and one beyond the end with 416', async () => {
    const { url } = await startServer([initrd])
    expect((await curl('--range', '0-1,5-6', `${url}/initrd`)).equals(sample.bytes)).toBe(true)
    const beyond = (await curl('--include', '--range', '99999999-', `${url}/initrd`)).toString('latin1')
    expect(beyond).toMatch(/^HTTP\/1\.1 416 Range Not Satisfiable\r\n/)
    expect(fieldsOf(beyond)['content-range']).toBe(`bytes */${sample.image.size}`)
  })

  it('resumes a download that broke off, only of the same file', async () => {
    const { url } = await startServer([initrd])
    const file = join(folder, 'resumed')
    writeFileSync(file, sample.bytes.subarray(0, 1_234_567))
    await curl('--continue-at', '-', '--output', file, `${url}/initrd`)
    expect(readFileSync(file).equals(sample.bytes)).toBe(true)
    const ifRange = async (tag: string): Promise<string> =>
      (
        await curl(
          '--output',
          '/dev/null',
          '--write-out',
          '%{http_code}',
          '--range',
          '5-9',
          '--header',
          `If-Range: ${tag}`,
          `${url}/initrd`,
        )
      ).toString()
    expect([await ifRange('"initrd-1"'), await ifRange('"initrd-0"')]).toEqual(['206', '200'])
  })

  it('does not send again what the client has', async () => {
    const { url } = await startServer([initrd])
    const tag = join(folder, 'tag')
    const get = async (): Promise<string> => {
      const args = ['--etag-save', tag, '--etag-compare', tag, '--output', '/dev/null', '--write-out', '%{http_code} %{size_download}']
      return (await curl(...args, `${url}/initrd`)).toString()
    }
    writeFileSync(tag, '')
    expect(await get()).toBe(`200 ${sample.image.size}`)
    expect(readFileSync(tag, 'utf8').trim()).toBe('"initrd-1"')
    expect(await get()).toBe('304 0')
  })

  it('closes after an answer to HTTP/1.0 and keeps connections of HTTP/1.1', async () => {
    const { url, events } = await startServer([initrd, small])
    const old = headAndBody(await curl('--http1.0', '--include', `${url}/initrd`))
    expect(fieldsOf(old.head)).toMatchObject({ connection: 'close', 'content-length': String(sample.image.size) })
    expect(old.body.equals(sample.bytes)).toBe(true)
    const twice = await curl(`${url}/netboot.ipxe`, `${url}/netboot.ipxe`, `${url}/nothing`, `${url}/netboot.ipxe`)
    expect(twice.toString()).toBe('#!ipxe\nboot\n#!ipxe\nboot\n404 Not Found\n#!ipxe\nboot\n')
    const clients = events.flatMap((event) => (event.kind === 'start' ? [event.request.client] : []))
    expect(new Set(clients.slice(1)).size).toBe(1)
  })

  it.each(['/../etc/passwd', '/../../../../etc/passwd', '/%2e%2e/etc/passwd', '/x/../initrd', '/initrd/'])(
    'has nothing at %s',
    async (path) => {
      const { url } = await startServer([initrd])
      expect((await curl('--path-as-is', '--write-out', '%{http_code}', `${url}${path}`)).toString()).toBe('404 Not Found\n404')
    },
  )

  it.each(['/./initrd', '/%69nitrd', '//initrd'])('has at %s what is at /initrd', async (path) => {
    const { url } = await startServer([initrd])
    const [same, other] = [await curl(`${url}/initrd`), await curl('--path-as-is', `${url}${path}`)]
    expect(other.equals(same)).toBe(true)
  })

  it('takes absolute targets, as for a proxy', async () => {
    const { url } = await startServer([small], { names: ['another.invalid'] })
    const byProxy = (target: string) => curl('--noproxy', '', '--proxy', url, '--write-out', '%{http_code}', target)
    expect((await byProxy('http://another.invalid/netboot.ipxe')).toString()).toBe('#!ipxe\nboot\n200')
    expect((await byProxy('http://a-third.invalid/netboot.ipxe')).toString()).toMatch(/--host NAME\n421$/)
  })

  it('allows GET and HEAD, and drops what is uploaded', async () => {
    const { url } = await startServer([small])
    const upload = join(folder, 'upload')
    writeFileSync(upload, Buffer.alloc(3 * MEBIBYTE))
    for (const args of [
      ['--data', 'x'],
      ['--request', 'DELETE'],
      ['--request', 'OPTIONS'],
      ['--upload-file', upload],
    ]) {
      const answer = (await curl('--include', ...args, `${url}/netboot.ipxe`)).toString()
      expect(answer).toMatch(/^HTTP\/1\.1 405 Method Not Allowed\r\n/)
      expect(fieldsOf(answer)['allow']).toBe('GET, HEAD')
    }
    expect((await curl(`${url}/netboot.ipxe`)).toString()).toBe('#!ipxe\nboot\n')
  })

  it('refuses heads that are too large', async () => {
    const { url } = await startServer([small])
    const status = async (...args: readonly string[]): Promise<string> =>
      (await curl('--output', '/dev/null', '--write-out', '%{http_code}', ...args)).toString()
    expect(await status(`${url}/${'x'.repeat(9000)}`)).toBe('414')
    expect(await status('--header', `X: ${'x'.repeat(60_000)}`, url)).toBe('431')
    expect(await status(url)).toBe('200')
  })

  it('notices when an answer is wrong', async () => {
    const bytes = Buffer.from(sample.bytes)
    bytes[3_000_000] = (bytes[3_000_000] ?? 0) ^ 1
    const { url } = await startServer([served('/initrd', bytesImage(bytes))])
    expect((await curl(`${url}/initrd`)).equals(sample.bytes)).toBe(false)
  })
})

describe.skipIf(oracle('busybox').skip)('with busybox', () => {
  it('is read by its wget', async () => {
    const { url } = await startServer([initrd])
    const file = join(folder, 'by-busybox')
    await runFile('busybox', ['wget', '-q', '-O', file, `${url}/initrd`])
    expect(sha256(readFileSync(file))).toBe(sha256(sample.bytes))
    writeFileSync(file, sample.bytes.subarray(0, 99_999))
    await runFile('busybox', ['wget', '-q', '-c', '-O', file, `${url}/initrd`])
    expect(statSync(file).size).toBe(sample.image.size)
    expect(sha256(readFileSync(file))).toBe(sha256(sample.bytes))
  })
})

describe('protocol', () => {
  it('sends no content for HEAD and 304, so that the next answer follows at once', async () => {
    const { port } = await startServer([small])
    const common = 'Host: localhost\r\n'
    const answer = await rawAnswer(
      port,
      `HEAD /netboot.ipxe HTTP/1.1\r\n${common}\r\n` +
        `GET /netboot.ipxe HTTP/1.1\r\n${common}If-None-Match: *\r\n\r\n` +
        `HEAD /nothing HTTP/1.1\r\n${common}\r\n` +
        `GET /netboot.ipxe HTTP/1.1\r\n${common}Connection: close\r\n\r\n`,
    )
    expect(
      answer
        .toString()
        .split(/(?=HTTP\/1\.1 )/)
        .map((part) => [part.slice(9, 12), headAndBody(Buffer.from(part)).body.toString()]),
    ).toEqual([
      ['200', ''],
      ['304', ''],
      ['404', ''],
      ['200', '#!ipxe\nboot\n'],
    ])
  })

  it.each([
    ['no Host', 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    ['two Hosts', 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n', 400],
    ['HTTP/2.0', 'GET / HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n', 505],
    ['HTTP/0.9', 'GET / HTTP/0.9\r\n\r\n', 505],
    ['a name that is not its own', 'GET / HTTP/1.1\r\nHost: attacker.example\r\nConnection: close\r\n\r\n', 421],
    ['an old form with such a name', 'GET / HTTP/1.0\r\nHost: attacker.example\r\n\r\n', 421],
    ['an unknown version', 'GET / HTTP/4.2\r\nHost: 127.0.0.1\r\n\r\n', 505],
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
    ['no version', 'GET /\r\n\r\n', 505],
    ['HTTP/3', 'GET / HTTP/3\r\nHost: 127.0.0.1\r\n\r\n', 505],
    ['TLS', Buffer.from('160301020001000001fc0303', 'hex'), 400],
    ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', 400],
    ['two lengths', 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400],
    ['a length and chunks', 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
    ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', 405],
    ['an Expect', 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n', 200],
    ['an unknown Expect', 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: more\r\nConnection: close\r\n\r\n', 200],
    ['an Upgrade', 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n', 200],
    ['content', 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc', 200],
    ['the oldest form', 'GET / HTTP/1.0\r\n\r\n', 200],
  ])('answers %s', async (_name, text, status) => {
    const { port } = await startServer([small])
    const answer = await rawAnswer(port, text)
    const { head, body } = headAndBody(answer)
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} \\w`))
    const fields = fieldsOf(head)
    expect(fields).toMatchObject({ connection: 'close', 'content-length': String(body.length) })
    expect([fields['server'], fields['x-powered-by']]).toEqual([undefined, undefined])
  })

  it('keeps HTTP/1.0 connections when asked to', async () => {
    const { port } = await startServer([small])
    const request = 'GET /netboot.ipxe HTTP/1.0\r\nConnection: keep-alive\r\n\r\n'
    const answer = await rawAnswer(port, `${request}${request}GET /netboot.ipxe HTTP/1.0\r\n\r\n`)
    expect(answer.toString().match(/#!ipxe\nboot\n/g)).toHaveLength(3)
  })

  it('answers a client that has ended its side', async () => {
    const { port } = await startServer([initrd])
    const { body } = headAndBody(await rawAnswer(port, 'GET /initrd HTTP/1.1\r\nHost: localhost\r\n\r\n', { end: true }))
    expect(body.equals(sample.bytes)).toBe(true)
  })

  it('answers what came before garbage, then refuses the garbage', async () => {
    const { port, events } = await startServer([initrd])
    const answer = await rawAnswer(port, 'GET /initrd HTTP/1.1\r\nHost: localhost\r\n\r\n\x01garbage\r\n\r\n')
    const { body } = headAndBody(answer)
    expect(body.subarray(0, sample.bytes.length).equals(sample.bytes)).toBe(true)
    expect(body.subarray(sample.bytes.length).toString()).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
    expect(events.filter(({ kind }) => kind === 'refuse')).toMatchObject([{ status: 400 }])
  })
})

describe('events', () => {
  it('tell the start and the end of each request with one object', async () => {
    const { port, events } = await startServer([small])
    await rawAnswer(port, 'GET /netboot.ipxe?q HTTP/1.1\r\nHost: localhost\r\nRange: bytes=1-2\r\nConnection: close\r\n\r\n')
    await rawAnswer(port, 'POST /a HTTP/1.0\r\n\r\n')
    const [start, finish, ...others] = events
    const request = { client: expect.stringMatching(/^127\.0\.0\.1:\d+$/), method: 'GET', target: '/netboot.ipxe?q', host: 'localhost' }
    expect(start).toEqual({ kind: 'start', request })
    expect(finish).toEqual({ kind: 'finish', request, status: 206, bytes: 2 })
    expect((finish as { request?: unknown }).request).toBe((start as { request?: unknown }).request)
    expect(others).toMatchObject([{ kind: 'start' }, { kind: 'finish', status: 405, request: { method: 'POST', target: '/a' } }])
  })

  it('may be listened to by what throws', async () => {
    const onEvent = (): never => {
      throw new Error('the listener fails')
    }
    const { port } = await startServer([small], { onEvent })
    expect((await rawAnswer(port, 'GET /netboot.ipxe HTTP/1.0\r\n\r\n')).toString()).toMatch(/boot\n$/)
  })
})

describe('serveFiles', () => {
  const listen = (options: Partial<ServeOptions>) => serveFiles([small], { host: '127.0.0.1', port: 0, ...options })
  const listenFailed = (text: RegExp) => expect.objectContaining({ code: 'LISTEN_FAILED', message: expect.stringMatching(text) })

  it('tells where it listens', async () => {
    const server = await startServer([small])
    expect(server.url).toBe(`http://127.0.0.1:${server.port}`)
    const named = await startServer([small], { host: 'localhost' })
    expect(named.url).toMatch(new RegExp(`^http://(127\\.0\\.0\\.1|\\[::1\\]):${named.port}$`))
  })

  const hasIpv6 = Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === '::1'))
  it.skipIf(!hasIpv6)('writes IPv6 addresses in brackets', async () => {
    const server = await startServer([small], { host: '::1' })
    expect(server.url).toBe(`http://[::1]:${server.port}`)
    expect(await (await fetch(`${server.url}/netboot.ipxe`)).text()).toBe('#!ipxe\nboot\n')
    expect(server.events[0]).toMatchObject({ request: { client: expect.stringMatching(/^\[::1\]:\d+$/) } })
  })

  it('names the address and the remedy where it cannot listen', async () => {
    const { port } = await startServer([small])
    await expect(listen({ port })).rejects.toThrow(listenFailed(new RegExp(`^127\\.0\\.0\\.1:${port}: .*\\(EADDRINUSE\\): .*another port`)))
    await expect(listen({ host: 'no-such-name.invalid' })).rejects.toThrow(
      listenFailed(/^no-such-name\.invalid:0: .*(ENOTFOUND|EAI_AGAIN)/),
    )
    await expect(listen({ host: '192.0.2.1' })).rejects.toThrow(listenFailed(/EADDRNOTAVAIL/))
  })

  it.each([
    { port: -1 },
    { port: 65_536 },
    { port: 1.5 },
    { host: '' },
    { graceMilliseconds: -1 },
    { idleMilliseconds: 0 },
    { idleMilliseconds: 2 ** 31 },
    { maximumConnections: 0 },
    { maximumPerClient: 0 },
    { names: ['a b'] },
    { names: ['boot.example.org:8080'] },
  ])('refuses %o', async (options) => {
    await expect(listen(options)).rejects.toThrow(expect.objectContaining({ code: 'USAGE' }))
  })

  it('takes options that are undefined as not given', async () => {
    const options = { graceMilliseconds: undefined, idleMilliseconds: undefined, maximumConnections: undefined, onEvent: undefined }
    const server = await serveFiles([small], { host: '127.0.0.1', port: 0, ...(options as object) })
    expect(await (await fetch(`${server.url}/netboot.ipxe`)).text()).toBe('#!ipxe\nboot\n')
    await server.close()
  })

  it('heeds the signal before and after it listens', async () => {
    await expect(listen({ signal: AbortSignal.abort() })).rejects.toThrow(expect.objectContaining({ code: 'ABORTED' }))
    const soon = new AbortController()
    const starting = listen({ signal: soon.signal })
    soon.abort()
    await (await starting).closed
    const later = new AbortController()
    const server = await listen({ signal: later.signal })
    expect(await (await fetch(`${server.url}/netboot.ipxe`)).text()).toBe('#!ipxe\nboot\n')
    later.abort()
    await server.closed
    await expect(fetch(server.url)).rejects.toThrow()
  })

  it('sends clients away that are too many, and takes them when there is room', async () => {
    const { port, event } = await startServer([large, small], { maximumConnections: 2 })
    const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`
    const held = [await rawSocket(port), await rawSocket(port)]
    for (const socket of held) {
      socket.pause().write(get('/large'))
      await once(socket, 'readable')
    }
    const away = headAndBody(await rawAnswer(port, get('/netboot.ipxe').replace('close', 'keep-alive')))
    expect(away.head).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/)
    expect(fieldsOf(away.head)).toMatchObject({ 'retry-after': '5', connection: 'close' })
    const silent = [await rawSocket(port), await rawSocket(port), await rawSocket(port)]
    const [longest] = silent
    expect(await untilClosed(longest ?? (await rawSocket(port)))).toHaveLength(0)
    expect(await event(({ kind }) => kind === 'refuse')).toMatchObject({
      status: undefined,
      reason: expect.stringMatching(/need its place/),
    })
    for (const socket of silent) socket.destroy()
    held[1]?.destroy()
    await event(({ kind }) => kind === 'drop')
    expect((await rawAnswer(port, get('/netboot.ipxe'))).toString()).toMatch(/boot\n$/)
    held[0]?.destroy()
  })
})
