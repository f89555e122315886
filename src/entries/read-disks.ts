/** What the types of all readers of disks have in common. */
export type { FurtherFiles, ReadDisk } from '../disks/reading/further.ts'
export type { DiskImage, SectorSize } from '../disks/sectors.ts'
export type { DataSearchOptions } from '../io/data-search.ts'
export type { DiskMap, MappedFile, MappedImage, MappedRange, PackedRange } from '../io/mapped.ts'
