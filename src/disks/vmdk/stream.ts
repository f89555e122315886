/**
 * streamOptimized: compressed grains behind markers, each grain table after the last grain that it names, then the
 * directory, the footer, and the end. The bytes are written in the order of the file, none twice.
 */
import { alignUp } from '../../bytes/align.ts'
import { type CompressedBlock, compressBlocks } from '../../codecs/blocks/index.ts'
import { checkCodecSpec } from '../../codecs/spec.ts'
import { ImageError } from '../../errors.ts'
import { blockFinder } from '../../io/block-runs.ts'
import { readBlocks } from '../../io/blocks.ts'
import type { BuildContext, Image } from '../../io/image.ts'
import { regionImage } from '../../io/region.ts'
import type { Target } from '../../io/target.ts'
import { encodeDescriptor, type VmdkOptions } from './descriptor.ts'
import {
  DEFLATE,
  DESCRIPTOR_OFFSET_SECTORS,
  DESCRIPTOR_SECTORS,
  DIRECTORY_AT_END,
  ENTRIES_PER_TABLE,
  ENTRY_SIZE,
  FLAG,
  GRAIN_SECTORS,
  GRAIN_SIZE,
  grainMarker,
  header,
  MAGIC,
  MARKER,
  metadataMarker,
  NEWLINES,
  SECTOR_LIMIT,
  SECTOR_SIZE,
  TABLE_SECTORS,
  VERSION,
} from './disk.ts'
import { planDisk, type VmdkDisk } from './plan.ts'

export interface VmdkStreamOptions extends VmdkOptions {
  /** Of deflate, 1 to 9; default 6, as qemu-img has it. */
  readonly level?: number
}

export const VMDK_STREAM_DEFAULTS = { level: 6 } as const

export interface VmdkStreamPlan extends VmdkDisk {
  readonly descriptor: Uint8Array
  readonly level: number
  readonly sizeLimit: number
}

/** Sectors before the first grain. */
const OVERHEAD_SECTORS = 128
/** The usual one of zlib streams. */
const WINDOW_BITS = 15
/** Deflate adds less than so many bytes to a grain that it cannot compress. */
const EXPANSION = 256

/** Throws LIMIT for a disk of more than 2 TiB, USAGE for a level or file name that does not exist. */
export function planStream(image: Image, options: VmdkStreamOptions): VmdkStreamPlan {
  const disk = planDisk(image)
  const { level } = checkCodecSpec({ name: 'gzip', level: options.level ?? VMDK_STREAM_DEFAULTS.level })
  const descriptor = encodeDescriptor('streamOptimized', disk.capacitySectors, options)
  const grainLimit = alignUp(grainMarker.size + GRAIN_SIZE + EXPANSION, SECTOR_SIZE)
  const tableLimit = disk.tableCount * (1 + TABLE_SECTORS) + 1 + disk.directorySectors + 3
  const sizeLimit = (OVERHEAD_SECTORS + tableLimit) * SECTOR_SIZE + disk.grains.blockCount * grainLimit
  return { ...disk, descriptor, level: level ?? VMDK_STREAM_DEFAULTS.level, sizeLimit }
}

export async function packStream(image: Image, plan: VmdkStreamPlan, target: Target, start: number, context: BuildContext): Promise<Image> {
  const packer = new Packer(plan, target, start)
  await packer.begin()
  const reader = readBlocks(image, plan.grains, GRAIN_SIZE, context.signal)
  const request = {
    codec: { name: 'deflate', level: plan.level, windowBits: WINDOW_BITS, isRaw: false },
    blockSize: GRAIN_SIZE,
    storeIncompressible: false,
  } as const
  await compressBlocks(reader, plan.grains.blockCount, request, context, (blocks) => packer.add(blocks))
  return regionImage(target, start, await packer.finish())
}

function encodeHeader(plan: VmdkStreamPlan, directoryOffset: number | bigint): Uint8Array {
  return header.encode({
    magic: MAGIC,
    version: VERSION.streamOptimized,
    flags: FLAG.newlineTest | FLAG.compressed | FLAG.markers,
    capacity: plan.capacitySectors,
    grainSize: GRAIN_SECTORS,
    descriptorOffset: DESCRIPTOR_OFFSET_SECTORS,
    descriptorSize: DESCRIPTOR_SECTORS,
    entriesPerTable: ENTRIES_PER_TABLE,
    directoryOffset,
    overhead: OVERHEAD_SECTORS,
    newlines: NEWLINES,
    compressAlgorithm: DEFLATE,
  })
}

class Packer {
  readonly #plan: VmdkStreamPlan
  readonly #target: Target
  readonly #start: number
  /** The grain with this number among those that are read. */
  readonly #grainOf: (index: number) => number
  readonly #directory: DataView
  #sector = 0
  #table: { readonly index: number; readonly entries: DataView; isUsed: boolean } | undefined

  constructor(plan: VmdkStreamPlan, target: Target, start: number) {
    this.#plan = plan
    this.#target = target
    this.#start = start
    this.#grainOf = blockFinder(plan.grains)
    this.#directory = new DataView(new ArrayBuffer(plan.directorySectors * SECTOR_SIZE))
  }

  async begin(): Promise<void> {
    const bytes = new Uint8Array(OVERHEAD_SECTORS * SECTOR_SIZE)
    bytes.set(encodeHeader(this.#plan, DIRECTORY_AT_END))
    bytes.set(this.#plan.descriptor, DESCRIPTOR_OFFSET_SECTORS * SECTOR_SIZE)
    await this.#write(bytes)
  }

  async add(blocks: readonly CompressedBlock[]): Promise<void> {
    for (const { index, kind, bytes } of blocks) {
      const grain = this.#grainOf(index)
      await this.#openTable(Math.floor(grain / ENTRIES_PER_TABLE))
      if (kind === 'zeros' || this.#table === undefined) continue
      if (this.#sector >= SECTOR_LIMIT)
        throw new ImageError('LIMIT', 'vmdk: the file reaches 2 TiB, beyond which nothing can be named; use qcow2')
      this.#table.entries.setUint32((grain % ENTRIES_PER_TABLE) * ENTRY_SIZE, this.#sector, true)
      this.#table.isUsed = true
      const record = new Uint8Array(alignUp(grainMarker.size + bytes.length, SECTOR_SIZE))
      grainMarker.write(record, 0, { sector: grain * GRAIN_SECTORS, size: bytes.length })
      record.set(bytes, grainMarker.size)
      await this.#write(record)
    }
  }

  /** Write the directory, the footer and the end; the size of the file. */
  async finish(): Promise<number> {
    await this.#closeTable()
    await this.#marker(MARKER.grainDirectory, this.#plan.directorySectors)
    const directorySector = this.#sector
    await this.#write(new Uint8Array(this.#directory.buffer))
    await this.#marker(MARKER.footer, 1)
    await this.#write(encodeHeader(this.#plan, directorySector))
    await this.#marker(MARKER.endOfStream, 0)
    return this.#sector * SECTOR_SIZE
  }

  async #openTable(index: number): Promise<void> {
    if (this.#table?.index === index) return
    await this.#closeTable()
    this.#table = { index, entries: new DataView(new ArrayBuffer(TABLE_SECTORS * SECTOR_SIZE)), isUsed: false }
  }

  async #closeTable(): Promise<void> {
    const table = this.#table
    if (table === undefined || !table.isUsed) return
    this.#table = undefined
    await this.#marker(MARKER.grainTable, TABLE_SECTORS)
    this.#directory.setUint32(table.index * ENTRY_SIZE, this.#sector, true)
    await this.#write(new Uint8Array(table.entries.buffer))
  }

  async #marker(type: number, sectorCount: number): Promise<void> {
    await this.#write(metadataMarker.encode({ type, sectorCount }))
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await this.#target.write(this.#start + this.#sector * SECTOR_SIZE, bytes)
    this.#sector += bytes.length / SECTOR_SIZE
  }
}
