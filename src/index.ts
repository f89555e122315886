/** The public list. What is not here may change without notice. */

export { type CpioOptions, cpio } from './archives/cpio/index.ts'
export { type TarOptions, tar } from './archives/tar/index.ts'
export type { CodecName, CodecSpec } from './codecs/codec.ts'
export { formatCodecSpec, parseCodecSpec } from './codecs/open.ts'
export { ERROR_CODES, type ErrorCode, ImageError } from './errors.ts'
export { type FatOptions, fat } from './filesystems/fat/index.ts'
export { type Iso9660Options, iso9660 } from './filesystems/iso9660/index.ts'
export { type SquashfsPackOptions, squashfs } from './filesystems/squashfs/index.ts'
export type { Addition } from './images/additions.ts'
export { type Initrd, type InitrdOptions, type InitrdPlan, initrd, type Link } from './images/initrd.ts'
export { type IsoImage, type IsoOptions, type IsoPlan, iso } from './images/iso.ts'
export { netbootFolder } from './images/netboot/folder.ts'
export {
  type Netboot,
  type NetbootFile,
  type NetbootFiles,
  type NetbootOptions,
  type NetbootPlan,
  type NetbootStyle,
  netboot,
} from './images/netboot/index.ts'
export { type StoreSquashfs, type StoreSquashfsOptions, type StoreSummary, storeSquashfs } from './images/squashfs.ts'
export { type FolderFile, type FolderOptions, type SavedFile, saveFolder } from './io/folder.ts'
export { type BuildContext, bytesImage, type Extent, type GrowingImage, type Image } from './io/image.ts'
export { imageStream, type OutputOptions, type SavedImage, type SaveOptions, saveImage } from './io/output.ts'
export type { ProgressEvent, ProgressListener, Stage } from './io/progress.ts'
export { imageWebStream } from './io/stream.ts'
export { BufferTarget, type Target } from './io/target.ts'
export { type RunningServer, type ServedFile, type ServeOptions, type ServerEvent, serveFiles } from './server/index.ts'
export { HOST_ATTRIBUTES, type ScanPolicy, scanHost } from './tree/scan.ts'
export type { Attributes, Content, DirectoryNode, Entry, FileNode, SymlinkNode, TreeDigest, TreeNode, Xattr } from './tree/tree.ts'
