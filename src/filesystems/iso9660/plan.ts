/** Where everything on the volume goes. */
import { alignUp, unitsFor } from '../../bytes/align.ts'
import { ImageError } from '../../errors.ts'
import { contentExtents } from '../../tree/content.ts'
import { checkDepth } from '../../tree/depth.ts'
import type { DirectoryNode, FileNode } from '../../tree/tree.ts'
import { BLOCK_LIMIT, BLOCK_SIZE, SYSTEM_AREA_BLOCKS } from './disk.ts'
import { CATALOG_LENGTH } from './el-torito.ts'
import {
  buildHierarchy,
  type Encoding,
  type Hierarchy,
  type HierarchyOptions,
  type Location,
  type PlacedHierarchy,
  placeHierarchy,
  sectionCount,
} from './hierarchy.ts'
import { type Geometry, isohybridGeometry, NIXPKGS_GPT_BLOCKS, PARTITION_OFFSET_BLOCKS } from './hybrid.ts'
import { type FileData, fileAt, type ItemTree, walk, withFile } from './nodes.ts'
import { checkOptions, ISO9660_DEFAULTS, type Iso9660Options } from './options.ts'

/** Start of a growing file; what `GrowingImage.pack` asks for. */
const GROWING_ALIGNMENT_BLOCKS = 4096 / BLOCK_SIZE
/** Partitions and the end of a partitioned image: 1 MiB, as partitioning tools have it; costs 2 MiB at most. */
const PARTITION_ALIGNMENT_BLOCKS = (1 << 20) / BLOCK_SIZE
/**
 * Zero blocks after the last file: drives report the two run-out blocks of a CD written track at once
 * as part of it, and a kernel that reads ahead into them gets an error. ECMA-130 asks for 150 blocks.
 */
const RUN_OUT_BLOCKS = 150
/** 512-byte sectors of the backup GPT of 128 entries: array and header. */
const GPT_BACKUP_SECTORS = 33
const SECTORS_PER_BLOCK = BLOCK_SIZE / 512

/** Addresses that do not depend on the growing file. */
export interface Layout {
  readonly options: Iso9660Options
  readonly items: ItemTree
  /** First block of the volume descriptors, and of those of the partition's own tree. */
  readonly descriptorBlock: number
  readonly partitionDescriptorBlock: number | undefined
  readonly primary: PlacedHierarchy
  readonly joliet: PlacedHierarchy | undefined
  readonly partitionPrimary: PlacedHierarchy | undefined
  readonly partitionJoliet: PlacedHierarchy | undefined
  /** Files written before the growing file, in order of address. */
  readonly fixedFiles: readonly FileData[]
  readonly fixedLocations: ReadonlyMap<FileData, Location>
  readonly catalog: FileData | undefined
  readonly biosImage: FileData | undefined
  readonly efiImage: FileData | undefined
  /** Files whose bytes lie in the EFI image, and at which of its blocks. */
  readonly shared: ReadonlyMap<FileData, number>
  readonly growing: FileData | undefined
  /** The EFI image, where it comes last of all as a partition. */
  readonly esp: FileData | undefined
  /** First block after the fixed files; the growing file's own when there is one. */
  readonly growingBlock: number
  /** Every block before it is system area, descriptor, path table or directory. */
  readonly firstDataBlock: number
}

/** Addresses of the whole image. */
export interface FinalLayout {
  readonly layout: Layout
  readonly locate: (data: FileData) => Location
  readonly totalBlocks: number
  /** Blocks of the partition with the ISO, from block 16; set for a `gpt` hybrid. */
  readonly isoPartitionBlocks: number
  /** BIOS geometry of a `nixpkgs` hybrid. */
  readonly geometry: Geometry
}

/** Check everything and compute addresses. Throws USAGE, NOT_FOUND, LIMIT, UNSUPPORTED, BAD_INPUT. */
export function layOut(root: DirectoryNode, options: Iso9660Options): Layout {
  checkOptions(options)
  checkDepth(root)
  const { boot } = options
  const hybridGpt = options.hybrid?.kind === 'gpt'
  const { tree, catalogNode, growingNode } = completeTree(root, options)
  const items = walk(tree, { rockRidge: options.rockRidge ?? ISO9660_DEFAULTS.rockRidge })
  const dataOf = (node: FileNode | undefined): FileData | undefined => (node === undefined ? undefined : items.dataOf.get(node))
  const catalog = dataOf(catalogNode)
  const growing = dataOf(growingNode)
  const biosImage = boot?.bios && dataOf(fileAt(tree, boot.bios.path, 'BIOS boot file'))
  const efiImage = boot?.efi && dataOf(fileAt(tree, boot.efi.path, 'EFI boot image'))
  checkBootImage(biosImage, 'BIOS boot file', [catalog, growing])
  checkBootImage(efiImage, 'EFI boot image', [catalog, growing, biosImage])
  const esp = hybridGpt ? efiImage : undefined
  const shared = sharedFiles(items, efiImage, boot?.efi?.contains ?? new Map(), [catalog, growing, biosImage])

  const sizeLimit = Math.min(options.growingFile?.image.sizeLimit ?? 0, BLOCK_LIMIT * BLOCK_SIZE)
  const sectionLimit = (data: FileData): number => sectionCount(data === growing ? sizeLimit : data.node.size)
  const encoding: Encoding = (options.rockRidge ?? ISO9660_DEFAULTS.rockRidge) ? 'rockRidge' : 'plain'
  const withJoliet = options.joliet ?? ISO9660_DEFAULTS.joliet
  const build = (encodingOfTree: Encoding, leaveOut: HierarchyOptions['leaveOut']): Hierarchy =>
    buildHierarchy(items.root, { encoding: encodingOfTree, leaveOut, sectionLimit })

  let next = SYSTEM_AREA_BLOCKS
  const descriptorBlock = next
  next += 2 + (boot === undefined ? 0 : 1) + (withJoliet ? 1 : 0)
  const partitionDescriptorBlock = hybridGpt ? PARTITION_OFFSET_BLOCKS + SYSTEM_AREA_BLOCKS : undefined
  if (partitionDescriptorBlock !== undefined) next = partitionDescriptorBlock + 2 + (withJoliet ? 1 : 0)
  const place = (hierarchy: Hierarchy, base: number): PlacedHierarchy => {
    const placed = placeHierarchy(hierarchy, next, base)
    next += hierarchy.blockCount
    return placed
  }
  const nothingLeftOut: ReadonlySet<FileData> = new Set()
  const primary = place(build(encoding, nothingLeftOut), 0)
  const joliet = withJoliet ? place(build('joliet', nothingLeftOut), 0) : undefined
  // The EFI image lies behind the partition's end, so the partition's own tree shows neither it nor what lies in it.
  const beyond = new Set(esp === undefined ? [] : [esp, ...shared.keys()])
  const partitionPrimary = hybridGpt ? place(build(encoding, beyond), PARTITION_OFFSET_BLOCKS) : undefined
  const partitionJoliet = hybridGpt && withJoliet ? place(build('joliet', beyond), PARTITION_OFFSET_BLOCKS) : undefined

  // What boots comes first: it is read first, and an isohybrid MBR needs a low address.
  const first = [catalog, biosImage].filter((data) => data !== undefined)
  const last = new Set([growing, esp])
  const fixedFiles = [...first, ...items.files.filter((data) => !first.includes(data) && !last.has(data) && !shared.has(data))]
  const fixedLocations = new Map<FileData, Location>()
  // Empty files point at a block of their own: readers know boot files and the catalogue by their address.
  const firstDataBlock = next
  if (fixedFiles.some((data) => data.node.size === 0)) next++
  for (const data of [...fixedFiles, ...last]) {
    if (data !== undefined && data !== catalog && data !== growing) contentExtents(data.node, 0, data.path)
  }
  for (const data of fixedFiles) {
    const { size } = data.node
    fixedLocations.set(data, { block: size === 0 ? firstDataBlock : next, size })
    next += unitsFor(size, BLOCK_SIZE)
    checkBlocks(next)
  }
  const growingBlock = growing === undefined ? next : alignUp(next, GROWING_ALIGNMENT_BLOCKS)
  const layout: Layout = {
    options,
    items,
    descriptorBlock,
    partitionDescriptorBlock,
    primary,
    joliet,
    partitionPrimary,
    partitionJoliet,
    fixedFiles,
    fixedLocations,
    catalog,
    biosImage,
    efiImage,
    shared,
    growing,
    esp,
    growingBlock,
    firstDataBlock,
  }
  finishLayout(layout, 0)
  return layout
}

/** Throws USAGE for files that are not in the tree or in the image, or that have bytes of their own. */
function sharedFiles(
  items: ItemTree,
  image: FileData | undefined,
  contains: ReadonlyMap<FileNode, number>,
  others: readonly (FileData | undefined)[],
): Map<FileData, number> {
  const shared = new Map<FileData, number>()
  for (const [node, offset] of contains) {
    const data = items.dataOf.get(node)
    if (data === undefined || image === undefined) throw new ImageError('USAGE', 'iso9660: what the EFI image contains is not in the tree')
    const { path } = data
    if (data === image || others.includes(data)) throw new ImageError('USAGE', `iso9660: '${path}' has bytes of its own`, { path })
    if (
      !Number.isSafeInteger(offset) ||
      offset < 0 ||
      offset % BLOCK_SIZE !== 0 ||
      node.size === 0 ||
      offset + node.size > image.node.size
    ) {
      const message = `iso9660: '${path}' (${node.size} bytes) cannot lie at byte ${offset} of the EFI image, which has ${image.node.size}; give whole blocks of ${BLOCK_SIZE} bytes`
      throw new ImageError('USAGE', message, { path })
    }
    shared.set(data, offset / BLOCK_SIZE)
  }
  return shared
}

/** A boot image has bytes of its own that are known before packing. */
function checkBootImage(image: FileData | undefined, what: string, others: readonly (FileData | undefined)[]): void {
  if (image === undefined) return
  const { path } = image
  if (others.includes(image))
    throw new ImageError('USAGE', `iso9660: ${what} '${path}' serves another purpose already; name another file`, { path })
  if (image.node.size === 0) throw new ImageError('USAGE', `iso9660: ${what} '${path}' is empty`, { path })
}

/** The tree with the catalogue and the growing file in it. */
function completeTree(
  root: DirectoryNode,
  options: Iso9660Options,
): { tree: DirectoryNode; catalogNode: FileNode | undefined; growingNode: FileNode | undefined } {
  const { boot, growingFile, mtimeSeconds } = options
  let tree = root
  let catalogNode: FileNode | undefined
  let growingNode: FileNode | undefined
  const nothing = { kind: 'bytes', bytes: new Uint8Array(0) } as const
  if (boot !== undefined) {
    catalogNode = { kind: 'file', mode: 0o444, uid: 0, gid: 0, mtimeSeconds, size: CATALOG_LENGTH, content: nothing }
    tree = withFile(tree, boot.catalogPath, catalogNode, 'boot catalogue')
  }
  if (growingFile !== undefined) {
    const { path, image: _, ...attributes } = growingFile
    growingNode = { kind: 'file', ...attributes, size: 0, content: nothing }
    tree = withFile(tree, path, growingNode, 'growing file')
  }
  return { tree, catalogNode, growingNode }
}

function checkBlocks(blockCount: number): void {
  if (blockCount > BLOCK_LIMIT) {
    throw new ImageError(
      'LIMIT',
      `iso9660: the volume needs ${blockCount} blocks of ${BLOCK_SIZE} bytes, ${BLOCK_LIMIT} are possible (8 TiB)`,
    )
  }
}

/** The rest of the addresses, once the growing file has `growingSize` bytes. Throws LIMIT. */
export function finishLayout(layout: Layout, growingSize: number): FinalLayout {
  const { options, growing, esp, fixedLocations } = layout
  const locations = new Map(fixedLocations)
  if (growing !== undefined) locations.set(growing, { block: layout.growingBlock, size: growingSize })
  const dataEnd = layout.growingBlock + unitsFor(growingSize, BLOCK_SIZE)
  let totalBlocks = dataEnd + RUN_OUT_BLOCKS
  let isoPartitionBlocks = 0
  let geometry = isohybridGeometry(totalBlocks * BLOCK_SIZE)
  switch (options.hybrid?.kind) {
    case 'gpt': {
      let end = dataEnd
      if (esp !== undefined) {
        const espBlock = alignUp(dataEnd, PARTITION_ALIGNMENT_BLOCKS)
        locations.set(esp, { block: espBlock, size: esp.node.size })
        end = espBlock + unitsFor(esp.node.size, BLOCK_SIZE)
        isoPartitionBlocks = espBlock - PARTITION_OFFSET_BLOCKS
      } else {
        isoPartitionBlocks = dataEnd - PARTITION_OFFSET_BLOCKS
      }
      totalBlocks = alignUp(end + unitsFor(GPT_BACKUP_SECTORS, SECTORS_PER_BLOCK), PARTITION_ALIGNMENT_BLOCKS)
      break
    }
    case 'nixpkgs': {
      if (layout.efiImage !== undefined) totalBlocks += NIXPKGS_GPT_BLOCKS
      geometry = isohybridGeometry(totalBlocks * BLOCK_SIZE)
      totalBlocks = unitsFor(alignUp(totalBlocks * BLOCK_SIZE, geometry.alignment), BLOCK_SIZE)
      break
    }
    case 'none':
    case undefined:
  }
  checkBlocks(totalBlocks)
  const imageBlock = layout.efiImage === undefined ? 0 : (locations.get(layout.efiImage)?.block ?? 0)
  for (const [data, block] of layout.shared) locations.set(data, { block: imageBlock + block, size: data.node.size })
  const locate = (data: FileData): Location => locations.get(data) as Location
  return { layout, locate, totalBlocks, isoPartitionBlocks, geometry }
}

/** Bytes of the image when its growing file has `growingLimit` bytes, or as many as a volume can hold. */
export function largestSize(layout: Layout, growingLimit: number): number {
  const volumeLimit = BLOCK_LIMIT * BLOCK_SIZE
  if (growingLimit >= volumeLimit) return volumeLimit
  // Alignment, run-out and tables after the growing file need a few cylinders at most.
  const roomLimit = volumeLimit - layout.growingBlock * BLOCK_SIZE - (layout.esp?.node.size ?? 0) - (1 << 25)
  return growingLimit > roomLimit ? volumeLimit : finishLayout(layout, growingLimit).totalBlocks * BLOCK_SIZE
}
