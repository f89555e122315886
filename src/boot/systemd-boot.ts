/**
 * loader.conf and boot loader entries for systemd-boot (loader.conf(5); UAPI.1 Boot Loader
 * Specification, type 1 entries). systemd-boot reads kernels and initrds only from the file system it
 * was itself loaded from, so they are placed in the EFI system partition.
 *
 * Not supported: boot counting, an extended boot loader partition, submenus (it has none:
 * the option variants follow the plain entries).
 */
import { createHash } from 'node:crypto'
import { ImageError } from '../errors.ts'
import { requireCommandLineFits } from './command-line.ts'
import type { FurtherEntry } from './further.ts'
import type { BootMenu, MenuEntry, MenuVariant } from './menu.ts'

export interface SystemdBootFiles {
  /** Text files by their path in the EFI system partition, without a leading slash. */
  readonly texts: ReadonlyMap<string, string>
  /** Each of `BootMenu.files`, and what further entries start, to its path in the EFI system partition, without a leading slash. */
  readonly kernels: ReadonlyMap<string, string>
}

/** UTF-16 code units of a long file name (Microsoft FAT specification, long directory entries). */
const FAT_NAME_LIMIT = 255

/** All files of the menu. Throws LIMIT for a command line the kernel would cut, or a name FAT cannot hold. */
export function systemdBootConfig(menu: BootMenu): SystemdBootFiles {
  const kernels = kernelPaths([...menu.files, ...new Set(menu.further.flatMap(programsOf))])
  const texts = new Map<string, string>()
  const groups: (MenuVariant | undefined)[] = [undefined, ...menu.variants]
  groups.forEach((variant, group) => {
    menu.entries.forEach((entry, index) => {
      const id = entryId(group, index, variant, entry)
      if (texts.size === 0) texts.set('loader/loader.conf', loaderConf(menu, id))
      texts.set(`loader/entries/${id}.conf`, entryText(entry, variant, sortKey(group, index), kernels))
    })
  })
  const further = menu.further.filter((entry) => programsOf(entry).length > 0)
  further.forEach((entry, index) => {
    const key = sortKey(groups.length, index)
    const text = [`title ${entry.title}`, `sort-key ${key}`, ...programsOf(entry).map((path) => `efi /${kernels.get(path)}`), '']
    texts.set(`loader/entries/${key}-further.conf`, text.join('\n'))
  })
  return { texts, kernels }
}

/** The one program that systemd-boot starts for an entry, if there is one. */
function programsOf({ start }: FurtherEntry): string[] {
  return start.kind === 'program' && start.efi !== undefined ? [start.efi] : []
}

/** `menu-force` shows the menu until a key is pressed; 0 boots without showing it. */
function loaderConf(menu: BootMenu, defaultId: string): string {
  return [`timeout ${menu.timeoutSeconds ?? 'menu-force'}`, `default ${defaultId}.conf`, 'console-mode keep', ''].join('\n')
}

function entryText(entry: MenuEntry, variant: MenuVariant | undefined, key: string, kernels: ReadonlyMap<string, string>): string {
  const options = variant ? `${entry.parameters} ${variant.parameters}` : entry.parameters
  const initrds = entry.initrds.map((path) => `/${kernels.get(path)}`)
  // systemd-boot up to 253 puts the initrds before the options, with backslashes.
  requireCommandLineFits([...initrds.map((path) => `initrd=${path}`), options].join(' '), 'systemd-boot', entry.title)
  return [
    `title ${variant ? `${entry.title} - ${variant.title}` : entry.title}`,
    `sort-key ${key}`,
    `linux /${kernels.get(entry.kernel)}`,
    ...initrds.map((path) => `initrd ${path}`),
    `options ${options}`,
    ...(entry.deviceTree === undefined ? [] : [`devicetree /${kernels.get(entry.deviceTree)}`]),
    '',
  ].join('\n')
}

/** Entries are sorted by this first, as text (UAPI.1, "Sorting"); the numbers have a fixed width. */
function sortKey(group: number, index: number): string {
  return `nixos-${String(group).padStart(2, '0')}-${String(index).padStart(4, '0')}`
}

/** Lower case, because FAT ignores it and older versions of systemd-boot compare ids in lower case. */
function entryId(group: number, index: number, variant: MenuVariant | undefined, entry: MenuEntry): string {
  const words = [variant?.className ?? 'default', ...entry.specialisation].join('-').toLowerCase()
  return `${sortKey(group, index)}-${words.replace(/[^0-9a-z.-]/g, '_')}`.slice(0, 120)
}

/**
 * Paths for kernels, initrds and device trees, much as systemd-boot-builder of nixpkgs names them: the path below the
 * store with dashes, and `.efi`. A name that FAT cannot hold or that another one equals but for case begins with a hash
 * of its path. `shorten` gives the part of the path that names the file; default all of it.
 */
export function kernelPaths(files: readonly string[], shorten = (belowStore: string): string => belowStore): Map<string, string> {
  const paths = new Map<string, string>()
  const taken = new Set<string>()
  for (const file of files) {
    const plain = `${shorten(file.replace(/^\/nix\/store\/|^\//, '')).replaceAll('/', '-')}.efi`
    const legal = plain.replace(/[^0-9A-Za-z+._=-]/gu, '_')
    const hashed = `${createHash('sha256').update(file).digest('hex').slice(0, 32)}-${legal}`
    const name = legal !== plain || taken.has(legal.toLowerCase()) ? hashed : legal
    if (name.length > FAT_NAME_LIMIT) {
      throw new ImageError('LIMIT', `systemd-boot: the file name of ${file} is ${name.length} characters, FAT takes ${FAT_NAME_LIMIT}`, {
        path: file,
      })
    }
    taken.add(name.toLowerCase())
    paths.set(file, `EFI/nixos/${name}`)
  }
  return paths
}
