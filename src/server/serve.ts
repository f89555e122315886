/** Listens, hands requests to connections, and shuts down. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { ImageError, systemErrorCode, throwIfAborted } from '../errors.ts'
import type { Connection } from './connection.ts'
import { ConnectionTable } from './connections.ts'
import type { ServedRequest, ServerEvent } from './events.ts'
import { fileTable, type ServedFile } from './files.ts'
import { hostNames } from './hosts.ts'
import { planResponse, type Site, textPlan } from './response-plan.ts'
import { sendResponse } from './send.ts'

export interface ServeOptions {
  /** A name or an address, such as `127.0.0.1` or `::1`. */
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
  /** What it throws is ignored. */
  readonly onEvent?: (event: ServerEvent) => void
  /** Closes the server. */
  readonly signal?: AbortSignal
  /** For how long transfers may go on when the server is closed; default 5000. */
  readonly graceMilliseconds?: number
  /** After how long without progress a client is dropped; default 120 000. */
  readonly idleMilliseconds?: number
  /**
   * Connections at a time; default 1000, which take two file descriptors each. For a further one another has to go that waits or takes next to nothing. Where
   * all are busy the further one gets 503 and is asked to come again.
   */
  readonly maximumConnections?: number
  /** The same of one client: an IPv4 address, or 64 bits of an IPv6 address. Default three quarters of `maximumConnections`. */
  readonly maximumPerClient?: number
  /** Names of the server beside `host`; its addresses and localhost need none. Requests for others get 421. */
  readonly names?: readonly string[]
}

export interface RunningServer {
  /** Such as `http://127.0.0.1:8080` or `http://[::1]:8080`. */
  readonly url: string
  readonly port: number
  /** Resolves when all connections are gone and nothing of the files is being read. */
  readonly closed: Promise<void>
  /** Takes no more requests, ends connections that are idle, lets answers finish for the grace. May be called again. */
  close(): Promise<void>
}

export const SERVE_DEFAULTS = { graceMilliseconds: 5000, idleMilliseconds: 120_000, maximumConnections: 1000 } as const

/** What `setTimeout` takes. */
const MAXIMUM_MILLISECONDS = 2 ** 31 - 1

/** How long a client may take for a request head from its first byte, or from the beginning, to its end; a shorter idle time counts. */
const HEAD_MILLISECONDS = 20_000

/** How often it is looked for heads that are late. */
const CHECK_MILLISECONDS = 1000

/** A client that takes longer over a portion of an answer (send.ts: 128 KiB) is slow; a quarter of the idle time counts, if shorter. */
const SLOW_MILLISECONDS = 30_000

/** How long a connection stays open for the next request. */
const KEEP_ALIVE_MILLISECONDS = 5000

/**
 * Serve the files over HTTP/1.1 until `close()` or `signal`. Throws USAGE for files or options that make no sense,
 * LISTEN_FAILED when the address is taken, forbidden or unknown, and ABORTED when `signal` has come already.
 */
export async function serveFiles(files: readonly ServedFile[], options: ServeOptions): Promise<RunningServer> {
  const settings = settingsOf(options)
  const service = new Service({ table: fileTable(files), names: hostNames(settings.host, settings.names) }, settings)
  const { signal } = options
  throwIfAborted(signal, 'the server was cancelled')
  const { address, family, port } = await service.listen(settings)
  const close = (): Promise<void> => service.close()
  if (signal?.aborted) void close()
  signal?.addEventListener('abort', close, { once: true })
  void service.closed.then(() => signal?.removeEventListener('abort', close))
  // RFC 6874: the zone of a link-local address.
  const host = family === 'IPv6' ? `[${address.replace('%', '%25')}]` : address
  return { url: `http://${host}:${port}`, port, closed: service.closed, close }
}

/** Whether the address can be listened on now: before work that takes long. Throws LISTEN_FAILED. */
export async function checkAddress(host: string, port: number): Promise<void> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenError(host, port, error)))
    server.listen({ host, port }, () => server.close(() => resolve()))
  })
}

/** All machines of a network may be one client, but not quite all of the places are for one. */
const PER_CLIENT = 0.75

type Settings = Required<Omit<ServeOptions, 'signal'>>

/** Throws USAGE. */
function settingsOf(options: ServeOptions): Settings {
  const { host, port, onEvent = () => undefined, graceMilliseconds = SERVE_DEFAULTS.graceMilliseconds } = options
  const { idleMilliseconds = SERVE_DEFAULTS.idleMilliseconds, maximumConnections = SERVE_DEFAULTS.maximumConnections } = options
  const { maximumPerClient = Math.ceil(maximumConnections * PER_CLIENT), names = [] } = options
  const settings = { host, port, onEvent, graceMilliseconds, idleMilliseconds, maximumConnections, maximumPerClient, names }
  const limits = {
    port: [0, 65_535],
    graceMilliseconds: [0, MAXIMUM_MILLISECONDS],
    idleMilliseconds: [1, MAXIMUM_MILLISECONDS],
    maximumConnections: [1, 1_000_000],
    maximumPerClient: [1, 1_000_000],
  } as const
  for (const name of ['port', 'graceMilliseconds', 'idleMilliseconds', 'maximumConnections', 'maximumPerClient'] as const) {
    const [least, most] = limits[name]
    const value = settings[name]
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new ImageError('USAGE', `${name} is ${value}; give a whole number from ${least} to ${most}`)
    }
  }
  if (settings.host === '') throw new ImageError('USAGE', 'host is empty; give an address such as 127.0.0.1')
  return settings
}

class Service {
  readonly closed: Promise<void>
  readonly #site: Site
  readonly #settings: Settings
  readonly #server: Server
  readonly #connections: ConnectionTable
  readonly #answers = new Set<Promise<void>>()
  #isClosing = false
  #grace: NodeJS.Timeout | undefined

  constructor(site: Site, settings: Settings) {
    this.#site = site
    this.#settings = settings
    const slowMilliseconds = Math.min(SLOW_MILLISECONDS, Math.ceil(settings.idleMilliseconds / 4))
    this.#connections = new ConnectionTable({ ...settings, slowMilliseconds }, ({ client }, wasAnswered) => {
      const reason = wasAnswered ? 'too slow, others need its place' : 'nothing asked for, others need its place'
      this.#tell({ kind: 'refuse', client, status: undefined, reason })
    })
    const headMilliseconds = Math.min(HEAD_MILLISECONDS, settings.idleMilliseconds)
    this.#server = createServer({
      headersTimeout: headMilliseconds,
      requestTimeout: settings.idleMilliseconds,
      connectionsCheckingInterval: Math.min(CHECK_MILLISECONDS, settings.idleMilliseconds),
      keepAliveTimeout: KEEP_ALIVE_MILLISECONDS,
      keepAlive: true,
      // Node's own answer would not be in turn with ours.
      requireHostHeader: false,
    })
    // A client may end its side after the request and still wait for the answer, as busybox wget did. Node has no option for this.
    Object.assign(this.#server, { httpAllowHalfOpen: true })
    this.closed = new Promise((resolve) => {
      this.#server.once('close', () => {
        clearTimeout(this.#grace)
        void Promise.all(this.#answers).then(() => resolve())
      })
    })
    this.#attach()
  }

  async listen({ host, port }: Settings): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      const onError = (error: unknown): void => reject(listenError(host, port, error))
      this.#server.once('error', onError)
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', onError)
        this.#server.on('error', (error) => this.#tell({ kind: 'acceptError', error }))
        resolve()
      })
    })
    return this.#server.address() as AddressInfo
  }

  close(): Promise<void> {
    if (!this.#isClosing) {
      this.#isClosing = true
      this.#server.close()
      for (const connection of this.#connections.all()) connection.end()
      this.#grace = setTimeout(() => {
        for (const connection of this.#connections.all()) connection.cut('shutdown')
      }, this.#settings.graceMilliseconds)
    }
    return this.closed
  }

  #attach(): void {
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => this.#onRequest(request, response)
    this.#server
      .on('connection', (socket) => this.#onConnection(socket))
      .on('request', onRequest)
      // The final answer at once instead of 100 (RFC 9110, 10.1.1): no content is ever wanted.
      .on('checkContinue', onRequest)
      .on('checkExpectation', onRequest)
      .on('connect', (_request, socket) => {
        socket.on('error', () => undefined)
        this.#refuse(socket as Socket, 405, 'CONNECT')
      })
      .on('clientError', (error, socket) => this.#onClientError(error, socket as Socket))
  }

  #onConnection(socket: Socket): void {
    const connection = this.#connections.admit(socket)
    if (this.#isClosing) connection.end()
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.#connections.get(request.socket)
    if (connection === undefined) return
    const answer = connection.take(() => this.#answer(connection, request, response))
    if (answer === undefined) {
      this.#tell({ kind: 'refuse', client: connection.client, status: undefined, reason: 'too many requests at once' })
      return
    }
    this.#answers.add(answer)
    void answer.then(() => this.#answers.delete(answer))
  }

  async #answer(connection: Connection, incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url: target = '', headers: fields, httpVersion: version } = incoming
    const hosts = incoming.headersDistinct['host'] ?? []
    const request: ServedRequest = { client: connection.client, method, target, host: hosts[0] }
    this.#tell({ kind: 'start', request })
    const isUnwelcome = connection.isSurplus || this.#isClosing
    if (isUnwelcome) response.shouldKeepAlive = false
    const plan = isUnwelcome ? textPlan(503) : planResponse(this.#site, { method, target, version, hosts, fields })
    if (plan.status === 505) response.shouldKeepAlive = false
    const { status, bytes, reason } = await sendResponse(response, plan, {
      isHead: method === 'HEAD',
      idleMilliseconds: this.#settings.idleMilliseconds,
      onReadError: (error) => this.#tell({ kind: 'readError', request, error }),
      onGive: (isUnderWay) => connection.gives(isUnderWay),
    })
    if (reason === undefined) this.#tell({ kind: 'finish', request, status, bytes })
    else this.#tell({ kind: 'drop', request, status, bytes, reason: connection.cutReason ?? reason })
  }

  #onClientError(error: NodeJS.ErrnoException, socket: Socket): void {
    const status = CLIENT_ERRORS[error.code ?? ''] ?? (error.code?.startsWith('HPE_') ? 400 : undefined)
    // Not a word that is wrong but the connection that broke.
    if (status === undefined) socket.destroy()
    else this.#refuse(socket, status, error.code ?? error.message)
  }

  #refuse(socket: Socket, status: number, reason: string): void {
    const connection = this.#connections.get(socket)
    if (connection?.refuse(status)) this.#tell({ kind: 'refuse', client: connection.client, status, reason })
  }

  #tell(event: ServerEvent): void {
    try {
      this.#settings.onEvent(event)
    } catch {
      // A listener that fails must not end a transfer.
    }
  }
}

/** Status by the code of Node's error. */
const CLIENT_ERRORS: Readonly<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
  HPE_INVALID_VERSION: 505,
  // The first line of HTTP/2 (RFC 9113, 3.4).
  HPE_PAUSED_H2_UPGRADE: 505,
}

const LISTEN_REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there; choose another port, or 0 for any that is free',
  EACCES: 'no permission for this port; choose one from 1024 on',
  EPERM: 'no permission for this port; choose one from 1024 on',
  EADDRNOTAVAIL: 'no interface of this machine has the address; choose one that it has, such as 127.0.0.1',
  ENOTFOUND: 'the name is not known; give an address such as 127.0.0.1',
  EAI_AGAIN: 'the name cannot be looked up now; give an address such as 127.0.0.1',
  EAFNOSUPPORT: 'this system has no such addresses; choose another one, such as 127.0.0.1',
}

function listenError(host: string, port: number, error: unknown): ImageError {
  const where = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  const code = systemErrorCode(error) ?? 'unknown error'
  return new ImageError('LISTEN_FAILED', `${where}: cannot be listened on (${code}): ${LISTEN_REMEDIES[code] ?? 'see the cause'}`, {
    cause: error,
  })
}
