/** Modes, and what OpenZFS keeps beside them (`module/os/linux/zfs/zfs_acl.c`, `include/sys/zfs_znode.h`). */
import { struct } from '../../../bytes/struct.ts'
import type { TreeNode } from '../../../tree/tree.ts'

interface KindNumbers {
  /** Of `st_mode` (stat(2)). */
  readonly mode: number
  /** Of `d_type` in a directory entry (readdir(3)). */
  readonly entry: number
}

const KINDS: Readonly<Record<TreeNode['kind'], KindNumbers>> = {
  fifo: { mode: 0o010000, entry: 1 },
  characterDevice: { mode: 0o020000, entry: 2 },
  directory: { mode: 0o040000, entry: 4 },
  blockDevice: { mode: 0o060000, entry: 6 },
  file: { mode: 0o100000, entry: 8 },
  symlink: { mode: 0o120000, entry: 10 },
  socket: { mode: 0o140000, entry: 12 },
}

export function rawMode(node: TreeNode): number {
  return KINDS[node.kind].mode | node.mode
}

/** The value of a name in a directory: the kind in the upper four bits (`ZFS_DIRENT_MAKE`). */
export function directoryEntryValue(node: TreeNode, object: number): bigint {
  return (BigInt(KINDS[node.kind].entry) << 60n) | BigInt(object)
}

/** `ZFS_*` flags of zfs_znode.h. */
const FLAG = {
  archiveAndModified: 0x0408_0000_0000,
  aclTrivial: 0x4,
  inheritable: 0x40,
  noExecutesDenied: 0x100,
  project: 0x8000_0000_0000,
} as const

const EXECUTE_ALL = 0o111

/** A sum, since the flags have more than 32 bits. */
export function fileFlags(node: TreeNode, hasProject: boolean): number {
  let flags: number = FLAG.archiveAndModified + FLAG.aclTrivial
  if (node.kind === 'directory') flags += FLAG.inheritable
  if ((node.mode & EXECUTE_ALL) === EXECUTE_ALL) flags += FLAG.noExecutesDenied
  if (hasProject) flags += FLAG.project
  return flags
}

/** zfs_acl.h, `zfs_ace_hdr_t`: an entry for owner, group or everyone, which names nobody. */
const ACE = struct('access control entry', 8, { type: [0, 'u16le'], flags: [2, 'u16le'], mask: [4, 'u32le'] })

/** acl.h, `ACE_OWNER`, `ACE_GROUP | ACE_IDENTIFIER_GROUP`, `ACE_EVERYONE`, and by how far their bits are shifted in a mode. */
const SUBJECTS = [
  { flags: 0x1000, shift: 6, extra: 0xc0110 },
  { flags: 0x2040, shift: 3, extra: 0 },
  { flags: 0x4000, shift: 0, extra: 0 },
] as const

/** Reading attributes and the list itself, and synchronizing, which everybody may. */
const MASK_ALWAYS = 0x120088
const MASK_READ = 0x1
const MASK_WRITE = 0x6
const MASK_DELETE_CHILD = 0x40
const MASK_EXECUTE = 0x20

/** The trivial access control list of a mode. */
export function accessEntries(node: TreeNode): { readonly count: number; readonly bytes: Uint8Array } {
  const bytes = new Uint8Array(ACE.size * SUBJECTS.length)
  for (const [index, { flags, shift, extra }] of SUBJECTS.entries()) {
    const bits = (node.mode >> shift) & 7
    let mask = MASK_ALWAYS | extra
    if (bits & 4) mask |= MASK_READ
    if (bits & 2) mask |= MASK_WRITE | (node.kind === 'directory' ? MASK_DELETE_CHILD : 0)
    if (bits & 1) mask |= MASK_EXECUTE
    ACE.write(bytes, ACE.size * index, { flags, mask })
  }
  return { count: SUBJECTS.length, bytes }
}
