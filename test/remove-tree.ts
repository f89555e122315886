/** Removing what a test has made, also folders that may not be written to and names that are no UTF-8. */
import { basename, dirname } from 'node:path'
import { HeldFolder } from '../src/io/held-folder.ts'
import { removeEntry } from '../src/io/remove.ts'

export function removeTree(path: string): void {
  const parent = HeldFolder.open(dirname(path))
  try {
    removeEntry(parent, basename(path))
  } finally {
    parent.close()
  }
}
