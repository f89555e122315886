/** What initrds are made of: archives one after another, each starting at a multiple of four bytes. */
import { ImageError } from '../errors.ts'
import { concatImages, type SizeRule } from '../io/concat.ts'
import type { Image } from '../io/image.ts'
import type { ProgressListener } from '../io/progress.ts'
import { imageSlice } from '../io/slice.ts'
import { imageChunks } from '../io/stream.ts'
import { withoutLinks } from '../system/additions.ts'
import { contentExtents } from '../tree/content.ts'
import { scanHost } from '../tree/scan.ts'

/** Archives begin at multiples of this (Linux, `init/initramfs.c`, `unpack_to_rootfs`). */
export const MEMBER_ALIGNMENT = 4

/** Up to this, in bytes, firmware and boot programs are known to load an initrd (iPXE; nixpkgs #203593). */
const INITRD_WARN_SIZE = 2 ** 31
/** Sizes in boot protocols and in cpio have 32 bits. */
const INITRD_LIMIT = 2 ** 32

/** What loads an initrd has a limit, and says nothing when it is met. */
export function initrdSizeRule(what: string, onProgress: ProgressListener | undefined): SizeRule {
  return {
    what,
    warnFrom: INITRD_WARN_SIZE,
    refuseFrom: INITRD_LIMIT,
    remedy: 'no boot loader takes a larger one: put less into the closure, or compress it better',
    onLarge: (size) => {
      const message = `${what} is ${(size / 2 ** 30).toFixed(1)} GiB; iPXE and UEFI firmware often load no more than 2 GiB`
      onProgress?.({ kind: 'note', message })
    },
  }
}

/** How the formats that a kernel can unpack begin (`lib/decompress.c`, `init/initramfs.c`). */
const MAGICS: readonly { readonly name: string; readonly hex: string }[] = [
  { name: 'cpio', hex: '303730373031' },
  { name: 'cpio', hex: '303730373032' },
  { name: 'gzip', hex: '1f8b' },
  { name: 'gzip', hex: '1f9e' },
  { name: 'bzip2', hex: '425a' },
  { name: 'lzma', hex: '5d0000' },
  { name: 'xz', hex: 'fd377a585a00' },
  { name: 'lzo', hex: '894c5a' },
  { name: 'lz4', hex: '02214c18' },
  { name: 'zstd', hex: '28b52ffd' },
]

const MICROCODE_FOLDER = Buffer.from('kernel/x86/microcode')
/** The name is in the first records. */
const HEAD_SIZE = 4096

/**
 * Archives of the host that come before all others, such as microcode. Throws NOT_FOUND, UNREADABLE, BAD_INPUT for a
 * file that no kernel would unpack, LIMIT where they alone are too large for an initrd.
 */
export async function prependedArchives(paths: readonly string[], onProgress: ProgressListener | undefined): Promise<Image[]> {
  const images: Image[] = []
  let compressedBefore: string | undefined
  let size = 0
  for (const path of paths) {
    const image = hostImage(path)
    size += image.size
    if (size >= INITRD_LIMIT) {
      const message = `${path}: up to its end an initrd would have ${size} bytes, it has to be smaller than ${INITRD_LIMIT}; leave it out`
      throw new ImageError('LIMIT', message, { path })
    }
    const head = await headOf(image)
    const format = formatOf(head)
    if (format === undefined) {
      throw new ImageError(
        'BAD_INPUT',
        `${path}: is no cpio archive (newc), nor one compressed by gzip, zstd, xz, lz4, bzip2, lzma or lzo`,
        {
          path,
        },
      )
    }
    if (format !== 'cpio') compressedBefore ??= path
    else if (compressedBefore !== undefined && head.includes(MICROCODE_FOLDER)) {
      const message = `${path} holds microcode, which the kernel looks for before it can unpack ${compressedBefore}; name it first`
      onProgress?.({ kind: 'note', message })
    }
    images.push(separated(image, format))
  }
  return images
}

/** Archives as one initrd, which others may follow. Throws what reading their beginnings throws. */
export async function joinedInitrds(images: readonly Image[]): Promise<Image> {
  return concatImages(await Promise.all(images.map(async (image) => separated(image, formatOf(await headOf(image))))), MEMBER_ALIGNMENT)
}

/** Linux takes four zero bytes for the end of an lz4 frame; without them what follows is lost. */
const LZ4_END_SIZE = 4

function separated(image: Image, format: string | undefined): Image {
  return format === 'lz4' ? { size: image.size + LZ4_END_SIZE, extents: image.extents } : image
}

function hostImage(path: string): Image {
  const node = scanHost(withoutLinks(path), { attributes: (_kind, host) => host })
  if (node.kind !== 'file') throw new ImageError('BAD_INPUT', `${path}: is a folder; name an archive`, { path })
  return { size: node.size, extents: contentExtents(node, 0, path) }
}

async function headOf(image: Image): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  // A part that is read to its end, so that what is checked there is checked.
  for await (const chunk of imageChunks(imageSlice(image, 0, Math.min(HEAD_SIZE, image.size)))) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** Zeros before an archive are passed over. */
function formatOf(head: Buffer): string | undefined {
  const start = head.findIndex((byte) => byte !== 0)
  if (start === -1) return undefined
  const hex = head.subarray(start, start + 8).toString('hex')
  return MAGICS.find((magic) => hex.startsWith(magic.hex))?.name
}
