/**
 * Which files are the same. Only files whose size occurs more than once get an identity (SHA-256), and
 * an equal identity only makes a candidate: contents are compared byte for byte before a file is left out.
 */
import { hash } from 'node:crypto'
import { printable } from '../../../bytes/text.ts'
import { ImageError } from '../../../errors.ts'
import type { Content, FileNode } from '../../../tree/tree.ts'

/** Whether a file needs an identity: another file has its size. */
export function sizeTwins(files: Iterable<FileNode>): (file: FileNode) => boolean {
  const seen = new Set<number>()
  const twins = new Set<number>()
  for (const { size } of files) {
    if (seen.has(size)) twins.add(size)
    else seen.add(size)
  }
  return (file) => file.size > 0 && twins.has(file.size)
}

/** SHA-256 of contents in memory, one character a byte. */
export function identityOf(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'binary')
}

function isOnHost(content: Content): content is Content & { readonly path: Uint8Array } {
  return content.kind === 'hostFile' || content.kind === 'patched'
}

/** The error for two files that were equal when they were hashed and are not when they are compared. */
export function changedTwin(file: FileNode, twin: FileNode): ImageError {
  const name = ({ content }: FileNode): string => (isOnHost(content) ? printable(content.path) : 'a file given as bytes')
  return new ImageError(
    'CHANGED',
    `${name(file)}: or its duplicate ${name(twin)} changed while it was read; build again when nothing writes to the store`,
    {
      path: name(file),
    },
  )
}
