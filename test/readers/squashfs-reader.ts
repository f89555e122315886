/**
 * A SquashFS 4.0 reader that shares nothing with the writer and trusts nothing: every rule of the format
 * that can be checked is checked, and the first broken one is thrown with its place.
 */
import { inflateSync, zstdDecompressSync } from 'node:zlib'
import { check, type Decoder, Metadata, readLookupTable, type Source } from './squashfs-metadata.ts'
import { type DiskInode, type DiskListing, parseInodes, parseListing, parseXattrSets } from './squashfs-records.ts'

export type { Decoder, Source } from './squashfs-metadata.ts'

export interface ReadOptions {
  /** Decoders of `xz` and `lz4` blocks; gzip and zstd are Node's own. */
  readonly xz?: Decoder
  readonly lz4?: Decoder
  /** For images of mksquashfs, which counts no sparse bytes where the source's file had none. */
  readonly sparseUncounted?: boolean
}

export interface Superblock {
  readonly inodeCount: number
  readonly modificationTimeSeconds: number
  readonly blockSize: number
  readonly fragmentCount: number
  readonly compressor: 'gzip' | 'xz' | 'lz4' | 'zstd'
  readonly flags: number
  readonly idCount: number
  readonly rootInode: number
  readonly bytesUsed: number
  readonly idTable: number
  readonly xattrTable: number | undefined
  readonly inodeTable: number
  readonly directoryTable: number
  readonly fragmentTable: number
  readonly exportTable: number | undefined
  /** The compressor options without their header; undefined when there are none. */
  readonly compressorOptions: Uint8Array | undefined
  readonly dataStart: number
}

export interface ReadNode {
  readonly inode: DiskInode
  readonly uid: number
  readonly gid: number
  /** By name with prefix. */
  readonly xattrs: ReadonlyMap<string, Buffer>
  /** Of a directory: by name, one latin1 character a byte, in the order of the listing. */
  readonly children: ReadonlyMap<string, ReadNode>
}

export interface ReadImage {
  readonly superblock: Superblock
  readonly root: ReadNode
  readonly nodes: readonly ReadNode[]
  /** The blocks of a file, one after the other. */
  content(node: ReadNode): Generator<Uint8Array>
  /** Find an entry as the kernel does, by the index; `blocksRead` are the metadata blocks it had to decode. */
  lookup(directory: ReadNode, name: string): { readonly node: ReadNode | undefined; readonly blocksRead: number }
}

export function bytesSource(bytes: Uint8Array): Source {
  return {
    size: bytes.length,
    read(position, length) {
      if (position < 0 || position + length > bytes.length)
        throw new Error(`read of ${length} bytes at ${position}: beyond the image's end`)
      return bytes.subarray(position, position + length)
    },
  }
}

const NO_TABLE = 0xffffffffffffffffn
const COMPRESSORS: Readonly<Record<number, Superblock['compressor']>> = { 1: 'gzip', 4: 'xz', 5: 'lz4', 6: 'zstd' }
const OPTION_SIZES = { gzip: 8, xz: 8, lz4: 8, zstd: 4 }
const FLAGS_KNOWN = 0x0ffb
const FLAG_NO_FRAGMENTS = 0x10
const FLAG_EXPORTABLE = 0x80
const FLAG_NO_XATTRS = 0x200
const FLAG_OPTIONS = 0x400

export function readSuperblock(source: Source): Superblock {
  const bytes = source.read(0, 96)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const position = (at: number): number | undefined =>
    view.getBigUint64(at, true) === NO_TABLE ? undefined : Number(view.getBigUint64(at, true))
  const required = (at: number, name: string): number => {
    const value = position(at)
    check(value !== undefined && value <= source.size, () => `superblock: the ${name} lies at ${value}, the image has ${source.size} bytes`)
    return value
  }
  check(view.getUint32(0, true) === 0x73717368, () => 'superblock: wrong magic number')
  check(view.getUint16(28, true) === 4 && view.getUint16(30, true) === 0, () => 'superblock: version is not 4.0')
  const blockSize = view.getUint32(12, true)
  const blockLog = view.getUint16(22, true)
  check(blockLog >= 12 && blockLog <= 20 && 2 ** blockLog === blockSize, () => `superblock: block size ${blockSize}, block log ${blockLog}`)
  const compressor = COMPRESSORS[view.getUint16(20, true)]
  check(compressor !== undefined, () => `superblock: compressor ${view.getUint16(20, true)}`)
  const flags = view.getUint16(24, true)
  check((flags & ~FLAGS_KNOWN) === 0, () => `superblock: unknown flags 0x${flags.toString(16)}`)
  let compressorOptions: Uint8Array | undefined
  let dataStart = 96
  if (flags & FLAG_OPTIONS) {
    const header = source.read(96, 2)
    const size = ((header[1] as number) << 8) | (header[0] as number)
    check(size === (0x8000 | OPTION_SIZES[compressor]), () => `compressor options: header 0x${size.toString(16)}`)
    compressorOptions = source.read(98, OPTION_SIZES[compressor])
    dataStart = 98 + compressorOptions.length
  }
  check(compressor !== 'lz4' || compressorOptions !== undefined, () => 'compressor options: lz4 must have them')
  return {
    inodeCount: view.getUint32(4, true),
    modificationTimeSeconds: view.getUint32(8, true),
    blockSize,
    fragmentCount: view.getUint32(16, true),
    compressor,
    flags,
    idCount: view.getUint16(26, true),
    rootInode: Number(view.getBigUint64(32, true)),
    bytesUsed: required(40, 'end'),
    idTable: required(48, 'id table'),
    xattrTable: position(56),
    inodeTable: required(64, 'inode table'),
    directoryTable: required(72, 'directory table'),
    fragmentTable: required(80, 'fragment table'),
    exportTable: position(88),
    compressorOptions,
    dataStart,
  }
}

/** Read and check a whole image. Throws what is wrong with it. */
export function readSquashfs(source: Source, options: ReadOptions = {}): ReadImage {
  const superblock = readSuperblock(source)
  const { bytesUsed, inodeTable, directoryTable, inodeCount, idCount, flags } = superblock
  const decode = decoderOf(superblock.compressor, options)
  checkPadding(source, bytesUsed)
  check(
    superblock.dataStart <= inodeTable && inodeTable < directoryTable,
    () => `superblock: inode table at ${inodeTable}, directory table at ${directoryTable}`,
  )

  const fragments = readLookupTable(source, decode, 'fragment table', superblock.fragmentTable, superblock.fragmentCount, 16)
  check(!(flags & FLAG_NO_FRAGMENTS) || superblock.fragmentCount === 0, () => 'fragment table: the flags say there is none')
  check(fragments.start >= directoryTable, () => `fragment table: begins at ${fragments.start}, before the directory table`)
  let end = fragments.end
  check((superblock.exportTable !== undefined) === ((flags & FLAG_EXPORTABLE) !== 0), () => 'export table: the flags say otherwise')
  let exported: Uint8Array | undefined
  if (superblock.exportTable !== undefined) {
    const table = readLookupTable(source, decode, 'export table', superblock.exportTable, inodeCount, 8)
    check(table.start === end, () => `export table: begins at ${table.start}, the table before it ends at ${end}`)
    end = table.end
    exported = table.bytes
  }
  check(idCount > 0, () => 'id table: there are no ids')
  const idTable = readLookupTable(source, decode, 'id table', superblock.idTable, idCount, 4)
  check(idTable.start === end, () => `id table: begins at ${idTable.start}, the table before it ends at ${end}`)
  const xattrSets = readXattrs(source, decode, superblock, idTable.end)

  const inodeMetadata = new Metadata(source, decode, 'inode table', inodeTable, directoryTable)
  const directoryMetadata = new Metadata(source, decode, 'directory table', directoryTable, fragments.start)
  const inodes = parseInodes(inodeMetadata, superblock.blockSize)
  checkNumbers(inodes, inodeCount, exported)
  const fragmentEntries = parseFragments(fragments.bytes, superblock)
  const ids = new Uint32Array(Uint8Array.from(idTable.bytes).buffer)
  const nodes = inodes.map((inode) => makeNode(inode, ids, xattrSets))
  const usedIds = new Set(inodes.flatMap(({ uidIndex, gidIndex }) => [uidIndex, gidIndex]))
  check(
    usedIds.size === idCount && new Set(ids).size === idCount,
    () => `id table: ${idCount} ids, ${usedIds.size} are used, ${new Set(ids).size} differ`,
  )

  const { root, listings } = linkTree(nodes, superblock.rootInode, directoryMetadata)
  const readBlock = (position: number, word: number, length: number, what: string): Uint8Array => {
    const size = word & 0xffffff
    check((word & ~0x1ffffff) === 0 && size > 0 && size <= superblock.blockSize, () => `${what}: size word 0x${word.toString(16)}`)
    check(position >= superblock.dataStart && position + size <= inodeTable, () => `${what}: lies at ${position}, outside the data`)
    const bytes = source.read(position, size)
    const plain = word & 0x1000000 ? bytes : decode(bytes, superblock.blockSize)
    check(plain.length === length || length < 0, () => `${what}: decodes to ${plain.length} bytes instead of ${length}`)
    return plain
  }
  const zeros = new Uint8Array(superblock.blockSize)
  let cached: { index: number; bytes: Uint8Array } | undefined
  return {
    superblock,
    root,
    nodes,
    *content({ inode }) {
      const { file, number } = inode
      check(file !== undefined, () => `inode ${number}: not a file`)
      const { blockSize } = superblock
      check(file.blockWords.length > 0 || file.blocksStart === 0, () => `inode ${number}: no blocks, and they begin at ${file.blocksStart}`)
      check(
        file.fragmentIndex !== 0xffffffff || file.fragmentOffset === 0,
        () => `inode ${number}: no fragment, and an offset of ${file.fragmentOffset}`,
      )
      let position = file.blocksStart
      let sparse = 0
      for (const [index, word] of file.blockWords.entries()) {
        const length = Math.min(blockSize, file.size - index * blockSize)
        if (word === 0) sparse += length
        yield word === 0 ? zeros.subarray(0, length) : readBlock(position, word, length, `inode ${number}, block ${index}`)
        position += word & 0xffffff
      }
      // As mksquashfs counts: a file with content has at least one byte that is not sparse.
      const counted = Math.min(sparse, Math.max(file.size - 1, 0))
      check(
        file.sparse === counted || (options.sparseUncounted === true && file.sparse === 0),
        () => `inode ${number}: ${counted} sparse bytes, the inode says ${file.sparse}`,
      )
      if (file.fragmentIndex === 0xffffffff) return
      const fragment = fragmentEntries[file.fragmentIndex]
      const tail = file.size % blockSize
      check(
        fragment !== undefined && tail > 0,
        () => `inode ${number}: fragment ${file.fragmentIndex} of ${fragmentEntries.length}, tail of ${tail} bytes`,
      )
      if (cached?.index !== file.fragmentIndex) {
        cached = { index: file.fragmentIndex, bytes: readBlock(fragment.start, fragment.word, -1, `fragment ${file.fragmentIndex}`) }
      }
      const { bytes } = cached
      check(file.fragmentOffset + tail <= bytes.length, () => `inode ${number}: its tail ends beyond the fragment's ${bytes.length} bytes`)
      yield bytes.subarray(file.fragmentOffset, file.fragmentOffset + tail)
    },
    lookup(directory, name) {
      const listing = listings.get(directory)
      check(listing !== undefined, () => `inode ${directory.inode.number}: not a directory`)
      return lookup(directory, listing, name)
    },
  }
}

function decoderOf(compressor: Superblock['compressor'], options: ReadOptions): Decoder {
  if (compressor === 'gzip') return (bytes, maximum) => inflateSync(bytes, { maxOutputLength: maximum })
  if (compressor === 'zstd') return (bytes, maximum) => zstdDecompressSync(bytes, { maxOutputLength: maximum })
  const decoder = options[compressor]
  check(decoder !== undefined, () => `no decoder for ${compressor} was given`)
  return decoder
}

function checkPadding(source: Source, bytesUsed: number): void {
  const padded = Math.ceil(bytesUsed / 4096) * 4096
  check(source.size === padded, () => `padding: the image has ${source.size} bytes instead of ${padded}`)
  check(
    source.read(bytesUsed, padded - bytesUsed).every((byte) => byte === 0),
    () => 'padding: not zero',
  )
}

/** Numbers 1 to n, each once, and the export table in their order. */
function checkNumbers(inodes: readonly DiskInode[], count: number, exported: Uint8Array | undefined): void {
  check(inodes.length === count, () => `inode table: ${inodes.length} inodes, the superblock says ${count}`)
  const seen = new Set<number>()
  const view = exported && new DataView(exported.buffer, exported.byteOffset, exported.length)
  for (const { number, reference } of inodes) {
    check(number >= 1 && number <= count && !seen.has(number), () => `inode ${number}: the number is taken or not in 1 to ${count}`)
    seen.add(number)
    const entry = view?.getBigUint64((number - 1) * 8, true)
    check(entry === undefined || Number(entry) === reference, () => `export table: inode ${number} at ${entry}, it is at ${reference}`)
  }
}

function parseFragments(bytes: Uint8Array, { dataStart, inodeTable, fragmentCount }: Superblock): { start: number; word: number }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return Array.from({ length: fragmentCount }, (_, i) => {
    const start = Number(view.getBigUint64(i * 16, true))
    const word = view.getUint32(i * 16 + 8, true)
    const end = start + (word & 0xffffff)
    check(start >= dataStart && end > start && end <= inodeTable, () => `fragment ${i}: lies from ${start} to ${end}, outside the data`)
    check(view.getUint32(i * 16 + 12, true) === 0, () => `fragment ${i}: the unused field is not 0`)
    return { start, word }
  })
}

function readXattrs(source: Source, decode: Decoder, superblock: Superblock, start: number): ReadonlyMap<string, Buffer>[] {
  const { xattrTable, bytesUsed, flags } = superblock
  if (xattrTable === undefined) {
    check(start === bytesUsed, () => `id table: ends at ${start}, the image at ${bytesUsed}`)
    return []
  }
  check(!(flags & FLAG_NO_XATTRS), () => 'xattr table: the flags say there is none')
  const header = source.read(xattrTable, 16)
  const view = new DataView(header.buffer, header.byteOffset, 16)
  const keysStart = Number(view.getBigUint64(0, true))
  const count = view.getUint32(8, true)
  check(count > 0 && keysStart === start, () => `xattr table: ${count} sets, keys at ${keysStart} after a table that ends at ${start}`)
  check(view.getUint32(12, true) === 0, () => 'xattr table: the unused field is not 0')
  // The locations come after the 16 bytes of the header, which lies where a lookup table's locations would.
  const locations = source.read(xattrTable + 16, Math.ceil((count * 16) / 8192) * 8)
  check(
    xattrTable + 16 + locations.length === bytesUsed,
    () => `xattr table: ends at ${xattrTable + 16 + locations.length}, the image at ${bytesUsed}`,
  )
  const idsStart = Number(new DataView(locations.buffer, locations.byteOffset).getBigUint64(0, true))
  const ids = new Metadata(source, decode, 'xattr ids', idsStart, xattrTable)
  const blocks = [...ids.blocks.keys()].map((block) => BigInt(idsStart + block))
  check(
    Buffer.from(new BigUint64Array(blocks).buffer).equals(locations),
    () => `xattr ids: blocks lie at ${blocks}, not where the locations say`,
  )
  check(ids.bytes.length === count * 16, () => `xattr ids: ${ids.bytes.length} bytes for ${count} sets`)
  return parseXattrSets(new Metadata(source, decode, 'xattr keys', keysStart, idsStart), ids.bytes)
}

function makeNode(inode: DiskInode, ids: Uint32Array, xattrSets: readonly ReadonlyMap<string, Buffer>[]): ReadNode {
  const { number, uidIndex, gidIndex, xattrIndex } = inode
  const uid = ids[uidIndex]
  const gid = ids[gidIndex]
  check(uid !== undefined && gid !== undefined, () => `inode ${number}: ids ${uidIndex} and ${gidIndex} of ${ids.length}`)
  const xattrs = xattrIndex === 0xffffffff ? new Map() : xattrSets[xattrIndex]
  check(xattrs !== undefined, () => `inode ${number}: xattr set ${xattrIndex} of ${xattrSets.length}`)
  return { inode, uid, gid, xattrs, children: new Map() }
}

/** Follow every entry from the root: each inode is reached, as often as it says, and names its parent. */
function linkTree(nodes: readonly ReadNode[], rootReference: number, metadata: Metadata) {
  const byReference = new Map(nodes.map((node) => [node.inode.reference, node]))
  const root = byReference.get(rootReference)
  check(root?.inode.directory !== undefined, () => `superblock: no directory inode at the root's reference ${rootReference}`)
  check(
    root.inode.directory.parentInode === nodes.length + 1 || root.inode.directory.parentInode === 0,
    () => `root: its parent is inode ${root.inode.directory?.parentInode}`,
  )
  const listings = new Map<ReadNode, DiskListing>()
  const links = new Map<ReadNode, number>()
  let listed = 0
  for (const queue = [root]; queue.length > 0; ) {
    const directory = queue.pop() as ReadNode
    const { number } = directory.inode
    const listing = parseListing(directory.inode, metadata)
    listings.set(directory, listing)
    listed += listing.size
    let subdirectories = 0
    for (const { name, reference, inodeNumber, type } of listing.runs.flatMap((run) => run.entries)) {
      const child = byReference.get(reference)
      check(
        child !== undefined && child.inode.number === inodeNumber,
        () => `directory inode ${number}: '${name}' names inode ${inodeNumber} at ${reference}, which is not there`,
      )
      check(child.inode.type === type, () => `directory inode ${number}: '${name}' has type ${type}, its inode ${child.inode.type}`)
      ;(directory.children as Map<string, ReadNode>).set(name, child)
      links.set(child, (links.get(child) ?? 0) + 1)
      if (child.inode.directory === undefined) continue
      subdirectories++
      check(child !== root && links.get(child) === 1, () => `inode ${inodeNumber}: a directory with two names`)
      check(
        child.inode.directory.parentInode === number,
        () => `inode ${inodeNumber}: its parent is ${number}, it says ${child.inode.directory?.parentInode}`,
      )
      queue.push(child)
    }
    check(
      directory.inode.linkCount === subdirectories + 2,
      () => `inode ${number}: ${directory.inode.linkCount} links, ${subdirectories} subdirectories`,
    )
  }
  check(listed === metadata.bytes.length, () => `directory table: ${metadata.bytes.length} bytes, the listings have ${listed}`)
  for (const node of nodes) {
    const { number, linkCount, directory } = node.inode
    check(node === root || links.has(node), () => `inode ${number}: no entry names it`)
    check(
      directory !== undefined || links.get(node) === linkCount,
      () => `inode ${number}: ${linkCount} links, ${links.get(node)} entries name it`,
    )
  }
  return { root, listings }
}

/** As fs/squashfs/namei.c does it: the index gives where to begin, a larger first byte where to stop. */
function lookup(directory: ReadNode, { runs, index }: DiskListing, name: string) {
  let start = 0
  for (const entry of index) {
    if (entry.name > name) break
    start = entry.index
  }
  const blocks = new Set<number>()
  const begin = runs.findIndex((run) => run.start === start)
  for (const run of begin < 0 ? [] : runs.slice(begin)) {
    for (const entry of run.entries) {
      blocks.add(entry.block)
      if (entry.name === name) return { node: directory.children.get(name), blocksRead: blocks.size }
      if (entry.name.charCodeAt(0) > name.charCodeAt(0)) return { node: undefined, blocksRead: blocks.size }
    }
  }
  return { node: undefined, blocksRead: blocks.size }
}
