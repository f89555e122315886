/**
 * Which files are the same. Only files whose size occurs more than once get an identity (SHA-256), and
 * an equal identity only makes a candidate: contents are compared byte for byte before a file is left out.
 */
import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { printable } from '../../../bytes/text.ts'
import { ImageError } from '../../../errors.ts'
import { HOST_FILE_FLAGS, readError } from '../../../tree/host-file.ts'
import { applyPatches } from '../../../tree/patch.ts'
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

/** SHA-256 of contents in memory. */
export function identityOf(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest()
}

/** Reads a file's bytes again, to compare them with those of another. */
export class Rereader {
  readonly #file: FileNode
  readonly #fd: number | undefined

  constructor(file: FileNode) {
    this.#file = file
    const { content } = file
    this.#fd = isOnHost(content) ? openSync(Buffer.from(content.path), HOST_FILE_FLAGS) : undefined
  }

  /** Whether the file's bytes from `offset` on are `expected`. */
  matches(offset: number, expected: Uint8Array): boolean {
    if (this.#file.content.kind === 'bytes') {
      return Buffer.compare(this.#file.content.bytes.subarray(offset, offset + expected.length), expected) === 0
    }
    if (this.#fd === undefined) return false
    const bytes = Buffer.allocUnsafe(expected.length)
    let done = 0
    while (done < bytes.length) {
      const count = this.#read(this.#fd, bytes.subarray(done), offset + done)
      if (count === 0) return false
      done += count
    }
    if (this.#file.content.kind === 'patched') applyPatches(bytes, offset, this.#file.content.patches)
    return bytes.equals(expected)
  }

  #read(fd: number, bytes: Uint8Array, offset: number): number {
    try {
      return readSync(fd, bytes, 0, bytes.length, offset)
    } catch (error) {
      const { content } = this.#file
      throw isOnHost(content) ? readError(content.path, error) : error
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
  }
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
