/**
 * The recipe of network boot: a kernel, initrds that carry the store, and the iPXE script that names them. Three styles:
 *
 * - `single`: as nixpkgs' netboot.nix. The system's own initrd, and behind it an archive with `nix-store.squashfs`.
 * - `manifest`: as the manifest modules have it. A squashfs a store path, and a list of them; three initrds.
 * - `per-path`: a compressed archive a store path, unpacked by the kernel itself; the system starts without a stage 1.
 */
import { bootExtensions, disobeyedExtensions, ipxeScript, menuEntries } from '../../boot/index.ts'
import { utf8 } from '../../bytes/text.ts'
import type { CodecSpec } from '../../codecs/codec.ts'
import { ImageError } from '../../errors.ts'
import { SQUASHFS_DEFAULTS } from '../../filesystems/squashfs/index.ts'
import { checkImageSize, checkLeastSize, sizeChecked } from '../../io/concat.ts'
import { type BuildContext, bytesImage, type Image, isGrowing } from '../../io/image.ts'
import { recordedImage } from '../../io/proven.ts'
import { type Bootspec, specialisationOf } from '../../system/bootspec.ts'
import { withSources } from '../../system/source.ts'
import { loadClosure } from '../../system/store.ts'
import { imageInStore, type StorePlace } from '../../system/store-files.ts'
import { type SystemInput, systemOf } from '../../system/system.ts'
import { warn } from '../../system/warnings.ts'
import { otherBytesError } from '../../tree/host-file.ts'
import { initrdSizeRule, prependedArchives } from '../initrd-parts.ts'
import { type InitrdSecretsOptions, initrdSecrets } from '../initrd-secrets.ts'
import { checkPieceFolder, openPieces, type Piece, type PieceFolder } from '../pieces/index.ts'
import type { Product } from '../product.ts'
import { efiStub, unifiedSystem } from '../unified.ts'
import { netbootFolder, netbootNames, SCRIPT_NAME } from './folder.ts'
import { leastInitrdSize } from './least-size.ts'
import { manifest } from './manifest.ts'
import { perPath } from './per-path.ts'
import { NETBOOT_STYLES, type NetbootPlan, type NetbootStyle } from './plan.ts'
import { single } from './single.ts'
import { type NetbootFile, type NetbootSource, type NetbootStyleRecipe, ownInitrd } from './source.ts'

const STYLES = { single, manifest, 'per-path': perPath } as const satisfies Record<NetbootStyle, NetbootStyleRecipe>

export const NETBOOT_DEFAULTS = { style: 'single', kexecCompression: { name: 'gzip', level: 1 } } as const

export interface NetbootOptions extends SystemInput, InitrdSecretsOptions {
  /** Default `single`. */
  readonly style?: NetbootStyle
  /** A specialisation of the system to boot instead. */
  readonly specialisation?: string
  /** Appended to the system's kernel parameters. */
  readonly kernelParams?: readonly string[]
  /** Of the squashfs, or of the archives of `per-path`. Default zstd, level 19, for `per-path` 10. */
  readonly compression?: CodecSpec
  /** Of squashfs images; default 1 MiB. */
  readonly blockSize?: number
  /** Of the archives around squashfs images; default none, since those are compressed already. */
  readonly initrdCompression?: CodecSpec
  /** Archives of the host that come first in the first initrd, such as microcode. */
  readonly prepend?: readonly string[]
  /** A folder of finished pieces, which later builds use again; default: none is kept. */
  readonly pieces?: string
  /** Pieces that were not used for longest are removed until the folder holds fewer bytes; default: no limit. */
  readonly piecesLimit?: number
  /**
   * Beside the files `netboot.efi`: all of them as one program, which UEFI firmware fetches by HTTP and starts without iPXE; default
   * false.
   */
  readonly uki?: boolean
  /** Beside the files a script for a running Linux, with what it starts, and all that in a tarball; default false. */
  readonly kexec?: boolean
  /** Of that tarball, what is in which is compressed already; default gzip, level 1. */
  readonly kexecCompression?: CodecSpec
}

/**
 * `files` builds the pieces and gives the kernel, the initrds in the order in which they are loaded, and the iPXE script;
 * those can be served, too. It throws what reading, packing and writing throw; packing LIMIT for an initrd of 4 GiB or more.
 * `close` removes the pieces that are not kept, after which no file can be read.
 */
export interface Netboot extends Product<NetbootPlan> {
  /** Those of the last `files`. */
  pieces(): readonly Piece[]
}

/**
 * Read the listing and plan. Throws what `loadClosure` and `prependedArchives` throw, NOT_FOUND for a kernel, initrd or
 * specialisation that is not there, UNSUPPORTED for a system without an initrd in a style that needs one, BAD_INPUT or
 * LIMIT for a command line that iPXE or the kernel cannot take.
 */
export function netboot(options: NetbootOptions): Promise<Netboot> {
  return withSources(options, plannedNetboot)
}

async function plannedNetboot(options: NetbootOptions): Promise<Netboot> {
  const styleName = options.style ?? NETBOOT_DEFAULTS.style
  const style: NetbootStyleRecipe | undefined = STYLES[styleName]
  if (style === undefined)
    throw new ImageError('USAGE', (option) => `${option('style')} is '${styleName}'; ${NETBOOT_STYLES.join(', ')} are known`)
  await checkPieceFolder(options.pieces)
  const prepended = await prependedArchives(options.prepend ?? [], options.onProgress)
  const { store: loaded, toplevel, ...system } = await systemOf(await loadClosure(options), options)
  const bootspec = specialisationOf(system.bootspec, options.specialisation)
  warn(
    disobeyedExtensions({ ...bootspec, specialisations: new Map() }, [
      { name: options.uki === true ? 'iPXE' : 'a network boot', deviceTree: false },
    ]),
    options,
  )
  if (style.usesOwnInitrd) await ownInitrd({ bootspec, loaded })
  const kernel = { name: kernelName(bootspec), image: await imageInStore(bootspec.kernel, loaded) }
  const parameters = parametersOf(bootspec, options.kernelParams ?? [], style)
  const script = ipxeScript({ kernel: kernel.name, initrds: style.names, parameters })
  const secrets = await secretsOf(bootspec, loaded, style, options)
  const source: NetbootSource = {
    input: options,
    loaded,
    bootspec,
    compression: options.compression ?? style.compression,
    blockSize: options.blockSize ?? SQUASHFS_DEFAULTS.blockSize,
    initrdCompression: options.initrdCompression ?? { name: 'none' },
    prepended,
    secrets,
  }
  const plan: NetbootPlan = {
    style: styleName,
    toplevel,
    specialisation: options.specialisation,
    system: bootspec.system,
    label: bootspec.label,
    kernel: kernel.name,
    initrds: style.names,
    parameters,
    pathCount: loaded.closure.paths.length,
    narBytes: loaded.narBytes,
    verified: options.verify !== false,
    compression: source.compression,
    initrdCompression: source.initrdCompression,
  }
  const program = options.uki === true ? await programOf(bootspec, loaded, kernel.image, plan) : undefined
  const kexec = options.kexec === true ? (options.kexecCompression ?? NETBOOT_DEFAULTS.kexecCompression) : undefined
  let pieces: readonly Piece[] = []
  const folders: PieceFolder[] = []
  return {
    plan,
    inputs: [...loaded.inputs, ...(options.prepend ?? []), ...(options.initrdSecrets === undefined ? [] : [options.initrdSecrets])],
    source: { narBytes: plan.narBytes, verified: plan.verified },
    replaceable: netbootNames(plan),
    async files(context) {
      checkLeastSize(await leastInitrdSize(style, source), initrdSizeRule(style.names[0] ?? 'initrd', undefined))
      const folder = options.pieces !== undefined || style.usesPieces ? await openPieces(options.pieces) : undefined
      if (folder !== undefined) folders.push(folder)
      const prepended = await recorded(source.prepended, options, context.signal)
      const built = await style.build({ ...source, prepended }, folder, context)
      if (options.piecesLimit !== undefined) await folder?.prune(options.piecesLimit, built.pieces)
      pieces = built.pieces
      const initrds = built.initrds.map((file) => limited(file, context))
      return netbootFolder([kernel, ...initrds, { name: SCRIPT_NAME, image: bytesImage(utf8(script)) }], plan, { kexec, program })
    },
    pieces: () => pieces,
    async close() {
      for (const folder of folders.splice(0)) await folder.close()
    },
  }
}

/** Firmware hands over nothing, so the program has its command line and device tree in it. Throws what `efiStub` throws, LIMIT. */
async function programOf(bootspec: Bootspec, store: StorePlace, kernel: Image, plan: NetbootPlan): Promise<(initrd: Image) => Image> {
  const { deviceTree } = bootExtensions(bootspec.extensions)
  return unifiedSystem({
    stub: await efiStub(bootspec, store),
    kernel,
    ...(deviceTree !== undefined && { deviceTree: await imageInStore(deviceTree, store) }),
    commandLine: plan.parameters,
    label: plan.label,
    specialisation: '',
  })
}

/** Secrets are copied to their places by a stage 1; a style without one needs none. Throws what `initrdSecrets` throws, USAGE. */
function secretsOf(bootspec: Bootspec, store: StorePlace, style: NetbootStyleRecipe, options: NetbootOptions): Promise<Image | undefined> {
  if (style.usesOwnInitrd) return initrdSecrets({ ...bootspec, specialisations: new Map() }, store, options)
  if (options.initrdSecrets !== undefined) {
    throw new ImageError(
      'USAGE',
      (option) =>
        `${option('initrdSecrets')}: a system that starts without a stage 1 does not look for them; use another ${option('style')}`,
    )
  }
  return Promise.resolve(undefined)
}

/** What is handed out later, perhaps often and in parts, is what is read here. */
async function recorded(archives: readonly Image[], { prepend = [] }: NetbootOptions, signal: AbortSignal | undefined): Promise<Image[]> {
  return Promise.all(archives.map((image, index) => recordedImage(image, () => otherBytesError(utf8(prepend[index] ?? '')), signal)))
}

/** An initrd's size is checked now, or when it is known. */
function limited({ name, image }: NetbootFile, { onProgress }: BuildContext): NetbootFile {
  const rule = initrdSizeRule(name, onProgress)
  if (isGrowing(image)) return { name, image: sizeChecked(image, rule) }
  checkImageSize(image, rule)
  return { name, image }
}

/** What stands beside the kernel, in any style. */
const TAKEN_NAMES = /^(?:initrd|manifest|nix-store|netboot\.(?:ipxe|efi)|kexec(?:\.tar(?:\..*)?)?)$/

function kernelName({ kernel, toplevel }: Bootspec): string {
  const name = kernel.slice(kernel.lastIndexOf('/') + 1)
  if (!TAKEN_NAMES.test(name)) return name
  throw new ImageError(
    'BAD_INPUT',
    `${toplevel}/boot.json: the kernel's file is named '${name}', which is the name of another file of a network boot`,
    {
      path: toplevel,
    },
  )
}

/** As in a boot menu; what the kernel itself is to start it finds by `rdinit=` (Linux, `init/main.c`). */
function parametersOf(bootspec: Bootspec, kernelParams: readonly string[], { initParameter }: NetbootStyleRecipe): string {
  const [entry] = menuEntries({ ...bootspec, specialisations: new Map() }, { kernelParams }).entries
  if (entry === undefined) throw new RangeError('a menu without entries')
  return initParameter === 'init' ? entry.parameters : `rd${entry.parameters}`
}
