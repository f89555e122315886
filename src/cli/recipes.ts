/** From settings to the recipe of a command. Recipes are loaded here and not before. */

import { basename } from 'node:path'
import { parseCodecSpec } from '../codecs/spec.ts'
import { DISK_LAYOUTS } from '../images/disk/names.ts'
import type { Netboot } from '../images/netboot/index.ts'
import type { ImageProduct, Product } from '../images/product.ts'
import type { ZfsDisksPlan } from '../images/zfs/index.ts'
import { ZFS_BOOT_LOADERS, ZFS_FORMATS, ZFS_LAYOUTS } from '../images/zfs/names.ts'
import type { GrowingImage, Image } from '../io/image.ts'
import type { ProgressListener } from '../io/progress.ts'
import type { BuildCommand, Settings } from './options.ts'
import { standardInput } from './standard-input.ts'

/** Commands that write one file. */
export type ImageCommand = Exclude<BuildCommand, 'netboot' | 'serve' | 'zfs'>

export interface Recipe {
  readonly image: Image | GrowingImage
  /** Plain data, for --dry-run. */
  readonly plan: Readonly<Record<string, unknown>>
  /** Files and folders of the host that the image is made from. */
  readonly inputs: readonly string[]
  /** Bytes of all NARs, to which the image is compared. */
  readonly closureBytes: number
  /** The NAR hashes of all paths are checked, where there are any. */
  readonly verified: boolean
  /** To be called when the image is written. */
  close?(): Promise<void>
}

export interface RecipeContext {
  readonly signal: AbortSignal
  readonly onProgress: ProgressListener
}

/** Load the closure and plan the image. Throws what the recipe throws. */
export async function recipeOf(command: ImageCommand, settings: Settings, context: RecipeContext): Promise<Recipe> {
  switch (command) {
    case 'iso':
      return isoRecipe(settings, context)
    case 'squashfs':
      return squashfsRecipe(settings, context)
    case 'initrd':
      return initrdRecipe(settings, context)
    case 'disk':
      return diskRecipe(settings, context)
    case 'convert':
      return convertRecipe(settings, context)
  }
}

function recipe({ image, plan, inputs, source, close }: ImageProduct): Recipe {
  return { image, plan: { ...plan }, inputs, closureBytes: source.narBytes, verified: source.verified, close }
}

async function isoRecipe(settings: Settings, context: RecipeContext): Promise<Recipe> {
  const { iso } = await import('../images/iso.ts')
  const image = await iso({
    ...storeInput(settings, context),
    ...storePacking(settings),
    ...given({
      toplevel: settings.toplevel,
      syslinux: settings.syslinux,
      efiBoot: settings.efiBoot,
      volumeId: settings.volumeId,
      labelEdition: settings.labelEdition,
      mtimeSeconds: settings.mtime,
      timeoutSeconds: settings.timeout,
    }),
    kernelParams: settings.kernelParam,
    menuPrefix: settings.menuPrefix,
    menuSuffix: settings.menuSuffix,
    hybrid: settings.hybrid,
    add: settings.add,
  })
  return recipe(image)
}

async function squashfsRecipe(settings: Settings, context: RecipeContext): Promise<Recipe> {
  const { storeSquashfs } = await import('../images/squashfs.ts')
  const image = await storeSquashfs({
    ...storeInput(settings, context),
    ...storePacking(settings),
    ...given({ mtimeSeconds: settings.mtime }),
  })
  return recipe(image)
}

async function initrdRecipe(settings: Settings, context: RecipeContext): Promise<Recipe> {
  const { initrd } = await import('../images/initrd.ts')
  const { closure, ...input } = storeInput(settings, context)
  const image = await initrd({
    ...input,
    ...given({ closure: settings.closure, compression: codecOf(settings.compression), mtimeSeconds: settings.mtime }),
    prepend: settings.prepend,
    add: settings.add,
    links: settings.link,
    hardLinks: settings.hardLinks,
  })
  return recipe(image)
}

async function diskRecipe(settings: Settings, context: RecipeContext): Promise<Recipe> {
  const { disk } = await import('../images/disk/index.ts')
  const product = await disk({
    ...storeInput(settings, context),
    ...given({
      toplevel: settings.toplevel,
      preset: settings.preset,
      format: settings.format,
      layout: known(DISK_LAYOUTS, settings.layout),
      size: settings.size,
      bootLoader: settings.bootLoader,
      timeoutSeconds: settings.timeout,
      configuration: settings.configuration === undefined ? undefined : { file: settings.configuration },
      channel: settings.channel,
      seed: settings.seed,
      rootUuid: settings.rootUuid,
      diskGuid: settings.diskGuid,
      compression: codecOf(settings.compression),
      mtimeSeconds: settings.mtime,
      fileName: settings.output === undefined || settings.output === '-' ? undefined : basename(settings.output),
    }),
    rootFileSystem: settings.rootFs,
    freeSize: settings.free,
    espSize: settings.espSize,
    label: settings.label,
    kernelParams: settings.kernelParam,
    add: settings.add,
  })
  return recipe(product)
}

async function convertRecipe(settings: Settings, context: RecipeContext): Promise<Recipe> {
  const { convertDisk } = await import('../images/disk/convert.ts')
  const { input = '', output = '-' } = settings
  const converted = await convertDisk({
    input,
    ...given({
      format: settings.format,
      fileName: output === '-' ? undefined : basename(output),
      inputFormat: settings.inputFormat,
      seed: settings.seed,
      compression: codecOf(settings.compression),
      mtimeSeconds: settings.mtime,
    }),
    ...context,
  })
  return recipe(converted)
}

/** Read the listing and plan what `netboot` writes and `serve` serves. Throws what the recipe throws. */
export async function netbootOf(settings: Settings, context: RecipeContext): Promise<Netboot> {
  const { netboot } = await import('../images/netboot/index.ts')
  return netboot({
    ...storeInput(settings, context),
    ...storePacking(settings),
    ...given({
      toplevel: settings.toplevel,
      specialisation: settings.specialisation,
      pieces: settings.pieces,
      piecesLimit: settings.piecesLimit,
    }),
    style: settings.style,
    kernelParams: settings.kernelParam,
    initrdCompression: parseCodecSpec(settings.initrdCompression),
    kexec: settings.kexec,
    kexecCompression: parseCodecSpec(settings.kexecCompression),
    prepend: settings.prepend,
  })
}

/** Read the listing and plan what `zfs` writes. Throws what the recipe throws. */
export async function zfsDisksOf(settings: Settings, context: RecipeContext): Promise<Product<ZfsDisksPlan>> {
  const { zfs } = await import('../images/zfs/index.ts')
  return zfs({
    ...storeInput(settings, context),
    ...given({
      toplevel: settings.toplevel,
      pool: settings.pool,
      preset: settings.preset,
      layout: known(ZFS_LAYOUTS, settings.layout),
      format: known(ZFS_FORMATS, settings.format),
      bootSize: settings.bootSize,
      rootSize: settings.rootSize,
      bootLoader: known(ZFS_BOOT_LOADERS, settings.bootLoader),
      timeoutSeconds: settings.timeout,
      configuration: settings.configuration === undefined ? undefined : { file: settings.configuration },
      channel: settings.channel,
      seed: settings.seed,
      compression: codecOf(settings.compression),
      mtimeSeconds: settings.mtime,
    }),
    freeSize: settings.free,
    datasets: settings.dataset,
    snapshots: settings.snapshot,
    poolProperties: Object.fromEntries(settings.poolProp),
    fileSystemProperties: Object.fromEntries(settings.fsProp),
    kernelParams: settings.kernelParam,
    add: settings.add,
    parity: settings.parity,
  })
}

/** A name that some other command has as well; the command's own variant of the option lets no other through. */
function known<const C extends string>(names: readonly C[], value: string | undefined): C | undefined {
  return names.find((name) => name === value)
}

export function storeInput(settings: Settings, context: RecipeContext) {
  return {
    closure: settings.closure ?? '',
    root: settings.root,
    verify: settings.verify,
    caseHack: settings.caseHack,
    provenance: settings.provenance,
    ...given({ toplevelSpec: settings.toplevelSpec, ...replacementOf(settings) }),
    stdin: settings.closure === '-' ? standardInput(context.signal) : process.stdin,
    ...context,
  }
}

/** `none` as a cut-off is for the default, which is another. */
function replacementOf({ replace, cutoff }: Settings) {
  return {
    replacements: replace.length === 0 ? undefined : replace,
    cutoffs: cutoff.length === 0 ? undefined : cutoff.filter((path) => path !== 'none'),
  }
}

function storePacking(settings: Settings) {
  return { ...given({ compression: codecOf(settings.compression) }), blockSize: settings.blockSize }
}

function codecOf(text: string | undefined) {
  return text === undefined ? undefined : parseCodecSpec(text)
}

/** Without what is undefined, so that the recipe's own default stands. */
function given<T extends Readonly<Record<string, unknown>>>(options: T): { readonly [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> }
}
