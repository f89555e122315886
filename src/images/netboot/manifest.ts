/**
 * The initrds of the manifest style (grahamc's netboot.nix and the modules made after it): `nix-store` holds a squashfs
 * a store path, `manifest` the list of them and the registration, reachable at /nix-store-squashes, and `initrd` is the
 * system's own, whose stage 1 mounts each and copies what is in it to /nix/store.
 */
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { cpio } from '../../archives/cpio/index.ts'
import { utf8 } from '../../bytes/text.ts'
import { compressedImage } from '../../codecs/stream/index.ts'
import { concatenation, padded } from '../../io/concat.ts'
import type { BuildContext, GrowingImage, Image } from '../../io/image.ts'
import { formatRegistration } from '../../nix/listing/registration.ts'
import { formatNix32 } from '../../nix/store/hash.ts'
import { HASH_PART_LENGTH, storePath } from '../../nix/store/store-path.ts'
import type { DirectoryNode } from '../../tree/tree.ts'
import { MEMBER_ALIGNMENT } from '../initrd-parts.ts'
import type { Piece, PieceFolder } from '../pieces/index.ts'
import { fileNode, folderNode, symlinkNode } from './nodes.ts'
import { type BuiltInitrds, type NetbootSource, type NetbootStyleRecipe, ownInitrd, requiredPieces } from './source.ts'

export const manifest: NetbootStyleRecipe = {
  names: ['initrd', 'manifest', 'nix-store'],
  compression: { name: 'zstd', level: 19 },
  initParameter: 'init',
  usesOwnInitrd: true,
  usesPieces: true,
  build: manifestInitrds,
}

async function manifestInitrds(source: NetbootSource, folder: PieceFolder | undefined, context: BuildContext): Promise<BuiltInitrds> {
  const { input, loaded, prepended, compression: codec, blockSize, initrdCompression } = source
  const { closure, root, nars, overlay } = loaded
  const pieces = await requiredPieces(folder).build(
    { ...input, closure, root, nars, overlay },
    { kind: 'squashfs', codec, blockSize },
    context,
  )
  const squashes = closure.paths.map(({ baseName }, index) => squashOf(baseName, pieces[index]))
  const archived = (tree: DirectoryNode, isLastMember: boolean): Image | GrowingImage =>
    initrdCompression.name === 'none' ? cpio(tree) : compressedImage(cpio(tree), { codec: initrdCompression, isLastMember })
  const images = {
    initrd: concatenation([...prepended, await ownInitrd(source)], MEMBER_ALIGNMENT),
    manifest: archived(manifestTree(squashes, formatRegistration(closure)), false),
    'nix-store': archived(squashesTree(squashes), true),
  }
  // Started by UEFI, the kernel fetches them one by one and leaves no gap between them.
  const initrds = Object.entries(images).map(([name, image]) => ({ name, image: padded(image, MEMBER_ALIGNMENT) }))
  return { initrds, pieces }
}

/** Characters of a store path's base name that are a folder of their own. */
const PREFIX_LENGTH = 8
/** After so many characters of a line there is a blank, which keeps Nix from seeing a store path in it. */
const BLANK_AFTER = 20

interface Squash {
  /** Base name of the made-up store path that holds the squashfs. */
  readonly holder: string
  readonly prefix: string
  readonly rest: string
  readonly piece: Piece
}

/** Stage 1 makes the name of the store path from the last two names; the holder's means nothing to it. */
function squashOf(baseName: string, piece: Piece | undefined): Squash {
  if (piece === undefined) throw new RangeError(`${baseName}: there is no squashfs of it`)
  const holder = `${madeUpHash(`squashfs of ${baseName}: ${piece.sha256}`)}-${baseName.slice(HASH_PART_LENGTH + 1)}-squash`
  return { holder, prefix: baseName.slice(0, PREFIX_LENGTH), rest: baseName.slice(PREFIX_LENGTH), piece }
}

/** 160 bits of a hash, as store paths have them. */
function madeUpHash(seed: string): string {
  return formatNix32(createHash('sha256').update(seed).digest().subarray(0, 20))
}

function squashesTree(squashes: readonly Squash[]): DirectoryNode {
  const holders = squashes.map(({ holder, prefix, rest, piece }) => {
    const inner = folderNode([[rest, fileNode(piece.image)]], READ_ONLY)
    return [holder, folderNode([[prefix, inner]], READ_ONLY)] as const
  })
  return folderNode([['nix', folderNode([['store', folderNode(holders)]])]])
}

/** As folders of the store are. */
const READ_ONLY = { mode: 0o555 } as const

function manifestTree(squashes: readonly Squash[], registration: Uint8Array): DirectoryNode {
  const list = utf8(squashes.map(squashLine).join(''))
  const holder = `${madeUpHash(`squashes ${createHash('sha256').update(list).update(registration).digest('hex')}`)}-squashes`
  const files = folderNode(
    [
      ['squashes', fileNode(list)],
      ['registration.gz', fileNode(gzipped(registration))],
    ],
    READ_ONLY,
  )
  return folderNode([
    ['nix', folderNode([['store', folderNode([[holder, files]])]])],
    ['nix-store-squashes', symlinkNode(storePath(holder))],
  ])
}

function squashLine({ holder, prefix, rest }: Squash): string {
  const path = `${storePath(holder)}/${prefix}/${rest}`
  return `${path.slice(0, BLANK_AFTER)} ${path.slice(BLANK_AFTER)}\n`
}

/** Where the header names the system that compressed it (RFC 1952, 2.3), and the value for an unknown one. */
const GZIP_SYSTEM_OFFSET = 9
const GZIP_UNKNOWN_SYSTEM = 255

function gzipped(bytes: Uint8Array): Uint8Array {
  const packed = gzipSync(bytes, { level: 9 })
  packed[GZIP_SYSTEM_OFFSET] = GZIP_UNKNOWN_SYSTEM
  return packed
}
