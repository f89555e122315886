/** Disks as files, by other people's tools: the partition table, its partitions as files of their own, what their checkers say. */
import { closeSync, openSync, readSync, truncateSync } from 'node:fs'
import { open, readFile, stat } from 'node:fs/promises'
import { runOk } from '../oracles/tools.ts'

const SECTOR_SIZE = 512
const MEBIBYTE = 1 << 20

/** As `sfdisk --json` says it; numbers are sectors, identifiers upper-case, those of an MBR hex digits. */
export interface PartitionTable {
  readonly label: 'gpt' | 'dos'
  readonly id: string
  readonly lastlba?: number
  readonly partitions: readonly Partition[]
}

export interface Partition {
  readonly start: number
  readonly size: number
  readonly type: string
  readonly uuid?: string
  readonly name?: string
  readonly attrs?: string
  readonly bootable?: boolean
}

export function partitionTable(disk: string): PartitionTable {
  return JSON.parse(runOk('sfdisk', ['--json', disk]).text).partitiontable
}

/** Partition `number`, from 1 on, as a sparse file. */
export function extractPartition(disk: string, number: number, target: string, sectorSize: 512 | 4096 = SECTOR_SIZE): string {
  const { start, size } = sectorSize === SECTOR_SIZE ? partitionOf(disk, number) : entryOf(disk, number, sectorSize)
  const range = [`skip=${start * sectorSize}`, `count=${size * sectorSize}`]
  runOk('dd', [`if=${disk}`, `of=${target}`, 'bs=1M', 'iflag=skip_bytes,count_bytes', 'conv=sparse', 'status=none', ...range])
  truncateSync(target, size * sectorSize)
  return target
}

/** The disk in a container that QEMU reads, as a sparse raw file. */
export function rawOf(container: string, format: string, target: string): string {
  runOk('qemu-img', ['convert', '-f', format, '-O', 'raw', container, target])
  return target
}

/**
 * Enlarge a raw disk by `bytes`, move its second table to the new end, and give the room to its last partition and the ext4
 * in it, as one does with a disk that is not in use. `scratch` is a file that is made here.
 */
export async function growDisk(disk: string, bytes: number, scratch: string): Promise<void> {
  truncateSync(disk, (await stat(disk)).size + bytes)
  runOk('sgdisk', ['--move-second-header', disk])
  const number = partitionTable(disk).partitions.length
  runOk('sfdisk', ['--quiet', '--no-reread', '--no-tell-kernel', '-N', String(number), disk], { input: Buffer.from(', +\n') })
  extractPartition(disk, number, scratch)
  // resize2fs wants a file system that has just been checked.
  runOk('e2fsck', ['-fp', scratch])
  runOk('resize2fs', [scratch])
  const { start } = partitionOf(disk, number)
  runOk('dd', [`if=${scratch}`, `of=${disk}`, 'bs=1M', 'oflag=seek_bytes', `seek=${start * SECTOR_SIZE}`, 'conv=notrunc', 'status=none'])
}

/** A field of an ext4's superblock, as `dumpe2fs -h` says it. */
export function superblockField(fileSystem: string, name: string): string {
  const { text } = runOk('dumpe2fs', ['-h', fileSystem])
  const found = text.split('\n').find((line) => line.startsWith(`${name}:`))
  if (found === undefined) throw new Error(`dumpe2fs: no ${name}\n${text}`)
  return found.slice(name.length + 1).trim()
}

/** Whether two files have the same bytes. */
export async function sameBytes(one: string, other: string): Promise<boolean> {
  const [left, right] = await Promise.all([readFile(one), readFile(other)])
  return left.equals(right)
}

/** Change the bits of `mask` in one byte of a file. */
export async function flipByte(file: string, at: number, mask: number): Promise<void> {
  const handle = await open(file, 'r+')
  try {
    const byte = Buffer.alloc(1)
    await handle.read(byte, 0, 1, at)
    await handle.write(Buffer.of((byte[0] ?? 0) ^ mask), 0, 1, at)
  } finally {
    await handle.close()
  }
}

export const mebibytes = (count: number): number => count * MEBIBYTE

/** From a GPT (UEFI 2.10, table 5.6) as `sfdisk` would read it from a disk with such sectors, but not from a file. */
function entryOf(disk: string, number: number, sectorSize: number): Pick<Partition, 'start' | 'size'> {
  const descriptor = openSync(disk, 'r')
  try {
    const entry = Buffer.alloc(128)
    readSync(descriptor, entry, 0, entry.length, 2 * sectorSize + (number - 1) * entry.length)
    const start = Number(entry.readBigUInt64LE(32))
    return { start, size: Number(entry.readBigUInt64LE(40)) + 1 - start }
  } finally {
    closeSync(descriptor)
  }
}

function partitionOf(disk: string, number: number): Partition {
  const found = partitionTable(disk).partitions[number - 1]
  if (found === undefined) throw new Error(`${disk}: no partition ${number}`)
  return found
}
