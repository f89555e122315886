/** Disks in several files, and files with what our writers do not write: made by hand, a record at a time. */
import { Buffer } from 'node:buffer'
import { crc32c } from '../../src/bytes/crc32c.ts'
import { guidFromText } from '../../src/bytes/guid.ts'
import { vdi } from '../../src/disks/vdi/index.ts'
import { DISK_TYPE, dynamicHeader, footer, checksum as vhdChecksum } from '../../src/disks/vhd/disk.ts'
import { dynamicVhd } from '../../src/disks/vhd/index.ts'
import { vhdx } from '../../src/disks/vhdx/index.ts'
import { vmdk } from '../../src/disks/vmdk/index.ts'
import type { Image } from '../../src/io/image.ts'
import { written } from './containers.ts'

/** The file of an image, in memory. */
export async function fileOf(image: Parameters<typeof written>[0]): Promise<Buffer> {
  const memory = await written(image)
  return Buffer.from(await memory.read(0, memory.size))
}

export interface MadeQcow2 {
  /** Clusters by number: bytes, `zeros`, or for extended entries subclusters. */
  readonly clusters: Readonly<Record<number, Uint8Array | 'zeros' | readonly (Uint8Array | 'zeros' | undefined)[]>>
  readonly clusterCount: number
  readonly backing?: { readonly name: string; readonly format?: string }
  readonly isExtended?: boolean
  readonly hasDataFile?: boolean
  /** Each has clusters of its own. */
  readonly snapshots?: readonly { readonly id: string; readonly name: string; readonly clusters: MadeQcow2['clusters'] }[]
}

export const MADE_CLUSTER = 16384

/** A qcow2 of version 3 with clusters of 16 KiB, one L2 table for each of its disks; and the data file, which is empty where it has none. */
export function madeQcow2(made: MadeQcow2): { readonly file: Buffer; readonly data: Buffer } {
  const entrySize = made.isExtended ? 16 : 8
  const pieces: Buffer[] = []
  const data: Buffer[] = []
  /** Clusters after the header and the table of snapshots. */
  let next = 2
  const place = (bytes: Buffer): number => {
    const whole = Buffer.alloc(MADE_CLUSTER)
    bytes.copy(whole)
    pieces.push(whole)
    return next++ * MADE_CLUSTER
  }
  const placeData = (bytes: Buffer): number => {
    if (!made.hasDataFile) return place(bytes)
    const whole = Buffer.alloc(MADE_CLUSTER)
    bytes.copy(whole)
    data.push(whole)
    return (data.length - 1) * MADE_CLUSTER
  }
  const tables = (clusters: MadeQcow2['clusters']): number => {
    const l2 = Buffer.alloc(MADE_CLUSTER)
    for (const [number, content] of Object.entries(clusters)) {
      const at = Number(number) * entrySize
      if (content === 'zeros') {
        if (made.isExtended) l2.writeUInt32BE(0xffffffff, at + 8)
        else l2.writeUInt32BE(1, at + 4)
        continue
      }
      const parts = content instanceof Uint8Array ? undefined : content
      const size = MADE_CLUSTER / 32
      const bytes = parts === undefined ? Buffer.from(content as Uint8Array) : Buffer.alloc(MADE_CLUSTER)
      let [zeroBits, allocatedBits] = [0, parts === undefined ? 0xffffffff : 0]
      for (const [index, part] of (parts ?? []).entries()) {
        if (part === 'zeros') zeroBits |= 1 << index
        else if (part !== undefined) {
          bytes.set(part, index * size)
          allocatedBits |= 1 << index
        }
      }
      if (allocatedBits !== 0) l2.writeBigUInt64BE(BigInt(placeData(bytes)) | (1n << 63n), at)
      if (made.isExtended) {
        l2.writeUInt32BE(zeroBits >>> 0, at + 8)
        l2.writeUInt32BE(allocatedBits >>> 0, at + 12)
      }
    }
    const l1 = Buffer.alloc(8)
    l1.writeBigUInt64BE(BigInt(place(l2)) | (1n << 63n))
    return place(l1)
  }
  const l1Offset = tables(made.clusters)
  const snapshots = (made.snapshots ?? []).map(({ id, name, clusters }) => {
    const entry = Buffer.alloc(40 + 16)
    entry.writeBigUInt64BE(BigInt(tables(clusters)))
    entry.writeUInt32BE(1, 8)
    entry.writeUInt16BE(id.length, 12)
    entry.writeUInt16BE(name.length, 14)
    entry.writeUInt32BE(16, 36)
    entry.writeBigUInt64BE(BigInt(made.clusterCount * MADE_CLUSTER), 48)
    const whole = Buffer.concat([entry, Buffer.from(id + name)])
    return Buffer.concat([whole, Buffer.alloc((8 - (whole.length % 8)) % 8)])
  })
  const header = Buffer.alloc(MADE_CLUSTER)
  header.write('QFI\xfb', 0, 'latin1')
  header.writeUInt32BE(3, 4)
  header.writeUInt32BE(Math.log2(MADE_CLUSTER), 20)
  header.writeBigUInt64BE(BigInt(made.clusterCount * MADE_CLUSTER), 24)
  header.writeUInt32BE(1, 36)
  header.writeBigUInt64BE(BigInt(l1Offset), 40)
  header.writeUInt32BE(snapshots.length, 60)
  header.writeBigUInt64BE(BigInt(snapshots.length > 0 ? MADE_CLUSTER : 0), 64)
  header.writeUInt32BE((made.isExtended ? 16 : 0) | (made.hasDataFile ? 4 : 0), 76)
  header.writeUInt32BE(4, 96)
  header.writeUInt32BE(104, 100)
  let at = 104
  const extend = (type: number, text: string): void => {
    header.writeUInt32BE(type, at)
    header.writeUInt32BE(text.length, at + 4)
    header.write(text, at + 8)
    at += 8 + Math.ceil(text.length / 8) * 8
  }
  if (made.backing?.format !== undefined) extend(0xe2792aca, made.backing.format)
  if (made.hasDataFile) extend(0x44415441, 'somewhere.raw')
  if (made.backing !== undefined) {
    header.writeBigUInt64BE(1024n, 8)
    header.writeUInt32BE(made.backing.name.length, 16)
    header.write(made.backing.name, 1024)
  }
  const table = Buffer.alloc(MADE_CLUSTER)
  Buffer.concat(snapshots).copy(table)
  return { file: Buffer.concat([header, table, ...pieces]), data: Buffer.concat(data) }
}

/** A VHD that is a change of `parent`: of each allocated block it has the sectors for which `has` says so. */
export async function differencingVhd(change: Image, parent: Buffer, has: (block: number, sector: number) => boolean): Promise<Buffer> {
  const file = await fileOf(dynamicVhd(change, { seed: 'change' }))
  const parentFooter = parent.subarray(-footer.size)
  const {
    tableOffset: [tableAt],
    maxTableEntries: [countAt],
    parentUniqueId: [parentAt],
    parentUnicodeName: [nameAt],
  } = dynamicHeader.fields
  const header = file.subarray(footer.size, footer.size + dynamicHeader.size)
  const table = Number(header.readBigUInt64BE(tableAt))
  for (let block = 0; block < header.readUInt32BE(countAt); block++) {
    const sector = file.readUInt32BE(table + block * 4)
    if (sector === 0xffffffff) continue
    const bitmap = file.subarray(sector * 512, sector * 512 + 512).fill(0)
    for (let index = 0; index < 4096; index++) if (has(block, index)) bitmap[index >> 3] = (bitmap[index >> 3] ?? 0) | (0x80 >> (index & 7))
  }
  parentFooter.copy(header, parentAt, footer.fields.uniqueId[0], footer.fields.uniqueId[0] + 16)
  Buffer.from('base.vhd', 'utf16le').swap16().copy(header, nameAt)
  sign(header, dynamicHeader.fields.checksum[0])
  for (const place of [file.subarray(0, footer.size), file.subarray(-footer.size)]) {
    place.writeUInt32BE(DISK_TYPE.differencing, footer.fields.diskType[0])
    sign(place, footer.fields.checksum[0])
  }
  return file
}

function sign(record: Buffer, at: number): void {
  record.writeUInt32BE(0, at)
  record.writeUInt32BE(vhdChecksum(record), at)
}

/** A VDI that is a change of `parent`; blocks of `zeros` are zero in it. */
export async function differencingVdi(change: Image, parent: Buffer, zeros: readonly number[]): Promise<Buffer> {
  const file = await fileOf(vdi(change, { seed: 'change' }))
  file.writeUInt32LE(4, 76)
  parent.copy(file, 424, 392, 424)
  for (const block of zeros) file.writeUInt32LE(0xfffffffe, file.readUInt32LE(340) + block * 4)
  return file
}

/** A VMDK that is a change of the disk with that content id. */
export async function childVmdk(change: Image, parentId: string, zeros: readonly number[] = []): Promise<Buffer> {
  const file = await fileOf(vmdk(change, { seed: 'change' }))
  file.write(`parentCID=${parentId}`, file.indexOf('parentCID='))
  file.writeUInt32LE(file.readUInt32LE(8) | 4, 8)
  const directory = Number(file.readBigUInt64LE(56)) * 512
  for (const grain of zeros) file.writeUInt32LE(1, file.readUInt32LE(directory + Math.floor(grain / 512) * 4) * 512 + (grain % 512) * 4)
  return file
}

/** A VHDX whose parent has that DataWriteGuid; of `partly` a bitmap says which sectors it has. Blocks have 1 MiB. */
export async function differencingVhdx(
  change: Image,
  parentId: string,
  partly: ReadonlyMap<number, (sector: number) => boolean> = new Map(),
): Promise<Buffer> {
  const file = await fileOf(vhdx(change, { seed: 'change', blockSize: 1 << 20 }))
  const { bat, metadata } = vhdxRegions(file)
  const entryCount = file.readUInt16LE(metadata + 10)
  const itemOf = (index: number): number => metadata + 32 + index * 32
  const parameters = guidFromText('CAA16737-FA36-4D43-B3B6-33F0AA44E76B')
  let free = 65536
  for (let index = 0; index < entryCount; index++) {
    const [offset, length] = [file.readUInt32LE(itemOf(index) + 16), file.readUInt32LE(itemOf(index) + 20)]
    free = Math.max(free, offset + length)
    if (Buffer.compare(file.subarray(itemOf(index), itemOf(index) + 16), parameters) === 0) file.writeUInt32LE(2, metadata + offset + 4)
  }
  free = Math.ceil(free / 4096) * 4096
  const texts = ['parent_linkage', `{${parentId.toLowerCase()}}`, 'relative_path', '.\\base.vhdx'].map((text) =>
    Buffer.from(text, 'utf16le'),
  )
  const locator = Buffer.alloc(20 + 24)
  locator.writeUInt16LE(2, 18)
  let at = locator.length
  for (const [index, text] of texts.entries()) {
    const entry = 20 + (index >> 1) * 12
    locator.writeUInt32LE(at, entry + (index & 1) * 4)
    locator.writeUInt16LE(text.length, entry + 8 + (index & 1) * 2)
    at += text.length
  }
  const item = Buffer.concat([locator, ...texts])
  item.copy(file, metadata + free)
  Buffer.from(guidFromText('A8D35F2D-B30B-454D-ABF7-D3D84834AB0C')).copy(file, itemOf(entryCount))
  file.writeUInt32LE(free, itemOf(entryCount) + 16)
  file.writeUInt32LE(item.length, itemOf(entryCount) + 20)
  file.writeUInt32LE(4, itemOf(entryCount) + 24)
  file.writeUInt16LE(entryCount + 1, metadata + 10)
  // What our writer says of blocks that are not there is that they are zero.
  for (let block = 0; block < Math.ceil(change.size / (1 << 20)); block++) {
    if ((file.readUInt32LE(bat + block * 8) & 7) === 2) file.writeUInt32LE(0, bat + block * 8)
  }
  const bitmap = Buffer.alloc(1 << 20)
  for (const [block, has] of partly) {
    file.writeUInt32LE(file.readUInt32LE(bat + block * 8) | 7, bat + block * 8)
    for (let sector = 0; sector < 2048; sector++) {
      const bit = block * 2048 + sector
      if (has(sector)) bitmap[bit >> 3] = (bitmap[bit >> 3] ?? 0) | (1 << (bit & 7))
    }
  }
  if (partly.size === 0) return file
  file.writeBigUInt64LE(BigInt(file.length) | 6n, bat + 4096 * 8)
  return Buffer.concat([file, bitmap])
}

/** Places of the two regions. */
export function vhdxRegions(file: Buffer): { readonly bat: number; readonly metadata: number } {
  const table = 192 << 10
  const found = { bat: 0, metadata: 0 }
  for (let index = 0; index < file.readUInt32LE(table + 8); index++) {
    const entry = table + 16 + index * 32
    const offset = Number(file.readBigUInt64LE(entry + 16))
    if (file[entry] === 0x66) found.bat = offset
    else found.metadata = offset
  }
  return found
}

/** An entry of a log: sectors of data, and ranges that become zero. */
export interface MadeLogEntry {
  readonly data: readonly (readonly [offset: number, sector: Uint8Array])[]
  readonly zeros?: readonly (readonly [offset: number, length: number])[]
}

const LOG_GUID = guidFromText('11223344-5566-7788-99AA-BBCCDDEEFF00')

/** Puts a log into a VHDX in place of the empty one, its first entry `from` bytes behind the beginning of the log. */
export function withLog(vhdxFile: Uint8Array, entries: readonly MadeLogEntry[], from = 0): Buffer {
  const file = Buffer.from(Uint8Array.from(vhdxFile))
  const headers = [64 << 10, 128 << 10]
  const [logLength, logOffset] = [file.readUInt32LE((64 << 10) + 68), Number(file.readBigUInt64LE((64 << 10) + 72))]
  for (const at of headers) {
    Buffer.from(LOG_GUID).copy(file, at + 48)
    signed(file, at, 4096)
  }
  let position = from
  for (const [index, { data, zeros = [] }] of entries.entries()) {
    const descriptors = data.length + zeros.length
    const first = Math.ceil((64 + 32 * descriptors) / 4096) * 4096
    const entry = Buffer.alloc(first + 4096 * data.length)
    const number = BigInt(index + 7)
    entry.write('loge')
    entry.writeUInt32LE(entry.length, 8)
    entry.writeUInt32LE(from, 12)
    entry.writeBigUInt64LE(number, 16)
    entry.writeUInt32LE(descriptors, 24)
    Buffer.from(LOG_GUID).copy(entry, 32)
    entry.writeBigUInt64LE(BigInt(file.length), 48)
    entry.writeBigUInt64LE(BigInt(file.length), 56)
    let at = 64
    for (const [offset, length] of zeros) {
      entry.write('zero', at)
      entry.writeBigUInt64LE(BigInt(length), at + 8)
      entry.writeBigUInt64LE(BigInt(offset), at + 16)
      entry.writeBigUInt64LE(number, at + 24)
      at += 32
    }
    for (const [count, [offset, sector]] of data.entries()) {
      const bytes = Buffer.from(Uint8Array.from(sector))
      entry.write('desc', at)
      bytes.copy(entry, at + 4, 4092)
      bytes.copy(entry, at + 8, 0, 8)
      entry.writeBigUInt64LE(BigInt(offset), at + 16)
      entry.writeBigUInt64LE(number, at + 24)
      at += 32
      bytes.write('data')
      bytes.writeUInt32LE(0, 4)
      bytes.writeUInt32LE(Number(number), 4092)
      bytes.copy(entry, first + 4096 * count)
    }
    signed(entry, 0, entry.length)
    for (let done = 0; done < entry.length; done += 4096) {
      entry.copy(file, logOffset + ((position + done) % logLength), done, done + 4096)
    }
    position = (position + entry.length) % logLength
  }
  return file
}

function signed(bytes: Buffer, at: number, length: number): void {
  bytes.writeUInt32LE(0, at + 4)
  bytes.writeUInt32LE((crc32c(0xffffffff, bytes.subarray(at, at + length)) ^ 0xffffffff) >>> 0, at + 4)
}
