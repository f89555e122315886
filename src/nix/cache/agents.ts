/** Connections: kept alive, no more to a host than are allowed, and through a proxy where there is one (RFC 9110, section 9.3.6). */
import { Agent as HttpAgent, request as httpRequest, type RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Duplex } from 'node:stream'
import { connect as tlsConnect } from 'node:tls'
import { basic, type HttpProxy, type ProxySettings, proxyFor } from './proxies.ts'

/** For `request` of the module that the scheme of the URL names. */
export interface Route {
  readonly request: typeof httpRequest
  readonly options: RequestOptions
}

export class Agents {
  readonly #settings: ProxySettings
  readonly #http: HttpAgent
  readonly #https: HttpsAgent
  readonly #tunnels = new Map<string, HttpsAgent>()
  readonly #maxSockets: number

  constructor(maxSockets: number, settings: ProxySettings = {}) {
    this.#settings = settings
    this.#maxSockets = maxSockets
    this.#http = new HttpAgent({ keepAlive: true, maxSockets })
    this.#https = new HttpsAgent({ keepAlive: true, maxSockets })
  }

  /** How a GET of `url` is sent. Throws USAGE and UNSUPPORTED for a proxy that is none. */
  route(url: URL, headers: Readonly<Record<string, string>>): Route {
    const proxy = proxyFor(url, this.#settings)
    const host = url.hostname.replace(/^\[|\]$/g, '')
    const path = `${url.pathname}${url.search}`
    const own = { ...headers, host: url.host }
    if (proxy === undefined) {
      const isTls = url.protocol === 'https:'
      return {
        request: isTls ? httpsRequest : httpRequest,
        options: { host, ...(url.port !== '' && { port: Number(url.port) }), path, headers: own, agent: isTls ? this.#https : this.#http },
      }
    }
    if (url.protocol === 'https:') {
      return { request: httpsRequest, options: { host, port: Number(url.port || 443), path, headers: own, agent: this.#tunnel(proxy) } }
    }
    const login = proxy.login && { 'proxy-authorization': basic(proxy.login) }
    return {
      request: proxy.isTls ? httpsRequest : httpRequest,
      options: {
        host: proxy.host,
        port: proxy.port,
        path: `${url.origin}${path}`,
        headers: { ...own, ...login },
        agent: proxy.isTls ? this.#https : this.#http,
      },
    }
  }

  #tunnel(proxy: HttpProxy): HttpsAgent {
    const key = `${proxy.isTls} ${proxy.host} ${proxy.port}`
    const agent = this.#tunnels.get(key) ?? tunnelAgent(proxy, this.#maxSockets)
    this.#tunnels.set(key, agent)
    return agent
  }

  close(): void {
    for (const agent of [this.#http, this.#https, ...this.#tunnels.values()]) agent.destroy()
  }
}

/** TLS to the host itself, within a connection that the proxy passes on. */
function tunnelAgent(proxy: HttpProxy, maxSockets: number): HttpsAgent {
  const agent = new HttpsAgent({ keepAlive: true, maxSockets })
  const createConnection = (options: RequestOptions, done: (error: Error | null, socket?: Duplex) => void): undefined => {
    const target = `${options.host?.includes(':') ? `[${options.host}]` : options.host}:${options.port}`
    const request = (proxy.isTls ? httpsRequest : httpRequest)({
      method: 'CONNECT',
      host: proxy.host,
      port: proxy.port,
      path: target,
      agent: false,
      headers: { host: target, ...(proxy.login && { 'proxy-authorization': basic(proxy.login) }) },
    })
    request.once('connect', (response, socket) => {
      if (response.statusCode === 200) {
        const secure = tlsConnect({ socket, servername: options.host ?? '' }, () => done(null, secure))
        secure.once('error', done)
        return
      }
      socket.destroy()
      done(Object.assign(new Error(`the proxy answers ${response.statusCode}`), { code: 'EPROXY' }))
    })
    request.once('error', done)
    request.end()
  }
  return Object.assign(agent, { createConnection })
}
