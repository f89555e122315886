/**
 * Which test file is in which project of vitest:
 *
 * - `unit` needs nothing but Node and what `npm ci` brings, and takes a minute in all: the files and folders listed here.
 * - `e2e` boots machines: whatever asks for QEMU's.
 * - `oracle` is all else: other people's tools judge, disks run full, commands are killed.
 */
import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export type Project = 'unit' | 'oracle' | 'e2e'

export const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Folders end in a slash. */
export const UNIT: readonly string[] = [
  'test/architecture.test.ts',
  'test/archives/tar.test.ts',
  'test/boot/extensions.test.ts',
  'test/boot/extlinux.test.ts',
  'test/boot/files.test.ts',
  'test/boot/menu.test.ts',
  'test/bytes/',
  'test/cli/closure-sources.test.ts',
  'test/cli/docs.test.ts',
  'test/cli/listeners.test.ts',
  'test/cli/progress.test.ts',
  'test/cli/settings.test.ts',
  'test/codecs/incompressible.test.ts',
  'test/codecs/spec.test.ts',
  'test/codecs/stream-no-inner.test.ts',
  'test/codecs/version.test.ts',
  'test/data/',
  'test/disks/further.test.ts',
  'test/disks/fuzz.test.ts',
  'test/disks/mbr.test.ts',
  'test/disks/ova-write.test.ts',
  'test/disks/plans.test.ts',
  'test/disks/sectors.test.ts',
  'test/e2e/netboot-folder.test.ts',
  'test/filesystems/ext4/plan.test.ts',
  'test/filesystems/fat/names.test.ts',
  'test/filesystems/fat/plan.test.ts',
  'test/filesystems/fat/reader.test.ts',
  'test/filesystems/fat/records.test.ts',
  'test/filesystems/iso9660/pack.test.ts',
  'test/filesystems/iso9660/plan.test.ts',
  'test/filesystems/iso9660/records.test.ts',
  'test/filesystems/iso9660/volume.test.ts',
  'test/filesystems/squashfs/disk.test.ts',
  'test/filesystems/squashfs/plan.test.ts',
  'test/filesystems/squashfs/pool.test.ts',
  'test/filesystems/squashfs/tables.test.ts',
  'test/filesystems/zfs/allocator.test.ts',
  'test/filesystems/zfs/fletcher4.test.ts',
  'test/filesystems/zfs/plan.test.ts',
  'test/images/boot-requests.test.ts',
  'test/images/disk-systems.test.ts',
  'test/images/identity.test.ts',
  'test/images/initrd-secrets.test.ts',
  'test/images/iso-menus.test.ts',
  'test/images/pieces-threads.test.ts',
  'test/images/volume-id.test.ts',
  'test/images/zfs-ova.test.ts',
  'test/io/block-device.test.ts',
  'test/io/concat.test.ts',
  'test/io/data-search.test.ts',
  'test/io/folder.test.ts',
  'test/io/proven.test.ts',
  'test/io/slice.test.ts',
  'test/io/source.test.ts',
  'test/io/stream.test.ts',
  'test/json/parse.test.ts',
  'test/nix/cache/fetch.test.ts',
  'test/nix/listing/reachable.test.ts',
  'test/nix/listing/read.test.ts',
  'test/nix/local/daemon.test.ts',
  'test/nix/local/database.test.ts',
  'test/nix/local/place.test.ts',
  'test/nix/nar/read.test.ts',
  'test/nix/nar/restore.test.ts',
  'test/nix/nar/tree.test.ts',
  'test/nix/rewrite/compressed.test.ts',
  'test/nix/rewrite/replace.test.ts',
  'test/nix/store/address-scheme.test.ts',
  'test/nix/store/derivation.test.ts',
  'test/nix/store/reference-scan.test.ts',
  'test/nix/store/store-path.test.ts',
  'test/nix/store/store-tree.test.ts',
  'test/projects.test.ts',
  'test/server/clients.test.ts',
  'test/server/conditions.test.ts',
  'test/server/response-plan.test.ts',
  'test/system/bootspec.test.ts',
  'test/system/local-source.test.ts',
  'test/tree/merge.test.ts',
  'test/tree/patch.test.ts',
  'test/tree/patched-formats.test.ts',
  'test/tree/verified.test.ts',
]

/** All but those of `test/module`, which need a kernel module that takes minutes to build: `npm run test:module`. */
export const TEST_FILES: readonly string[] = globSync('test/**/*.test.ts', { cwd: ROOT })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => !file.startsWith('test/module/'))
  .sort()

export const isListed = (file: string, entry: string): boolean => (entry.endsWith('/') ? file.startsWith(entry) : file === entry)

export function projectOf(file: string): Project {
  if (UNIT.some((entry) => isListed(file, entry))) return 'unit'
  return bootsMachines(readFileSync(`${ROOT}/${file}`, 'utf8')) ? 'e2e' : 'oracle'
}

export function bootsMachines(text: string): boolean {
  return text.includes("'qemu-system-")
}

/**
 * Whether the file exchanges a module or a global for others, or listens to the process. It has a process of its own; the others
 * follow each other in a few, so that the sources are imported once for many of them.
 */
export const isApart = (file: string): boolean =>
  /\b(?:vi\.(?:mock|doMock|stubGlobal)|process\.(?:on|once))\(/.test(readFileSync(`${ROOT}/${file}`, 'utf8'))

export const filesOf = (project: Project): string[] => TEST_FILES.filter((file) => projectOf(file) === project)
