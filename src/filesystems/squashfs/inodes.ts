/** Section 5, Inode Table: one planned inode to its record. */
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
import type { PlannedInode } from './plan.ts'
import type { StoredFile } from './stored.ts'

/** The record of an inode that is neither file nor directory. */
export function specialInode(inode: PlannedInode): Uint8Array {
  const { node, linkCount, xattrIndex } = inode
  const extended = xattrIndex !== NO_INDEX
  const header = inodeHeader(inode, extended)
  switch (node.kind) {
    case 'symlink': {
      const record = symlinkInode.encode({ ...header, linkCount, targetSize: node.target.length })
      return Buffer.concat([record, node.target, extended ? symlinkTrailer.encode({ xattrIndex }) : new Uint8Array(0)])
    }
    case 'characterDevice':
    case 'blockDevice': {
      const deviceNumber = encodeDevice(node.major, node.minor)
      if (extended) return extendedDevice.encode({ ...header, linkCount, deviceNumber, xattrIndex })
      return basicDevice.encode({ ...header, linkCount, deviceNumber })
    }
    case 'fifo':
    case 'socket':
      return extended ? extendedIpc.encode({ ...header, linkCount, xattrIndex }) : basicIpc.encode({ ...header, linkCount })
    case 'file':
    case 'directory':
      throw new RangeError(`squashfs: inode ${inode.number} is a ${node.kind}`)
  }
}

export function directoryInode(inode: PlannedInode, parentInode: number, listing: WrittenListing): Uint8Array {
  const { linkCount, xattrIndex } = inode
  const { blockIndex, blockOffset, index } = listing
  const fileSize = listing.size + LISTING_SIZE_EXTRA
  const extended = xattrIndex !== NO_INDEX || index.length > 0
  const common = { ...inodeHeader(inode, extended), linkCount, fileSize, blockIndex, blockOffset, parentInode }
  if (!extended) return basicDirectory.encode(common)
  const parts = [extendedDirectory.encode({ ...common, xattrIndex, indexCount: index.length })]
  for (const { name, ...place } of index) parts.push(directoryIndex.encode({ ...place, nameSize: name.length - 1 }), name)
  return Buffer.concat(parts)
}

/** `blockWords` and the rest of `stored` are the data stage's; a wrong number of blocks is its mistake. */
export function fileInode(inode: PlannedInode, file: FileNode, stored: StoredFile, blockSize: number): Uint8Array {
  const { linkCount, xattrIndex } = inode
  const { blocksStart, blockWords, fragmentIndex, fragmentOffset, sparseBytes } = stored
  const blockCount = fragmentIndex === NO_INDEX ? Math.ceil(file.size / blockSize) : Math.floor(file.size / blockSize)
  if (blockWords.length !== blockCount) {
    throw new RangeError(`squashfs: inode ${inode.number}: ${blockWords.length} blocks stored, ${file.size} bytes need ${blockCount}`)
  }
  const extended = linkCount > 1 || file.size > U32_MAXIMUM || blocksStart > U32_MAXIMUM || sparseBytes > 0 || xattrIndex !== NO_INDEX
  const common = { ...inodeHeader(inode, extended), blocksStart, fragmentIndex, blockOffset: fragmentOffset, fileSize: file.size }
  // As mksquashfs does: a file with content never has `st_blocks` 0.
  const sparse = Math.min(sparseBytes, Math.max(file.size - 1, 0))
  const record = extended ? extendedFile.encode({ ...common, sparse, linkCount, xattrIndex }) : basicFile.encode(common)
  const bytes = new Uint8Array(record.length + blockCount * 4)
  bytes.set(record)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < blockCount; i++) view.setUint32(record.length + i * 4, blockWords[i] as number, true)
  return bytes
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
