/** Section 5, Inode Table: one planned inode to its record, which is appended to the table. */
import type { FileNode } from '../../tree/tree.ts'
import {
  basicDevice,
  basicDirectory,
  basicFile,
  basicIpc,
  directoryIndex,
  EXTENDED,
  extendedDevice,
  extendedDirectory,
  extendedFile,
  extendedIpc,
  INODE_TYPE,
  LISTING_SIZE_EXTRA,
  NO_INDEX,
  symlinkInode,
  symlinkTrailer,
  U32_MAXIMUM,
} from './disk.ts'
import type { WrittenListing } from './listing.ts'
import type { MetadataWriter } from './metadata.ts'
import type { PlannedInode } from './plan.ts'
import type { StoredFile } from './stored.ts'

/** An inode that is neither file nor directory. */
export function appendSpecialInode(table: MetadataWriter, inode: PlannedInode): void {
  const { node, linkCount, xattrIndex } = inode
  const extended = xattrIndex !== NO_INDEX
  const header = inodeHeader(inode, extended)
  switch (node.kind) {
    case 'symlink':
      table.appendRecord(symlinkInode, { ...header, linkCount, targetSize: node.target.length })
      table.append(node.target)
      if (extended) table.appendRecord(symlinkTrailer, { xattrIndex })
      return
    case 'characterDevice':
    case 'blockDevice': {
      const deviceNumber = encodeDevice(node.major, node.minor)
      if (extended) table.appendRecord(extendedDevice, { ...header, linkCount, deviceNumber, xattrIndex })
      else table.appendRecord(basicDevice, { ...header, linkCount, deviceNumber })
      return
    }
    case 'fifo':
    case 'socket':
      if (extended) table.appendRecord(extendedIpc, { ...header, linkCount, xattrIndex })
      else table.appendRecord(basicIpc, { ...header, linkCount })
      return
    case 'file':
    case 'directory':
      throw new RangeError(`squashfs: inode ${inode.number} is a ${node.kind}`)
  }
}

export function appendDirectoryInode(table: MetadataWriter, inode: PlannedInode, parentInode: number, listing: WrittenListing): void {
  const { linkCount, xattrIndex } = inode
  const { blockIndex, blockOffset, index } = listing
  const fileSize = listing.size + LISTING_SIZE_EXTRA
  const extended = xattrIndex !== NO_INDEX || index.length > 0
  const common = { ...inodeHeader(inode, extended), linkCount, fileSize, blockIndex, blockOffset, parentInode }
  if (!extended) {
    table.appendRecord(basicDirectory, common)
    return
  }
  table.appendRecord(extendedDirectory, { ...common, xattrIndex, indexCount: index.length })
  for (const { name, ...place } of index) {
    table.appendRecord(directoryIndex, { ...place, nameSize: name.length - 1 })
    table.append(name)
  }
}

/** `blockWords` and the rest of `stored` are the data stage's; a wrong number of blocks is its mistake. */
export function appendFileInode(table: MetadataWriter, inode: PlannedInode, file: FileNode, stored: StoredFile, blockSize: number): void {
  const { linkCount, xattrIndex } = inode
  const { blocksStart, blockWords, fragmentIndex, fragmentOffset, sparseBytes } = stored
  const blockCount = fragmentIndex === NO_INDEX ? Math.ceil(file.size / blockSize) : Math.floor(file.size / blockSize)
  if (blockWords.length !== blockCount) {
    throw new RangeError(`squashfs: inode ${inode.number}: ${blockWords.length} blocks stored, ${file.size} bytes need ${blockCount}`)
  }
  const extended = linkCount > 1 || file.size > U32_MAXIMUM || blocksStart > U32_MAXIMUM || sparseBytes > 0 || xattrIndex !== NO_INDEX
  const common = { ...inodeHeader(inode, extended), blocksStart, fragmentIndex, blockOffset: fragmentOffset, fileSize: file.size }
  if (extended) {
    // As mksquashfs does: a file with content never has `st_blocks` 0.
    const sparse = Math.min(sparseBytes, Math.max(file.size - 1, 0))
    table.appendRecord(extendedFile, { ...common, sparse, linkCount, xattrIndex })
  } else table.appendRecord(basicFile, common)
  if (blockCount === 0) return
  const words = new Uint8Array(4 * blockCount)
  const view = new DataView(words.buffer)
  for (let i = 0; i < blockCount; i++) view.setUint32(4 * i, blockWords[i] as number, true)
  table.append(words)
}

function inodeHeader({ number, node, uidIndex, gidIndex }: PlannedInode, extended: boolean) {
  return {
    type: INODE_TYPE[node.kind] + (extended ? EXTENDED : 0),
    permissions: node.mode,
    uidIndex,
    gidIndex,
    modificationTimeSeconds: node.mtimeSeconds,
    inodeNumber: number,
  }
}

/** Section 5.5: eight bits of the minor number, twelve of the major, then the rest of the minor. */
function encodeDevice(major: number, minor: number): number {
  return (minor & 0xff) + major * 0x100 + Math.floor(minor / 0x100) * 0x100000
}
