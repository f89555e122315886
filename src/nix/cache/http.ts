/**
 * GET requests that go on when something goes wrong: again after a while on errors of the server, resets and stalls, from where
 * they were by Range, and after redirects (RFC 9110).
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { ImageError, systemErrorCode, throwIfAborted } from '../../errors.ts'
import { type Login, shownUrl } from './address.ts'
import { Agents } from './agents.ts'
import type { Logins } from './netrc.ts'
import { basic, type ProxySettings } from './proxies.ts'

export interface CacheHttp {
  /** Requests under way at once. Default 32. */
  readonly connections?: number
  readonly proxies?: ProxySettings
  /** By host. */
  readonly logins?: Logins
  /** Attempts that bring nothing before a request fails. Default 5. */
  readonly attempts?: number
  /** Before the second attempt; each further one waits twice as long. Default 250 ms. */
  readonly backoffMs?: number
  /** A connection that brings nothing for so long is given up. Default 30 s. */
  readonly stallMs?: number
}

export interface HttpOptions extends CacheHttp {
  /** Names of hosts, in small letters, to which a host may redirect beside itself. Default none. */
  readonly redirectHosts?: ReadonlySet<string>
  readonly signal?: AbortSignal | undefined
}

export interface GetOptions {
  /** For the host of the URL itself. */
  readonly login?: Login | undefined
  /** A response with more bytes is BAD_INPUT. */
  readonly limit: number
  /** Bytes that it has, where that is known. */
  readonly size?: number | undefined
  /** Called where the server answers 403, which is how some answer for what they do not have; then it counts as not there. */
  readonly onForbidden?: () => void
}

/** Takes the bytes of a response; `reset` where they come from the beginning once more. */
export interface Sink {
  write(bytes: Uint8Array): Promise<void> | void
  reset(): Promise<void> | void
}

const REDIRECT_LIMIT = 10
const RETRY_AFTER_LIMIT_S = 120
const TRANSIENT = new Set([408, 425, 429, 500, 502, 503, 504, 509, 529])
const NOT_THERE = new Set([404, 410])
const REDIRECTS = new Set([301, 302, 303, 307, 308])

/** What is worth another attempt. */
class Transient extends Error {
  readonly waitMs: number | undefined

  constructor(message: string, waitMs?: number, cause?: unknown) {
    super(message, { cause })
    this.waitMs = waitMs
  }
}

interface Place {
  done: number
  etag: string | undefined
}

export class HttpClient {
  readonly #agents: Agents
  readonly #options: HttpOptions
  readonly #connections: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(options: HttpOptions = {}) {
    this.#options = options
    this.#connections = options.connections ?? 32
    this.#agents = new Agents(this.#connections, options.proxies)
  }

  /** False where the server has no such file. Throws FETCH_FAILED, BAD_INPUT, ABORTED and what `sink` throws. */
  async get(url: URL, sink: Sink, options: GetOptions): Promise<boolean> {
    await this.#enter()
    try {
      return await this.#persist(url, sink, options)
    } finally {
      this.#leave()
    }
  }

  /** All of a small file; undefined where there is none. */
  async text(url: URL, options: GetOptions): Promise<string | undefined> {
    const parts: Buffer[] = []
    const sink: Sink = { write: (bytes) => void parts.push(Buffer.from(bytes)), reset: () => void parts.splice(0) }
    return (await this.get(url, sink, options)) ? Buffer.concat(parts).toString('utf8') : undefined
  }

  close(): void {
    this.#agents.close()
  }

  async #enter(): Promise<void> {
    if (this.#running < this.#connections) this.#running++
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  #leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#running--
    else next()
  }

  async #persist(url: URL, sink: Sink, options: GetOptions): Promise<boolean> {
    const { attempts = 5, backoffMs = 250, signal } = this.#options
    const place: Place = { done: 0, etag: undefined }
    for (let failures = 0; ; ) {
      throwIfAborted(signal, 'cancelled while binary caches were read')
      const before = place.done
      try {
        return await this.#attempt(url, sink, options, place)
      } catch (error) {
        throwIfAborted(signal, 'cancelled while binary caches were read')
        if (!(error instanceof Transient)) throw error
        failures = place.done > before ? 1 : failures + 1
        if (failures >= attempts) throw failed(url, `${error.message}, ${attempts} times`, error)
        const waitMs = error.waitMs ?? backoffMs * 2 ** (failures - 1)
        await sleep(waitMs, undefined, signal ? { signal } : {}).catch(() => undefined)
      }
    }
  }

  async #attempt(first: URL, sink: Sink, { login, limit, size, onForbidden }: GetOptions, place: Place): Promise<boolean> {
    const { redirectHosts } = this.#options
    let url = first
    for (let hops = 0; ; hops++) {
      const headers: Record<string, string> = { 'user-agent': 'kilnix', 'accept-encoding': 'identity', accept: '*/*' }
      if (place.done > 0) headers.range = `bytes=${place.done}-`
      if (place.done > 0 && place.etag !== undefined) headers['if-range'] = place.etag
      const named = this.#options.logins?.get(url.hostname.toLowerCase()) ?? this.#options.logins?.get('')
      // What was named for one host goes to no other.
      const credentials = url.origin === first.origin ? (login ?? named) : this.#options.logins?.get(url.hostname.toLowerCase())
      if (credentials !== undefined) headers.authorization = basic(credentials)
      const response = await this.#send(url, headers)
      const status = response.statusCode ?? 0
      if (REDIRECTS.has(status)) {
        response.destroy()
        if (hops === REDIRECT_LIMIT) throw failed(first, `more than ${REDIRECT_LIMIT} redirects follow each other`)
        url = redirected(url, response.headers.location)
        const host = url.hostname.toLowerCase()
        if (host !== first.hostname.toLowerCase() && redirectHosts?.has(host) !== true) throw strangeHost(first, host)
        continue
      }
      if (status !== 200 && status !== 206) {
        response.destroy()
        if (NOT_THERE.has(status)) return false
        if (status === 403 && onForbidden !== undefined) {
          onForbidden()
          return false
        }
        throw this.#refused(url, status, response)
      }
      const from = status === 206 ? rangeStart(response.headers['content-range']) : 0
      if (from !== place.done) {
        if (from !== 0) {
          response.destroy()
          throw failed(url, 'it answers with another part of the file than was asked for')
        }
        place.done = 0
        await sink.reset()
      }
      const { etag } = response.headers
      place.etag = etag?.startsWith('W/') ? undefined : etag
      await this.#receive(url, response, sink, place, limit)
      if (size !== undefined && place.done < size) throw new Transient(`the response ends after ${place.done} of ${size} bytes`)
      return true
    }
  }

  #refused(url: URL, status: number, response: IncomingMessage): Error {
    if (TRANSIENT.has(status)) return new Transient(`it answers ${status}`, retryAfterMs(response.headers))
    if (status === 401 || status === 403)
      return failed(url, `it answers ${status}: this cache wants a name and password; they belong into a netrc file`)
    if (status === 407) return failed(url, 'the proxy wants a name and password; they belong into its URL')
    if (status === 416) return new Transient('it answers 416 to a part of the file')
    return failed(url, `it answers ${status}`)
  }

  #send(url: URL, headers: Readonly<Record<string, string>>): Promise<IncomingMessage> {
    const { stallMs = 30_000, signal } = this.#options
    const { request, options } = this.#agents.route(url, headers)
    return new Promise((resolve, reject) => {
      const sent = request({ ...options, timeout: stallMs, ...(signal && { signal }) })
      let received: IncomingMessage | undefined
      sent.on('response', (response) => {
        received = response
        resolve(response)
      })
      // Also while the response comes, which hears why.
      sent.on('timeout', () => {
        const stalled = Object.assign(new Error('stalled'), { code: 'ETIMEDOUT' })
        received?.destroy(stalled)
        sent.destroy(stalled)
      })
      sent.on('error', (error) => reject(connectionError(url, error)))
      sent.end()
    })
  }

  async #receive(url: URL, response: IncomingMessage, sink: Sink, place: Place, limit: number): Promise<void> {
    const chunks = response[Symbol.asyncIterator]()
    try {
      while (true) {
        const step = await chunks.next().catch((error: unknown) => {
          throw connectionError(url, error)
        })
        if (step.done === true) return
        const bytes = step.value as Uint8Array
        if (place.done + bytes.length > limit)
          throw new ImageError('BAD_INPUT', `${shownUrl(url)}: has more than the ${limit} bytes that it may have`, { path: shownUrl(url) })
        await sink.write(bytes)
        place.done += bytes.length
      }
    } finally {
      if (!response.complete) response.destroy()
    }
  }
}

/** Certificates and names that do not fit are no better the next time. */
function connectionError(url: URL, error: unknown): Error {
  const code = systemErrorCode(error) ?? 'unknown error'
  if (/CERT|ALTNAME|SELF_SIGNED|SSL|TLS/.test(code)) return failed(url, `its certificate is not one to trust (${code})`, error)
  const why: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nobody listens there',
    ENOTFOUND: 'there is no such host',
    EAI_AGAIN: 'the name of the host cannot be looked up',
    ETIMEDOUT: 'nothing comes any more',
    ECONNRESET: 'the connection breaks off',
    EPROXY: error instanceof Error ? error.message : 'the proxy refuses',
  }
  if (code === 'ENOTFOUND') return failed(url, why.ENOTFOUND as string, error)
  return new Transient(`${why[code] ?? 'the connection fails'} (${code})`, undefined, error)
}

/** FETCH_FAILED. */
export function failed(url: URL, why: string, cause?: unknown): ImageError {
  const shown = shownUrl(url)
  return new ImageError('FETCH_FAILED', `${shown}: cannot be fetched: ${why}`, { path: shown, cause })
}

function redirected(from: URL, location: string | undefined): URL {
  if (location === undefined || !URL.canParse(location, from.href)) throw failed(from, 'it redirects to nowhere')
  const to = new URL(location, from)
  const isAllowed = to.protocol === from.protocol || (from.protocol === 'http:' && to.protocol === 'https:')
  if (!isAllowed) throw failed(from, `it redirects from ${from.protocol} to ${to.protocol}, which is not followed`)
  to.username = ''
  to.password = ''
  return to
}

function strangeHost(from: URL, host: string): ImageError {
  const shown = shownUrl(from)
  return new ImageError(
    'FETCH_FAILED',
    (option) =>
      `${shown}: cannot be fetched: it redirects to ${host}, which was not named; if that is right, name it with ${option('redirectHosts')}`,
    { path: shown },
  )
}

function rangeStart(header: string | undefined): number {
  const [, start] = /^bytes (\d+)-\d+\/(?:\d+|\*)$/.exec(header ?? '') ?? []
  return start === undefined ? Number.NaN : Number(start)
}

/** A time is one of the server's clock, which says what it is now. */
function retryAfterMs({ 'retry-after': header, date = '' }: IncomingHttpHeaders): number | undefined {
  if (header === undefined) return undefined
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.parse(date)) / 1000
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), RETRY_AFTER_LIMIT_S) * 1000
}
