/**
 * What identifiers of an image are derived from where no seed is given: all that decides its content, so that other content has other
 * identifiers, and the same has the same.
 */
import { createHash, type Hash } from 'node:crypto'
import { printable } from '../bytes/text.ts'
import { throwIfAborted } from '../errors.ts'
import type { Image } from '../io/image.ts'
import { sparseChunks } from '../io/stream.ts'
import type { System } from '../system/system.ts'
import { contentExtents } from '../tree/content.ts'
import { type DirectoryNode, sortedEntries, type TreeNode } from '../tree/tree.ts'

export interface IdentityOptions {
  /** What somebody chose instead. */
  readonly seed?: string
  /** What is added: paths in the image without the first slash. */
  readonly add?: readonly { readonly target: string }[]
  readonly signal?: AbortSignal
}

export interface InstalledContent {
  readonly system: Pick<System, 'store' | 'toplevel'>
  /** As `installedTree` gives it. */
  readonly root: DirectoryNode
  /** What is in no tree: an archive of secrets. */
  readonly secrets: Image | undefined
  /** All other settings that decide a byte; plain data without undefined values in lists. */
  readonly settings: Readonly<Record<string, unknown>>
}

/** The seed that is given, or one of the content. Throws what reading the additions throws, and ABORTED. */
export async function seedOf(options: IdentityOptions, content: InstalledContent): Promise<string> {
  return options.seed ?? installedIdentity(options, content)
}

/** Of the store path by path, by name and NAR hash; all else is read. */
async function installedIdentity(
  { add = [], signal }: IdentityOptions,
  { system, root, secrets, settings }: InstalledContent,
): Promise<string> {
  const targets = add.map(({ target }) => target)
  const { closure } = system.store
  const hash = createHash('sha256')
  say(hash, 'kilnix identity', system.toplevel, JSON.stringify(settings))
  for (const { baseName, narHash } of closure.paths) say(hash, baseName, narHash ?? '')
  const isListed = new Set(closure.paths.map(({ path }) => path.slice(1)))
  const visit = async (path: string, node: TreeNode): Promise<void> => {
    const isTarget = targets.some((target) => path === target || path.startsWith(`${target}/`))
    if (isListed.has(path) && !isTarget && !targets.some((target) => target.startsWith(`${path}/`))) return
    // Files of a store path to which something is added are known by its hash, and are read in an order of their own.
    const isOfStore = !isTarget && [...parents(path)].some((parent) => isListed.has(parent))
    if (node.kind === 'file' && !isOfStore) await sayFile(hash, path, node, signal)
    else say(hash, path, attributesOf(node), node.kind === 'symlink' ? node.target : '')
    if (node.kind !== 'directory') return
    for (const entry of sortedEntries(node))
      await visit(path === '' ? printable(entry.name) : `${path}/${printable(entry.name)}`, entry.node)
  }
  await visit('', root)
  if (secrets !== undefined) say(hash, 'secrets', await diskIdentity(secrets, signal))
  return hash.digest('hex')
}

function* parents(path: string): Generator<string> {
  for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) yield path.slice(0, slash)
}

function attributesOf(node: TreeNode): string {
  const { kind, mode, uid, gid, mtimeSeconds } = node
  const size = node.kind === 'file' ? node.size : 0
  const device = 'major' in node ? [node.major, node.minor] : []
  return [kind, mode, uid, gid, mtimeSeconds, size, ...device].join(' ')
}

async function sayFile(
  hash: Hash,
  path: string,
  node: TreeNode & { readonly kind: 'file' },
  signal: AbortSignal | undefined,
): Promise<void> {
  say(hash, path, attributesOf(node), '')
  for (const extent of contentExtents(node, 0, path)) {
    for await (const chunk of sparseChunks(extent, signal)) hash.update(typeof chunk === 'number' ? `${chunk} zeros` : chunk)
  }
}

/** Each with its length, so that no two lists are the same bytes. */
function say(hash: Hash, ...parts: readonly (string | Uint8Array)[]): void {
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part
    hash.update(`${bytes.length}:`)
    hash.update(bytes)
  }
}

/** Bytes that are zero or not as a whole; so a disk has one identity, whatever its container kept of its zeros. */
const UNIT = 4096
const ZEROS = Buffer.alloc(UNIT)

/** Of the bytes of a disk and its size: zeros are passed over, as far as they are not data. Throws what the image throws, and ABORTED. */
export async function diskIdentity(image: Image, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256').update(`kilnix disk ${image.size}\n`)
  const unit = Buffer.alloc(UNIT)
  let current = 0
  const flush = (): void => {
    hashUnits(hash, unit, current * UNIT)
    unit.fill(0)
  }
  for (const extent of image.extents) {
    let at = extent.start
    for await (const chunk of sparseChunks(extent, signal)) {
      throwIfAborted(signal)
      if (typeof chunk === 'number') {
        at += chunk
        continue
      }
      for (let done = 0; done < chunk.length; ) {
        const whole = chunk.length - done - ((chunk.length - done) % UNIT)
        if (at % UNIT === 0 && whole > 0) {
          flush()
          hashUnits(hash, chunk.subarray(done, done + whole), at)
          at += whole
          done += whole
          current = at / UNIT
          continue
        }
        const number = Math.floor(at / UNIT)
        if (number !== current) {
          flush()
          current = number
        }
        const offset = at % UNIT
        const count = Math.min(UNIT - offset, chunk.length - done)
        unit.set(chunk.subarray(done, done + count), offset)
        at += count
        done += count
      }
    }
  }
  flush()
  return hash.digest('hex')
}

/** Whole units that begin at `start`: each that is not zero, with its number. */
function hashUnits(hash: Hash, bytes: Uint8Array, start: number): void {
  for (let at = 0; at < bytes.length; at += UNIT) {
    const unit = bytes.subarray(at, at + UNIT)
    if (unit[0] === 0 && Buffer.compare(unit, ZEROS) === 0) continue
    hash.update(`${(start + at) / UNIT}\n`)
    hash.update(unit)
  }
}
