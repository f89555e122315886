/**
 * One initrd of many archives: one a store path, each compressed by itself, so that a changed system builds few of them
 * anew. The kernel unpacks them all into its rootfs and starts the system there, without a stage 1. The registration
 * lies where NixOS looks for it, and where systems that were made for nix-netboot-serve do.
 */
import { cpio } from '../../archives/cpio/index.ts'
import { utf8 } from '../../bytes/text.ts'
import { compressedImage } from '../../codecs/stream/index.ts'
import { concatImages } from '../../io/concat.ts'
import { type BuildContext, bytesImage, type GrowingImage, type Image } from '../../io/image.ts'
import { BufferTarget } from '../../io/target.ts'
import { formatRegistration } from '../../nix/listing/registration.ts'
import type { DirectoryNode } from '../../tree/tree.ts'
import { MEMBER_ALIGNMENT } from '../initrd-parts.ts'
import type { PieceFolder } from '../pieces/index.ts'
import { fileNode, folderNode } from './nodes.ts'
import { type BuiltInitrds, type NetbootSource, type NetbootStyleRecipe, requiredPieces } from './source.ts'

export const perPath: NetbootStyleRecipe = {
  names: ['initrd'],
  compression: { name: 'zstd', level: 10 },
  initParameter: 'rdinit',
  usesOwnInitrd: false,
  usesPieces: true,
  build: perPathInitrd,
}

async function perPathInitrd(source: NetbootSource, folder: PieceFolder | undefined, context: BuildContext): Promise<BuiltInitrds> {
  const { input, loaded, prepended, compression: codec } = source
  const { closure, root, nars, overlay } = loaded
  const pieces = await requiredPieces(folder).build({ ...input, closure, root, nars, overlay }, { kind: 'cpio', codec }, context)
  const leader = cpio(leaderTree(formatRegistration(closure)))
  const first = codec.name === 'none' ? leader : await inMemory(compressedImage(leader, { codec }), context)
  const image = concatImages([...prepended, first, ...pieces.map((piece) => piece.image)], MEMBER_ALIGNMENT)
  return { initrds: [{ name: 'initrd', image }], pieces }
}

/** The group `nixbld`, which Nix gives the store directory. */
const NIXBLD = 30000
const REGISTRATION = 'nix-path-registration'
const REGISTER_SCRIPT = `#!/bin/sh\nexec nix-store --load-db < /nix/store/${REGISTRATION}\n`

function leaderTree(registration: Uint8Array): DirectoryNode {
  const store = folderNode([[REGISTRATION, fileNode(registration)]], { mode: 0o1775, gid: NIXBLD })
  const database = folderNode([['register', fileNode(utf8(REGISTER_SCRIPT), 0o555)]])
  return folderNode([
    [
      'nix',
      folderNode([
        ['store', store],
        ['.nix-netboot-serve-db', database],
      ]),
    ],
  ])
}

async function inMemory(image: GrowingImage, context: BuildContext): Promise<Image> {
  const target = new BufferTarget()
  const { size } = await image.pack(target, 0, { ...context, onProgress: () => undefined })
  return bytesImage(target.bytes.slice(0, size))
}
