/** From the plan, and from where the data came to lie, to everything of an image but the data. */
import { alignUp } from '../../bytes/align.ts'
import type { Codec } from '../../codecs/codec.ts'
import type { Target } from '../../io/target.ts'
import { compressorOptionsBlock } from './compressor-options.ts'
import {
  COMPRESSOR,
  FLAG,
  IMAGE_ALIGNMENT,
  MAGIC,
  METADATA_BLOCK_SIZE,
  NO_INDEX,
  NO_TABLE,
  superblock,
  VERSION_MAJOR,
  VERSION_MINOR,
} from './disk.ts'
import { appendDirectoryInode, appendFileInode, appendSpecialInode } from './inodes.ts'
import { writeListing } from './listing.ts'
import { MetadataWriter } from './metadata.ts'
import type { PlannedInode, SquashfsPlan } from './plan.ts'
import { SequentialWriter } from './sequential-writer.ts'
import type { StoredData, StoredFile } from './stored.ts'
import { CHUNK_SIZE, writeExportTable, writeFragmentTable, writeIdTable, writeXattrTable } from './tables.ts'

export interface EmittedTables {
  /** As the superblock says: without the padding. */
  readonly bytesUsed: number
  /** A multiple of 4096. */
  readonly paddedSize: number
}

/** What a file without bytes may have instead of an entry in the stored data. */
const STORED_EMPTY: StoredFile = {
  blocksStart: 0,
  blockWords: new Uint32Array(0),
  fragmentIndex: NO_INDEX,
  fragmentOffset: 0,
  sparseBytes: 0,
}

/**
 * Write the tables after the data, the padding, and last the superblock, to `target`, where the image
 * begins at `start`. `metadataCodec` is opened for blocks of 8192 bytes. The compressed directory table
 * is held in memory (some ten bytes an entry); everything else goes out in chunks.
 * Throws LIMIT when a table grows beyond 4 GiB.
 */
export async function emitTables(
  plan: SquashfsPlan,
  stored: StoredData,
  target: Target,
  start: number,
  metadataCodec: Codec,
): Promise<EmittedTables> {
  if (metadataCodec.blockSize !== METADATA_BLOCK_SIZE) {
    throw new RangeError(`squashfs: the codec of metadata is opened for ${metadataCodec.blockSize} bytes, not for ${METADATA_BLOCK_SIZE}`)
  }
  const out = new SequentialWriter(target, start, stored.end)

  // Sections 5 and 6: both tables grow together, since a directory's inode names its listing.
  const inodeTable = out.position
  const { references, directories } = await writeInodeTable(plan, stored, out, metadataCodec)
  const directoryTable = out.position
  directories.finish()
  await out.write(directories.take())

  // Sections 7 to 10. The kernel wants them in this order, each right after the one before.
  const fragmentTable = await writeFragmentTable(out, metadataCodec, stored.fragments)
  const exportTable = plan.options.exportable ? await writeExportTable(out, metadataCodec, references) : NO_TABLE
  const idTable = await writeIdTable(out, metadataCodec, plan.ids)
  const xattrTable = await writeXattrTable(out, metadataCodec, plan.xattrSets)

  const bytesUsed = out.position
  const paddedSize = alignUp(bytesUsed, IMAGE_ALIGNMENT)
  await out.write(new Uint8Array(paddedSize - bytesUsed))

  // Section 3, and 3.1 right after it.
  const { blockSize, codec, timeSeconds } = plan.options
  const optionsBlock = compressorOptionsBlock(plan.options)
  const head = superblock.encode({
    magic: MAGIC,
    inodeCount: plan.inodes.length,
    modificationTimeSeconds: timeSeconds,
    blockSize,
    fragmentCount: stored.fragments.length,
    compressor: COMPRESSOR[codec.name],
    blockLog: Math.log2(blockSize),
    flags: superblockFlags(plan, optionsBlock.length > 0),
    idCount: plan.ids.length,
    versionMajor: VERSION_MAJOR,
    versionMinor: VERSION_MINOR,
    rootInode: references.at(-1) as number,
    bytesUsed,
    idTable,
    xattrTable,
    inodeTable,
    directoryTable,
    fragmentTable,
    exportTable,
  })
  await target.write(start, Buffer.concat([head, optionsBlock]))
  return { bytesUsed, paddedSize }
}

/** Writes the inode table; returns the reference of every inode, and the directory table still to be written. */
async function writeInodeTable(plan: SquashfsPlan, stored: StoredData, out: SequentialWriter, codec: Codec) {
  const inodes = new MetadataWriter(codec)
  const directories = new MetadataWriter(codec)
  const references = new Float64Array(plan.inodes.length)
  for (let next = 1; next <= references.length; ) {
    next = appendInodes(plan, stored, { inodes, directories, references }, next)
    await out.write(inodes.take())
  }
  inodes.finish()
  await out.write(inodes.take())
  return { references, directories }
}

interface Tables {
  readonly inodes: MetadataWriter
  readonly directories: MetadataWriter
  /** By inode number less one. */
  readonly references: Float64Array
}

/** Append the inodes from number `first` on until a chunk is full; returns the number of the next. */
function appendInodes(plan: SquashfsPlan, stored: StoredData, tables: Tables, first: number): number {
  const { inodes, references } = tables
  let next = first
  while (next <= references.length && inodes.finishedBytes < CHUNK_SIZE) {
    references[next - 1] = inodes.reference
    appendInode(plan.inodes.numbered(next++), plan, stored, tables)
  }
  return next
}

function appendInode(inode: PlannedInode, plan: SquashfsPlan, stored: StoredData, { inodes, directories, references }: Tables): void {
  const { node, listing } = inode
  if (listing !== undefined) {
    appendDirectoryInode(inodes, inode, listing.parentNumber, writeListing(directories, listing, references))
    return
  }
  if (node.kind !== 'file') {
    appendSpecialInode(inodes, inode)
    return
  }
  const file = stored.files.get(node) ?? (node.size === 0 ? STORED_EMPTY : undefined)
  if (file === undefined) throw new RangeError(`squashfs: inode ${inode.number}: no data stored for a file of ${node.size} bytes`)
  appendFileInode(inodes, inode, node, file, plan.options.blockSize)
}

function superblockFlags({ options, xattrSets }: SquashfsPlan, hasCompressorOptions: boolean): number {
  const { inodesUncompressed, dataUncompressed, fragmentsUncompressed, xattrsUncompressed, idsUncompressed } = FLAG
  const uncompressed = inodesUncompressed | dataUncompressed | fragmentsUncompressed | xattrsUncompressed | idsUncompressed
  return (
    FLAG.deduplicated |
    (options.codec.name === 'none' ? uncompressed : 0) |
    (options.fragments ? 0 : FLAG.noFragments) |
    (options.exportable ? FLAG.exportable : 0) |
    (xattrSets.length === 0 ? FLAG.noXattrs : 0) |
    (hasCompressorOptions ? FLAG.compressorOptions : 0)
  )
}
