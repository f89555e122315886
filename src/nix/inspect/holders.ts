/** Where in a store path a reference stands. */
import { printable } from '../../bytes/text.ts'
import { throwIfAborted } from '../../errors.ts'
import { imageChunks } from '../../io/stream.ts'
import { contentExtents } from '../../tree/content.ts'
import type { FileNode, TreeNode } from '../../tree/tree.ts'
import { hashPartScanner, SCAN_OVERLAP } from '../store/reference-scan.ts'
import { HASH_PART_LENGTH, hashPart } from '../store/store-path.ts'

export interface ReferenceHolder {
  /** Within the store path, for people; empty for the path itself. */
  readonly member: string
  /** `content` of a file, `target` of a link, or `name` of an entry. */
  readonly kind: 'content' | 'target' | 'name'
  /** First byte of the hash part in content, target or name; the first where there are several. */
  readonly offset: number
}

/**
 * For each of `baseNames` the places in `node` where its hash part stands, in the order of the NAR. Reading throws
 * UNREADABLE, CHANGED, ABORTED; `where` names the tree.
 */
export async function referenceHolders(
  node: TreeNode,
  baseNames: readonly string[],
  where: string,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, readonly ReferenceHolder[]>> {
  const byHash = new Map(baseNames.map((name) => [hashPart(name), name]))
  const scanner = hashPartScanner(byHash.keys())
  const holders = new Map<string, ReferenceHolder[]>(baseNames.map((name) => [name, []]))
  const add = (hash: string, holder: ReferenceHolder): void => {
    holders.get(byHash.get(hash) ?? '')?.push(holder)
  }
  const scanText = (bytes: Uint8Array, kind: 'target' | 'name', member: string): void => {
    const seen = new Set<string>()
    scanner.scan(Buffer.from(bytes), (hash, offset) => {
      if (!seen.has(hash)) add(hash, { member, kind, offset })
      seen.add(hash)
    })
  }
  const scanContent = async (file: FileNode, member: string): Promise<void> => {
    const seen = new Set<string>()
    let kept = Buffer.alloc(0)
    let position = 0
    const image = { size: file.size, extents: contentExtents(file, 0, where) }
    for await (const chunk of imageChunks(image, signal ? { signal } : {})) {
      const bytes = Buffer.concat([kept, chunk])
      scanner.scan(bytes, (hash, start) => {
        if (!seen.has(hash)) add(hash, { member, kind: 'content', offset: position - kept.length + start })
        seen.add(hash)
      })
      position += chunk.length
      kept = bytes.subarray(Math.max(0, bytes.length - SCAN_OVERLAP))
    }
  }
  const visit = async (inner: TreeNode, member: string): Promise<void> => {
    throwIfAborted(signal)
    switch (inner.kind) {
      case 'file':
        if (inner.size >= HASH_PART_LENGTH) await scanContent(inner, member)
        break
      case 'symlink':
        scanText(inner.target, 'target', member)
        break
      case 'directory':
        for (const entry of inner.entries) {
          const path = member === '' ? printable(entry.name) : `${member}/${printable(entry.name)}`
          scanText(entry.name, 'name', path)
          await visit(entry.node, path)
        }
    }
  }
  await visit(node, '')
  return holders
}
