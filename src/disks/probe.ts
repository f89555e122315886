/** Which container format a file is of, by what stands where its specification says. */
import { ImageError } from '../errors.ts'
import type { RandomAccessSource } from '../io/source.ts'

export type DiskFormat = 'raw' | 'qcow2' | 'vdi' | 'vhd' | 'vhdx' | 'vmdk' | 'ova'

interface Mark {
  readonly format: DiskFormat
  /** Bytes; below 0 from the end of the file. */
  readonly position: number
  readonly bytes: Uint8Array
}

const mark = (format: DiskFormat, position: number, text: string): Mark => ({ format, position, bytes: Buffer.from(text, 'latin1') })

/** The footer of a VHD comes last: only a fixed one has nothing at its beginning, and there a partition table may lie. */
const MARKS: readonly Mark[] = [
  mark('qcow2', 0, 'QFI\xfb'),
  mark('vdi', 64, '\x7f\x10\xda\xbe'),
  mark('vhdx', 0, 'vhdxfile'),
  mark('vmdk', 0, 'KDMV'),
  mark('vmdk', 0, 'COWD'),
  mark('vmdk', 0, '# Disk DescriptorFile'),
  mark('vhd', 0, 'conectix'),
  mark('vhd', -512, 'conectix'),
]

/** What disks are packed in, and how to get them out. */
const WRAPPINGS: readonly (Pick<Mark, 'position' | 'bytes'> & { readonly remedy: string })[] = [
  {
    position: 257,
    bytes: Buffer.from('ustar'),
    remedy: "a tar archive and no OVA, whose first file ends with .ovf; unpack it with 'tar -xf' and give the disk in it",
  },
  { position: 0, bytes: Buffer.from([0x1f, 0x8b, 0x08]), remedy: "compressed by gzip; unpack it with 'gunzip', or 'tar -xzf' a .tar.gz" },
  { position: 0, bytes: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), remedy: "compressed by zstd; unpack it with 'unzstd'" },
  { position: 0, bytes: Buffer.from('\xfd7zXZ\0', 'latin1'), remedy: "compressed by xz; unpack it with 'unxz'" },
]

/**
 * The format; what has no mark is a raw disk. Throws UNSUPPORTED for a disk in an archive or a compressed file, and what
 * the source throws.
 */
export async function probeDiskFormat(source: RandomAccessSource): Promise<DiskFormat> {
  for (const mark of MARKS) if (await hasMark(source, mark)) return mark.format
  if (await isOva(source)) return 'ova'
  for (const wrapping of WRAPPINGS) {
    if (!(await hasMark(source, wrapping))) continue
    throw new ImageError('UNSUPPORTED', `the input is ${wrapping.remedy}; a raw disk that begins so is read with --input-format raw`)
  }
  return 'raw'
}

/** The descriptor comes first (DMTF DSP0243, section 5), and its name is the first field of the archive. */
async function isOva(source: RandomAccessSource): Promise<boolean> {
  const [archive] = WRAPPINGS
  if (archive === undefined || !(await hasMark(source, archive))) return false
  const name = Buffer.from(await source.read(0, 100))
    .toString('latin1')
    .replace(/\0.*$/s, '')
  return /\.ovf$/i.test(name)
}

async function hasMark(source: RandomAccessSource, { position, bytes }: Pick<Mark, 'position' | 'bytes'>): Promise<boolean> {
  const at = position < 0 ? source.size + position : position
  if (at < 0 || at + bytes.length > source.size) return false
  return Buffer.compare(await source.read(at, bytes.length), bytes) === 0
}
