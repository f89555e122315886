/** From settings to the recipe of a command. Recipes are loaded here and not before. */

import { basename } from 'node:path'
import { parseCodecSpec } from '../codecs/spec.ts'
import { CONTAINERS } from '../disks/containers.ts'
import { ImageError, systemErrorCode } from '../errors.ts'
import { DISK_LAYOUTS } from '../images/disk/names.ts'
import type { Netboot } from '../images/netboot/index.ts'
import type { ZfsDisks } from '../images/zfs/index.ts'
import { ZFS_BOOT_LOADERS, ZFS_FORMATS, ZFS_LAYOUTS } from '../images/zfs/names.ts'
import { zfsPreset } from '../images/zfs/presets.ts'
import type { GrowingImage, Image } from '../io/image.ts'
import type { ProgressListener } from '../io/progress.ts'
import { readSmallFile } from '../io/small-file.ts'
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
  const { narBytes, verified } = image.plan.store
  return { image, plan: { ...image.plan }, inputs: image.inputs, closureBytes: narBytes, verified }
}

async function squashfsRecipe(settings: Settings, context: RecipeContext): Promise<Recipe> {
  const { storeSquashfs } = await import('../images/squashfs.ts')
  const image = await storeSquashfs({
    ...storeInput(settings, context),
    ...storePacking(settings),
    ...given({ mtimeSeconds: settings.mtime }),
  })
  const { narBytes, verified } = image.summary
  return { image, plan: { ...image.summary }, inputs: image.inputs, closureBytes: narBytes, verified }
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
  const { narBytes, verified } = image.plan
  return { image, plan: { ...image.plan }, inputs: image.inputs, closureBytes: narBytes, verified }
}

async function diskRecipe(settings: Settings, context: RecipeContext): Promise<Recipe> {
  const { disk } = await import('../images/disk/index.ts')
  const { diskPreset } = await import('../images/disk/presets.ts')
  const preset = settings.preset === undefined ? undefined : diskPreset(settings.preset)
  const { image, plan, inputs } = await disk({
    ...storeInput(settings, context),
    ...given({
      toplevel: settings.toplevel,
      format: settings.format ?? preset?.format ?? CONTAINERS.formatOfName(settings.output ?? ''),
      layout: known(DISK_LAYOUTS, settings.layout) ?? preset?.layout,
      size: settings.size ?? preset?.size,
      bootLoader: settings.bootLoader,
      timeoutSeconds: settings.timeout,
      configuration: settings.configuration === undefined ? undefined : configurationText(settings.configuration),
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
  const further = settings.configuration === undefined ? [] : [settings.configuration]
  return { image, plan: { ...plan }, inputs: [...inputs, ...further], closureBytes: plan.narBytes, verified: plan.verified }
}

/** Larger texts are no configurations. */
const CONFIGURATION_LIMIT = 16 << 20

function configurationText(path: string): string {
  try {
    return Buffer.from(readSmallFile(path, CONFIGURATION_LIMIT, 'a configuration')).toString('utf8')
  } catch (error) {
    if (error instanceof ImageError) throw error
    const code = systemErrorCode(error)
    throw new ImageError(code === 'ENOENT' ? 'NOT_FOUND' : 'UNREADABLE', `${path}: cannot be read (${code ?? String(error)})`, {
      path,
      cause: error,
    })
  }
}

async function convertRecipe(settings: Settings, context: RecipeContext): Promise<Recipe> {
  const { convertDisk } = await import('../images/disk/convert.ts')
  const { input = '', output = '-' } = settings
  const converted = await convertDisk({
    input,
    format: settings.format ?? CONTAINERS.formatOfName(output) ?? 'raw',
    fileName: output === '-' ? basename(input) : basename(output),
    ...given({
      inputFormat: settings.inputFormat,
      seed: settings.seed,
      compression: codecOf(settings.compression),
      mtimeSeconds: settings.mtime,
    }),
    ...context,
  })
  const { image, plan, close } = converted
  return { image, plan: { ...plan }, inputs: [input], closureBytes: 0, verified: true, close }
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
    prepend: settings.prepend,
  })
}

/** Read the listing and plan what `zfs` writes. Throws what the recipe throws. */
export async function zfsDisksOf(settings: Settings, context: RecipeContext): Promise<ZfsDisks> {
  const { zfs } = await import('../images/zfs/index.ts')
  const { configuration } = settings
  const preset = settings.preset === undefined ? undefined : zfsPreset(settings.preset)
  const { disks, plan, inputs } = await zfs({
    ...storeInput(settings, context),
    ...given({
      toplevel: settings.toplevel,
      pool: settings.pool,
      layout: known(ZFS_LAYOUTS, settings.layout) ?? preset?.layout,
      format: known(ZFS_FORMATS, settings.format) ?? preset?.format,
      bootSize: settings.bootSize ?? preset?.bootSize,
      rootSize: settings.rootSize ?? preset?.rootSize,
      bootLoader: known(ZFS_BOOT_LOADERS, settings.bootLoader),
      timeoutSeconds: settings.timeout,
      configuration: configuration === undefined ? undefined : configurationText(configuration),
      channel: settings.channel,
      seed: settings.seed,
      compression: codecOf(settings.compression),
      mtimeSeconds: settings.mtime,
    }),
    freeSize: settings.free,
    datasets: settings.dataset,
    snapshots: settings.snapshot,
    poolProperties: { ...preset?.poolProperties, ...Object.fromEntries(settings.poolProp) },
    fileSystemProperties: Object.fromEntries(settings.fsProp),
    kernelParams: settings.kernelParam,
    add: settings.add,
    parity: settings.parity,
  })
  return { disks, plan, inputs: configuration === undefined ? inputs : [...inputs, configuration] }
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
