/** What the data stage hands to the table stage: where the contents of the files came to lie. */
import type { FileNode } from '../../tree/tree.ts'

export interface StoredFile {
  /** First data block, bytes from the image's start; 0 when the file has no blocks. */
  readonly blocksStart: number
  /** On-disk size words, one a block: bit 24 set = stored uncompressed, 0 = a block of zeros (sparse). */
  readonly blockWords: Uint32Array
  /** Index in the fragment table, or 0xffffffff. */
  readonly fragmentIndex: number
  readonly fragmentOffset: number
  /** Bytes of the file that are in sparse blocks. */
  readonly sparseBytes: number
}

export interface StoredFragment {
  /** Bytes from the image's start. */
  readonly start: number
  /** Size on disk; bit 24 set = stored uncompressed. */
  readonly sizeWord: number
}

export interface StoredData {
  readonly files: { get(file: FileNode): StoredFile | undefined }
  readonly fragments: readonly StoredFragment[]
  /** First byte after the data, from the image's start. */
  readonly end: number
}
