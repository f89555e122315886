/**
 * A tree of files as formats take it. Names and link targets are bytes: they need not be UTF-8.
 * Trees are plain data; a node that stands in two directories is a hard link.
 */
import { compareBytes } from '../bytes/order.ts'
import type { Image } from '../io/image.ts'
import type { Proof } from '../io/proven.ts'

/** What every node carries. `mode` holds permission bits only (07777); times are seconds since 1970. */
export interface Attributes {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtimeSeconds: number
  readonly xattrs?: readonly Xattr[]
}

/** `name` with its prefix, such as `user.comment` or `security.capability`. */
export interface Xattr {
  readonly name: string
  readonly value: Uint8Array
}

/** `bytes` stand at `position` in place of as many others. In lists they are sorted and do not overlap. */
export interface Patch {
  readonly position: number
  readonly bytes: Uint8Array
}

/** A part of a host file. */
export interface HostRange {
  /** Its first byte. */
  readonly start: number
  /** Bytes of the whole host file as it was listed; with another size it is CHANGED. */
  readonly fileSize: number
}

/**
 * Where the bytes of a file are. A `hostFile` is read by worker threads; `size` bytes are expected and
 * anything else is CHANGED. `patched` is a host file with other bytes in places. With a `range` the content is `size` bytes
 * of the host file, which holds others as well. `proof` is of the content as it lies there: with it, other bytes are
 * CHANGED too.
 */
export type Content =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | HostFileContent
  | PatchedContent
  | { readonly kind: 'image'; readonly image: Image }

export interface HostFileContent {
  readonly kind: 'hostFile'
  readonly path: Uint8Array
  readonly range?: HostRange | undefined
  readonly proof?: Proof | undefined
}

export interface PatchedContent {
  readonly kind: 'patched'
  readonly path: Uint8Array
  readonly range?: HostRange | undefined
  readonly patches: readonly Patch[]
  readonly proof?: Proof | undefined
}

export interface FileNode extends Attributes {
  readonly kind: 'file'
  readonly size: number
  readonly content: Content
}

export interface DirectoryNode extends Attributes {
  readonly kind: 'directory'
  /** In any order; formats sort. Names are unique. */
  readonly entries: readonly Entry[]
}

export interface SymlinkNode extends Attributes {
  readonly kind: 'symlink'
  readonly target: Uint8Array
}

export interface DeviceNode extends Attributes {
  readonly kind: 'characterDevice' | 'blockDevice'
  readonly major: number
  readonly minor: number
}

export interface PipeNode extends Attributes {
  readonly kind: 'fifo' | 'socket'
}

export type TreeNode = FileNode | DirectoryNode | SymlinkNode | DeviceNode | PipeNode

export interface Entry {
  readonly name: Uint8Array
  readonly node: TreeNode
}

/**
 * A checksum over a part of the tree: framing bytes interleaved with whole file contents, in the order
 * in which they are hashed. Formats check it while the bytes pass and know nothing of what it means.
 * (For Nix: the NAR of a store path, whose SHA-256 is registered.)
 */
export interface TreeDigest {
  /** Named in a mismatch error. */
  readonly name: string
  /** What it covers: a file, or a directory with all below it. */
  readonly node: TreeNode
  readonly algorithm: 'sha256'
  readonly expected: Uint8Array
  /** Bytes to hash as they are, or a file whose content is hashed; the same pieces at every call. */
  pieces(): Iterable<Uint8Array | FileNode>
}

/** Entries in the one order of names, which they mostly have already. */
export function sortedEntries({ entries }: DirectoryNode): readonly Entry[] {
  let previous: Uint8Array | undefined
  for (const { name } of entries) {
    if (previous !== undefined && compareBytes(previous, name) > 0) return entries.toSorted((a, b) => compareBytes(a.name, b.name))
    previous = name
  }
  return entries
}
