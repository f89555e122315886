/**
 * The recipe of a live ISO: the store as one squashfs, boot files and menus from boot.json, an EFI system
 * partition, and the tables that make the same bytes a CD and a USB stick.
 */
import { createHash } from 'node:crypto'
import {
  disobeyedExtensions,
  type EfiBoot,
  type EfiMenu,
  efiArchitecture,
  efiBoot,
  efiProgram,
  espTree,
  findSyslinux,
  ISOLINUX_PATH,
  isoBootTree,
  isoPathOf,
  type MenuChoice,
  menuEntries,
  type Starter,
  type Syslinux,
  systemdBootPath,
} from '../boot/index.ts'
import { deriveGuid } from '../bytes/guid.ts'
import { MEBIBYTE } from '../bytes/units.ts'
import { ImageError } from '../errors.ts'
import { fat, fileOffset, planFat } from '../filesystems/fat/index.ts'
import { type HybridOptions, type Iso9660Options, type Iso9660Plan, iso9660, planIso9660 } from '../filesystems/iso9660/index.ts'
import type { ProgressListener } from '../io/progress.ts'
import { type Addition, addedTree } from '../system/additions.ts'
import { type Bootspec, specialisationOf } from '../system/bootspec.ts'
import { smallHostFile } from '../system/small-file.ts'
import { withSources } from '../system/source.ts'
import { bytesInStore, fileInStore } from '../system/store-files.ts'
import { openSystem, type System, type SystemInput, systemText } from '../system/system.ts'
import { warn } from '../system/warnings.ts'
import { mergeTrees, treeAt } from '../tree/merge.ts'
import type { ScanPolicy } from '../tree/scan.ts'
import type { Attributes, DirectoryNode, FileNode } from '../tree/tree.ts'
import { bootFileSource, type InitrdSecretsOptions, initrdSecrets, withSecrets } from './initrd-secrets.ts'
import { type ImageProduct, imageProduct } from './product.ts'
import { packedStore, type StorePacking, type StoreSummary, storeSummary } from './squashfs.ts'
import { defaultVolumeId, systemVolumeId } from './volume-id.ts'

export interface IsoOptions extends SystemInput, StorePacking, InitrdSecretsOptions, MenuChoice {
  /** A folder with syslinux, for BIOS. Without it the image boots by UEFI only. */
  readonly syslinux?: string
  /** A folder with `EFI/BOOT/BOOT*.EFI`, or an EFI program; default: systemd-boot of the closure. */
  readonly efiBoot?: string
  /** 1 to 32 characters; default: see `defaultVolumeId`. */
  readonly volumeId?: string
  /** `EDITION` in the default volume id. */
  readonly labelEdition?: string
  /** Appended to every entry's kernel parameters. */
  readonly kernelParams?: readonly string[]
  /** The specialisation whose menu it is; default: the system itself. */
  readonly specialisation?: string
  /** Seconds until the default entry boots; null waits for ever. Default 10. */
  readonly timeoutSeconds?: number | null
  readonly menuPrefix?: string
  /** Default ` Installer`. */
  readonly menuSuffix?: string
  /** Default `gpt`. */
  readonly hybrid?: 'gpt' | 'nixpkgs' | 'none'
  /** Further files and folders of the host. */
  readonly add?: readonly Addition[]
  /** Time of the image and of all that is not from the store; default 1980-01-01, as nixpkgs has it. */
  readonly mtimeSeconds?: number
}

/** What goes into an ISO, as plain data. */
export interface IsoPlan {
  readonly volumeId: string
  readonly toplevel: string
  readonly system: string
  readonly bios: boolean
  /** The menu of the UEFI boot program; `own` where it brings one. */
  readonly uefi: EfiMenu
  readonly hybrid: 'gpt' | 'nixpkgs' | 'none'
  readonly espBytes: number
  readonly entries: readonly { readonly title: string; readonly kernel: string; readonly parameters: string }[]
  readonly store: StoreSummary
  readonly layout: Iso9660Plan
}

/** 1980-01-01, the SOURCE_DATE_EPOCH of Nix builds and the first day of FAT. */
export const DEFAULT_TIME = 315532800

const STORE_PATH_IN_ISO = '/nix-store.squashfs'
const ESP_PATH_IN_ISO = '/boot/efi.img'
const CATALOG_PATH = '/.boot.cat'
/** Menus that are brought along may be nixpkgs', which find the partition by it. */
const NIXPKGS_ESP_SERIAL = 0x12345678
/** Of ISO 9660, at which files begin; those of the EFI system partition that are shared have to. */
const BLOCK_SIZE = 2048
/** Of isohdpfx.bin, which has some 400 bytes. */
const BOOT_CODE_LIMIT = 64 << 10

/**
 * Load a closure and plan its ISO; nothing is written yet. Throws what `loadStore` throws, NOT_FOUND for
 * boot files that are missing, LIMIT, USAGE, UNSUPPORTED; `pack` what squashfs and iso9660 throw.
 */
export function iso(options: IsoOptions): Promise<ImageProduct<IsoPlan>> {
  return withSources(options, plannedIso)
}

async function plannedIso(options: IsoOptions): Promise<ImageProduct<IsoPlan>> {
  const system = await openSystem(options)
  const { store, toplevel } = system
  const bootspec = specialisationOf(system.bootspec, options.specialisation)
  const version = await systemText(system, 'nixos-version')
  const fstab = await systemText(system, 'etc/fstab')
  const volumeId = options.volumeId ?? defaultVolumeId({ bootspec, fstab, version, edition: options.labelEdition })
  noteOtherVolumeId(volumeId, systemVolumeId({ bootspec, fstab }), options.onProgress)
  const mtimeSeconds = options.mtimeSeconds ?? DEFAULT_TIME
  const folder: Attributes = { mode: 0o555, uid: 0, gid: 0, mtimeSeconds }

  const syslinux = await biosBoot(options.syslinux, bootspec)
  const efi = await uefiBoot(options.efiBoot, system)
  warn([...withoutMenu(efi), ...disobeyedExtensions(bootspec, startersOf(efi, syslinux))], options)
  const secrets = await initrdSecrets(bootspec, store, options)
  const menu = menuEntries(withSecrets(bootspec, secrets), {
    volumeId,
    ...(options.kernelParams && { kernelParams: options.kernelParams }),
    ...(options.timeoutSeconds !== undefined && { timeoutSeconds: options.timeoutSeconds }),
    ...(options.menuPrefix !== undefined && { labelPrefix: options.menuPrefix }),
    ...(options.menuSuffix !== undefined && { labelSuffix: options.menuSuffix }),
    ...(options.defaultEntry !== undefined && { defaultEntry: options.defaultEntry }),
    ...(options.hideBase !== undefined && { hideBase: options.hideBase }),
  })
  const kernels = await bootFileSource(store, secrets).nodes(menu.files)
  const targets = (options.add ?? []).map(({ target }) => target.replace(/^\/+/, ''))
  const identity = identityOf({ volumeId, menu, mtimeSeconds, paths: store.closure.paths.map(({ path }) => path), targets })
  const bootOptions = { mtimeSeconds, grub: { marker: `/EFI/kilnix-${identity.toString('hex').slice(0, 32)}` }, leaveOut: new Set(targets) }
  const espRoot = espTree(efi, menu, kernels, bootOptions)
  const boot = isoBootTree({ menu, kernels, syslinux, efi, esp: espRoot, version }, bootOptions)
  noteWithoutGrub(boot.withoutGrub, options.onProgress)
  const esp = espImage(espRoot, boot.shared, {
    mtimeSeconds,
    volumeSerial: efi.menu === 'own' ? NIXPKGS_ESP_SERIAL : identity.readUInt32LE(16),
  })
  const tree = mergeTrees(
    boot.tree,
    treeAt(ESP_PATH_IN_ISO, esp.file, folder),
    ...(options.add ?? []).map((one) => addedTree(one, folder, readOnlyPolicy(folder), options.onProgress)),
  )

  const packed = packedStore(store, options, mtimeSeconds)
  const hybrid = options.hybrid ?? 'gpt'
  const format: Iso9660Options = {
    volumeId,
    mtimeSeconds,
    applicationId: 'nixos',
    publisherId: 'nixos',
    growingFile: { ...folder, mode: 0o444, path: STORE_PATH_IN_ISO, image: packed },
    boot: {
      catalogPath: CATALOG_PATH,
      efi: { path: ESP_PATH_IN_ISO, contains: esp.contains },
      ...(syslinux && { bios: { path: `/${ISOLINUX_PATH}` } }),
    },
    hybrid: await hybridOptions(hybrid, syslinux, `${toplevel} ${volumeId}`),
  }
  const plan: IsoPlan = {
    volumeId,
    toplevel,
    system: bootspec.system,
    bios: syslinux !== undefined,
    uefi: efi.menu,
    hybrid,
    espBytes: esp.file.size,
    entries: menu.entries.map(({ title, kernel, parameters }) => ({ title, kernel: isoPathOf(kernel), parameters })),
    store: storeSummary(store, packed),
    layout: planIso9660(tree, format),
  }
  const given = [options.syslinux, options.efiBoot, options.initrdSecrets, ...(options.add ?? []).map(({ source }) => source)].filter(
    (path) => path !== undefined,
  )
  const { narBytes, verified } = plan.store
  return imageProduct({
    name: 'nixos.iso',
    named: { what: 'an ISO image', endings: ['iso'] },
    image: iso9660(tree, format),
    plan,
    inputs: [...store.inputs, ...given],
    source: { narBytes, verified },
  })
}

/** Another name may be wanted, for a system that is told of it by other means. */
function noteOtherVolumeId(volumeId: string, expected: string | undefined, onProgress: ProgressListener | undefined): void {
  if (expected === undefined || expected === volumeId) return
  const message = `the volume id is '${volumeId}', but the system looks for a medium named '${expected}' and will not find this one`
  onProgress?.({ kind: 'note', message })
}

/** A shim, say, starts GRUB, which stops at its prompt without a menu. */
function withoutMenu({ isComplete, files, architecture }: EfiBoot): string[] {
  if (isComplete) return []
  const program = files.find(({ path }) => path.toUpperCase() === `EFI/BOOT/${architecture.bootFile}`)
  return [
    `${program?.hostPath}: is neither systemd-boot nor GRUB nor a unified kernel image, so no menu is written for it; ` +
      'unless it knows what to start, UEFI starts nothing. A folder may bring the menu that it reads, such as EFI/debian/grub.cfg behind a shim',
  ]
}

function startersOf({ menu }: EfiBoot, syslinux: Syslinux | undefined): Starter[] {
  const efi: Starter =
    menu === 'own' ? { name: 'the UEFI boot program with its own menu', deviceTree: false } : { name: menu, deviceTree: true }
  return [efi, ...(syslinux === undefined ? [] : [{ name: 'isolinux', deviceTree: false }])]
}

async function biosBoot(folder: string | undefined, { system }: Bootspec): Promise<Syslinux | undefined> {
  if (folder === undefined) return undefined
  if (!/^(x86_64|i.86)-/.test(system))
    throw new ImageError('USAGE', (option) => `${option('syslinux')}: ${system} has no BIOS; leave it out`)
  return findSyslinux(folder)
}

async function uefiBoot(path: string | undefined, { store, bootspec: { system, toplevel } }: System): Promise<EfiBoot> {
  if (path !== undefined) return efiBoot(path, system)
  const own = systemdBootPath(toplevel, efiArchitecture(system))
  try {
    return efiProgram(await fileInStore(own, store), await bytesInStore(own, store), own, system)
  } catch (error) {
    if (!(error instanceof ImageError) || error.code !== 'NOT_FOUND') throw error
    throw new ImageError(
      'NOT_FOUND',
      (option) => `${own}: the closure has no systemd-boot; give a UEFI boot program with ${option('efiBoot')}`,
      {
        path: own,
        cause: error,
      },
    )
  }
}

/** What tells one medium from another: all that comes to lie in it, but for what is packed out of it. */
function identityOf(parts: object): Buffer {
  return createHash('sha256').update(JSON.stringify(parts)).digest()
}

function noteWithoutGrub(why: ImageError | undefined, onProgress: ProgressListener | undefined): void {
  if (why === undefined) return
  onProgress?.({ kind: 'note', message: `there is no /boot/grub/grub.cfg for a GRUB of another medium: ${why.message}` })
}

interface EspImage {
  readonly file: FileNode
  /** Where in it the shared files lie. */
  readonly contains: ReadonlyMap<FileNode, number>
}

function espImage(
  tree: DirectoryNode,
  shared: ReadonlySet<FileNode>,
  identity: { readonly mtimeSeconds: number; readonly volumeSerial: number },
): EspImage {
  const options = { label: 'EFIBOOT', ...identity, roundTo: MEBIBYTE, leastClusterSize: BLOCK_SIZE, alignData: true }
  const plan = planFat(tree, options)
  const { mtimeSeconds } = identity
  const content = { kind: 'image', image: fat(tree, options) } as const
  return {
    file: { kind: 'file', mode: 0o444, uid: 0, gid: 0, mtimeSeconds, size: plan.size, content },
    contains: new Map(plan.files.filter(({ node }) => shared.has(node)).map((file) => [file.node, fileOffset(plan, file)])),
  }
}

async function hybridOptions(kind: 'gpt' | 'nixpkgs' | 'none', syslinux: Syslinux | undefined, seed: string): Promise<HybridOptions> {
  if (kind === 'none') return { kind }
  if (kind !== 'gpt' && kind !== 'nixpkgs') throw new ImageError('USAGE', `hybrid is '${kind}'; gpt, nixpkgs and none are known`)
  const diskGuid = deriveGuid(seed, 'iso disk')
  const bootCode = syslinux && (await hybridBootCode(syslinux))
  if (kind === 'gpt') return { kind, diskGuid, ...(bootCode && { bootCode }) }
  if (bootCode === undefined)
    throw new ImageError('USAGE', (option) => `${option('hybrid')} nixpkgs: needs isohdpfx.bin of syslinux; give ${option('syslinux')}`)
  return { kind, diskGuid, bootCode }
}

async function hybridBootCode({ hybridBootCode: file, isolinux }: Syslinux): Promise<Uint8Array> {
  if (file === undefined) {
    throw new ImageError(
      'NOT_FOUND',
      (option) =>
        `isohdpfx.bin: is not beside ${isolinux.hostPath}, and a USB stick needs it for BIOS; use ${option('hybrid')} none for optical media only`,
    )
  }
  return smallHostFile(file.hostPath, BOOT_CODE_LIMIT, 'the boot code')
}

/** Owners become 0, and permissions those of a read-only medium. */
function readOnlyPolicy(folder: Attributes): ScanPolicy {
  return {
    attributes: (kind, host) => ({
      ...folder,
      mode: kind === 'symlink' ? 0o777 : kind === 'directory' || host.mode & 0o111 ? 0o555 : 0o444,
    }),
  }
}
