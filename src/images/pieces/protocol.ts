/** What is done for a build of pieces, and what comes of it. */
import type { ListedPlace } from '../../nix/store/listed-tree.ts'
import type { Stop } from '../../threads/work.ts'
import type { TreeNode } from '../../tree/tree.ts'
import type { Compressors } from './compressors.ts'
import type { PieceSettings } from './key.ts'

/** Read a piece from its first byte to its last and compare its checksum. */
export interface CheckTask {
  readonly kind: 'check'
  readonly file: string
  /** Lower-case hex. */
  readonly sha256: string
}

/** Scan a store path, read it, check it and write its piece. */
export interface BuildTask extends ListedPlace {
  readonly kind: 'build'
  readonly settings: PieceSettings
  readonly storePath: string
  readonly baseName: string
  /** The store path's tree, where it is not at its place; as `plainTree` gives it. */
  readonly node: TreeNode | undefined
  readonly caseHack: boolean
  /** What the NAR has to be; undefined where it is not to be checked. */
  readonly nar: { readonly hash: Uint8Array; readonly size: number } | undefined
  /** Of an empty file to write to; the thread that built the task closes it. */
  readonly descriptor: number
  /** The folder as messages name it. */
  readonly label: string
}

export type PieceTask = CheckTask | BuildTask

export type Checked =
  | { readonly kind: 'sound'; readonly size: number }
  /** `inode` as text, where the file could be opened: the one that was read, and no other, is to be removed. */
  | { readonly kind: 'damaged'; readonly why: string; readonly inode: string | undefined }

export interface Built {
  readonly kind: 'built'
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
}

export type TaskAnswer = Checked | Built

/** How a task hears that it is to end, and where it tells how far it is. */
export interface TaskControl extends Stop {
  readonly compressors: Compressors
  /** Bytes of files that have been read so far, for a build. */
  onProgress(doneBytes: number): void
}
