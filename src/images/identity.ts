/**
 * What identifiers of an image are derived from where no seed is given: all that decides its content, so that other content has other
 * identifiers, and the same has the same.
 */
import { createHash, type Hash } from 'node:crypto'
import { printable } from '../bytes/text.ts'
import type { Image } from '../io/image.ts'
import { sparseChunks } from '../io/stream.ts'
import type { System } from '../system/system.ts'
import { contentExtents } from '../tree/content.ts'
import { type DirectoryNode, sortedEntries, type TreeNode } from '../tree/tree.ts'
import { diskIdentity } from './disk-identity.ts'

export interface IdentityOptions {
  /** What somebody chose instead. */
  readonly seed?: string
  /** What is added. */
  readonly add?: readonly unknown[]
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
  const { closure, scanned } = system.store
  const hash = createHash('sha256')
  say(hash, 'kilnix identity', system.toplevel, JSON.stringify(settings))
  for (const { baseName, narHash } of closure.paths) say(hash, baseName, narHash ?? '')
  const inStore = nodesByName(scanned)
  const listed = new Map(closure.paths.map(({ path, baseName }) => [path.slice(1), inStore.get(baseName)]))
  /** `own` is what the store has there, which nothing can replace; its hash is said already. */
  const visit = async (path: string, node: TreeNode, own: TreeNode | undefined): Promise<void> => {
    if (own !== undefined && (add.length === 0 || node.kind !== 'directory')) return
    if (own === undefined) {
      if (node.kind === 'file') await sayFile(hash, path, node, signal)
      else say(hash, path, attributesOf(node), node.kind === 'symlink' ? node.target : '')
    }
    if (node.kind !== 'directory') return
    const below = own?.kind === 'directory' ? nodesByName(own) : undefined
    for (const entry of sortedEntries(node)) {
      const place = path === '' ? printable(entry.name) : `${path}/${printable(entry.name)}`
      await visit(place, entry.node, below === undefined ? listed.get(place) : below.get(keyOf(entry.name)))
    }
  }
  await visit('', root, undefined)
  if (secrets !== undefined) say(hash, 'secrets', await diskIdentity(secrets, signal && { signal }))
  return hash.digest('hex')
}

function nodesByName({ entries }: DirectoryNode): Map<string, TreeNode> {
  return new Map(entries.map(({ name, node }) => [keyOf(name), node]))
}

function keyOf(name: Uint8Array): string {
  return Buffer.from(name).toString('latin1')
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
