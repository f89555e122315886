/**
 * What extensions of boot.json ask of whoever starts a system: those of nixpkgs (systemd-boot.nix, extra-initrd.nix and
 * systemd-boot-builder.py of 26.11) and of others that are known. docs/boot.md has the table of who obeys what.
 */
import { ImageError } from '../errors.ts'
import { requirePlainText } from './command-line.ts'

/** Root keys of a boot.json beside the official ones. */
export type Extensions = Readonly<Record<string, unknown>>

export interface BootExtensions {
  /** By it boot loaders sort systems; `nixos` unless the system says otherwise. */
  readonly sortKey: string
  /** Store path of a file. */
  readonly deviceTree: string | undefined
  /** Store paths of initrds that are loaded behind the system's own. */
  readonly extraInitrds: readonly string[]
  /** Paths in the EFI system partition of initrds that something else is to put there. */
  readonly foreignInitrds: readonly string[]
}

const SYSTEMD_BOOT = 'org.nixos.systemd-boot'
const EXTRA_INITRD = 'org.nixos.extra-initrd.v1'
const NIXOS_INIT = 'org.nixos.nixos-init.v1'
const LANZABOOTE = 'org.nix-community.lanzaboote'
const XEN = /^org\.xenproject\.bootspec\.v[12]$/

/** Fields of extensions that are objects; `NIXOS_INIT` is read by the system itself while it starts, from the boot.json in the store. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  [SYSTEMD_BOOT]: ['sortKey', 'devicetree'],
  [EXTRA_INITRD]: ['paths'],
  [LANZABOOTE]: ['sort_key'],
}

/** Throws BAD_INPUT for what is not as nixpkgs writes it. */
export function bootExtensions(extensions: Extensions = {}): BootExtensions {
  const { sort_key: signedKey } = objectOf(extensions, LANZABOOTE)
  const { sortKey = signedKey ?? 'nixos', devicetree } = objectOf(extensions, SYSTEMD_BOOT)
  if (typeof sortKey !== 'string' || sortKey === '') throw badExtension(SYSTEMD_BOOT, '"sortKey" is no text')
  requirePlainText(sortKey, 'sort key')
  const { paths = [] } = objectOf(extensions, EXTRA_INITRD)
  if (!Array.isArray(paths)) throw badExtension(EXTRA_INITRD, '"paths" is no array')
  const initrds = paths.map(initrdPath)
  return {
    sortKey,
    deviceTree: devicetree === undefined || devicetree === null ? undefined : storeFile(devicetree, SYSTEMD_BOOT),
    extraInitrds: initrds.filter(isInStore),
    foreignInitrds: initrds.filter((path) => !isInStore(path)),
  }
}

/** What starts the system, and what it can hand over. */
export interface Starter {
  /** As a message has it: `iPXE`. */
  readonly name: string
  readonly deviceTree: boolean
}

/** A bootspec, as far as extensions go. */
export interface ExtendedBootspec {
  readonly extensions?: Extensions
  readonly specialisations: ReadonlyMap<string, ExtendedBootspec>
}

/** A message for each thing that a system or one of its specialisations asks for and does not get. Throws what `bootExtensions` throws. */
export function disobeyedExtensions(bootspec: ExtendedBootspec, starters: readonly Starter[]): string[] {
  const messages = new Set<string>()
  const visit = ({ extensions = {}, specialisations }: ExtendedBootspec): void => {
    for (const message of disobeyed(extensions, starters)) messages.add(message)
    for (const child of specialisations.values()) visit(child)
  }
  visit(bootspec)
  return [...messages]
}

function* disobeyed(extensions: Extensions, starters: readonly Starter[]): Generator<string> {
  const { deviceTree, foreignInitrds } = bootExtensions(extensions)
  const without = starters.filter((starter) => !starter.deviceTree).map(({ name }) => name)
  if (deviceTree !== undefined && without.length > 0) {
    yield `boot.json: ${SYSTEMD_BOOT} names the device tree ${deviceTree}, which ${without.join(' and ')} cannot hand over; the machine starts with that of its firmware`
  }
  if (foreignInitrds.length > 0) {
    const names = foreignInitrds.join(', ')
    yield `boot.json: ${EXTRA_INITRD} names initrds of the EFI system partition that are not in the closure (${names}); the image starts without them`
  }
  const keys = Object.keys(extensions)
  const xen = keys.filter((key) => XEN.test(key)).at(-1)
  if (xen !== undefined) yield `boot.json: ${xen}: the system is one for Xen; the image starts its kernel without the hypervisor`
  if (LANZABOOTE in extensions) {
    yield `boot.json: ${LANZABOOTE}: the boot files of the system are to be signed; those of the image are not, and firmware with Secure Boot refuses them`
  }
  for (const [key, known] of Object.entries(FIELDS)) {
    const others = Object.keys(objectOf(extensions, key)).filter((field) => !known.includes(field))
    if (others.length > 0) yield `boot.json: ${key} has ${others.join(', ')}, which is not known and not obeyed`
  }
  const unknown = keys.filter((key) => !(key in FIELDS) && key !== NIXOS_INIT && !XEN.test(key)).sort()
  if (unknown.length > 0) yield `boot.json has extensions that are not known and not obeyed: ${unknown.join(', ')}`
}

function objectOf(extensions: Extensions, key: string): Readonly<Record<string, unknown>> {
  const value = extensions[key] ?? {}
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badExtension(key, 'it is no object')
  return value as Readonly<Record<string, unknown>>
}

const isInStore = (path: string): boolean => path.startsWith('/nix/store/')

/** nixpkgs has paths in the EFI system partition, with or without a slash before them. */
function initrdPath(path: unknown): string {
  if (typeof path !== 'string' || path === '') throw badExtension(EXTRA_INITRD, `${JSON.stringify(path)} is no path`)
  requirePlainText(path, EXTRA_INITRD)
  return isInStore(path) ? storeFile(path, EXTRA_INITRD) : path
}

function storeFile(path: unknown, key: string): string {
  const parts = typeof path === 'string' ? path.split('/').slice(1) : []
  const canonical = parts.every((part) => part !== '' && part !== '.' && part !== '..')
  if (typeof path !== 'string' || !isInStore(path) || !canonical)
    throw badExtension(key, `${JSON.stringify(path)} is no path below /nix/store`)
  requirePlainText(path, key)
  return path
}

function badExtension(key: string, what: string): ImageError {
  return new ImageError('BAD_INPUT', `boot.json: "${key}": ${what}`, { path: key })
}
