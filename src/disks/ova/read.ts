/** The disk in an OVA: the one VMDK of its archive. */
import { ImageError } from '../../errors.ts'
import type { Image } from '../../io/image.ts'
import type { RandomAccessSource } from '../../io/source.ts'
import type { ReadOptions } from '../container.ts'
import { openVmdk } from '../vmdk/index.ts'
import { archiveFiles, type Member } from './archive.ts'
import { checkManifest } from './manifest.ts'

/**
 * The files are compared with the manifest first, if there is one. Throws BAD_INPUT for an archive that is damaged or holds
 * no VMDK, UNSUPPORTED for several disks, and what `checkManifest`, `openVmdk` and the source throw.
 */
export async function openOva(source: RandomAccessSource, { signal }: Pick<ReadOptions, 'signal'> = {}): Promise<Image> {
  const files = await archiveFiles(source)
  const [disk, another] = files.filter(({ name }) => /\.vmdk$/i.test(name))
  if (disk === undefined) throw new ImageError('BAD_INPUT', 'ova: the archive holds no file that ends with .vmdk')
  if (another !== undefined) {
    throw new ImageError('UNSUPPORTED', `ova: has several disks, ${disk.name} and ${another.name}; unpack it with 'tar -xf' and give one`)
  }
  await checkManifest(source, files, signal)
  return openVmdk(partOf(source, disk))
}

function partOf(source: RandomAccessSource, { start, size }: Member): RandomAccessSource {
  return { size, read: (position, length) => source.read(start + position, length) }
}
