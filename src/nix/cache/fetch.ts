/**
 * Closures of binary caches. What the caches say of each path is asked for breadth first, many at once; then the NARs are fetched,
 * unpacked in threads, and kept as uncompressed files. Nothing is handed on that is not signed, or addressed by its content.
 *
 * Not supported: s3: and ssh: stores, stores other than /nix/store, realisations of content-addressed derivations.
 */
import { type FileHandle, open, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { quote } from '../../bytes/text.ts'
import { UNPACKERS, type Unpacker } from '../../codecs/unpack/index.ts'
import { ImageError, throwIfAborted } from '../../errors.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { writeError } from '../../io/write-error.ts'
import { Pool } from '../../threads/pool.ts'
import { checkAddress } from '../inspect/address.ts'
import type { Closure, ClosurePath } from '../listing/closure.ts'
import { checkAcyclic } from '../listing/cycles.ts'
import { type NarFile, type NarFiles, narFileTree } from '../store/nar-file.ts'
import { baseNameOf, compareNames, parseStorePath, storePath } from '../store/store-path.ts'
import { parseCacheAddress } from './address.ts'
import { BinaryCache } from './binary-cache.ts'
import { type CacheHttp, HttpClient } from './http.ts'
import { NarCache } from './nar-cache.ts'
import type { NarInfo } from './narinfo.ts'
import { CACHE_NIXOS_ORG_KEY, signatureFault, type TrustedKeys, trustedKeys } from './signature.ts'
import { type NarTask, work } from './work.ts'

export interface FetchOptions {
  /** URLs of binary caches, `http:`, `https:` or `file:`; one at least. */
  readonly from: readonly string[]
  /** As `name:base64`; default that of cache.nixos.org. */
  readonly trustedPublicKeys?: readonly string[]
  /** Default true; false only where all caches are of `file:`. */
  readonly checkSignatures?: boolean
  /** Names of hosts to which the caches may redirect; default those of the caches alone. */
  readonly redirectHosts?: readonly string[]
  /** Folder of uncompressed NARs, which is made where it is not there. */
  readonly narCache: string
  /** Bytes that are left in it at most, of what was not used within a day. Default 16 GiB. */
  readonly narCacheSize?: number
  readonly http?: CacheHttp
  /** Threads that unpack. Default one a core. */
  readonly jobs?: number
  /** `none`: all is done in the caller's thread. */
  readonly threads?: 'workers' | 'none'
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ProgressListener | undefined
}

export interface FetchedClosure {
  /** Sorted by base name, complete, without cycles. */
  readonly closure: Closure
  /** By base name; compared with their hashes already. */
  readonly nars: NarFiles
  /** Full paths that were asked for. */
  readonly roots: readonly string[]
  /** Files of the host that are read. */
  readonly inputs: readonly string[]
  close(): Promise<void>
}

export const NAR_CACHE_SIZE = 16 * 1024 ** 3

/** NARs under way at once. */
const NARS_AT_ONCE = 16

interface Found {
  readonly info: NarInfo
  readonly cache: BinaryCache
  /** No signature is right, so its content address has to be. */
  readonly byAddress: boolean
}

/**
 * The closure of `roots` (full store paths) from binary caches. Throws USAGE, NOT_FOUND (a path that no cache has, naming all that
 * were asked), UNTRUSTED (no signature to trust), FETCH_FAILED, BAD_INPUT, HASH_MISMATCH, UNSUPPORTED, WRITE_FAILED and ABORTED;
 * nothing that is not whole and right is left in the folder of NARs.
 */
export async function fetchClosure(roots: readonly string[], options: FetchOptions): Promise<FetchedClosure> {
  const { from, checkSignatures = true, signal, onProgress } = options
  if (from.length === 0) throw new ImageError('USAGE', (option) => `no binary cache is named; name one with ${option('from')}`)
  if (roots.length === 0) throw new ImageError('USAGE', 'no store path is named; name the full path of what is to be fetched')
  const names = roots.map((root) => parseStorePath(root, 'store path'))
  const addresses = from.map(parseCacheAddress)
  const foreign = addresses.find(({ folder }) => folder === undefined)
  if (!checkSignatures && foreign !== undefined) {
    const message = `${foreign.label}: signatures are left unchecked only for file: caches; name the key of this one`
    throw new ImageError('USAGE', message, { path: foreign.label })
  }
  if (!checkSignatures) onProgress?.({ kind: 'note', message: 'signatures of store paths are not checked' })
  const keys = checkSignatures ? trustedKeys(options.trustedPublicKeys ?? [CACHE_NIXOS_ORG_KEY]) : undefined
  onProgress?.({ kind: 'stage', stage: 'scan' })
  const hosts = [...addresses.map(({ url }) => url.hostname), ...(options.redirectHosts ?? [])]
  const http = new HttpClient({ ...options.http, signal, redirectHosts: new Set(hosts.map((host) => host.toLowerCase())) })
  try {
    const caches = await Promise.all(addresses.map((address) => BinaryCache.open(address, http)))
    caches.sort((a, b) => a.priority - b.priority)
    const found = await askForAll(names, caches, keys, signal)
    const paths = [...found.values()].map(({ info }) => pathOf(info)).sort((a, b) => compareNames(a.baseName, b.baseName))
    await checkAcyclic(paths, 'the closure')
    const nars = await fetchNars([...found.values()], http, options)
    return {
      closure: { kind: 'binary-cache', paths, hashesKnown: true, referencesKnown: true },
      nars,
      roots: [...new Set(names)].map(storePath),
      inputs: [...new Set([...nars.values()].map(({ file }) => file))],
      close: async () => undefined,
    }
  } finally {
    http.close()
  }
}

function pathOf({ path, baseName, narHash, narSize, references, deriver, ca }: NarInfo): ClosurePath {
  return { path, baseName, narHash, narSize, references, ...(deriver !== undefined && { deriver }), ...(ca !== undefined && { ca }) }
}

/** By base name, in the order in which they were found. */
async function askForAll(
  roots: readonly string[],
  caches: readonly BinaryCache[],
  keys: TrustedKeys | undefined,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, Found>> {
  const found = new Map<string, Found>()
  const referrers = new Map<string, string | undefined>(roots.map((root) => [root, undefined]))
  for (let level = [...referrers.keys()]; level.length > 0; ) {
    throwIfAborted(signal, 'cancelled while binary caches were read')
    const answers = await Promise.all(level.map((baseName) => askFor(baseName, referrers.get(baseName), caches, keys)))
    level = []
    for (const answer of answers) {
      found.set(answer.info.baseName, answer)
      for (const reference of answer.info.references) {
        const baseName = baseNameOf(reference) ?? reference
        if (referrers.has(baseName)) continue
        referrers.set(baseName, answer.info.path)
        level.push(baseName)
      }
    }
  }
  return found
}

/** The first cache counts that has the path with a signature to trust. */
async function askFor(
  baseName: string,
  referrer: string | undefined,
  caches: readonly BinaryCache[],
  keys: TrustedKeys | undefined,
): Promise<Found> {
  const path = storePath(baseName)
  let unsigned: string | undefined
  for (const cache of caches) {
    const info = await cache.narInfo(baseName)
    if (info === undefined) continue
    const fault = keys && signatureFault(info, keys)
    if (fault === undefined || info.ca !== undefined) return { info, cache, byAddress: fault !== undefined }
    unsigned ??= `${cache.label}: ${path} is not to be trusted: ${fault}`
  }
  if (unsigned !== undefined) {
    const remedy = (option: (name: string) => string): string => `name the key of the cache with ${option('trustedPublicKeys')}`
    throw new ImageError('UNTRUSTED', (option) => `${unsigned}; ${remedy(option)}`, { path })
  }
  const asked = caches.map(({ label, hasForbidden }) => (hasForbidden ? `${label} (which answers 403)` : label)).join(', ')
  const why = referrer === undefined ? '' : `, which ${referrer} refers to`
  throw new ImageError('NOT_FOUND', `${path}${why}: no binary cache has it; asked were ${asked}`, { path })
}

async function fetchNars(all: readonly Found[], http: HttpClient, options: FetchOptions): Promise<NarFiles> {
  const { narCache, narCacheSize = NAR_CACHE_SIZE, jobs = availableParallelism(), threads, signal, onProgress } = options
  // Before anything is fetched.
  const compressions = new Map(all.map((one) => [one, unpackerOf(one)]))
  const cache = await NarCache.open(narCache, narCacheSize)
  const pool = new Pool(work, undefined, { count: jobs, threads, signal, cancelled: 'cancelled while NARs were fetched' })
  try {
    onProgress?.({ kind: 'stage', stage: 'fetch', totalBytes: all.reduce((sum, { info }) => sum + info.narSize, 0) })
    let doneBytes = 0
    const add = (count: number): void => {
      doneBytes += count
      onProgress?.({ kind: 'bytes', stage: 'fetch', doneBytes })
    }
    const fetching: Fetching = { http, cache, pool, add, signal }
    const nars = new Map<string, NarFile>()
    /** NARs that are equal are fetched once. */
    const byFile = new Map<string, Promise<void>>()
    await inTurn(all, NARS_AT_ONCE, async (one) => {
      const { narHash, narSize, baseName } = one.info
      const file = cache.place(narHash)
      const same = byFile.get(file)
      const own = same ?? fetchNar(one, compressions.get(one) as Unpacker, fetching)
      if (same === undefined) byFile.set(file, own)
      await own
      if (same !== undefined) add(narSize)
      if (one.byAddress) await requireAddress(one, file, signal)
      nars.set(baseName, { file, start: 0, size: narSize })
    })
    await cache.trim()
    return nars
  } finally {
    await pool.close()
    cache.close()
  }
}

interface Fetching {
  readonly http: HttpClient
  readonly cache: NarCache
  readonly pool: Pool<undefined, NarTask, boolean, number>
  readonly add: (count: number) => void
  readonly signal: AbortSignal | undefined
}

async function fetchNar({ info, cache: source }: Found, compression: Unpacker, fetching: Fetching): Promise<void> {
  const { http, cache, pool, add } = fetching
  const { narHash, narSize, fileHash, fileSize, path } = info
  const kept = cache.place(narHash)
  const common = { storePath: path, narHash, narSize }
  if (await cache.has(narHash, narSize)) {
    if (await pool.run({ ...common, kind: 'compare', file: kept, label: kept, compression: 'none' })) {
      await cache.used(narHash)
      add(narSize)
      return
    }
  }
  const place = source.place(info)
  const registered = { ...(fileHash && { fileHash }), ...(fileSize !== undefined && { fileSize }) }
  const task = { ...common, ...registered, kind: 'unpack', compression, label: place.label } as const
  if (place.kind === 'file') {
    const into = cache.unfinished()
    await pool.run({ ...task, file: place.file, into }, { onProgress: add })
    await cache.keep(into, narHash)
    return
  }
  const packed = cache.unfinished()
  const login = source.address.login
  const isThere = await download(http, place.url, packed, { login, limit: fileSize ?? packedLimit(narSize), size: fileSize })
  if (!isThere) throw new ImageError('NOT_FOUND', `${place.label}: the cache does not have the file of ${path} that it names`, { path })
  if (compression === 'none') {
    await pool.run({ ...task, file: packed }, { onProgress: add })
    await cache.keep(packed, narHash)
    return
  }
  const into = cache.unfinished()
  await pool.run({ ...task, file: packed, into }, { onProgress: add })
  await cache.keep(into, narHash)
  await rm(packed, { force: true })
}

/** Of a file whose size the cache does not say: what does not get smaller gets little larger. */
function packedLimit(narSize: number): number {
  return narSize + Math.ceil(narSize / 10) + (1 << 20)
}

async function download(http: HttpClient, url: URL, path: string, options: Parameters<HttpClient['get']>[2]): Promise<boolean> {
  let file: FileHandle
  try {
    file = await open(path, 'wx', 0o600)
  } catch (error) {
    throw writeError(path, error)
  }
  let position = 0
  const sink = {
    async write(bytes: Uint8Array) {
      try {
        for (let done = 0; done < bytes.length; ) done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
      } catch (error) {
        throw writeError(path, error)
      }
      position += bytes.length
    },
    async reset() {
      position = 0
      await file.truncate(0)
    },
  }
  try {
    return await http.get(url, sink, options)
  } finally {
    await file.close()
  }
}

function unpackerOf({ info, cache }: Found): Unpacker {
  const { compression, path } = info
  const known = UNPACKERS.find((one) => one === compression)
  if (known !== undefined) return known
  const message = `${cache.label}: ${path} is compressed with ${quote(compression.slice(0, 40))}; known are ${UNPACKERS.join(', ')}: copy it to a cache with one of these (?compression=zstd)`
  throw new ImageError('UNSUPPORTED', message, { path })
}

/** Throws UNTRUSTED where the contents do not have the address; there is no signature to trust either. */
async function requireAddress({ info, cache }: Found, file: string, signal: AbortSignal | undefined): Promise<void> {
  const { baseName, references, narHash, narSize, ca = '', path } = info
  const node = narFileTree({ file, start: 0, size: narSize })
  const verdict = await checkAddress({ baseName, ca, references, node, narHash }, signal)
  if (verdict.kind === 'right') return
  throw new ImageError('UNTRUSTED', `${cache.label}: ${path} is not signed by anybody who is trusted, and ${verdict.message}`, { path })
}

/** So many at a time; the first error ends it, once what is under way has ended. */
async function inTurn<T>(items: readonly T[], count: number, run: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  let isFailed = false
  const worker = async (): Promise<void> => {
    while (next < items.length && !isFailed) {
      try {
        await run(items[next++] as T)
      } catch (error) {
        isFailed = true
        throw error
      }
    }
  }
  const results = await Promise.allSettled(Array.from({ length: Math.min(count, items.length) }, worker))
  for (const result of results) if (result.status === 'rejected') throw result.reason
}
