/** The public list. What is not here may change without notice. */

export { type CpioOptions, cpio } from './archives/cpio/index.ts'
export { type TarOptions, tar } from './archives/tar/index.ts'
export type { CodecName, CodecSpec } from './codecs/codec.ts'
export { formatCodecSpec, parseCodecSpec } from './codecs/open.ts'
export type { InputFormat, OutputFormat } from './disks/containers.ts'
export { type GptOptions, type GptPartition, gpt, PARTITION_TYPE_GUID } from './disks/gpt/index.ts'
export { type OvaOptions, openOva, ova } from './disks/ova/index.ts'
export { openQcow2, type Qcow2CompressedOptions, type Qcow2Options, qcow2, qcow2Compressed } from './disks/qcow2/index.ts'
export { openVdi, type VdiOptions, vdi } from './disks/vdi/index.ts'
export { dynamicVhd, type FixedVhdOptions, fixedVhd, openVhd, type VhdOptions } from './disks/vhd/index.ts'
export { openVhdx, type VhdxOptions, vhdx } from './disks/vhdx/index.ts'
export { openVmdk, type VmdkOptions, type VmdkStreamOptions, vmdk, vmdkStream } from './disks/vmdk/index.ts'
export { ERROR_CODES, type ErrorCode, ImageError } from './errors.ts'
export { type Ext4Image, type Ext4Options, ext4 } from './filesystems/ext4/index.ts'
export { type FatOptions, fat } from './filesystems/fat/index.ts'
export { type Iso9660Options, iso9660 } from './filesystems/iso9660/index.ts'
export { type SquashfsPackOptions, squashfs } from './filesystems/squashfs/index.ts'
export {
  type ZfsCompatibility,
  type ZfsDataset,
  type ZfsImage,
  type ZfsPoolOptions,
  type ZfsProperties,
  type ZfsSnapshot,
  zfsPool,
} from './filesystems/zfs/index.ts'
export { type ConvertOptions, type ConvertPlan, convertDisk } from './images/disk/convert.ts'
export { type DiskOptions, type DiskPlan, disk } from './images/disk/index.ts'
export type { BootLoader, DiskLayout } from './images/disk/names.ts'
export { DISK_PRESETS, type DiskPreset } from './images/disk/presets.ts'
export { type InitrdOptions, type InitrdPlan, initrd, type Link } from './images/initrd.ts'
export { type IsoOptions, type IsoPlan, iso } from './images/iso.ts'
export {
  type Netboot,
  type NetbootOptions,
  type NetbootPlan,
  type NetbootStyle,
  netboot,
} from './images/netboot/index.ts'
export { type ImageProduct, isImageProduct, type Product, type ProductSource } from './images/product.ts'
export { type SaveProductOptions, saveProduct } from './images/save.ts'
export { type StoreSquashfsOptions, type StoreSummary, storeSquashfs } from './images/squashfs.ts'
export { type ZfsDisksPlan, type ZfsOptions, zfs } from './images/zfs/index.ts'
export type { ZfsBootLoader, ZfsFormat, ZfsLayout } from './images/zfs/names.ts'
export { type FolderFile, type FolderOptions, type SavedFile, saveFolder } from './io/folder.ts'
export { type BuildContext, bytesImage, type Extent, type GrowingImage, type Image } from './io/image.ts'
export { imageStream, type OutputOptions, type SavedImage, type SaveOptions, saveImage } from './io/output.ts'
export type { ProgressEvent, ProgressListener, Stage } from './io/progress.ts'
export { bytesSource, FileSource, type RandomAccessSource } from './io/source.ts'
export { imageWebStream } from './io/stream.ts'
export { BufferTarget, type Target } from './io/target.ts'
export { type CheckOptions, type ClosureReport, checkClosure } from './nix/inspect/check.ts'
export { type ClosureDifference, closureDifference } from './nix/inspect/diff.ts'
export { type ClosureSizes, closureSizes } from './nix/inspect/sizes.ts'
export { referenceChain, referenceChains } from './nix/inspect/why.ts'
export { type Closure, type ClosurePath, readClosure } from './nix/listing/closure.ts'
export { hashNar } from './nix/nar/digest.ts'
export { narImage } from './nix/nar/dump.ts'
export { type NarEvent, type ReadNarOptions, readNar } from './nix/nar/read.ts'
export { type RestoreOptions, restoreNar } from './nix/nar/restore.ts'
export { narTree } from './nix/nar/tree.ts'
export { type ReplacedClosure, type Replacement, replaceDependencies } from './nix/rewrite/replace.ts'
export { type ContentAddressedInput, type ContentAddressedPath, contentAddressed } from './nix/store/content-address.ts'
export { type RunningServer, type ServedFile, type ServeOptions, type ServerEvent, serveFiles } from './server/index.ts'
export type { Addition } from './system/additions.ts'
export { type AssembledToplevel, type AssembleOptions, assembleToplevel } from './system/assemble/index.ts'
export { parseToplevelSpec, type ToplevelSpec, toplevelSchema } from './system/assemble/spec.ts'
export { type InstalledAddition, type InstalledOptions, installedTree } from './system/installed.ts'
export { type SavedStore, type SaveStoreOptions, saveStore } from './system/saved-store.ts'
export { type LoadedClosure, loadClosure, type StoreInput } from './system/store.ts'
export { HOST_ATTRIBUTES, type ScanPolicy, scanHost } from './tree/scan.ts'
export type { Attributes, Content, DirectoryNode, Entry, FileNode, SymlinkNode, TreeDigest, TreeNode, Xattr } from './tree/tree.ts'
