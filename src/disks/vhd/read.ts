/** Reads VHDs, fixed and dynamic. */
import { unitsFor } from '../../bytes/align.ts'
import { decode } from '../../bytes/decode.ts'
import { ImageError } from '../../errors.ts'
import type { Image } from '../../io/image.ts'
import { type MappedRange, mappedImage, RangeList } from '../../io/mapped.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { type RandomAccessSource, readPart, tableChunks } from '../../io/source.ts'
import type { ReadOptions } from '../container.ts'
import {
  checksum,
  DISK_TYPE,
  dynamicHeader,
  ENTRY_SIZE,
  FOOTER_COOKIE,
  footer,
  GEOMETRY_CREATORS,
  HEADER_COOKIE,
  LARGEST_GEOMETRY,
  SECTOR_SIZE,
  UNUSED,
  VERSION,
} from './disk.ts'

interface Volume {
  readonly source: RandomAccessSource
  readonly size: number
  readonly tableOffset: number
  readonly blockSize: number
  readonly bitmapSize: number
}

/**
 * The virtual disk: one extent for a fixed one, extents for allocated blocks for a dynamic one. `onProgress` gets a note where
 * the stated size is not what counts. Throws BAD_INPUT for
 * what contradicts the specification or the file's own size, UNSUPPORTED for what `index.ts` lists.
 */
export async function openVhd(source: RandomAccessSource, { onProgress }: Pick<ReadOptions, 'onProgress'> = {}): Promise<Image> {
  const record = await readFooter(source)
  const { diskType } = record
  const size = sizeOf(record, onProgress)
  if (diskType === DISK_TYPE.fixed) {
    if (size > source.size - footer.size) {
      throw new ImageError('BAD_INPUT', `vhd: the disk has ${size} bytes, the file ${source.size}; it was cut short`)
    }
    const range = { start: 0, length: size, position: 0 }
    return mappedImage(source, { what: 'vhd', size, ranges: (_from, end) => once(end === 0 ? [] : [range]) })
  }
  if (diskType !== DISK_TYPE.dynamic) {
    const kind = diskType === DISK_TYPE.differencing ? 'a differencing disk, which needs its parent' : `of type ${diskType}`
    throw new ImageError('UNSUPPORTED', `vhd: the disk is ${kind}; merge it into a dynamic or fixed one first`)
  }
  const volume = await readDynamicHeader(source, record.dataOffset, size)
  return mappedImage(source, { what: 'vhd', size, ranges: (from, end) => ranges(volume, from, end) })
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value
}

type FooterRecord = ReturnType<typeof decode<typeof footer.fields>>

/** The footer at the end of the file, or, should that be damaged, the copy that a dynamic disk begins with. */
async function readFooter(source: RandomAccessSource): Promise<FooterRecord> {
  let found = false
  for (const [copy, position] of [source.size - footer.size, 0].entries()) {
    const bytes = await readPart(source, position, footer.size, 'vhd footer')
    const record = decode(footer, bytes, 0, 'vhd footer')
    if (Buffer.compare(record.cookie, FOOTER_COOKIE) !== 0) continue
    found = true
    const isDynamic = record.diskType !== DISK_TYPE.fixed
    if (copy === 1 && !isDynamic) continue
    footer.write(bytes, 0, { checksum: 0 })
    if (checksum(bytes) !== record.checksum) continue
    if (record.version >>> 16 !== VERSION >>> 16) throw new ImageError('UNSUPPORTED', `vhd: version ${record.version >>> 16}; 1 is read`)
    return record
  }
  const why = found ? 'the footer has a wrong checksum' : 'the file has no footer'
  throw new ImageError('BAD_INPUT', `vhd: ${why}; it is damaged or was cut short`)
}

/** The current size, or what the geometry says of a disk whose maker means that. Where they differ it is said. */
function sizeOf(record: FooterRecord, onProgress: ProgressListener | undefined): number {
  const { currentSize, cylinders, heads, sectorsPerTrack } = record
  if (!Number.isSafeInteger(Number(currentSize))) {
    throw new ImageError('BAD_INPUT', `vhd: the disk's size is ${currentSize} bytes, beyond 2^53`)
  }
  const stated = Number(currentSize)
  const creator = Buffer.from(record.creatorApplication).toString('latin1')
  const isLargest =
    cylinders === LARGEST_GEOMETRY.cylinders && heads === LARGEST_GEOMETRY.heads && sectorsPerTrack === LARGEST_GEOMETRY.sectorsPerTrack
  if (isLargest || !GEOMETRY_CREATORS.includes(creator)) return stated
  const size = cylinders * heads * sectorsPerTrack * SECTOR_SIZE
  if (size !== stated) {
    onProgress?.({
      kind: 'note',
      message: `vhd: its footer states ${stated} bytes, and a geometry of ${size}, which is what counts in a disk made by '${creator.trim()}'`,
    })
  }
  return size
}

async function readDynamicHeader(source: RandomAccessSource, position: number, size: number): Promise<Volume> {
  const bytes = await readPart(source, position, dynamicHeader.size, 'vhd dynamic header')
  const record = decode(dynamicHeader, bytes, 0, 'vhd dynamic header')
  if (Buffer.compare(record.cookie, HEADER_COOKIE) !== 0) throw new ImageError('BAD_INPUT', `vhd: no dynamic header at ${position}`)
  dynamicHeader.write(bytes, 0, { checksum: 0 })
  if (checksum(bytes) !== record.checksum) throw new ImageError('BAD_INPUT', 'vhd: the dynamic header has a wrong checksum; it is damaged')
  const { blockSize, maxTableEntries, tableOffset } = record
  if (blockSize < SECTOR_SIZE || !Number.isInteger(Math.log2(blockSize))) {
    throw new ImageError('BAD_INPUT', `vhd: the block size is ${blockSize}, no power of two from ${SECTOR_SIZE} on`)
  }
  if (maxTableEntries < unitsFor(size, blockSize)) {
    throw new ImageError('BAD_INPUT', `vhd: the disk has ${size} bytes, its table ${maxTableEntries} blocks of ${blockSize}`)
  }
  const bitmapSize = unitsFor(blockSize / SECTOR_SIZE / 8, SECTOR_SIZE) * SECTOR_SIZE
  return { source, size, tableOffset, blockSize, bitmapSize }
}

async function* ranges(volume: Volume, from: number, end: number): AsyncGenerator<readonly MappedRange[]> {
  const { source, blockSize, bitmapSize, tableOffset } = volume
  const table = { position: tableOffset, entrySize: ENTRY_SIZE, what: 'vhd: block allocation table' }
  for await (const { first, count, view } of tableChunks(source, table, Math.floor(from / blockSize), unitsFor(end, blockSize))) {
    const list = new RangeList()
    for (let index = 0; index < count; index++) {
      const sector = view.getUint32(index * ENTRY_SIZE)
      if (sector === UNUSED) continue
      const position = sector * SECTOR_SIZE + bitmapSize
      if (position + blockSize > source.size) {
        throw new ImageError(
          'BAD_INPUT',
          `vhd: block ${first + index} lies at ${position}, the file has ${source.size} bytes; it was cut short`,
        )
      }
      list.add((first + index) * blockSize, blockSize, position)
    }
    yield list.ranges
  }
}
