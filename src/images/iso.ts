/**
 * The recipe of a live ISO: the store as one squashfs, boot files and menus from boot.json, an EFI system
 * partition, and the tables that make the same bytes a CD and a USB stick.
 */
import {
  type BootTreeOptions,
  changedByIsolinux,
  disobeyedExtensions,
  type EfiMenu,
  espTree,
  type FurtherFile,
  furtherEntries,
  ISOLINUX_PATH,
  isoBootTree,
  isoPathOf,
  type MenuAddition,
  type MenuChoice,
  menuEntries,
} from '../boot/index.ts'
import { deriveBytes } from '../bytes/guid.ts'
import type { ImageError } from '../errors.ts'
import { type Iso9660Options, type Iso9660Plan, iso9660, planIso9660 } from '../filesystems/iso9660/index.ts'
import { SQUASHFS_DEFAULTS } from '../filesystems/squashfs/index.ts'
import type { ProgressListener } from '../io/progress.ts'
import { type Addition, addedTree } from '../system/additions.ts'
import { specialisationOf } from '../system/bootspec.ts'
import { withSources } from '../system/source.ts'
import { openSystem, type SystemInput, systemText } from '../system/system.ts'
import { warn } from '../system/warnings.ts'
import { nodeAt } from '../tree/lookup.ts'
import { mergeTrees, treeAt } from '../tree/merge.ts'
import type { Attributes, DirectoryNode, FileNode } from '../tree/tree.ts'
import { seedOf } from './identity.ts'
import { bootFileSource, type InitrdSecretsOptions, initrdSecrets, withSecrets } from './initrd-secrets.ts'
import { ESP_PATH_IN_ISO, espImage, NIXPKGS_ESP_SERIAL } from './iso/esp.ts'
import { type LookOptions, menuLook } from './iso/look.ts'
import { readOnlyPolicy } from './iso/policy.ts'
import { bootPrograms, hybridOptions, type ProgramOptions, programFiles, startersOf, withoutMenu } from './iso/programs.ts'
import { type ImageProduct, imageProduct } from './product.ts'
import { packedStore, type StorePacking, type StoreSummary, storeSummary } from './squashfs.ts'
import { defaultVolumeId, systemVolumeId } from './volume-id.ts'

export interface IsoOptions extends SystemInput, StorePacking, InitrdSecretsOptions, MenuChoice, ProgramOptions, LookOptions {
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
  /** Further entries, behind all others: programs that are no system, and the next device. */
  readonly entries?: readonly MenuAddition[]
  /** Implant an MD5 of the image as isomd5sum does, for `checkisomd5`. Default false. */
  readonly mediaCheck?: boolean
  /** Default `gpt`. */
  readonly hybrid?: 'gpt' | 'nixpkgs' | 'none'
  /** Further files and folders of the host. */
  readonly add?: readonly Addition[]
  /** Identifiers of the medium are derived from it; default: from all that decides the content. */
  readonly seed?: string
  /** Time of the image and of all that is not from the store; default 1980-01-01, as nixpkgs has it. */
  readonly mtimeSeconds?: number
}

/** What goes into an ISO, as plain data. */
export interface IsoPlan {
  readonly volumeId: string
  readonly toplevel: string
  readonly system: string
  readonly bios: boolean
  /** The menu of the UEFI boot program; `own` where it brings one, `none` where UEFI is not to start the image. */
  readonly uefi: EfiMenu | 'none'
  readonly hybrid: 'gpt' | 'nixpkgs' | 'none'
  readonly espBytes: number
  readonly entries: readonly { readonly title: string; readonly kernel: string; readonly parameters: string }[]
  readonly store: StoreSummary
  readonly layout: Iso9660Plan
}

/** 1980-01-01, the SOURCE_DATE_EPOCH of Nix builds and the first day of FAT. */
export const DEFAULT_TIME = 315532800

const STORE_PATH_IN_ISO = '/nix-store.squashfs'
const CATALOG_PATH = '/.boot.cat'
/** What is for the GRUB of another medium, where a file of the caller's goes first. */
const FOREIGN_MENUS = ['boot/grub/grub.cfg', 'boot/grub/loopback.cfg']

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

  const programs = await bootPrograms(options, system)
  const { syslinux, efi } = programs
  warn([...withoutMenu(programs), ...disobeyedExtensions(bootspec, startersOf(programs))], options)
  const look = menuLook(options, programs, folder)
  const secrets = await initrdSecrets(bootspec, store, options)
  const systems = menuEntries(withSecrets(bootspec, secrets), {
    volumeId,
    kernelParams: [...look.kernelParams, ...(options.kernelParams ?? [])],
    ...(options.timeoutSeconds !== undefined && { timeoutSeconds: options.timeoutSeconds }),
    ...(options.menuPrefix !== undefined && { labelPrefix: options.menuPrefix }),
    ...(options.menuSuffix !== undefined && { labelSuffix: options.menuSuffix }),
    ...(options.defaultEntry !== undefined && { defaultEntry: options.defaultEntry }),
    ...(options.hideBase !== undefined && { hideBase: options.hideBase }),
  })
  const titles = systems.entries.map(({ title }) => title)
  const further = furtherEntries(options.entries ?? [], titles, { efi, isolinux: syslinux !== undefined })
  for (const message of further.notes) options.onProgress?.({ kind: 'note', message })
  const menu = { ...systems, further: further.entries }
  if (syslinux) noteChangedTitles(changedByIsolinux(menu, look.isolinux), options.onProgress)
  const kernels = await bootFileSource(store, secrets).nodes(menu.files)
  for (const file of further.files) kernels.set(file.path, furtherNode(file, folder))
  const additions = (options.add ?? []).map((one) => addedTree(one, folder, readOnlyPolicy(folder), options.onProgress))

  const hybrid = options.hybrid ?? 'gpt'
  const implanted = options.mediaCheck === true ? { mediaCheck: true } : {}
  const seed = await seedOf(options, {
    system,
    root: identityTree([...additions, ...look.trees, programFiles(programs, folder)], further.files, folder),
    secrets,
    settings: {
      kind: 'iso',
      volumeId,
      menu,
      mtimeSeconds,
      hybrid,
      grub: look.grub,
      isolinux: look.isolinux,
      ...decidingPacking(options),
      ...implanted,
    },
  })
  const marker = `/EFI/kilnix-${Buffer.from(deriveBytes(seed, 'iso marker', 16)).toString('hex')}`
  const bootOptions: BootTreeOptions = {
    mtimeSeconds,
    grub: { ...look.grub, marker },
    isolinux: look.isolinux,
    leaveOut: new Set(FOREIGN_MENUS.filter((path) => additions.some((tree) => nodeAt(tree, path) !== undefined))),
  }
  const espRoot = efi && espTree(efi, menu, kernels, bootOptions)
  const boot = isoBootTree({ menu, kernels, syslinux, efi, ...(espRoot && { esp: espRoot }), version }, bootOptions)
  noteWithoutGrub(boot.withoutGrub, options.onProgress)
  const serial = Buffer.from(deriveBytes(seed, 'iso efi serial', 4)).readUInt32LE()
  const volumeSerial = efi?.menu === 'own' ? NIXPKGS_ESP_SERIAL : serial
  const esp = espRoot && espImage(espRoot, boot.shared, { mtimeSeconds, volumeSerial })
  const tree = mergeTrees(boot.tree, ...(esp ? [treeAt(ESP_PATH_IN_ISO, esp.file, folder)] : []), ...look.trees, ...additions)

  const packed = packedStore(store, options, mtimeSeconds)
  const format: Iso9660Options = {
    volumeId,
    mtimeSeconds,
    ...implanted,
    applicationId: 'nixos',
    publisherId: 'nixos',
    growingFile: { ...folder, mode: 0o444, path: STORE_PATH_IN_ISO, image: packed },
    boot: {
      catalogPath: CATALOG_PATH,
      ...(esp && { efi: { path: ESP_PATH_IN_ISO, contains: esp.contains } }),
      ...(syslinux && { bios: { path: `/${ISOLINUX_PATH}` } }),
    },
    hybrid: await hybridOptions(hybrid, syslinux, seed),
  }
  const plan: IsoPlan = {
    volumeId,
    toplevel,
    system: bootspec.system,
    bios: syslinux !== undefined,
    uefi: efi?.menu ?? 'none',
    hybrid,
    espBytes: esp?.file.size ?? 0,
    entries: menu.entries.map(({ title, kernel, parameters }) => ({ title, kernel: isoPathOf(kernel), parameters })),
    store: storeSummary(store, packed),
    layout: planIso9660(tree, format),
  }
  const { initrdSecrets: archive, grubTheme, splash, add = [], entries = [] } = options
  const listed = [...add.map(({ source }) => source), ...entries.map((one) => ('file' in one ? one.file : undefined))]
  const given = [options.syslinux, options.efiBoot, archive, grubTheme, splash, ...listed].filter((path) => path !== undefined)
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

function noteWithoutGrub(why: ImageError | undefined, onProgress: ProgressListener | undefined): void {
  if (why === undefined) return
  onProgress?.({ kind: 'note', message: `there is no /boot/grub/grub.cfg for a GRUB of another medium: ${why.message}` })
}

function noteChangedTitles(titles: readonly string[], onProgress: ProgressListener | undefined): void {
  if (titles.length === 0) return
  const quoted = titles.map((title) => `'${title}'`).join(', ')
  onProgress?.({
    kind: 'note',
    message: `isolinux has ASCII without the caret alone: it shows ? for other characters, and no caret, in ${quoted}`,
  })
}

function furtherNode({ size, content }: FurtherFile, folder: Attributes): FileNode {
  return { kind: 'file', ...folder, mode: 0o444, size, content }
}

/** All that is not from the store, in folders of its own: nothing of it lies in a store. */
function identityTree(trees: readonly DirectoryNode[], further: readonly FurtherFile[], folder: Attributes): DirectoryNode {
  const nodes = [...trees, ...further.map((file) => treeAt(file.path, furtherNode(file, folder), folder))]
  return { kind: 'directory', ...folder, entries: nodes.map((node, index) => ({ name: Buffer.from(`part ${index}`), node })) }
}

function decidingPacking({ compression = SQUASHFS_DEFAULTS.codec, blockSize = SQUASHFS_DEFAULTS.blockSize }: StorePacking): object {
  return { compression, blockSize }
}
