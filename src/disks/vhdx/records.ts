/** The fixed records of a VHDX file, with their checksums. */
import {
  ALIGNMENT,
  checksum,
  fileParameters,
  header,
  ITEM,
  ITEM_FLAG,
  METADATA_TABLE_SIZE,
  metadataEntry,
  metadataTable,
  REGION,
  REGION_TABLE_SIZE,
  regionEntry,
  regionTable,
  SIGNATURE,
  sectorSize,
  VERSION,
  virtualDiskId,
  virtualDiskSize,
} from './disk.ts'
import type { VhdxPlan } from './plan.ts'

export interface HeaderIdentifiers {
  readonly sequenceNumber: number
  readonly fileWriteGuid: Uint8Array
  readonly dataWriteGuid: Uint8Array
}

/** A header with an empty log. */
export function encodeHeader(plan: VhdxPlan, identifiers: HeaderIdentifiers): Uint8Array {
  const record = header.encode({
    signature: SIGNATURE.header,
    ...identifiers,
    version: VERSION,
    logLength: ALIGNMENT,
    logOffset: plan.logOffset,
  })
  header.write(record, 0, { checksum: checksum(record) })
  return record
}

export function encodeRegionTable(plan: VhdxPlan): Uint8Array {
  const bytes = new Uint8Array(REGION_TABLE_SIZE)
  const regions = [
    { guid: REGION.bat, fileOffset: plan.batOffset, length: plan.batSize, required: 1 },
    { guid: REGION.metadata, fileOffset: plan.metadataOffset, length: ALIGNMENT, required: 1 },
  ]
  regionTable.write(bytes, 0, { signature: SIGNATURE.regionTable, entryCount: regions.length })
  for (const [index, region] of regions.entries()) regionEntry.write(bytes, regionTable.size + index * regionEntry.size, region)
  regionTable.write(bytes, 0, { checksum: checksum(bytes) })
  return bytes
}

/** What disks of Hyper-V have, whatever their logical sectors. */
const PHYSICAL_SECTOR_SIZE = 4096

/** The metadata table, and its items behind it. */
export function encodeMetadata(plan: VhdxPlan, id: Uint8Array): Uint8Array {
  const ofDisk = ITEM_FLAG.virtualDisk | ITEM_FLAG.required
  const items = [
    { itemId: ITEM.fileParameters, flags: ITEM_FLAG.required, bytes: fileParameters.encode({ blockSize: plan.blockSize }) },
    { itemId: ITEM.virtualDiskSize, flags: ofDisk, bytes: virtualDiskSize.encode({ size: plan.size }) },
    { itemId: ITEM.virtualDiskId, flags: ofDisk, bytes: virtualDiskId.encode({ id }) },
    { itemId: ITEM.logicalSectorSize, flags: ofDisk, bytes: sectorSize.encode({ size: plan.sectorSize }) },
    { itemId: ITEM.physicalSectorSize, flags: ofDisk, bytes: sectorSize.encode({ size: PHYSICAL_SECTOR_SIZE }) },
  ]
  const bytes = new Uint8Array(METADATA_TABLE_SIZE + items.reduce((sum, item) => sum + item.bytes.length, 0))
  metadataTable.write(bytes, 0, { signature: SIGNATURE.metadata, entryCount: items.length })
  let offset = METADATA_TABLE_SIZE
  for (const [index, { itemId, flags, bytes: value }] of items.entries()) {
    metadataEntry.write(bytes, metadataTable.size + index * metadataEntry.size, { itemId, offset, length: value.length, flags })
    bytes.set(value, offset)
    offset += value.length
  }
  return bytes
}
