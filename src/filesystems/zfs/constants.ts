/** Numbers of the on-disk format that are no records. Sources: OpenZFS 2.1, files below `include/sys`. */

/** dmu.h, `dmu_object_type_t`. */
export const OBJECT_TYPE = {
  none: 0,
  objectDirectory: 1,
  objectArray: 2,
  packedNvlist: 3,
  packedNvlistSize: 4,
  bpobj: 5,
  bpobjHeader: 6,
  spaceMapHeader: 7,
  spaceMap: 8,
  dnode: 10,
  objset: 11,
  dslDirectory: 12,
  dslChildMap: 13,
  dslSnapshotMap: 14,
  dslProperties: 15,
  dslDataset: 16,
  plainFile: 19,
  directory: 20,
  masterNode: 21,
  deleteQueue: 22,
  history: 29,
  historyOffsets: 30,
  poolProperties: 31,
  nextClones: 37,
  userGroupUsed: 39,
  systemAttributes: 44,
  attributeMaster: 45,
  attributeRegistration: 46,
  attributeLayouts: 47,
  deadlist: 50,
  deadlistHeader: 51,
  directoryClones: 52,
  /** `DMU_OTN_ZAP_METADATA`: new types have no number, only a byte swap function and the metadata flag. */
  zapMetadata: 0xc4,
} as const

/** The types above 0x80 say by this bit whether they are metadata; of those below only file contents are not. */
const NEW_TYPE = 0x80
const NEW_TYPE_IS_METADATA = 0x40

/** Whether blocks of a type are metadata, which have more copies and count by their compressed size. */
export function isMetadata(type: number): boolean {
  return (type & NEW_TYPE) === 0 ? type !== OBJECT_TYPE.plainFile : (type & NEW_TYPE_IS_METADATA) !== 0
}

/** zio.h, `enum zio_checksum`. */
export const CHECKSUM = { on: 1, off: 2, label: 3, fletcher4: 7, sha256: 8 } as const

/** zio_compress.h, `enum zio_compress`; gzip-1 to gzip-9 are 5 to 13. */
export const COMPRESSION = { on: 1, off: 2, gzip1: 5, zle: 14, lz4: 15, zstd: 16 } as const

/** dmu.h, `dmu_objset_type_t`. */
export const OBJSET_TYPE = { meta: 1, zfs: 2 } as const

/** `SPA_VERSION_FEATURES`: the features say what a pool has. */
export const POOL_VERSION = 5000
/** `ZPL_VERSION_SA`. */
export const FILE_SYSTEM_VERSION = 5

/** u8_textprep.h, `U8_TEXTPREP_TOUPPER`: what maps of names that ignore case note. */
export const UPPER_CASE = 2

export const SECTOR_SIZE = 512
/** vdev_impl.h: a label, the two in front with the boot area behind them, and the two at the end. */
export const LABEL_SIZE = 256 << 10
export const FRONT_SIZE = 4 << 20
export const TAIL_SIZE = 2 * LABEL_SIZE
/** `SPA_MINDEVSIZE`. */
export const POOL_SIZE_MINIMUM = 64 << 20
/** Of this writer: a metaslab has at most 16 GiB, and all of them stand in one block of 128 KiB. */
export const POOL_SIZE_MAXIMUM = 2 ** 47

export const DNODE_SIZE = 512
export const DNODE_BLOCK_SIZE = 16 << 10
export const DNODES_PER_BLOCK = DNODE_BLOCK_SIZE / DNODE_SIZE
/** `SPA_OLD_MAXBLOCKSIZE`: larger ones need the feature large_blocks. */
export const BLOCK_SIZE_MAXIMUM = 128 << 10
/** `SPA_MAXBLOCKSIZE`. */
export const LARGE_BLOCK_SIZE_MAXIMUM = 16 << 20
export const BLOCK_POINTER_SIZE = 128
/** `DN_MAX_INDBLKSHIFT`. */
export const INDIRECT_SHIFT_MAXIMUM = 17
