/** `kilnix/ext4` */
export type { Allocation as Ext4Allocation } from '../filesystems/ext4/allocate.ts'
export type { AttributePlan as Ext4AttributePlan } from '../filesystems/ext4/attributes.ts'
export type {
  DirectoryLayout as Ext4DirectoryLayout,
  HashedLayout as Ext4HashedLayout,
  LinearLayout as Ext4LinearLayout,
} from '../filesystems/ext4/directory.ts'
export type { Runs as Ext4Runs } from '../filesystems/ext4/extents.ts'
export type { Geometry as Ext4Geometry } from '../filesystems/ext4/geometry.ts'
export { EXT4_DEFAULTS, type Ext4Image, type Ext4Options, type Ext4Plan, ext4 } from '../filesystems/ext4/index.ts'
export type { Layout as Ext4Layout } from '../filesystems/ext4/layout.ts'
export type { BlockRange as Ext4BlockRange } from '../filesystems/ext4/space.ts'
export type { Ext4Tree, PlannedDirectory as Ext4PlannedDirectory } from '../filesystems/ext4/tree.ts'
export * from './nodes.ts'
export * from './vocabulary.ts'
