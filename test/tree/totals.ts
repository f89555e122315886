/** What a tree holds, for progress and reports. */
import type { TreeNode } from '../../src/tree/tree.ts'

export interface TreeTotals {
  readonly files: number
  readonly directories: number
  readonly symlinks: number
  /** Devices, pipes and sockets. */
  readonly others: number
  /** Bytes of all files. */
  readonly bytes: number
}

/** Count `node` and all below it; a node that stands in two directories counts twice. */
export function treeTotals(node: TreeNode): TreeTotals {
  const totals = { files: 0, directories: 0, symlinks: 0, others: 0, bytes: 0 }
  const count = (one: TreeNode): void => {
    switch (one.kind) {
      case 'file':
        totals.files++
        totals.bytes += one.size
        return
      case 'directory':
        totals.directories++
        for (const entry of one.entries) count(entry.node)
        return
      case 'symlink':
        totals.symlinks++
        return
      default:
        totals.others++
    }
  }
  count(node)
  return totals
}
