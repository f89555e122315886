/** The types of trees, which every format of files takes; beside those of `vocabulary.ts`. */
export type { Proof, Reading as ProofReading } from '../io/proven.ts'
export type {
  Attributes,
  Content,
  DeviceNode,
  DirectoryNode,
  Entry,
  FileNode,
  HostFileContent,
  HostRange,
  Patch,
  PatchedContent,
  PipeNode,
  SymlinkNode,
  TreeDigest,
  TreeNode,
  Xattr,
} from '../tree/tree.ts'
