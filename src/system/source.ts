/**
 * The one way in: whatever a closure is given as, here it becomes a closure and the places of its files. Nothing behind it
 * knows where they came from.
 */
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { ImageError } from '../errors.ts'
import { CLOSURE_INFO_FILES, type ReadClosureOptions, readClosure } from '../nix/listing/read.ts'
import { withoutLogin } from '../nix/local/place.ts'
import { openExportFile, openExportStream } from './export-source.ts'
import type { OpenedSource, SourceScope, StoreInput } from './input.ts'
import { HEAD_SIZE, headOf, isPipe, isStorePath, type NotAListing, peeked, recognisedHead } from './recognise.ts'

/** Keep references to paths that are not listed, for a check that names all of them; default false, and the first is NOT_FOUND. */
export type OpenOptions = Pick<ReadClosureOptions, 'allowMissing'>

/**
 * Open what `input` names. Throws what reading it throws, and USAGE where nothing is named, or several things that do not go
 * together.
 */
export async function openSource(input: StoreInput, options: OpenOptions = {}): Promise<OpenedSource> {
  const { closure, paths = [], from } = input
  checkStoreOption(input)
  checkCacheOptions(input)
  if (closure !== undefined) {
    const [path] = paths
    if (path === undefined) return openNamed(closure, input, options)
    throw new ImageError('USAGE', (option) => `${option('closure')} is ${closure}, and ${path} is named as well; give one of them`)
  }
  if (from !== undefined) return openCaches(from, paths, input)
  if (paths.length > 0) return openPaths(paths, input)
  throw new ImageError('USAGE', (option) => `no closure is given; name its listing as ${option('closure')}`)
}

/** Throws USAGE for a Nix of this machine that is not asked. */
function checkStoreOption({ store, from, paths = [] }: StoreInput): void {
  if (store === undefined) return
  if (from !== undefined) {
    const wording = (option: (name: string) => string): string =>
      `${option('store')} does not go with ${option('from')}, which takes all store paths from binary caches; give one of them`
    throw new ImageError('USAGE', wording)
  }
  if (paths.length > 0) return
  throw new ImageError(
    'USAGE',
    (option) => `${option('store')} is ${withoutLogin(store)}, in which nothing is looked up; give store paths as ${option('paths')}`,
  )
}

/** Throws USAGE for what says something of binary caches where none is named, or another source is. */
function checkCacheOptions({
  from,
  closure,
  root = '/',
  trustedPublicKeys,
  checkSignatures,
  redirectHosts,
  narCache,
  narCacheSize,
}: StoreInput): void {
  const others = {
    trustedPublicKeys,
    checkSignatures: checkSignatures === false ? false : undefined,
    redirectHosts,
    narCache,
    narCacheSize,
  }
  const [first] = Object.entries(others).flatMap(([name, value]) => (value === undefined ? [] : [name]))
  if (from === undefined && first !== undefined)
    throw new ImageError('USAGE', (option) => `${option(first)} says something of binary caches, and none is named as ${option('from')}`)
  if (from !== undefined && closure !== undefined) {
    const wording = (option: (name: string) => string): string =>
      `${option('closure')} does not go with ${option('from')}, which takes the closure of store paths; give one of them`
    throw new ImageError('USAGE', wording)
  }
  if (from !== undefined && root !== '/') {
    const wording = (option: (name: string) => string): string =>
      `${option('root')} is ${root}, from which nothing is read: with ${option('from')} all files come from binary caches; leave it out`
    throw new ImageError('USAGE', wording)
  }
}

/** Binary caches; the files of nothing are read from a store. */
async function openCaches(from: readonly string[], paths: readonly string[], input: StoreInput): Promise<OpenedSource> {
  const { root = '/', trustedPublicKeys, checkSignatures, redirectHosts, narCacheSize, jobs, signal, onProgress } = input
  const { fetchClosure } = await import('../nix/cache/fetch.ts')
  if (input.narCache === undefined)
    throw new ImageError('USAGE', (option) => `${option('from')} needs ${option('narCache')}, a folder in which NARs are kept`)
  const { followToStore } = await import('../nix/local/follow.ts')
  const named = paths.map((path) => followToStore(path, root))
  const fetched = await fetchClosure(named, {
    from,
    ...(trustedPublicKeys && { trustedPublicKeys }),
    ...(checkSignatures !== undefined && { checkSignatures }),
    ...(redirectHosts && { redirectHosts }),
    narCache: input.narCache,
    ...(narCacheSize !== undefined && { narCacheSize }),
    ...(jobs !== undefined && { jobs }),
    ...(input.http && { http: input.http }),
    signal,
    onProgress,
  })
  return { ...fetched, root }
}

/** A listing or an export, by whatever name. */
async function openNamed(name: string, input: StoreInput, options: OpenOptions): Promise<OpenedSource> {
  if (name === '-' && input.stdin !== undefined) return openStream(input.stdin, '<stdin>', input, options)
  if (await isPipe(name)) return openStream(createReadStream(name), name, input, options)
  const head = name === '-' ? undefined : await headOf(name)
  const found = head === undefined ? undefined : recognisedHead(head)
  if (found === 'export') return openExportFile(name, input, options)
  if (found !== undefined) throw noListing(name, found)
  if (await isStorePath(name)) throw namedStorePath(name)
  return openListing(name, input, options)
}

/** What comes once, from its beginning to its end. */
async function openStream(chunks: AsyncIterable<Uint8Array>, name: string, input: StoreInput, options: OpenOptions): Promise<OpenedSource> {
  const { head, all } = await peeked(chunks, HEAD_SIZE)
  const found = recognisedHead(head)
  if (found === 'export') return openExportStream(all, name, input, options)
  if (found !== undefined) {
    // Who writes it is told that nobody reads on.
    await all.return(undefined)
    throw noListing(name, found)
  }
  return openListing('-', { ...input, stdin: all }, options)
}

function noListing(name: string, { what, advice }: NotAListing): ImageError {
  return new ImageError('BAD_INPUT', `${name}: this is no listing of a closure, it is ${what}; ${advice}`, { path: name })
}

function namedStorePath(name: string): ImageError {
  return new ImageError(
    'NOT_FOUND',
    (option) =>
      `${name}: this is a store path, no listing of a closure; give it as ${option('paths')}, or list its closure (nix path-info -r --json ${name} > closure.json)`,
    { path: name },
  )
}

async function openListing(name: string, { root = '/', stdin, signal }: StoreInput, options: OpenOptions): Promise<OpenedSource> {
  const closure = await readClosure(name, { ...options, signal, ...(stdin !== undefined && { stdin }) })
  const files = closure.kind === 'closure-info' ? Object.values(CLOSURE_INFO_FILES).map((file) => join(name, file)) : [name]
  return { closure, root, nars: new Map(), roots: [], inputs: name === '-' ? [] : files, close: async () => undefined }
}

/** The closure of store paths, or of links to some, as the Nix of this machine has it. */
async function openPaths(paths: readonly string[], input: StoreInput): Promise<OpenedSource> {
  const { root = '/', store, environment, signal, onProgress } = input
  const { localClosure } = await import('../nix/local/index.ts')
  const found = await localClosure(paths, {
    store,
    environment,
    signal,
    // The files of a store in a folder are there, if nothing else is said.
    root: root === '/' ? undefined : root,
    onNote: (message) => onProgress?.({ kind: 'note', message }),
  })
  return { ...found, nars: new Map(), close: async () => undefined }
}

/** All that is opened in it is closed with it. */
export class OpenedSources implements SourceScope {
  readonly #sources: Promise<OpenedSource>[] = []

  open(input: StoreInput, options?: OpenOptions): Promise<OpenedSource> {
    const source = openSource(input, options)
    this.#sources.push(source)
    return source
  }

  /** Throws what closing throws; what could not be opened needs none. */
  async close(): Promise<void> {
    for (const source of this.#sources.splice(0)) {
      const opened = await source.catch(() => undefined)
      await opened?.close()
    }
  }
}

/**
 * Plan something of a closure, which is closed with it, or at once where that fails. Where the caller has a scope of his own,
 * he closes it.
 */
export async function withSources<Input extends StoreInput, Planned extends { close(): Promise<void> }>(
  input: Input,
  plan: (input: Input) => Promise<Planned>,
): Promise<Planned> {
  if (input.sources !== undefined) return plan(input)
  const sources = new OpenedSources()
  try {
    const planned = await plan({ ...input, sources })
    const close = async (): Promise<void> => {
      try {
        await planned.close()
      } finally {
        await sources.close()
      }
    }
    return { ...planned, close }
  } catch (error) {
    await sources.close()
    throw error
  }
}
