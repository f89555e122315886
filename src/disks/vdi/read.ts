/** Reads VDI images, dynamic and fixed. */
import { unitsFor } from '../../bytes/align.ts'
import { decode } from '../../bytes/decode.ts'
import { ImageError } from '../../errors.ts'
import type { Image } from '../../io/image.ts'
import { type MappedRange, mappedImage, RangeList } from '../../io/mapped.ts'
import { type RandomAccessSource, readPart, tableChunks } from '../../io/source.ts'
import { ENTRY_SIZE, header, IMAGE_TYPE, SECTOR_SIZE, SIGNATURE, VERSION, ZERO } from './disk.ts'

interface Volume {
  readonly source: RandomAccessSource
  readonly size: number
  readonly blockSize: number
  readonly blocksOffset: number
  readonly dataOffset: number
}

/**
 * The virtual disk, with extents for allocated blocks; an odd size is rounded up to sectors. Throws BAD_INPUT for what
 * contradicts the format or the file's own size, UNSUPPORTED for what `index.ts` lists.
 */
export async function openVdi(source: RandomAccessSource): Promise<Image> {
  const volume = await readHeader(source)
  return mappedImage(source, { what: 'vdi', size: volume.size, ranges: (from, end) => ranges(volume, from, end) })
}

async function readHeader(source: RandomAccessSource): Promise<Volume> {
  const record = decode(header, await readPart(source, 0, header.size, 'vdi header'), 0, 'vdi header')
  const { imageType, blockSize, blocksOffset, dataOffset } = record
  if (record.signature !== SIGNATURE) throw new ImageError('BAD_INPUT', 'vdi: the file does not begin with a header')
  if (record.version !== VERSION) {
    throw new ImageError('UNSUPPORTED', `vdi: version ${record.version >>> 16}.${record.version & 0xffff}; 1.1 is read`)
  }
  if (imageType !== IMAGE_TYPE.dynamic && imageType !== IMAGE_TYPE.fixed) {
    throw new ImageError(
      'UNSUPPORTED',
      `vdi: the image is of type ${imageType}, which needs another file; export it as one whole disk where it was made`,
    )
  }
  if (record.blockExtra !== 0) throw new ImageError('UNSUPPORTED', `vdi: blocks carry ${record.blockExtra} bytes of extra data`)
  if (blockSize < SECTOR_SIZE || !Number.isInteger(Math.log2(blockSize))) {
    throw new ImageError('BAD_INPUT', `vdi: the block size is ${blockSize}, no power of two from ${SECTOR_SIZE} on`)
  }
  const size = unitsFor(record.diskSize, SECTOR_SIZE) * SECTOR_SIZE
  if (!Number.isSafeInteger(size) || record.blockCount < unitsFor(size, blockSize)) {
    throw new ImageError('BAD_INPUT', `vdi: the disk has ${record.diskSize} bytes, its map ${record.blockCount} blocks of ${blockSize}`)
  }
  return { source, size, blockSize, blocksOffset, dataOffset }
}

async function* ranges(volume: Volume, from: number, end: number): AsyncGenerator<readonly MappedRange[]> {
  const { source, blockSize, blocksOffset, dataOffset } = volume
  const table = { position: blocksOffset, entrySize: ENTRY_SIZE, what: 'vdi: block map' } as const
  for await (const { first, count, view } of tableChunks(source, table, Math.floor(from / blockSize), unitsFor(end, blockSize))) {
    const list = new RangeList()
    for (let index = 0; index < count; index++) {
      const place = view.getUint32(index * ENTRY_SIZE, true)
      if (place >= ZERO) continue
      const position = dataOffset + place * blockSize
      if (position + blockSize > source.size) {
        throw new ImageError(
          'BAD_INPUT',
          `vdi: block ${first + index} lies at ${position}, the file has ${source.size} bytes; it was cut short`,
        )
      }
      list.add((first + index) * blockSize, blockSize, position)
    }
    yield list.ranges
  }
}
