/** From settings to the recipe of a command. Recipes are loaded here and not before. */
import { parseCodecSpec } from '../codecs/spec.ts'
import { ImageError } from '../errors.ts'
import type { GrowingImage } from '../io/image.ts'
import type { ProgressListener } from '../io/progress.ts'
import type { CommandName, Settings } from './options.ts'

export interface Recipe {
  readonly image: GrowingImage
  /** Plain data, for --dry-run. */
  readonly plan: Readonly<Record<string, unknown>>
  /** Files and folders of the host that the image is made from. */
  readonly inputs: readonly string[]
  /** Bytes of all NARs, to which the image is compared. */
  readonly closureBytes: number
  /** The NAR hashes of all paths are checked. */
  readonly verified: boolean
}

export interface RecipeContext {
  readonly signal: AbortSignal
  readonly onProgress: ProgressListener
}

/** Load the closure and plan the image. Throws what the recipe throws. */
export async function recipeOf(command: CommandName, settings: Settings, context: RecipeContext): Promise<Recipe> {
  switch (command) {
    case 'iso':
      return isoRecipe(settings, context)
    case 'squashfs':
      return squashfsRecipe(settings, context)
  }
}

async function isoRecipe(settings: Settings, context: RecipeContext): Promise<Recipe> {
  const { iso } = await import('../images/iso.ts')
  const image = await iso({
    ...storeOptions(settings, context),
    ...given({
      toplevel: settings.toplevel,
      syslinux: settings.syslinux,
      efiBoot: settings.efiBoot,
      volumeId: settings.volumeId,
      labelEdition: settings.labelEdition,
    }),
    kernelParams: settings.kernelParam,
    timeoutSeconds: settings.timeout,
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
  const image = await storeSquashfs(storeOptions(settings, context))
  const { narBytes, verified } = image.summary
  return { image, plan: { ...image.summary }, inputs: image.inputs, closureBytes: narBytes, verified }
}

function storeOptions(settings: Settings, context: RecipeContext) {
  return {
    closure: settings.closure,
    root: settings.root,
    verify: settings.verify,
    caseHack: settings.caseHack,
    compression: parseCodecSpec(settings.compression),
    blockSize: settings.blockSize,
    stdin: standardInput(settings, context.signal),
    ...given({ mtimeSeconds: settings.mtime }),
    ...context,
  }
}

/** A listing that never comes must not keep the process from being cancelled. */
function standardInput(settings: Settings, signal: AbortSignal): AsyncIterable<Uint8Array> {
  if (settings.closure === '-') {
    const stop = (): unknown => process.stdin.destroy(new ImageError('ABORTED', 'cancelled', { cause: signal.reason }))
    signal.addEventListener('abort', stop, { once: true })
  }
  return process.stdin
}

/** Without what is undefined, so that the recipe's own default stands. */
function given<T extends Readonly<Record<string, unknown>>>(options: T): { readonly [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> }
}
