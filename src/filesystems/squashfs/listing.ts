/** Section 6, Directory Table: the listing of one directory, and its index. */
import {
  DIRECTORY_HEADER_ENTRIES_MAXIMUM,
  directoryEntry,
  directoryHeader,
  INODE_OFFSET_MAXIMUM,
  INODE_OFFSET_MINIMUM,
  INODE_TYPE,
  METADATA_BLOCK_SIZE,
  REFERENCE_BLOCK_FACTOR,
  U16_MAXIMUM,
} from './disk.ts'
import type { MetadataWriter } from './metadata.ts'
import type { PlannedListing } from './plan.ts'

export interface WrittenListing {
  readonly blockIndex: number
  readonly blockOffset: number
  readonly size: number
  readonly index: readonly IndexEntry[]
}

export interface IndexEntry {
  /** Of a directory header, bytes from the listing's start. */
  readonly index: number
  /** Of the metadata block in which that header begins. */
  readonly start: number
  /** Of the first entry after it. */
  readonly name: Uint8Array
}

/**
 * Append the listing to the directory table. `references` holds an inode reference for every inode number
 * less one. An indexed listing begins a header as early as it can in every metadata block, and the index
 * names those headers: a lookup then reads one block.
 */
export function writeListing(table: MetadataWriter, listing: PlannedListing, references: Float64Array): WrittenListing {
  const { entries, inodeNumbers, indexed } = listing
  const blockIndex = table.blockStart
  const blockOffset = table.blockOffset
  const index: IndexEntry[] = []
  let indexedBlock = blockIndex
  let size = 0
  for (let first = 0; first < entries.length; ) {
    const start = table.blockStart
    const end = runEnd(listing, references, first, table.blockOffset)
    // A listing longer than the counter is left without index from there on: readers then search further.
    if (indexed && start !== indexedBlock && index.length < U16_MAXIMUM) {
      index.push({ index: size, start, name: (entries[first] as PlannedListing['entries'][number]).name })
      indexedBlock = start
    }
    const inodeNumber = inodeNumbers[first] as number
    const inodeBlock = blockOf(references, inodeNumber)
    table.appendRecord(directoryHeader, { count: end - first - 1, start: inodeBlock, inodeNumber })
    size += directoryHeader.size
    for (; first < end; first++) {
      const { name, node } = entries[first] as PlannedListing['entries'][number]
      const number = inodeNumbers[first] as number
      const offset = (references[number - 1] as number) % REFERENCE_BLOCK_FACTOR
      const inodeOffset = (number - inodeNumber) & U16_MAXIMUM
      table.appendRecord(directoryEntry, { offset, inodeOffset, type: INODE_TYPE[node.kind], nameSize: name.length - 1 })
      table.append(name)
      size += directoryEntry.size + name.length
    }
  }
  return { blockIndex, blockOffset, size, index }
}

/** The entry after the last that one header at `headerOffset` of a metadata block can serve. */
function runEnd({ entries, inodeNumbers, indexed }: PlannedListing, references: Float64Array, first: number, headerOffset: number): number {
  const number = inodeNumbers[first] as number
  const inodeBlock = blockOf(references, number)
  const limit = Math.min(entries.length, first + DIRECTORY_HEADER_ENTRIES_MAXIMUM)
  let offset = headerOffset + directoryHeader.size
  let end = first
  while (end < limit) {
    const other = inodeNumbers[end] as number
    const difference = other - number
    if (difference < INODE_OFFSET_MINIMUM || difference > INODE_OFFSET_MAXIMUM || blockOf(references, other) !== inodeBlock) break
    if (indexed && end > first && offset >= METADATA_BLOCK_SIZE) break
    offset += directoryEntry.size + (entries[end] as PlannedListing['entries'][number]).name.length
    end++
  }
  return end
}

function blockOf(references: Float64Array, inodeNumber: number): number {
  return Math.floor((references[inodeNumber - 1] as number) / REFERENCE_BLOCK_FACTOR)
}
