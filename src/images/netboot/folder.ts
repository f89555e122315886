/** The files of a network boot: those that a server hands out, and for a running Linux a script, beside them and in a tarball. */
import { tar } from '../../archives/tar/index.ts'
import { kexecScript } from '../../boot/index.ts'
import { utf8 } from '../../bytes/text.ts'
import type { CodecName, CodecSpec } from '../../codecs/codec.ts'
import { compressedImage } from '../../codecs/stream/index.ts'
import { concatImages } from '../../io/concat.ts'
import type { FolderFile, WrittenFiles } from '../../io/folder.ts'
import { bytesImage, type GrowingImage, type Image } from '../../io/image.ts'
import { MEMBER_ALIGNMENT } from '../initrd-parts.ts'
import { fileNode, folderNode, symlinkNode } from './nodes.ts'
import type { NetbootPlan } from './plan.ts'
import type { NetbootFile } from './source.ts'

export const SCRIPT_NAME = 'netboot.ipxe'

/** All in one, for firmware alone; known as a program by its ending (EDK2, NetworkPkg/HttpBootDxe). */
export const PROGRAM_NAME = 'netboot.efi'

const KEXEC_FOLDER = 'kexec'
const KEXEC_SCRIPT = `${KEXEC_FOLDER}/kexec-boot`
/** nixpkgs' name, whatever it is compressed by. */
const KEXEC_INITRD = `${KEXEC_FOLDER}/initrd.gz`
/** A link at the top of the tarball, as nixpkgs has it. */
const KEXEC_LINK = 'kexec_nixos'

const TARBALL_SUFFIXES: Readonly<Record<CodecName, string>> = { none: '', gzip: '.gz', zstd: '.zst', xz: '.xz', lz4: '.lz4' }

/** Paths of all files that any run may have written. */
export function netbootNames({ kernel }: NetbootPlan): string[] {
  const kernels = [kernel, 'bzImage', 'Image']
  const tarballs = Object.values(TARBALL_SUFFIXES).map((suffix) => `${KEXEC_FOLDER}.tar${suffix}`)
  const kexec = [...kernels.map((name) => `${KEXEC_FOLDER}/${name}`), KEXEC_INITRD, KEXEC_SCRIPT]
  return [...kernels, 'initrd', 'manifest', 'nix-store', PROGRAM_NAME, SCRIPT_NAME, ...kexec, ...tarballs]
}

export interface FurtherFiles {
  /** Of the tarball for a running Linux; without it there is none. */
  readonly kexec: CodecSpec | undefined
  /** Makes a unified kernel image of all initrds as one; without it there is none. */
  readonly program: ((initrd: Image) => Image) | undefined
}

/** The files in the order in which they are written: `served`, and more. */
export function netbootFolder(served: readonly NetbootFile[], plan: NetbootPlan, { kexec, program }: FurtherFiles): FolderFile[] {
  const plain: FolderFile[] = served.map(({ name, image }) => ({ path: name, content: { kind: 'image', image } }))
  const make = (written: WrittenFiles): Image => (program as (initrd: Image) => Image)(joined(plan, written))
  return [
    ...plain,
    ...(program === undefined ? [] : [{ path: PROGRAM_NAME, content: { kind: 'made', make } } as const]),
    ...(kexec === undefined ? [] : kexecFiles(plan, kexec)),
  ]
}

/** All initrds as one, as they are unpacked. */
function joined({ initrds }: NetbootPlan, written: WrittenFiles): Image {
  return concatImages(
    initrds.map((name) => imageOf(written, name)),
    MEMBER_ALIGNMENT,
  )
}

function kexecFiles(plan: NetbootPlan, codec: CodecSpec): FolderFile[] {
  const { kernel, initrds, parameters } = plan
  const kernelPath = `${KEXEC_FOLDER}/${kernel}`
  const script = kexecScript({ kernel, initrd: KEXEC_INITRD.slice(KEXEC_FOLDER.length + 1), parameters })
  const [only = ''] = initrds
  const together = (written: WrittenFiles): Image => joined(plan, written)
  const packed = (written: WrittenFiles): Image | GrowingImage => {
    const tarball = tar(
      folderNode([
        [
          KEXEC_FOLDER,
          folderNode(
            [kernelPath, KEXEC_INITRD, KEXEC_SCRIPT].map((path) => [
              path.slice(KEXEC_FOLDER.length + 1),
              fileNode(imageOf(written, path), path === KEXEC_SCRIPT ? 0o755 : 0o644),
            ]),
          ),
        ],
        [KEXEC_LINK, symlinkNode(KEXEC_SCRIPT)],
      ]),
    )
    return codec.name === 'none' ? tarball : compressedImage(tarball, { codec, isLastMember: true })
  }
  return [
    { path: kernelPath, content: { kind: 'sameAs', path: kernel } },
    { path: KEXEC_INITRD, content: initrds.length === 1 ? { kind: 'sameAs', path: only } : { kind: 'made', make: together } },
    { path: KEXEC_SCRIPT, mode: 0o755, content: { kind: 'image', image: bytesImage(utf8(script)) } },
    { path: `${KEXEC_FOLDER}.tar${TARBALL_SUFFIXES[codec.name]}`, content: { kind: 'made', make: packed } },
  ]
}

function imageOf(written: WrittenFiles, path: string): Image {
  const image = written.get(path)
  if (image === undefined) throw new RangeError(`${path} is not written yet`)
  return image
}
