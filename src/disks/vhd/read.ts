/** Reads VHDs, fixed, dynamic and differencing. */
import { unitsFor } from '../../bytes/align.ts'
import { decode } from '../../bytes/decode.ts'
import { guidToText } from '../../bytes/guid.ts'
import { ImageError } from '../../errors.ts'
import { type DataSearchOptions, searchData } from '../../io/data-search.ts'
import { plainImage } from '../../io/layers.ts'
import { type MappedFile, mappedImage } from '../../io/mapped.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { type RandomAccessSource, readPart } from '../../io/source.ts'
import type { ReadOptions } from '../container.ts'
import { type FurtherFiles, onParent, type ReadDisk } from '../reading/further.ts'
import { type BlockTable, blockRanges, checkBlocks, sectorRuns } from '../reading/tables.ts'
import {
  checksum,
  DISK_TYPE,
  dynamicHeader,
  FOOTER_COOKIE,
  footer,
  GEOMETRY_CREATORS,
  HEADER_COOKIE,
  LARGEST_GEOMETRY,
  SECTOR_SIZE,
  UNUSED,
  VERSION,
} from './disk.ts'

export interface VhdReadOptions extends FurtherFiles, DataSearchOptions, Pick<ReadOptions, 'onProgress'> {
  /** Look through a fixed disk now, and leave out what is zero; default false. */
  readonly skipZeros?: boolean
}

/**
 * The virtual disk: one extent for a fixed one, extents for allocated blocks for others. `onProgress` gets a note where
 * the stated size is not what counts. Throws BAD_INPUT for what contradicts the specification or the file's own size,
 * UNSUPPORTED for what `index.ts` lists, and what opening a parent and `searchData` throw.
 */
export async function openVhd(source: RandomAccessSource, options: VhdReadOptions = {}): Promise<ReadDisk> {
  const record = await readFooter(source)
  const { diskType } = record
  const size = sizeOf(record, options.onProgress)
  const identity = guidToText(record.uniqueId)
  const file: MappedFile = { what: 'vhd', source }
  if (diskType === DISK_TYPE.fixed) {
    if (size > source.size - footer.size) {
      throw new ImageError('BAD_INPUT', `vhd: the disk has ${size} bytes, the file ${source.size}; it was cut short`)
    }
    const runs = options.skipZeros === true ? await searchData(source, 0, size, options) : undefined
    return { ...(await plainImage(file, 0, size, runs)), identity }
  }
  if (diskType !== DISK_TYPE.dynamic && diskType !== DISK_TYPE.differencing) {
    throw new ImageError('UNSUPPORTED', `vhd: the disk is of type ${diskType}; fixed, dynamic and differencing ones are read`)
  }
  const header = await readDynamicHeader(source, record.dataOffset)
  const { blockSize, tableOffset } = header
  checkBlocks('vhd', size, blockSize, header.maxTableEntries, SECTOR_SIZE)
  const sectorCount = blockSize / SECTOR_SIZE
  const bitmapSize = unitsFor(sectorCount / 8, SECTOR_SIZE) * SECTOR_SIZE
  const table: BlockTable = {
    file,
    position: tableOffset,
    name: 'block allocation table',
    blockSize,
    placeOf(view, at) {
      const sector = view.getUint32(at)
      return sector === UNUSED ? undefined : sector * SECTOR_SIZE + bitmapSize
    },
    // Of the blocks of other disks all is their own: what was never written is zero.
    ...(diskType === DISK_TYPE.differencing && {
      present: async (position) =>
        sectorRuns(await readPart(source, position - bitmapSize, bitmapSize, 'vhd sector bitmap'), sectorCount, SECTOR_SIZE, 'highest'),
    }),
  }
  const own = await mappedImage({ what: 'vhd', size, ranges: (from, end) => blockRanges(table, from, end) })
  if (diskType === DISK_TYPE.dynamic) return { ...own, identity }
  const name = new TextDecoder('utf-16be').decode(header.parentUnicodeName).replace(/\0.*$/s, '')
  return { ...(await onParent(own, { what: 'vhd', name, identity: guidToText(header.parentUniqueId) }, options)), identity }
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

async function readDynamicHeader(source: RandomAccessSource, position: number) {
  const bytes = await readPart(source, position, dynamicHeader.size, 'vhd dynamic header')
  const record = decode(dynamicHeader, bytes, 0, 'vhd dynamic header')
  if (Buffer.compare(record.cookie, HEADER_COOKIE) !== 0) throw new ImageError('BAD_INPUT', `vhd: no dynamic header at ${position}`)
  dynamicHeader.write(bytes, 0, { checksum: 0 })
  if (checksum(bytes) !== record.checksum) throw new ImageError('BAD_INPUT', 'vhd: the dynamic header has a wrong checksum; it is damaged')
  return record
}
