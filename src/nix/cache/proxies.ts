/** Which proxy a request goes through, as curl's manual has it for `https_proxy`, `http_proxy` and `no_proxy`. */
import { ImageError } from '../../errors.ts'
import type { Login } from './address.ts'

export interface ProxySettings {
  /** URLs; a name without a scheme is one of `http:`. */
  readonly http?: string
  readonly https?: string
  /** Hosts that are reached directly, separated by commas; `*` for all. */
  readonly no?: string
}

export interface HttpProxy {
  readonly isTls: boolean
  readonly host: string
  readonly port: number
  readonly login?: Login
}

/** Undefined for what is reached directly. Throws USAGE and UNSUPPORTED, without what is secret. */
export function proxyFor(url: URL, settings: ProxySettings): HttpProxy | undefined {
  const text = url.protocol === 'https:' ? settings.https : settings.http
  if (text === undefined || text === '' || isExcepted(url, settings.no ?? '')) return undefined
  const full = /^[a-z0-9]+:\/\//i.test(text) ? text : `http://${text}`
  if (!URL.canParse(full)) throw new ImageError('USAGE', `the proxy for ${url.protocol} is no URL; it is written http://host:port`)
  const { protocol, hostname, port, username, password } = new URL(full)
  if (protocol !== 'http:' && protocol !== 'https:') {
    throw new ImageError('UNSUPPORTED', `the proxy for ${url.protocol} is one of ${protocol}; http: and https: proxies are supported`)
  }
  const isTls = protocol === 'https:'
  return {
    isTls,
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? (isTls ? 443 : 80) : Number(port),
    ...(username !== '' && { login: { login: decodeURIComponent(username), password: decodeURIComponent(password) } }),
  }
}

function isExcepted(url: URL, list: string): boolean {
  const host = url.hostname.toLowerCase()
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true
      const [, name = entry, only] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? []
      const bare = name.replace(/^\*?\./, '')
      return (only === undefined || only === port) && (host === bare || host.endsWith(`.${bare}`))
    })
}

/** The value of `Authorization` and `HttpProxy-Authorization` (RFC 7617). */
export function basic({ login, password }: Login): string {
  return `Basic ${Buffer.from(`${login}:${password}`).toString('base64')}`
}
