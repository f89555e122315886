/** The contents of the files of all datasets as streams: what threads read, and what only this thread can. */

import { alignUp } from '../../../bytes/align.ts'
import { type PlannedRead, planReads } from '../../../data/reads.ts'
import type { Source } from '../../../data/stage.ts'
import { planStreams, type Stream } from '../../../data/streams.ts'
import { contentExtents } from '../../../tree/content.ts'
import type { DirectoryNode, FileNode, TreeDigest } from '../../../tree/tree.ts'
import { recordShape } from '../zpl/content.ts'
import type { PlannedNode } from '../zpl/plan.ts'
import { OwnFiles, type OwnParts } from './own-files.ts'

export interface RecordDataset {
  readonly nodes: readonly PlannedNode[]
  readonly recordSize: number
  /** Which of the packings, and what pointers say of it. */
  readonly packing: number
  readonly compressionId: number
  /** The number of the first node among those of all datasets. */
  readonly firstFile: number
}

/** A dataset whose files are being read. */
export interface OpenDataset extends RecordDataset {
  /** Numbers of files that are not empty. */
  readonly files: ReadonlyMap<FileNode, number>
  /** The last one that is placed; what comes again is a hard link, or only hashed. */
  done: number
}

export interface RecordRead extends PlannedRead {
  readonly dataset: OpenDataset
}

export type RecordSource = Source<OwnParts, RecordRead>

/** Datasets one after the other, files in the order of their nodes. `roomSize` is that of a slot. */
export function* recordSources(
  datasets: readonly RecordDataset[],
  digests: readonly TreeDigest[],
  roomSize: number,
  signal: AbortSignal | undefined,
): Generator<RecordSource, void> {
  const known = new Set(digests)
  for (const own of datasets) {
    const dataset = openDataset(own)
    // A file with several names stands in several streams, or in one several times. Threads read it again where it is hashed again.
    const seen = new Set<FileNode>()
    const hasOwn = own.nodes.some(({ node }) => node.kind === 'file' && isForThisThread(node))
    for (const stream of planStreams(own.nodes[0]?.node as DirectoryNode, digests)) {
      if (stream.digest === undefined || !known.has(stream.digest)) yield* uncheckedSources(stream, dataset, { roomSize, signal, seen })
      else {
        if (hasOwn) for (const piece of stream.pieces()) if ('kind' in piece) seen.add(piece)
        yield threadSource(stream, dataset, roomSize)
      }
    }
  }
}

function openDataset(dataset: RecordDataset): OpenDataset {
  const files = new Map<FileNode, number>()
  for (const [index, { node }] of dataset.nodes.entries()) {
    if (node.kind === 'file' && node.size > 0) files.set(node, dataset.firstFile + index)
  }
  return { ...dataset, files, done: -1 }
}

function threadSource({ digest, pieces }: Stream, dataset: OpenDataset, roomSize: number): RecordSource {
  const sizeOf = (file: FileNode): number => recordShape(file.size, dataset.recordSize).recordSize
  const reads = planReads({ digest, pieces }, { roomSize, blockSize: sizeOf, spaceOf: (file, length) => alignUp(length, sizeOf(file)) })
  return { digest, reads: ofDataset(reads, dataset) }
}

function* ofDataset(reads: Iterable<PlannedRead>, dataset: OpenDataset): Generator<RecordRead, void> {
  for (const read of reads) yield { ...read, dataset }
}

/** Files that no digest covers, in their order. */
function* uncheckedSources(
  { pieces }: Stream,
  dataset: OpenDataset,
  { roomSize, signal, seen }: { readonly roomSize: number; readonly signal: AbortSignal | undefined; readonly seen: Set<FileNode> },
): Generator<RecordSource, void> {
  let group: FileNode[] = []
  let isOwn = false
  const source = (): RecordSource => {
    const files = group
    if (!isOwn) return threadSource({ digest: undefined, pieces: () => files }, dataset, roomSize)
    return new OwnFiles(
      files.map((node) => ({ node, path: pathOf(node, dataset), file: dataset.files.get(node) as number })),
      dataset,
      signal,
    )
  }
  for (const piece of pieces()) {
    if (!('kind' in piece) || !dataset.files.has(piece) || seen.has(piece)) continue
    seen.add(piece)
    if (group.length > 0 && isOwn !== isForThisThread(piece)) {
      yield source()
      group = []
    }
    isOwn = isForThisThread(piece)
    // A content that is not as long as its file is an error here and now.
    if (piece.content.kind === 'bytes') contentExtents(piece, 0, pathOf(piece, dataset))
    group.push(piece)
  }
  if (group.length > 0) yield source()
}

/** What lies in an image, and host files that are compared with proofs of their own. */
function isForThisThread({ content }: FileNode): boolean {
  return content.kind === 'image' || ('proof' in content && content.proof !== undefined)
}

function pathOf(node: FileNode, { nodes, files, firstFile }: OpenDataset): string {
  return nodes[(files.get(node) as number) - firstFile]?.path ?? ''
}
