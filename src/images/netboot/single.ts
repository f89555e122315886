/**
 * The initrd of nixpkgs' netboot.nix: the system's own, and behind it an archive with `/nix-store.squashfs`, which its
 * stage 1 mounts.
 */
import { cpio, growingCpio } from '../../archives/cpio/index.ts'
import { formatCodecSpec } from '../../codecs/spec.ts'
import { compressedImage } from '../../codecs/stream/index.ts'
import { concatenation } from '../../io/concat.ts'
import { type BuildContext, type GrowingImage, isGrowing } from '../../io/image.ts'
import { formatHex } from '../../nix/store/hash.ts'
import { checkPresent } from '../../nix/store/store-tree.ts'
import { scanStore } from '../../system/store.ts'
import { MEMBER_ALIGNMENT } from '../initrd-parts.ts'
import type { PieceFolder } from '../pieces/index.ts'
import { packedStore } from '../squashfs.ts'
import { fileNode, folderNode } from './nodes.ts'
import { type BuiltInitrds, type NetbootSource, type NetbootStyleRecipe, ownInitrd } from './source.ts'

const SQUASHFS_NAME = 'nix-store.squashfs'

export const single: NetbootStyleRecipe = {
  names: ['initrd'],
  compression: { name: 'zstd', level: 19 },
  initParameter: 'init',
  usesOwnInitrd: true,
  usesPieces: false,
  build: singleInitrd,
}

/** The store is packed straight into the initrd, or comes from the folder of pieces where nothing has changed. */
async function singleInitrd(source: NetbootSource, pieces: PieceFolder | undefined, context: BuildContext): Promise<BuiltInitrds> {
  const { input, loaded, prepended, compression, blockSize, initrdCompression } = source
  const make = async (): Promise<GrowingImage> => packedStore(await scanStore(loaded, input), { compression, blockSize }, 0)
  // Else a squashfs that is there would hide it.
  await checkPresent(loaded.closure, loaded, context.signal)
  const piece = await pieces?.keep({ name: 'nix-store', parts: keyParts(source), suffix: 'squashfs' }, make, context)
  const squashfs = piece?.image ?? (await make())
  const member = isGrowing(squashfs)
    ? growingCpio(folderNode([]), { ...fileNode(new Uint8Array(0)), path: SQUASHFS_NAME, image: squashfs })
    : cpio(folderNode([[SQUASHFS_NAME, fileNode(squashfs)]]))
  const last = initrdCompression.name === 'none' ? member : compressedImage(member, { codec: initrdCompression, isLastMember: true })
  const image = concatenation([...prepended, await ownInitrd(source), last], MEMBER_ALIGNMENT)
  return { initrds: [{ name: 'initrd', image }], pieces: piece === undefined ? [] : [piece] }
}

/** All that the bytes of the squashfs depend on, and whether they were checked. */
function keyParts({ input, loaded, compression, blockSize }: NetbootSource): string[] {
  const names = input.caseHack === true ? 'case hack undone' : ''
  const settings = [formatCodecSpec(compression), String(blockSize), input.verify === false ? 'unverified' : 'verified', names]
  const paths = loaded.closure.paths.flatMap(({ path, narHash, references }) => [
    path,
    formatHex(narHash ?? new Uint8Array(0)),
    ...references,
  ])
  return [...settings, ...paths]
}
