/** An archive whose last file is packed in place and has its size written afterwards. */
import { alignUp } from '../../bytes/align.ts'
import { compareBytes } from '../../bytes/order.ts'
import { printable, utf8 } from '../../bytes/text.ts'
import { ImageError, throwIfAborted } from '../../errors.ts'
import { type GrowingImage, type Image, leastSizeOf } from '../../io/image.ts'
import { regionImage } from '../../io/region.ts'
import { writeImage } from '../../io/stream.ts'
import type { Target } from '../../io/target.ts'
import type { Attributes, DirectoryNode, TreeNode } from '../../tree/tree.ts'
import { ALIGNMENT, TRAILER_SIZE, writeTrailer } from './disk.ts'
import { archiveExtents, writeRecordHead } from './emit.ts'
import { checkAttributes, checkEntryName, checkRecordName, FILE_SIZE_MAXIMUM, fileSizeError } from './limits.ts'
import { type CpioOptions, type CpioRecord, checkPrefix, dataStartOf, joinName, planCpio } from './plan.ts'

export interface GrowingCpioFile extends Attributes {
  /** In the tree (UTF-8), such as `nix-store.squashfs`; folders above it stand in the tree. */
  readonly path: string
  readonly image: GrowingImage
}

/**
 * An archive of `root` and, as its last record, of `file`, which is packed where it stays. What lies before is
 * written first, its header and the trailer last; `pack` writes no byte behind them.
 *
 * Throws at once what `planCpio` throws, LIMIT for a file that is known to be too large, and USAGE for a path that is
 * taken or lies in no folder of the tree.
 * `pack` throws LIMIT when the file turns out to be 4 GiB or larger, UNREADABLE, CHANGED, ABORTED, and what
 * the target and the file's image throw.
 */
export function growingCpio(root: DirectoryNode, file: GrowingCpioFile, options: CpioOptions = {}): GrowingImage {
  const plan = planCpio(root, options)
  const name = nameInTree(root, file.path, checkPrefix(options))
  checkAttributes(file, name)
  const { mode, uid, gid, mtimeSeconds } = file
  const start = plan.trailerStart
  const dataStart = dataStartOf(start, name)
  const leastSize = leastSizeOf(file.image)
  if (leastSize > FILE_SIZE_MAXIMUM) throw fileSizeError(name, leastSize)
  const recordOf = (image: Image): CpioRecord => {
    const node = { kind: 'file', mode, uid, gid, mtimeSeconds, size: image.size, content: { kind: 'image', image } } as const
    return { name, node, inode: plan.inodeCount + 1, linkCount: 1, start, dataStart, dataSize: image.size }
  }
  return {
    sizeLimit: trailerStartAfter(dataStart, Math.min(file.image.sizeLimit, FILE_SIZE_MAXIMUM)) + TRAILER_SIZE,
    leastSize: trailerStartAfter(dataStart, leastSize) + TRAILER_SIZE,
    async pack(target, archiveStart, context) {
      // Such a plan has no trailer: the file's record comes there.
      await writeImage({ size: start, extents: archiveExtents({ ...plan, size: start }) }, target, archiveStart, context)
      const image = await file.image.pack(target, archiveStart + dataStart, context)
      if (image.size > FILE_SIZE_MAXIMUM) throw fileSizeError(name, image.size)
      throwIfAborted(context.signal)
      return close(target, archiveStart, recordOf(image))
    },
  }
}

/** Write what names the size of the last file and what comes after it. */
async function close(target: Target, archiveStart: number, record: CpioRecord): Promise<Image> {
  const head = new Uint8Array(record.dataStart - record.start)
  writeRecordHead(head, 0, record)
  await target.write(archiveStart + record.start, head)
  const dataEnd = record.dataStart + record.dataSize
  const trailerStart = trailerStartAfter(record.dataStart, record.dataSize)
  const size = trailerStart + TRAILER_SIZE
  const tail = new Uint8Array(size - dataEnd)
  writeTrailer(tail, trailerStart - dataEnd)
  await target.write(archiveStart + dataEnd, tail)
  return regionImage(target, archiveStart, size)
}

function trailerStartAfter(dataStart: number, dataSize: number): number {
  return alignUp(dataStart + dataSize, ALIGNMENT)
}

/** The whole name of a file that is to be at `path`. Its folders must be there: Linux drops a file that has none. */
function nameInTree(root: DirectoryNode, path: string, prefix: Uint8Array): Uint8Array {
  const names = path
    .split('/')
    .filter((name) => name !== '')
    .map(utf8)
  const ownName = names.pop()
  if (ownName === undefined) throw new ImageError('USAGE', `cpio: '${path}' is no path of a file; name one`)
  let folder = root
  let folderName = prefix
  for (const name of names) {
    const node = nodeNamed(folder, name)
    folderName = joinName(folderName, name)
    if (node?.kind !== 'directory') {
      const where = printable(folderName)
      throw new ImageError('USAGE', `${where}: is no folder of the tree, and ${path} is to be in it; add it to the tree`, { path: where })
    }
    folder = node
  }
  checkEntryName(ownName, folderName, nodeNamed(folder, ownName) && ownName)
  const wholeName = joinName(folderName, ownName)
  checkRecordName(wholeName)
  return wholeName
}

function nodeNamed({ entries }: DirectoryNode, name: Uint8Array): TreeNode | undefined {
  return entries.find((entry) => compareBytes(entry.name, name) === 0)?.node
}
