/** The types of trees, which every format of files takes. */
export type {
  ByteRun,
  CarriedContent,
  CarriedGroup,
  CarriedLoad,
  CarriedPart,
  CarriedSource,
  Carrier,
  CarryOrder,
  Extent,
  Image,
  ImmediateReader,
  SparseContent,
} from '../io/image.ts'
export type { Proof, Reading as ProofReading } from '../io/proven.ts'
export type {
  Attributes,
  Content,
  DeviceNode,
  DirectoryNode,
  Entry,
  FileNode,
  Patch,
  PatchedContent,
  PipeNode,
  SymlinkNode,
  TreeDigest,
  TreeNode,
  Xattr,
} from '../tree/tree.ts'
