/**
 * qcow2 with compressed clusters: the header, the L1 table, then clusters in the order of the disk, each L2 table
 * after the last cluster that it names, and the refcounts.
 *
 * Compressed clusters follow each other without gaps, as those of `qemu-img convert -c` do: one begins at any byte,
 * and its descriptor counts the sectors that it touches.
 */
import { alignUp, unitsFor } from '../../bytes/align.ts'
import { type BlockCodec, type CompressedBlock, compressBlocks } from '../../codecs/blocks/index.ts'
import type { CodecSpec } from '../../codecs/codec.ts'
import { checkCodecSpec } from '../../codecs/spec.ts'
import { ImageError } from '../../errors.ts'
import { blockFinder } from '../../io/block-runs.ts'
import { readBlocks } from '../../io/blocks.ts'
import type { BuildContext, Image } from '../../io/image.ts'
import { regionImage } from '../../io/region.ts'
import type { Target } from '../../io/target.ts'
import { COMPRESSION_TYPE, compressedOffsetBits, ENTRY_SIZE, HIGH, REFCOUNT_SIZE, ZLIB_WINDOW_BITS } from './disk.ts'
import { encodeHeader, setEntry } from './emit.ts'
import { planLayout, type Qcow2Layout, type Qcow2Options, refcountClusters } from './plan.ts'

export interface Qcow2CompressedOptions extends Qcow2Options {
  /** gzip (what the format calls zlib, for every reader) or zstd (QEMU 5.1 and later), with a level. */
  readonly codec?: CodecSpec
}

/** What `qemu-img convert -c` does. */
export const QCOW2_COMPRESSED_DEFAULTS = { codec: { name: 'gzip', level: 6 } } as const satisfies Qcow2CompressedOptions

export interface CompressedPlan extends Qcow2Layout {
  readonly codec: BlockCodec
  readonly compressionType: number
  readonly sizeLimit: number
}

/** Throws USAGE and LIMIT as `planLayout` does, and UNSUPPORTED for another codec. */
export function planCompressed(image: Image, options: Qcow2CompressedOptions): CompressedPlan {
  const layout = planLayout(image, options)
  const spec = checkCodecSpec(options.codec ?? QCOW2_COMPRESSED_DEFAULTS.codec)
  const { name, level = 6 } = spec
  if (name !== 'gzip' && name !== 'zstd') {
    throw new ImageError('UNSUPPORTED', `qcow2: clusters cannot be compressed with ${name}; choose gzip or zstd`)
  }
  // At worst no cluster becomes smaller, and a partly filled cluster lies before each L2 table.
  const most = 1 + layout.l1Clusters + 2 * layout.l2Tables.blockCount + 2 * layout.clusters.blockCount
  const { refcountBlockClusters, refcountTableClusters } = refcountClusters(most, layout.clusterSize)
  return {
    ...layout,
    codec: name === 'zstd' ? spec : { name: 'deflate', level, windowBits: ZLIB_WINDOW_BITS, isRaw: true },
    compressionType: name === 'zstd' ? COMPRESSION_TYPE.zstd : COMPRESSION_TYPE.zlib,
    sizeLimit: (most + refcountBlockClusters + refcountTableClusters) * layout.clusterSize,
  }
}

export async function packCompressed(
  image: Image,
  plan: CompressedPlan,
  target: Target,
  start: number,
  context: BuildContext,
): Promise<Image> {
  const { clusters, clusterSize, codec } = plan
  const packer = new Packer(plan, target, start)
  const reader = readBlocks(image, clusters, clusterSize, context.signal)
  const request = { codec, blockSize: clusterSize, storeIncompressible: true }
  await compressBlocks(reader, clusters.blockCount, request, context, (blocks) => packer.add(blocks))
  return regionImage(target, start, await packer.finish())
}

class Packer {
  readonly #plan: CompressedPlan
  readonly #target: Target
  readonly #start: number
  readonly #l1: DataView
  /** The guest cluster of the block with this number among all that were read. */
  readonly #guestCluster: (index: number) => number
  /** References of each cluster of the file, so far as it is written. */
  readonly #refcounts = new Refcounts()
  /** Where the next compressed cluster goes; its file cluster may be partly filled. */
  #free: number
  /** The first file cluster that nothing is in. */
  #nextCluster: number
  #table: { readonly index: number; readonly view: DataView } | undefined

  constructor(plan: CompressedPlan, target: Target, start: number) {
    this.#plan = plan
    this.#target = target
    this.#start = start
    this.#guestCluster = blockFinder(plan.clusters)
    this.#l1 = new DataView(new ArrayBuffer(plan.l1Size * ENTRY_SIZE))
    this.#nextCluster = 1 + plan.l1Clusters
    this.#free = this.#nextCluster * plan.clusterSize
    this.#refcounts.addRange(0, this.#nextCluster)
  }

  /** Place a batch, and write what lies in a row with one call. */
  async add(blocks: readonly CompressedBlock[]): Promise<void> {
    let pending: { readonly position: number; bytes: Uint8Array } | undefined
    for (const block of blocks) {
      const guest = this.#guestCluster(block.index)
      await this.#openTable(Math.floor(guest / (this.#plan.clusterSize / ENTRY_SIZE)))
      if (block.kind === 'zeros') continue
      const position = this.#place(block, guest)
      const { bytes } = block
      const isNext =
        pending !== undefined &&
        pending.position + pending.bytes.length === position &&
        pending.bytes.byteOffset + pending.bytes.length === bytes.byteOffset
      if (pending && isNext) pending.bytes = new Uint8Array(bytes.buffer, pending.bytes.byteOffset, pending.bytes.length + bytes.length)
      else {
        if (pending) await this.#write(pending.position, pending.bytes)
        pending = { position, bytes }
      }
    }
    if (pending) await this.#write(pending.position, pending.bytes)
  }

  /** Write the tables; the size of the image. */
  async finish(): Promise<number> {
    await this.#closeTable()
    const { clusterSize, l1Clusters } = this.#plan
    const { refcountBlockClusters, refcountTableClusters } = refcountClusters(this.#nextCluster, clusterSize)
    const blocksAt = this.#nextCluster
    const tableAt = blocksAt + refcountBlockClusters
    const end = tableAt + refcountTableClusters
    this.#refcounts.addRange(blocksAt, end)
    const countsPerBlock = clusterSize / REFCOUNT_SIZE
    for (let block = 0; block < refcountBlockClusters; block++) {
      await this.#write((blocksAt + block) * clusterSize, this.#refcounts.encode(block * countsPerBlock, countsPerBlock))
    }
    const table = new DataView(new ArrayBuffer(refcountTableClusters * clusterSize))
    for (let block = 0; block < refcountBlockClusters; block++) setEntry(table, block * ENTRY_SIZE, (blocksAt + block) * clusterSize, 0)
    await this.#write(tableAt * clusterSize, new Uint8Array(table.buffer))
    if (l1Clusters > 0) await this.#write(clusterSize, new Uint8Array(this.#l1.buffer))
    const places = { l1Cluster: 1, refcountTableCluster: tableAt, refcountTableClusters }
    await this.#write(0, encodeHeader(this.#plan, places, this.#plan.compressionType))
    return end * clusterSize
  }

  /** Where the block goes; notes it in the L2 table and the refcounts. */
  #place(block: CompressedBlock, guest: number): number {
    const { clusterSize, clusterBits } = this.#plan
    const entryAt = (guest % (clusterSize / ENTRY_SIZE)) * ENTRY_SIZE
    const { length } = block.bytes
    const table = this.#table?.view ?? this.#l1
    if (block.kind === 'stored') {
      const position = this.#take(1) * clusterSize
      setEntry(table, entryAt, position, HIGH.copied)
      return position
    }
    // What is left of a partly filled cluster is only of use if the next one follows it.
    const left = alignUp(this.#free, clusterSize) - this.#free
    if (length > left) {
      const cluster = this.#nextCluster
      if (left === 0 || cluster * clusterSize !== this.#free + left) this.#free = cluster * clusterSize
      this.#nextCluster += 1
    }
    const position = this.#free
    this.#free += length
    const sectors = Math.floor((position + length - 1) / 512) - Math.floor(position / 512)
    const offsetBits = compressedOffsetBits(clusterBits)
    if (position >= 2 ** offsetBits) {
      throw new ImageError('LIMIT', `qcow2: compressed clusters of ${clusterSize} bytes lie below 2^${offsetBits}; choose smaller clusters`)
    }
    const high = sectors * 2 ** (offsetBits - 32)
    setEntry(table, entryAt, position, (HIGH.compressed | high) >>> 0)
    this.#refcounts.addRange(Math.floor(position / clusterSize), Math.floor((position + length - 1) / clusterSize) + 1)
    return position
  }

  /** Free clusters in a row, with one reference each; the number of the first. */
  #take(count: number): number {
    const first = this.#nextCluster
    this.#nextCluster += count
    this.#refcounts.addRange(first, this.#nextCluster)
    return first
  }

  async #openTable(index: number): Promise<void> {
    if (this.#table?.index === index) return
    await this.#closeTable()
    this.#table = { index, view: new DataView(new ArrayBuffer(this.#plan.clusterSize)) }
  }

  /** Write the L2 table that is open, unless all of its clusters are zeros. */
  async #closeTable(): Promise<void> {
    if (this.#table === undefined) return
    const { index, view } = this.#table
    const bytes = new Uint8Array(view.buffer)
    this.#table = undefined
    if (bytes.every((byte) => byte === 0)) return
    const position = this.#take(1) * this.#plan.clusterSize
    setEntry(this.#l1, index * ENTRY_SIZE, position, HIGH.copied)
    await this.#write(position, bytes)
  }

  async #write(position: number, bytes: Uint8Array): Promise<void> {
    await this.#target.write(this.#start + position, bytes)
  }
}

/**
 * Reference counts in memory that grows with the file: two bytes a cluster. 16 bits are enough: even 2 MiB of one
 * byte take 73 bytes of zstd and 2032 of deflate, so that fewer than 30,000 compressed clusters share a cluster.
 */
class Refcounts {
  #counts = new Uint16Array(1 << 12)

  addRange(first: number, end: number): void {
    if (end > this.#counts.length) {
      const grown = new Uint16Array(unitsFor(end, 1 << 12) * (1 << 12) + (this.#counts.length >> 1))
      grown.set(this.#counts)
      this.#counts = grown
    }
    for (let cluster = first; cluster < end; cluster++) this.#counts[cluster] = (this.#counts[cluster] ?? 0) + 1
  }

  encode(first: number, count: number): Uint8Array {
    const bytes = Buffer.alloc(count * REFCOUNT_SIZE)
    for (const [index, value] of this.#counts.subarray(first, first + count).entries()) bytes.writeUInt16BE(value, index * REFCOUNT_SIZE)
    return bytes
  }
}
