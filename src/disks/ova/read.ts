/** A disk in an OVA: the one VMDK of its archive, or the one of them that is asked for. */
import { quote } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { RandomAccessSource } from '../../io/source.ts'
import type { ReadOptions } from '../container.ts'
import type { ReadDisk } from '../reading/further.ts'
import { openVmdk } from '../vmdk/index.ts'
import { archiveFiles, type Member } from './archive.ts'
import { checkManifest } from './manifest.ts'

export type OvaReadOptions = Pick<ReadOptions, 'signal' | 'disk'>

/**
 * The files are compared with the manifest first, if there is one. Throws BAD_INPUT for an archive that is damaged or holds
 * no VMDK, USAGE where it has several and none of them is asked for, NOT_FOUND for a disk that it has not, and what
 * `checkManifest`, `openVmdk` and the source throw.
 */
export async function openOva(source: RandomAccessSource, { signal, disk }: OvaReadOptions = {}): Promise<ReadDisk> {
  const files = await archiveFiles(source)
  const disks = files.filter(({ name }) => /\.vmdk$/i.test(name))
  if (disks.length === 0) throw new ImageError('BAD_INPUT', 'ova: the archive holds no file that ends with .vmdk')
  const chosen = chosenDisk(disks, disk)
  await checkManifest(source, files, signal)
  return openVmdk(partOf(source, chosen))
}

/** By its name, or its number from 1 on in the order of the archive. */
function chosenDisk(disks: readonly Member[], asked: string | undefined): Member {
  const [first] = disks
  if (asked === undefined && disks.length === 1 && first !== undefined) return first
  const named = disks.filter(({ name }) => name === asked)
  const found = named.length > 0 ? named : disks.filter((_, index) => String(index + 1) === asked)
  const list = disks.map(({ name }, index) => `${index + 1} (${quote(name)})`).join(', ')
  if (asked === undefined) {
    throw new ImageError('USAGE', (option) => `ova: there are ${disks.length} disks in it; choose one by ${option('disk')}: ${list}`)
  }
  const [only] = found
  if (only === undefined) throw new ImageError('NOT_FOUND', (option) => `ova: ${option('disk')} is ${quote(asked)}; there are ${list}`)
  if (found.length > 1)
    throw new ImageError('USAGE', (option) => `ova: ${option('disk')} ${quote(asked)} is the name of ${found.length} of them`)
  return only
}

function partOf(source: RandomAccessSource, { start, size }: Member): RandomAccessSource {
  return { size, read: (position, length) => source.read(start + position, length) }
}
