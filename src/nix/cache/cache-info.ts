/** `nix-cache-info`, which every binary cache has (`libstore/binary-cache-store.cc`). */
import { quote } from '../../bytes/text.ts'
import { badInput, ImageError } from '../../errors.ts'
import { STORE_DIRECTORY } from '../store/store-path.ts'

export interface CacheInfo {
  /** Caches with lower numbers are asked first. */
  readonly priority: number
}

/** Of caches that say nothing (`libstore/store-api.hh`). */
const DEFAULT_PRIORITY = 50

export const CACHE_INFO_LIMIT = 64 << 10

/** Throws BAD_INPUT, and UNSUPPORTED for a cache of another store directory; `label` names the cache. */
export function parseCacheInfo(text: string, label: string): CacheInfo {
  const fields = new Map<string, string>()
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim())
  }
  const directory = fields.get('StoreDir')
  if (directory === undefined) throw badInput(label, 'its nix-cache-info names no StoreDir; this is no binary cache')
  if (directory !== STORE_DIRECTORY) {
    throw new ImageError(
      'UNSUPPORTED',
      `${label}: this binary cache is of the store ${quote(directory.slice(0, 200))}; images are made of ${STORE_DIRECTORY} only`,
      { path: label },
    )
  }
  const priority = fields.get('Priority')
  return { priority: priority !== undefined && /^\d{1,9}$/.test(priority) ? Number(priority) : DEFAULT_PRIORITY }
}
