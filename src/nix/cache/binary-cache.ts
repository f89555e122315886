/** One binary cache: its files by their names, over the network or in a folder. */
import { open } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { badInput, ImageError, systemErrorCode } from '../../errors.ts'
import { hashPart } from '../store/store-path.ts'
import { type CacheAddress, shownUrl } from './address.ts'
import { CACHE_INFO_LIMIT, parseCacheInfo } from './cache-info.ts'
import type { HttpClient } from './http.ts'
import { NARINFO_LIMIT, type NarInfo, parseNarInfo } from './narinfo.ts'

/** Where a NAR is: a file of the host, or what is to be fetched. */
export type NarPlace =
  | { readonly kind: 'file'; readonly file: string; readonly label: string }
  | { readonly kind: 'url'; readonly url: URL; readonly label: string }

export class BinaryCache {
  readonly address: CacheAddress
  readonly #http: HttpClient
  /** Caches with lower numbers are asked first. */
  priority = 0
  /** Whether it has answered for a path that it may be there, but not for whoever asks. */
  hasForbidden = false

  private constructor(address: CacheAddress, http: HttpClient) {
    this.address = address
    this.#http = http
  }

  /** Reads nix-cache-info. Throws NOT_FOUND where there is none, what that is not as it should be, and what fetching throws. */
  static async open(address: CacheAddress, http: HttpClient): Promise<BinaryCache> {
    const cache = new BinaryCache(address, http)
    const text = await cache.#text('nix-cache-info', CACHE_INFO_LIMIT)
    if (text === undefined) {
      const message = `${address.label}: there is no nix-cache-info; this is no binary cache, or its address goes on behind that`
      throw new ImageError('NOT_FOUND', message, { path: address.label })
    }
    const info = parseCacheInfo(text, address.label)
    cache.priority = address.priority ?? info.priority
    return cache
  }

  get label(): string {
    return this.address.label
  }

  /** Undefined where the cache does not have the path. Throws BAD_INPUT for a file of another path, and what fetching throws. */
  async narInfo(baseName: string): Promise<NarInfo | undefined> {
    const name = `${hashPart(baseName)}.narinfo`
    const text = await this.#text(name, NARINFO_LIMIT, () => {
      this.hasForbidden = true
    })
    if (text === undefined) return undefined
    const where = `${this.label}/${name}`
    const info = parseNarInfo(text, where)
    if (info.baseName !== baseName) throw badInput(where, `it is of ${info.path}, and ${baseName} was asked for`)
    return info
  }

  /** Throws BAD_INPUT for a file that is not of this cache. */
  place({ url: name, path }: NarInfo): NarPlace {
    const { url, folder } = this.address
    const where = `${this.label}: ${path}`
    if (!URL.canParse(name, url.href)) throw badInput(where, 'its URL is none')
    const full = new URL(name, url)
    if (full.origin !== url.origin || full.protocol !== url.protocol || full.username !== '')
      throw badInput(where, `its file is not in this cache, but at ${shownUrl(full)}`)
    if (folder === undefined) return { kind: 'url', url: full, label: shownUrl(full) }
    if (!full.pathname.startsWith(url.pathname)) throw badInput(where, 'its file is not in the folder of this cache')
    const file = fileURLToPath(new URL(full.pathname, 'file://'))
    return { kind: 'file', file, label: file }
  }

  async #text(name: string, limit: number, onForbidden?: () => void): Promise<string | undefined> {
    const url = new URL(name, this.address.url)
    if (this.address.folder === undefined)
      return this.#http.text(url, { login: this.address.login, limit, ...(onForbidden && { onForbidden }) })
    return readSmall(fileURLToPath(url), limit)
  }
}

async function readSmall(path: string, limit: number): Promise<string | undefined> {
  try {
    const file = await open(path)
    try {
      const { size } = await file.stat()
      if (size > limit) throw badInput(path, `has ${size} bytes, and ${limit} are the most that are read`)
      return (await file.readFile()).toString('utf8')
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof ImageError) throw error
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new ImageError('UNREADABLE', `${path}: cannot be read (${code ?? String(error)})`, { path, cause: error })
  }
}
