/**
 * The root file system of an installed system as nixos-install leaves it: the store, the Nix database, the system
 * profile, and the few folders that NixOS expects to find. Everything else below /etc, /var, /home and /root is made by
 * the system itself when it is activated at its first boot.
 *
 * Not supported: more than one generation of a profile, what activation leaves behind (users, /etc, /bin/sh), initrd
 * secrets, names of users and groups (numbers only).
 */
import { utf8 } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import type { ProgressListener } from '../io/progress.ts'
import { type Closure, listedPath } from '../nix/listing/closure.ts'
import { DATABASE_SCHEMA, type DatabaseOptions, nixDatabase } from '../nix/store/database.ts'
import { parseStorePath } from '../nix/store/store-path.ts'
import { mergeTrees, treeAt } from '../tree/merge.ts'
import type { ScanPolicy } from '../tree/scan.ts'
import type { Attributes, DirectoryNode, FileNode, SymlinkNode, TreeNode } from '../tree/tree.ts'
import { type Addition, addedTree } from './additions.ts'
import { type CheckedTree, checkedStore, newPathOf, type StoreCheck } from './store.ts'
import type { System } from './system.ts'

export interface InstalledOptions extends DatabaseOptions {
  /** Who checks the store paths; default `inOrder`. */
  readonly check?: StoreCheck
  /** Text of /etc/nixos/configuration.nix. */
  readonly configuration?: string
  /** Store path of root's channels, as `nix-env` builds them: a folder with `manifest.nix` and one entry a channel. */
  readonly channel?: string
  readonly add?: readonly InstalledAddition[]
  /** Of everything but the files of the store, in seconds since 1970. */
  readonly mtimeSeconds: number
  readonly onProgress?: ProgressListener
}

/** A file or folder of the host. Modes are permission bits (07777); the owner is root where nothing else is said. */
export interface InstalledAddition extends Addition {
  /** Of the file, or of all files in the folder; folders are searchable where they are readable. Default: as on the host, less bits of another owner. */
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
}

/** What of a system is installed; a `System` is one. */
export type InstallableSystem = Pick<System, 'store' | 'toplevel'>

/** `nixbld`, to which NixOS gives the store so that builders may write there (`nixos/modules/misc/ids.nix`). */
const BUILD_GROUP = 30_000

/** The largest id of a user or group: one more means "unchanged" to chown(2). */
const ID_LIMIT = 0xffff_fffe

/** Mount points and folders of root; `/etc`, `/nix`, and `/root` get content below. */
const FOLDERS: readonly (readonly [path: string, mode: number])[] = [
  ['boot', 0o755],
  ['dev', 0o755],
  ['etc', 0o755],
  ['home', 0o755],
  ['nix', 0o755],
  ['proc', 0o755],
  ['root', 0o700],
  ['run', 0o755],
  ['sys', 0o755],
  // Sticky: everybody writes there.
  ['tmp', 0o1777],
  ['var', 0o755],
]

/**
 * What Nix makes when it first opens its store (`LocalStore::LocalStore`), so that a root file system that is mounted
 * read-only can be queried too. `db/big-lock` and the 8 MiB of `db/reserved` are left to Nix: they hold nothing, and a
 * store that cannot be written to is opened without them.
 */
const STATE_FOLDERS = [
  'nix/store/.links',
  'nix/var/nix/db',
  'nix/var/nix/gcroots/per-user',
  'nix/var/nix/profiles/per-user',
  'nix/var/nix/temproots',
]

const PROFILES = '/nix/var/nix/profiles'
const ROOT_PROFILES = `${PROFILES}/per-user/root`

/**
 * The root directory of a system. Throws NOT_FOUND where the toplevel, the channel or a path of the closure has no files, USAGE for
 * a target that is taken or a mode or owner that cannot be, and what `nixDatabase` and `scanHost` throw.
 */
export function installedTree(system: InstallableSystem, options: InstalledOptions): CheckedTree {
  const { toplevel } = system
  const { closure } = system.store
  const { configuration, mtimeSeconds, check = 'inOrder' } = options
  const channel = newPathOf(options.channel, system.store)
  const store = checkedStore(system.store, check)
  requireListed(closure, toplevel, 'toplevel')
  const of = (mode: number): Attributes => ({ mode, uid: 0, gid: 0, mtimeSeconds })
  const folder = (mode: number): DirectoryNode => ({ kind: 'directory', ...of(mode), entries: [] })
  const link = (target: string): SymlinkNode => ({ kind: 'symlink', ...of(0o777), target: utf8(target) })
  const file = (content: Uint8Array): FileNode => ({
    kind: 'file',
    ...of(0o644),
    size: content.length,
    content: { kind: 'bytes', bytes: content },
  })
  const nodes: [path: string, node: TreeNode][] = [
    ...FOLDERS.map(([path, mode]): [string, TreeNode] => [path, folder(mode)]),
    ['nix/store', storeDirectory(closure, store.root, mtimeSeconds)],
    ...STATE_FOLDERS.map((path): [string, TreeNode] => [path, folder(0o755)]),
    ['nix/var/nix/db/db.sqlite', file(nixDatabase(closure, options))],
    ['nix/var/nix/db/schema', file(utf8(DATABASE_SCHEMA))],
    ['nix/var/nix/gcroots/profiles', link(PROFILES)],
    ['nix/var/nix/profiles/system', link('system-1-link')],
    ['nix/var/nix/profiles/system-1-link', link(toplevel)],
    // By it switch-to-configuration knows that it runs on NixOS.
    ['etc/NIXOS', file(new Uint8Array())],
  ]
  if (configuration !== undefined) nodes.push(['etc/nixos/configuration.nix', file(utf8(configuration))])
  if (channel !== undefined) {
    requireListed(closure, channel, 'channel')
    nodes.push(['root/.nix-defexpr', folder(0o700)])
    nodes.push(['root/.nix-defexpr/channels', link(`${ROOT_PROFILES}/channels`)])
    nodes.push([`${ROOT_PROFILES}/channels`, link('channels-1-link')])
    nodes.push([`${ROOT_PROFILES}/channels-1-link`, link(channel)])
  }
  const added = (options.add ?? []).map((addition) =>
    addedTree(addition, of(0o755), additionPolicy(addition, mtimeSeconds), options.onProgress),
  )
  const root = mergeTrees(folder(0o755), ...nodes.map(([path, node]) => treeAt(path, node, of(0o755))), ...added)
  return { root, digests: store.digests }
}

/** The store as NixOS keeps it (`stage-2-init.sh`): builders create their outputs there, and cannot delete each other's. */
function storeDirectory(closure: Closure, store: DirectoryNode, mtimeSeconds: number): DirectoryNode {
  const entries = new Map(store.entries.map((entry) => [Buffer.from(entry.name).toString('latin1'), entry]))
  const listed = closure.paths.map(({ path, baseName }) => {
    const entry = entries.get(baseName)
    if (entry === undefined) throw new ImageError('NOT_FOUND', `${path}: is in the closure, but its files are not in the store`, { path })
    return entry
  })
  return { kind: 'directory', mode: 0o1775, uid: 0, gid: BUILD_GROUP, mtimeSeconds, entries: listed }
}

function requireListed(closure: Closure, path: string, what: string): void {
  if (listedPath(closure, parseStorePath(path, what)) !== undefined) return
  throw new ImageError('NOT_FOUND', `${what} ${path} is not in the closure; list it with all that it refers to`, { path })
}

function additionPolicy({ target, mode, uid = 0, gid = 0 }: InstalledAddition, mtimeSeconds: number): ScanPolicy {
  if (mode !== undefined && !isWithin(mode, 0o7777)) {
    throw new ImageError('USAGE', `${target}: mode ${mode.toString(8)} is none; give four octal digits, such as 0644`, { path: target })
  }
  for (const id of [uid, gid]) {
    if (!isWithin(id, ID_LIMIT))
      throw new ImageError('USAGE', `${target}: ${id} is no user or group; give a number from 0 to ${ID_LIMIT}`, { path: target })
  }
  return {
    attributes: (kind, host) => {
      const given = mode === undefined ? host.mode : kind === 'directory' ? searchable(mode) : mode
      return { mode: kind === 'symlink' ? 0o777 : given, uid, gid, mtimeSeconds }
    },
  }
}

function isWithin(value: number, limit: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= limit
}

/** Execute bits where there are read bits. */
function searchable(mode: number): number {
  return mode | ((mode & 0o444) >> 2)
}
