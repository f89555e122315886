/** Reads VDI images, dynamic, fixed, and differencing. */
import { unitsFor } from '../../bytes/align.ts'
import { decode } from '../../bytes/decode.ts'
import { guidToText } from '../../bytes/guid.ts'
import { ImageError } from '../../errors.ts'
import { mappedImage } from '../../io/mapped.ts'
import { type RandomAccessSource, readPart } from '../../io/source.ts'
import { type FurtherFiles, onParent, type ReadDisk } from '../reading/further.ts'
import { type BlockTable, blockRanges, checkBlocks } from '../reading/tables.ts'
import { header, IMAGE_TYPE, SECTOR_SIZE, SIGNATURE, UNALLOCATED, VERSION, ZERO } from './disk.ts'

/**
 * The virtual disk, with extents for allocated blocks; an odd size is rounded up to sectors. Throws BAD_INPUT for what
 * contradicts the format or the file's own size, UNSUPPORTED for what `index.ts` lists, and what opening a parent throws.
 */
export async function openVdi(source: RandomAccessSource, options: FurtherFiles = {}): Promise<ReadDisk> {
  const record = await readHeader(source)
  const { blockSize, blocksOffset, dataOffset, imageType } = record
  const size = unitsFor(record.diskSize, SECTOR_SIZE) * SECTOR_SIZE
  checkBlocks('vdi', size, blockSize, record.blockCount, SECTOR_SIZE)
  const table: BlockTable = {
    file: { what: 'vdi', source },
    position: blocksOffset,
    name: 'block map',
    blockSize,
    placeOf(view, at) {
      const place = view.getUint32(at, true)
      if (place === UNALLOCATED) return undefined
      return place === ZERO ? 'zeros' : dataOffset + place * blockSize
    },
  }
  const own = await mappedImage({ what: 'vdi', size, ranges: (from, end) => blockRanges(table, from, end) })
  const identity = identityOf(record.uuidCreate, record.uuidModify)
  if (imageType !== IMAGE_TYPE.differencing) return { ...own, identity }
  const parent = { what: 'vdi', identity: identityOf(record.uuidLinkage, record.uuidParentModify) }
  return { ...(await onParent(own, parent, options)), identity }
}

/** The UUID of the image, and that of its last change. */
function identityOf(create: Uint8Array, modify: Uint8Array): string {
  return `${guidToText(create)} as of ${guidToText(modify)}`
}

async function readHeader(source: RandomAccessSource) {
  const record = decode(header, await readPart(source, 0, header.size, 'vdi header'), 0, 'vdi header')
  const { imageType } = record
  if (record.signature !== SIGNATURE) throw new ImageError('BAD_INPUT', 'vdi: the file does not begin with a header')
  if (record.version !== VERSION) {
    throw new ImageError('UNSUPPORTED', `vdi: version ${record.version >>> 16}.${record.version & 0xffff}; 1.1 is read`)
  }
  if (!Object.values<number>(IMAGE_TYPE).includes(imageType)) {
    throw new ImageError('UNSUPPORTED', `vdi: the image is of type ${imageType}; dynamic, fixed and differencing ones are read`)
  }
  if (record.blockExtra !== 0) throw new ImageError('UNSUPPORTED', `vdi: blocks carry ${record.blockExtra} bytes of extra data`)
  return record
}
