/**
 * The files in an OVA, whoever packed it (POSIX.1-2024, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual,
 * "Basic Tar Format"). As GNU tar and bsdtar do, it takes an archive that ends behind its last member: VirtualBox writes no
 * blocks of zeros there.
 */
import { tarHeader } from '../../archives/tar/disk.ts'
import { ImageError } from '../../errors.ts'
import { type RandomAccessSource, readPart } from '../../io/source.ts'
import { BLOCK_SIZE } from './tar.ts'

export interface Member {
  readonly name: string
  /** Where its content begins. */
  readonly start: number
  /** Bytes. */
  readonly size: number
}

/** An appliance has a descriptor, a manifest, a certificate, and disks; each may have a header of its own before it. */
const MEMBER_LIMIT = 1000
/** Bytes of a name or of records that stand before a member. */
const EXTENSION_LIMIT = 1 << 20

const FILE_TYPES = ['0', '\0', '7']

/** The regular files. Throws BAD_INPUT for what is damaged or cut short, LIMIT for more than any appliance has. */
export async function archiveFiles(source: RandomAccessSource): Promise<Member[]> {
  const files: Member[] = []
  let extension: Extension = {}
  let position = 0
  for (let count = 0; position < source.size; count++) {
    if (count === MEMBER_LIMIT)
      throw new ImageError('LIMIT', `ova: the archive has more than ${MEMBER_LIMIT} members; an appliance has a few`)
    const header = headerOf(await readPart(source, position, BLOCK_SIZE, 'ova'), position)
    if (header === undefined) break
    const isExtension = ['x', 'g', 'L', 'K'].includes(header.type)
    const name = extension.name ?? header.name
    const size = isExtension ? header.size : (extension.size ?? header.size)
    const start = position + BLOCK_SIZE
    if (size > source.size - start) throw new ImageError('BAD_INPUT', `ova: ${name} has ${size} bytes, the archive ends before`)
    if (header.type === 'x' || header.type === 'L') {
      if (size > EXTENSION_LIMIT)
        throw new ImageError('LIMIT', `ova: the header at byte ${position} is ${size} bytes; ${EXTENSION_LIMIT} are read`)
      const body = Buffer.from(await source.read(start, size))
      extension = { ...extension, ...(header.type === 'L' ? { name: untilZero(body) } : paxRecords(body, position)) }
    } else if (!isExtension) {
      if (FILE_TYPES.includes(header.type)) files.push({ name, start, size })
      extension = {}
    }
    position = start + Math.ceil(size / BLOCK_SIZE) * BLOCK_SIZE
  }
  return files
}

/** What a header of its own says of the next member. */
interface Extension {
  readonly name?: string
  readonly size?: number
}

interface Header extends Omit<Member, 'start'> {
  readonly type: string
}

/** What the header at `position` says, or undefined where the archive ends. */
function headerOf(block: Uint8Array, position: number): Header | undefined {
  const bytes = Buffer.from(block.buffer, block.byteOffset, block.length)
  if (bytes.every((byte) => byte === 0)) return undefined
  const { name, size, magicAndVersion, checksum, typeflag, prefix } = tarHeader.fields
  const field = ([offset, , length = 0]: readonly [number, unknown, number?]): Buffer => bytes.subarray(offset, offset + length)
  if (field(magicAndVersion).toString('latin1', 0, 5) !== 'ustar') throw noHeader(position)
  if (octal(field(checksum)) !== sumOf(bytes, checksum[0], checksum[2])) {
    throw new ImageError('BAD_INPUT', `ova: the tar header at byte ${position} has a wrong checksum; the archive is damaged`)
  }
  // As GNU tar writes what base 8 does not hold: the first bit set, then the number, big endian.
  const length = field(size)[0] === 0x80 ? Number(field(size).readBigUInt64BE(4)) : octal(field(size))
  if (length === undefined || !Number.isSafeInteger(length)) throw noHeader(position)
  const isPosix = field(magicAndVersion)[5] === 0
  const folder = isPosix ? untilZero(field(prefix)) : ''
  return { name: `${folder === '' ? '' : `${folder}/`}${untilZero(field(name))}`, size: length, type: field(typeflag).toString('latin1') }
}

function noHeader(position: number): ImageError {
  return new ImageError('BAD_INPUT', `ova: there is no tar header at byte ${position}`)
}

function octal(field: Buffer): number | undefined {
  const text = field.toString('latin1').replace(/[\0 ]+$/, '')
  return /^ *[0-7]{1,12}$/.test(text) ? Number.parseInt(text, 8) : undefined
}

/** The sum of the header's bytes, its own field counted as blanks. */
function sumOf(header: Uint8Array, checksumAt: number, checksumLength: number): number {
  let sum = 0
  for (const [index, byte] of header.entries()) sum += index >= checksumAt && index < checksumAt + checksumLength ? 0x20 : byte
  return sum
}

/** `LENGTH KEY=VALUE\n`, one after the other; of the keys, path and size count here. */
function paxRecords(body: Buffer, position: number): Extension {
  let extension: Extension = {}
  for (let at = 0; at < body.length && body[at] !== 0; ) {
    const blank = body.indexOf(0x20, at)
    const length = Number(body.toString('latin1', at, Math.max(at, blank)))
    const record = body.toString('utf8', blank + 1, at + length - 1)
    const equals = record.indexOf('=')
    if (!Number.isSafeInteger(length) || length <= blank - at + 1 || at + length > body.length || equals < 1) {
      throw new ImageError('BAD_INPUT', `ova: the pax header at byte ${position} has a record that is none; the archive is damaged`)
    }
    const [key, value] = [record.slice(0, equals), record.slice(equals + 1)]
    if (key === 'path') extension = { ...extension, name: value }
    if (key === 'size') extension = { ...extension, size: sizeRecord(value, position) }
    at += length
  }
  return extension
}

function sizeRecord(value: string, position: number): number {
  const size = Number(value)
  if (/^\d+$/.test(value) && Number.isSafeInteger(size)) return size
  throw new ImageError('BAD_INPUT', `ova: the pax header at byte ${position} says a size of '${value.slice(0, 40)}'`)
}

function untilZero(bytes: Buffer): string {
  return bytes.toString('utf8').replace(/\0.*$/s, '')
}
