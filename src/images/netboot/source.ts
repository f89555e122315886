/** What the styles of network boot are made from, and what they make. */
import { bootExtensions } from '../../boot/index.ts'
import type { CodecSpec } from '../../codecs/codec.ts'
import { ImageError } from '../../errors.ts'
import type { BuildContext, GrowingImage, Image } from '../../io/image.ts'
import type { Bootspec } from '../../system/bootspec.ts'
import type { StoreInput } from '../../system/input.ts'
import type { LoadedClosure } from '../../system/store.ts'
import { imageInStore } from '../../system/store-files.ts'
import { joinedInitrds } from '../initrd-parts.ts'
import type { Piece, PieceFolder } from '../pieces/index.ts'

export interface NetbootSource {
  readonly input: StoreInput
  readonly loaded: LoadedClosure
  /** Of the system, or of the specialisation, that boots. */
  readonly bootspec: Bootspec
  /** Of squashfs images, or of the archives of `per-path`. */
  readonly compression: CodecSpec
  /** Of squashfs images, in bytes. */
  readonly blockSize: number
  /** Of the archives around squashfs images. */
  readonly initrdCompression: CodecSpec
  /** Archives that come first in the first initrd. */
  readonly prepended: readonly Image[]
  /** Comes behind the system's own initrd. */
  readonly secrets: Image | undefined
}

export interface NetbootFile {
  readonly name: string
  readonly image: Image | GrowingImage
}

/** The initrds of a style, in the order in which they are loaded. */
export interface BuiltInitrds {
  readonly initrds: readonly NetbootFile[]
  readonly pieces: readonly Piece[]
}

/** How a style boots and what it builds. */
export interface NetbootStyleRecipe {
  /** Names of its initrds, in the order in which they are loaded. */
  readonly names: readonly string[]
  readonly compression: CodecSpec
  /** The kernel parameter that starts the system: `init=` is read by a stage 1, `rdinit=` by the kernel. */
  readonly initParameter: 'init' | 'rdinit'
  /** The system's own initrd is loaded, which carries its stage 1. */
  readonly usesOwnInitrd: boolean
  /** Built from pieces, in a temporary folder where none is kept. */
  readonly usesPieces: boolean
  build(source: NetbootSource, pieces: PieceFolder | undefined, context: BuildContext): Promise<BuiltInitrds>
}

/**
 * The initrd that boot.json names, with those behind it, to be followed by other archives. Throws UNSUPPORTED where it names
 * none.
 */
export async function ownInitrd({
  bootspec,
  loaded,
  secrets,
}: Pick<NetbootSource, 'bootspec' | 'loaded'> & Partial<Pick<NetbootSource, 'secrets'>>): Promise<Image> {
  if (bootspec.initrd !== undefined) {
    const paths = [bootspec.initrd, ...bootExtensions(bootspec.extensions).extraInitrds]
    const images = await Promise.all(paths.map((path) => imageInStore(path, loaded)))
    return joinedInitrds(secrets === undefined ? images : [...images, secrets])
  }
  throw new ImageError(
    'UNSUPPORTED',
    (option) => `${bootspec.toplevel}/boot.json: the system has no initrd, whose stage 1 this style needs; use ${option('style')} per-path`,
    { path: bootspec.toplevel },
  )
}

export function requiredPieces(pieces: PieceFolder | undefined): PieceFolder {
  if (pieces === undefined) throw new RangeError('netboot: this style is built from pieces')
  return pieces
}
