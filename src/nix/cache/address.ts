/** Addresses of binary caches. What is secret in one is kept apart, and never shown. */
import { fileURLToPath } from 'node:url'
import { ImageError } from '../../errors.ts'

export interface Login {
  readonly login: string
  readonly password: string
}

export interface CacheAddress {
  /** As messages name it: without user, password and query. */
  readonly label: string
  /** What is asked; its path ends in a slash, and it has no user and no query. */
  readonly url: URL
  /** Of a `file:` cache. */
  readonly folder?: string
  /** Of `https://user:password@host`. */
  readonly login?: Login
  /** Of `?priority=N`; before what the cache says. */
  readonly priority?: number
}

/** `http:`, `https:` and `file:`. Throws USAGE, and UNSUPPORTED for other kinds of stores; what is given is not repeated where it may hold a password. */
export function parseCacheAddress(text: string): CacheAddress {
  if (!URL.canParse(text)) {
    throw new ImageError(
      'USAGE',
      `a binary cache is named by its URL, such as https://cache.example.org or file:///backup/cache${/^[./]/.test(text) ? `; ${text} is a path` : ''}`,
    )
  }
  const url = new URL(text)
  const login = url.username === '' ? undefined : { login: decoded(url.username), password: decoded(url.password) }
  const priority = priorityOf(url)
  url.username = ''
  url.password = ''
  url.search = ''
  url.hash = ''
  const label = url.href.replace(/\/$/, '')
  if (url.protocol === 'file:') {
    if (url.host !== '')
      throw new ImageError('USAGE', `${label}: a file: URL names no host; it has three slashes, as in file:///backup/cache`)
    return { label, url: withSlash(url), folder: fileURLToPath(url), ...(priority !== undefined && { priority }) }
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    const remedy =
      url.protocol === 's3:' ? 'name the https: address of the bucket' : 'copy it to one of these first, or name its folder by file:'
    throw new ImageError('UNSUPPORTED', `${url.protocol}//: binary caches are read by https:, http: and file:; ${remedy}`)
  }
  return { label, url: withSlash(url), ...(login && { login }), ...(priority !== undefined && { priority }) }
}

function priorityOf(url: URL): number | undefined {
  let priority: number | undefined
  for (const [name, value] of url.searchParams) {
    if (name !== 'priority')
      throw new ImageError('USAGE', `a binary cache has the parameter ?priority=N and no other here; leave out ${JSON.stringify(name)}`)
    if (!/^\d{1,9}$/.test(value)) throw new ImageError('USAGE', 'the ?priority of a binary cache is a whole number')
    priority = Number(value)
  }
  return priority
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function withSlash(url: URL): URL {
  if (!url.pathname.endsWith('/')) url.pathname += '/'
  return url
}

/** A URL as messages name it. A query may hold a key, as signed addresses do. */
export function shownUrl(url: URL): string {
  return `${url.origin}${url.pathname}${url.search === '' ? '' : '?...'}`
}
