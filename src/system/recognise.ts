/** What a user has given for a closure, by how it begins or what is in it. */
import { lstat, open, realpath, stat } from 'node:fs/promises'
import { join, posix, resolve } from 'node:path'
import { CLOSURE_INFO_FILES } from '../nix/listing/read.ts'
import { STORE_DIRECTORY } from '../nix/store/store-path.ts'

/**
 * Whether `given` is a store path, or a link to one; one that is a listing itself, as a closureInfo folder or a file of the store is,
 * is none here.
 */
export async function isStorePath(given: string): Promise<boolean> {
  if (given === '-') return false
  // On Windows as well `/nix/store` is what it is.
  const written = given.startsWith('/') ? posix.resolve(given) : resolve(given)
  const place = await realpath(given).catch(() => written)
  if (!place.startsWith(`${STORE_DIRECTORY}/`)) return false
  const status = await stat(place).catch(() => undefined)
  return !status?.isFile() && !(await isThere(join(place, CLOSURE_INFO_FILES.paths)))
}

/** Whether a listing lies there: a file, or a closureInfo folder. */
export async function isListing(given: string): Promise<boolean> {
  const status = await stat(given).catch(() => undefined)
  return status !== undefined && (!status.isDirectory() || (await isThere(join(given, CLOSURE_INFO_FILES.paths))))
}

async function isThere(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined
}

/** Bytes by which all that is known here is told. */
export const HEAD_SIZE = 512

/** What begins with `head`. `export` is a stream of `nix-store --export`; undefined for what may be a listing. */
export function recognisedHead(head: Uint8Array): 'export' | NotAListing | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength)
  const text = bytes.toString('latin1')
  if (text.startsWith(`\x01${'\0'.repeat(7)}${NAR_MAGIC}`)) return 'export'
  // An export of nothing.
  if (bytes.length === 8 && bytes.every((byte) => byte === 0)) return 'export'
  return NOT_LISTINGS.find(({ at = 0, magic }) => magic.some((one) => text.startsWith(one, at)))
}

/** The first string of a NAR: its length, and the magic number. */
const NAR_MAGIC = '\x0d\0\0\0\0\0\0\0nix-archive-1'

/** What somebody may take for a listing. */
export interface NotAListing {
  readonly at?: number
  readonly magic: readonly string[]
  readonly what: string
  /** What to give in its place. */
  readonly advice: string
}

const LIST = 'list the closure (nix path-info -r --json PATH > closure.json)'

const NOT_LISTINGS: readonly NotAListing[] = [
  {
    magic: [NAR_MAGIC],
    what: 'a NAR: one store path, without its name and what it refers to',
    advice: 'give the listing of its closure, or what nix-store --export writes of it',
  },
  {
    magic: ['StorePath:', 'URL:'],
    what: 'a narinfo: what a binary cache says of one path',
    advice: 'list the closure of its StorePath in the cache (nix path-info -r --json --store file://FOLDER PATH)',
  },
  { magic: ['StoreDir:', 'WantMassQuery:', 'Priority:'], what: 'the nix-cache-info of a binary cache', advice: LIST },
  {
    magic: ['Derive(', 'DrvWithVersion('],
    what: 'a derivation (.drv): it says how a path is built',
    advice: 'build it (nix-store --realise), and list the closure of what was built',
  },
  { magic: ['\x1f\x8b'], what: 'compressed by gzip', advice: 'give it decompressed' },
  { magic: ['\xfd7zXZ\0'], what: 'compressed by xz', advice: 'give it decompressed' },
  { magic: ['\x28\xb5\x2f\xfd'], what: 'compressed by zstd', advice: 'give it decompressed' },
  { magic: ['BZh'], what: 'compressed by bzip2', advice: 'give it decompressed' },
  { magic: ['PK\x03\x04'], what: 'a zip archive', advice: LIST },
  { magic: ['hsqs'], what: 'a squashfs image', advice: LIST },
  { magic: ['070701', '070702', '070707'], what: 'a cpio archive', advice: LIST },
  { at: 257, magic: ['ustar'], what: 'a tar archive', advice: `unpack it and name what holds nix/store as the root; ${LIST}` },
  { magic: ['SQLite format 3\0'], what: 'an SQLite database', advice: LIST },
  { magic: ['\x7fELF'], what: 'a program', advice: LIST },
]

/** The beginning of a file; undefined for what is no plain file, or cannot be read: whoever reads it says why. */
export async function headOf(file: string): Promise<Uint8Array | undefined> {
  try {
    if (!(await stat(file)).isFile()) return undefined
    const handle = await open(file)
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_SIZE), 0, HEAD_SIZE, 0)
      return buffer.subarray(0, bytesRead)
    } finally {
      await handle.close()
    }
  } catch {
    return undefined
  }
}

/** A pipe or a socket, which can be read once. */
export async function isPipe(name: string): Promise<boolean> {
  if (name === '-') return false
  const status = await stat(name).catch(() => undefined)
  return status !== undefined && (status.isFIFO() || status.isSocket() || status.isCharacterDevice())
}

/** The first bytes of a stream, `size` or all, and all of it. */
export async function peeked(
  chunks: AsyncIterable<Uint8Array>,
  size: number,
): Promise<{ readonly head: Uint8Array; readonly all: AsyncGenerator<Uint8Array> }> {
  const iterator = chunks[Symbol.asyncIterator]()
  const first: Uint8Array[] = []
  for (let length = 0; length < size; length += first.at(-1)?.length ?? 0) {
    const step = await iterator.next()
    if (step.done === true) break
    first.push(step.value)
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    try {
      yield* first
      for (let step = await iterator.next(); step.done !== true; step = await iterator.next()) yield step.value
    } finally {
      await iterator.return?.()
    }
  }
  return { head: Buffer.concat(first).subarray(0, size), all: all() }
}
