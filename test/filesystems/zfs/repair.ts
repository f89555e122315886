/**
 * Damages to pools in files, which can be undone. Where only the meaning is to be wrong, a block is replaced and the
 * checksums of all blocks above it are made right again, up to the uberblocks.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { deflateSync } from 'node:zlib'
import { checksumOf, seal } from '../../readers/zfs-reader/checksums.ts'
import { openZfs, type ZfsReading } from '../../readers/zfs-reader/index.ts'
import { labelPlaces, type Uberblock } from '../../readers/zfs-reader/labels.ts'
import type { StoredObject } from '../../readers/zfs-reader/objset.ts'
import { POINTER_SIZE } from '../../readers/zfs-reader/pointer.ts'
import { type BlockNode, FRONT_SIZE, nameOf, readBlock } from '../../readers/zfs-reader/pool.ts'

const GZIP_9 = 13
const COMPRESSION_OFF = 2
/** Places in a block pointer. */
const AT = { sizes: 48, compression: 52, checksum: 96 } as const
const EMBEDDED_FLAG = 0x80
const EMBEDDED_MAXIMUM = 112
const EMBEDDED_PARTS = [
  [0, 48],
  [56, 80],
  [88, 128],
] as const

export class Damage {
  readonly #path: string
  readonly #old: { readonly at: number; readonly bytes: Buffer }[] = []
  /** Blocks that were stored since the pool was read, by name. */
  readonly #stored = new Map<string, Buffer>()

  constructor(path: string) {
    this.#path = path
  }

  /** Flip a bit of the first copies of a block. */
  flip({ pointer }: BlockNode, copies = 1): void {
    for (const { place } of pointer.copies.slice(0, copies)) this.flipAt(FRONT_SIZE + place + Math.min(100, pointer.physicalSize - 1))
  }

  flipAt(place: number): void {
    this.#edit(place, 1, (bytes) => bytes.writeUInt8(bytes.readUInt8(0) ^ 1))
  }

  /** Change the content of the block that `find` gives, and repair what is above it. */
  change(find: (reading: ZfsReading) => BlockNode | undefined, edit: (content: Buffer, reading: ZfsReading) => void): void {
    this.#withReading((reading) => {
      const node = find(reading)
      if (node === undefined) throw new Error('the pool has no such block')
      const content = this.#contentOf(reading, node)
      edit(content, reading)
      this.#store(reading, node, content)
    })
  }

  /** Change the content of an object, which may be several blocks without indirect ones. */
  changeObject(find: (reading: ZfsReading) => StoredObject | undefined, edit: (content: Buffer, blockSize: number) => void): void {
    this.#withReading((reading) => {
      const object = find(reading)
      if (object?.content === undefined) throw new Error('the pool has no such object')
      const { blockSize, holder } = object
      const content = Buffer.from(object.content)
      edit(content, blockSize)
      const sets = [reading.meta.objset, ...[...reading.sets.values()].map(({ objset }) => objset)]
      const objset = sets.find(({ name }) => name === holder.objset)
      for (const node of objset?.blocks.filter((own) => own.object === object.object && own.level === 0) ?? []) {
        const block = content.subarray(node.index * blockSize, (node.index + 1) * blockSize)
        if (!block.equals(this.#contentOf(reading, node))) this.#store(reading, node, block)
      }
    })
  }

  /** Change the dnode of an object, with its bonus. */
  changeDnode(
    find: (reading: ZfsReading) => StoredObject | undefined,
    edit: (dnode: Buffer, object: StoredObject, reading: ZfsReading) => void,
  ): void {
    this.change(
      (reading) => find(reading)?.holder,
      (content, reading) => {
        const object = find(reading) as StoredObject
        edit(content.subarray(object.at, object.at + object.bytes.length), object, reading)
      },
    )
  }

  undo(): void {
    for (const { at, bytes } of this.#old.splice(0).reverse()) this.#write(at, bytes)
  }

  #withReading(use: (reading: ZfsReading) => void): void {
    this.#stored.clear()
    const reading = openZfs(this.#path)
    try {
      use(reading)
    } finally {
      reading.close()
    }
  }

  #contentOf({ pool }: ZfsReading, node: BlockNode): Buffer {
    const content = this.#stored.get(nameOf(node)) ?? readBlock(pool, node)
    if (content === undefined) throw new Error(`${nameOf(node)}: it cannot be read`)
    return Buffer.from(content)
  }

  /** Store a block where it was, then its pointer in the block above it, and so on. */
  #store(reading: ZfsReading, node: BlockNode, content: Buffer): void {
    const pointer = this.#storedPointer(reading, node, content)
    this.#stored.set(nameOf(node), content)
    if (node.holder === undefined) {
      this.#storeRoot(reading, pointer)
      return
    }
    const above = this.#contentOf(reading, node.holder)
    pointer.copy(above, node.at)
    this.#store(reading, node.holder, above)
  }

  #storedPointer(reading: ZfsReading, node: BlockNode, content: Buffer): Buffer {
    const { pointer, holder, at } = node
    const above = holder === undefined ? reading.pool.device.read(reading.labels.uberblock.place, 1024) : this.#contentOf(reading, holder)
    const bytes = Buffer.from(above.subarray(at, at + POINTER_SIZE))
    const packed = pointer.compression === COMPRESSION_OFF ? content : deflateSync(content, { level: 9 })
    const isEmbedded = pointer.payload !== undefined
    if (packed.length > (isEmbedded ? EMBEDDED_MAXIMUM : pointer.physicalSize))
      throw new Error(`${nameOf(node)}: it has no room for the change`)
    if (pointer.compression !== COMPRESSION_OFF) bytes.writeUInt8(GZIP_9 | (isEmbedded ? EMBEDDED_FLAG : 0), AT.compression)
    if (isEmbedded) {
      bytes.writeUInt32LE(((content.length - 1) | ((packed.length - 1) << 25)) >>> 0, AT.sizes)
      const payload = Buffer.concat([packed, Buffer.alloc(EMBEDDED_MAXIMUM - packed.length)])
      let done = 0
      for (const [start, end] of EMBEDDED_PARTS) done += payload.copy(bytes, start, done, done + end - start)
      return bytes
    }
    const stored = Buffer.concat([packed, Buffer.alloc(pointer.physicalSize - packed.length)])
    for (const { place } of pointer.copies) this.#edit(FRONT_SIZE + place, stored.length, (old) => stored.copy(old))
    const words = checksumOf(pointer.checksum, stored)
    if (words === undefined) throw new Error(`${nameOf(node)}: the checksum ${pointer.checksum} is not known`)
    words.copy(bytes, AT.checksum)
    return bytes
  }

  #storeRoot({ pool, labels }: ZfsReading, pointer: Buffer): void {
    this.changeUberblocks(labelPlaces(pool.device), labels.uberblock, (bytes) => pointer.copy(bytes, 40))
  }

  /** Change the uberblock in these labels. */
  changeUberblocks(labels: readonly number[], uberblock: Uberblock, edit: (bytes: Buffer) => void): void {
    const inLabel = uberblock.place % (256 << 10)
    for (const label of labels) {
      this.#edit(label + inLabel, uberblock.size, (bytes) => {
        edit(bytes)
        seal(bytes, label + inLabel)
      })
    }
  }

  #edit(at: number, length: number, edit: (bytes: Buffer) => void): void {
    const fd = openSync(this.#path, 'r')
    const bytes = Buffer.alloc(length)
    readSync(fd, bytes, 0, length, at)
    closeSync(fd)
    this.#old.push({ at, bytes: Buffer.from(bytes) })
    edit(bytes)
    this.#write(at, bytes)
  }

  #write(at: number, bytes: Buffer): void {
    const fd = openSync(this.#path, 'r+')
    writeSync(fd, bytes, 0, bytes.length, at)
    closeSync(fd)
  }
}

const CHUNK = { size: 24, array: 251, free: 253 } as const
const CHUNK_END = 0xffff

/** Take a name out of a ZAP as if it had never been there. Throws when it has none. */
export function removeName(zap: Buffer, blockSize: number, name: string): void {
  if (zap.readBigUInt64LE(0) === 0x8000000000000003n) {
    for (let at = 64; at < zap.length; at += 64) {
      if (zap.subarray(at + 14, zap.indexOf(0, at + 14)).toString() === name) {
        zap.fill(0, at, at + 64)
        return
      }
    }
    throw new Error(`there is no ${name}`)
  }
  for (let start = blockSize; start < zap.length; start += blockSize) {
    if (removeFromLeaf(zap.subarray(start, start + blockSize), name)) {
      zap.writeUInt32LE(zap.readUInt32LE(72) - 1, 72)
      return
    }
  }
  throw new Error(`there is no ${name}`)
}

function removeFromLeaf(leaf: Buffer, name: string): boolean {
  const buckets = leaf.length / 32
  const place = (chunk: number): number => 48 + 2 * buckets + CHUNK.size * chunk
  const free = (first: number): void => {
    for (let chunk = first; chunk !== CHUNK_END; ) {
      const next = leaf.readUInt16LE(place(chunk) + 22)
      leaf.fill(0, place(chunk), place(chunk) + CHUNK.size)
      leaf.writeUInt8(CHUNK.free, place(chunk))
      leaf.writeUInt16LE(leaf.readUInt16LE(34), place(chunk) + 22)
      leaf.writeUInt16LE(chunk, 34)
      leaf.writeUInt16LE(leaf.readUInt16LE(28) + 1, 28)
      chunk = next
    }
  }
  for (let bucket = 0; bucket < buckets; bucket++) {
    let link = 48 + 2 * bucket
    for (let chunk = leaf.readUInt16LE(link); chunk !== CHUNK_END; chunk = leaf.readUInt16LE(link)) {
      const at = place(chunk)
      if (nameAt(leaf, place, leaf.readUInt16LE(at + 4), leaf.readUInt16LE(at + 6) - 1) !== name) {
        link = at + 2
        continue
      }
      leaf.writeUInt16LE(leaf.readUInt16LE(at + 2), link)
      free(leaf.readUInt16LE(at + 4))
      free(leaf.readUInt16LE(at + 8))
      leaf.writeUInt16LE(CHUNK_END, at + 22)
      free(chunk)
      leaf.writeUInt16LE(leaf.readUInt16LE(30) - 1, 30)
      return true
    }
  }
  return false
}

function nameAt(leaf: Buffer, place: (chunk: number) => number, first: number, length: number): string {
  const parts: Buffer[] = []
  for (let chunk = first; chunk !== CHUNK_END; chunk = leaf.readUInt16LE(place(chunk) + 22)) {
    parts.push(leaf.subarray(place(chunk) + 1, place(chunk) + 22))
  }
  return Buffer.concat(parts).subarray(0, length).toString()
}
