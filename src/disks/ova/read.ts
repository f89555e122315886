/** The disk in an OVA: the one VMDK of its archive. */
import { ImageError } from '../../errors.ts'
import type { Image } from '../../io/image.ts'
import { type RandomAccessSource, readPart } from '../../io/source.ts'
import { openVmdk } from '../vmdk/index.ts'
import { BLOCK_SIZE, type Member, memberOf } from './tar.ts'

/** An appliance has a descriptor, a manifest, a certificate, and disks. */
const MEMBER_LIMIT = 1000

/**
 * Throws BAD_INPUT for an archive that is damaged or holds no VMDK, UNSUPPORTED for several disks, what `openVmdk` and
 * the source throw. The sums in the manifest are not compared.
 */
export async function openOva(source: RandomAccessSource): Promise<Image> {
  const disks: Member[] = []
  let position = 0
  for (let count = 0; count < MEMBER_LIMIT; count++) {
    const member = memberOf(await readPart(source, position, BLOCK_SIZE, 'ova'), position)
    if (member === undefined) break
    if (member.size > source.size - position - BLOCK_SIZE) {
      throw new ImageError('BAD_INPUT', `ova: ${member.name} has ${member.size} bytes, the archive ends before`)
    }
    if (/\.vmdk$/i.test(member.name)) disks.push(member)
    position += BLOCK_SIZE + Math.ceil(member.size / BLOCK_SIZE) * BLOCK_SIZE
  }
  const [disk, another] = disks
  if (disk === undefined) throw new ImageError('BAD_INPUT', 'ova: the archive holds no file that ends with .vmdk')
  if (another !== undefined) {
    throw new ImageError('UNSUPPORTED', `ova: has several disks, ${disk.name} and ${another.name}; unpack it with 'tar -xf' and give one`)
  }
  return openVmdk(partOf(source, disk))
}

function partOf(source: RandomAccessSource, { start, size }: Member): RandomAccessSource {
  return { size, read: (position, length) => source.read(start + position, length) }
}
