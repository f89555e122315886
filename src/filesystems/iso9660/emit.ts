/** Bytes of the volume: file data first, in order of address, then everything that names it. */
import { utf8, utf16 } from '../../bytes/text.ts'
import { ImageError, throwIfAborted } from '../../errors.ts'
import { type BuildContext, type Extent, type Image, moveExtent } from '../../io/image.ts'
import { regionImage } from '../../io/region.ts'
import type { Target } from '../../io/target.ts'
import { contentExtents } from '../../tree/content.ts'
import { BLOCK_SIZE, bootRecordDescriptor, DESCRIPTOR_TYPE, STANDARD_IDENTIFIER, terminator, volumeDate, volumeDescriptor } from './disk.ts'
import { bootCatalog, patchBootInfoTable } from './el-torito.ts'
import { encodeHierarchy, type PlacedHierarchy } from './hierarchy.ts'
import { checkBootFile, gptRecords, nixpkgsRecords, type SystemRecord } from './hybrid.ts'
import { BLANKS, mediaCheck } from './media-check.ts'
import type { FileData } from './nodes.ts'
import { ISO9660_DEFAULTS, type Iso9660Options } from './options.ts'
import { type FinalLayout, finishLayout, type Layout } from './plan.ts'

/** Write the volume at `start` of `target`. */
export async function emit(layout: Layout, target: Target, start: number, context: BuildContext): Promise<Image> {
  const writer = new VolumeWriter(target, start, context)
  const { growing, esp, options, fixedFiles } = layout
  const written = [...fixedFiles, ...(esp === undefined ? [] : [esp])].filter((data) => data !== layout.catalog)
  writer.beginStage(written.reduce((sum, data) => sum + data.node.size, 0))
  for (const data of fixedFiles) {
    const position = (layout.fixedLocations.get(data)?.block ?? 0) * BLOCK_SIZE
    if (data === layout.biosImage) {
      await writer.write(position, await biosImageBytes(layout, data))
      writer.count(data.node.size)
    } else if (data !== layout.catalog) await writer.copy(position, data)
  }
  let packed: Image = { size: 0, extents: [] }
  const growingStart = layout.growingBlock * BLOCK_SIZE
  if (growing !== undefined && options.growingFile !== undefined) {
    packed = await options.growingFile.image.pack(target, start + growingStart, context)
    if (packed.size > options.growingFile.image.sizeLimit) {
      const { sizeLimit } = options.growingFile.image
      throw new ImageError('LIMIT', `iso9660: ${growing.path}: ${packed.size} bytes were packed, ${sizeLimit} were announced at most`, {
        path: growing.path,
      })
    }
    writer.repeatStage()
  }
  const final = finishLayout(layout, packed.size)
  if (esp !== undefined) await writer.copy(final.locate(esp).block * BLOCK_SIZE, esp)
  for (const { position, bytes } of metadata(final)) await writer.write(position, bytes)
  const extents = [...writer.extents(), ...packed.extents.map((extent) => moveExtent(extent, growingStart))]
  const image = { size: final.totalBlocks * BLOCK_SIZE, extents: extents.sort((a, b) => a.start - b.start) }
  if (options.mediaCheck === true) {
    const position = layout.descriptorBlock * BLOCK_SIZE + volumeDescriptor.fields.applicationUse[0]
    await writer.write(position, await mediaCheck(image, context.signal))
  }
  return image
}

/** Writes pieces, counts them, and remembers where they are. */
class VolumeWriter {
  readonly #target: Target
  readonly #start: number
  readonly #context: BuildContext
  readonly #regions: { start: number; length: number }[] = []
  #totalBytes = 0
  #doneBytes = 0

  constructor(target: Target, start: number, context: BuildContext) {
    this.#target = target
    this.#start = start
    this.#context = context
  }

  beginStage(totalBytes: number): void {
    this.#totalBytes = totalBytes
    this.repeatStage()
  }

  repeatStage(): void {
    this.#context.onProgress?.({ kind: 'stage', stage: 'write', totalBytes: this.#totalBytes })
    this.count(0)
  }

  async write(position: number, bytes: Uint8Array): Promise<void> {
    const { signal } = this.#context
    throwIfAborted(signal)
    if (bytes.length === 0) return
    await this.#target.write(this.#start + position, bytes)
    const last = this.#regions.at(-1)
    if (last !== undefined && last.start + last.length === position) last.length += bytes.length
    else this.#regions.push({ start: position, length: bytes.length })
  }

  /** The bytes of a file; holes of its image are not written. */
  async copy(position: number, data: FileData): Promise<void> {
    let copied = 0
    for (const extent of contentExtents(data.node, position, data.path)) {
      let at = extent.start
      for await (const chunk of extent.read()) {
        await this.write(at, chunk)
        at += chunk.length
        this.count(chunk.length)
      }
      if (at !== extent.start + extent.length) {
        throw new ImageError('CHANGED', `iso9660: ${data.path}: ${at - extent.start} bytes came, ${extent.length} were announced`, {
          path: data.path,
        })
      }
      copied += extent.length
    }
    this.count(data.node.size - copied)
  }

  /** File data counts as progress; the records take no time. */
  count(length: number): void {
    this.#doneBytes += length
    this.#context.onProgress?.({ kind: 'bytes', stage: 'write', doneBytes: this.#doneBytes })
  }

  /** What was written, read back from the target. */
  extents(): Extent[] {
    return this.#regions.flatMap(({ start, length }) =>
      regionImage(this.#target, this.#start + start, length).extents.map((extent) => moveExtent(extent, start)),
    )
  }
}

async function biosImageBytes(layout: Layout, data: FileData): Promise<Uint8Array> {
  const { options } = layout
  const bytes = new Uint8Array(data.node.size)
  for (const extent of contentExtents(data.node, 0, data.path)) {
    let at = extent.start
    for await (const chunk of extent.read()) {
      bytes.set(chunk, at)
      at += chunk.length
    }
  }
  const hybrid = options.hybrid ?? { kind: 'none' }
  if (hybrid.kind !== 'none' && hybrid.bootCode !== undefined) checkBootFile(bytes, data.path)
  if (options.boot?.bios?.bootInfoTable ?? ISO9660_DEFAULTS.bootInfoTable) {
    patchBootInfoTable(bytes, layout.fixedLocations.get(data)?.block ?? 0, layout.descriptorBlock, data.path)
  }
  return bytes
}

/** Everything that is not a file's data, in the order in which ECMA-119 describes it. */
function metadata(final: FinalLayout): SystemRecord[] {
  const { layout, locate, totalBlocks } = final
  const { options, catalog, descriptorBlock, partitionDescriptorBlock } = layout
  const records = systemRecords(final)
  const hierarchies: SystemRecord[] = []
  const encode = (placed: PlacedHierarchy): Uint8Array => {
    const { bytes, rootRecord } = encodeHierarchy(placed, locate)
    hierarchies.push({ position: placed.start * BLOCK_SIZE, bytes })
    return rootRecord
  }
  // Of the whole medium alone: either sum, of it and of the partition, would be part of what the other is taken over.
  const useOf = (placed: PlacedHierarchy): Uint8Array =>
    options.mediaCheck === true && placed === layout.primary ? BLANKS : new Uint8Array(0)
  const descriptorSet = (block: number, bootBlock: number | undefined, trees: readonly PlacedHierarchy[], spaceSize: number): void => {
    const [primary, ...others] = trees.map((placed) =>
      describeVolume(options, placed, encode(placed), spaceSize, { joliet: placed !== trees[0], applicationUse: useOf(placed) }),
    )
    const boot = bootBlock === undefined ? [] : [describeBoot(bootBlock)]
    const set = [...(primary === undefined ? [] : [primary]), ...boot, ...others, endOfSet()]
    set.forEach((bytes, index) => {
      records.push({ position: (block + index) * BLOCK_SIZE, bytes })
    })
  }
  const present = (...trees: readonly (PlacedHierarchy | undefined)[]): PlacedHierarchy[] => trees.filter((tree) => tree !== undefined)
  descriptorSet(descriptorBlock, catalog && locate(catalog).block, present(layout.primary, layout.joliet), totalBlocks)
  if (partitionDescriptorBlock !== undefined) {
    // The firmware looks for El Torito on whole media only, so the partition's set has no boot record.
    descriptorSet(partitionDescriptorBlock, undefined, present(layout.partitionPrimary, layout.partitionJoliet), final.isoPartitionBlocks)
  }
  records.push(...hierarchies)
  if (catalog !== undefined && options.boot !== undefined) {
    const bytes = bootCatalog(options.boot, {
      bios: layout.biosImage && locate(layout.biosImage),
      efi: layout.efiImage && locate(layout.efiImage),
    })
    records.push({ position: locate(catalog).block * BLOCK_SIZE, bytes })
  }
  return records
}

function systemRecords({ layout, locate, totalBlocks, isoPartitionBlocks, geometry }: FinalLayout): SystemRecord[] {
  const { options, biosImage, efiImage } = layout
  const at = { totalBlocks, isoPartitionBlocks, geometry, bios: biosImage && locate(biosImage), efi: efiImage && locate(efiImage) }
  switch (options.hybrid?.kind) {
    case 'gpt':
      return gptRecords(options.hybrid, at)
    case 'nixpkgs':
      return nixpkgsRecords(options.hybrid, at)
    case 'none':
    case undefined:
      return []
  }
}

/** Joliet level 3 (Joliet specification, "escape sequences"). */
const JOLIET_ESCAPE = utf8('%/E')

function describeVolume(
  options: Iso9660Options,
  placed: PlacedHierarchy,
  rootDirectoryRecord: Uint8Array,
  volumeSpaceSize: number,
  { joliet, applicationUse }: { readonly joliet: boolean; readonly applicationUse: Uint8Array },
): Uint8Array {
  const date = volumeDate(options.mtimeSeconds)
  const unspecified = volumeDate(undefined)
  const text = (value: string, length: number): Uint8Array => {
    if (joliet) return utf16(value.slice(0, length >> 1).padEnd(length >> 1, ' '), 'be')
    return utf8(value.padEnd(length, ' '))
  }
  return volumeDescriptor.encode({
    type: joliet ? DESCRIPTOR_TYPE.supplementary : DESCRIPTOR_TYPE.primary,
    standardIdentifier: STANDARD_IDENTIFIER,
    version: 1,
    systemIdentifier: text('', 32),
    volumeIdentifier: text(options.volumeId, 32),
    volumeSpaceSize,
    escapeSequences: joliet ? JOLIET_ESCAPE : new Uint8Array(0),
    volumeSetSize: 1,
    volumeSequenceNumber: 1,
    logicalBlockSize: BLOCK_SIZE,
    pathTableSize: placed.hierarchy.pathTableLength,
    pathTableLBlock: placed.pathTableLBlock - placed.base,
    pathTableMBlock: placed.pathTableMBlock - placed.base,
    rootDirectoryRecord,
    volumeSetIdentifier: text('', 128),
    publisherIdentifier: text(aCharacters(options.publisherId), 128),
    dataPreparerIdentifier: text(aCharacters(options.preparerId), 128),
    applicationIdentifier: text(aCharacters(options.applicationId), 128),
    copyrightFileIdentifier: text('', 37),
    abstractFileIdentifier: text('', 37),
    bibliographicFileIdentifier: text('', 37),
    creationDate: date,
    modificationDate: date,
    expirationDate: unspecified,
    effectiveDate: unspecified,
    fileStructureVersion: 1,
    applicationUse,
  })
}

/** ECMA-119 7.4.1: capitals, digits and a few signs. */
function aCharacters(text = ''): string {
  return text.toUpperCase().replaceAll(/[^A-Z0-9_ !"%&'()*+,\-./:;<=>?]/g, '_')
}

function describeBoot(catalogBlock: number): Uint8Array {
  return bootRecordDescriptor.encode({
    type: DESCRIPTOR_TYPE.boot,
    standardIdentifier: STANDARD_IDENTIFIER,
    version: 1,
    bootSystemIdentifier: utf8('EL TORITO SPECIFICATION'),
    catalogBlock,
  })
}

function endOfSet(): Uint8Array {
  return terminator.encode({ type: DESCRIPTOR_TYPE.terminator, standardIdentifier: STANDARD_IDENTIFIER, version: 1 })
}
