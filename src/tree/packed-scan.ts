/**
 * Scanned trees as bytes, to be sent to another thread: a structured clone of as many objects costs more than the scan.
 *
 * A node is its kind, the number of its attributes and what the kind has besides: the size of a file, the target of a link,
 * the entries of a directory in their order, each with its name. Only what `scanHost` gives can be packed: where a file's
 * bytes are follows from the names.
 */
import { printable } from '../bytes/text.ts'
import { undoCaseHack } from './case-hack.ts'
import { HostContent, HostEntry, type HostPlace, placeOf, small } from './host-content.ts'
import type { Attributes, Entry, TreeNode } from './tree.ts'

export interface PackedScan {
  /** `ATTRIBUTE_FIELDS` numbers each. */
  readonly attributes: Float64Array<ArrayBuffer>
  /** The nodes, one tree after the other. */
  readonly bytes: Uint8Array<ArrayBuffer>
}

const ATTRIBUTE_FIELDS = 4
const KIND = { file: 0, directory: 1, symlink: 2 } as const

/** Pack trees one after the other. Names of entries have to be those on the host. */
export class ScanPacker {
  readonly #attributes: number[] = []
  readonly #known = new Map<string, number>()
  #bytes = Buffer.allocUnsafeSlow(1 << 16)
  #length = 0

  /** Throws RangeError for what no scan gives. */
  add(node: TreeNode): void {
    const attributes = this.#attributesOf(node)
    this.#reserve(9)
    if (node.kind !== 'file' && node.kind !== 'directory' && node.kind !== 'symlink') throw new RangeError(`a scan gives no ${node.kind}`)
    this.#length = this.#bytes.writeUInt8(KIND[node.kind], this.#length)
    this.#length = this.#bytes.writeUInt32LE(attributes, this.#length)
    switch (node.kind) {
      case 'file':
        this.#reserve(8)
        this.#length = this.#bytes.writeDoubleLE(node.size, this.#length)
        return
      case 'symlink':
        this.#addText(node.target)
        return
      case 'directory':
        this.#length = this.#bytes.writeUInt32LE(node.entries.length, this.#length)
        for (const entry of node.entries) {
          this.#addText(entry.name)
          this.add(entry.node)
        }
    }
  }

  finish(): PackedScan {
    return { attributes: Float64Array.from(this.#attributes), bytes: new Uint8Array(this.#bytes.subarray(0, this.#length)) }
  }

  #attributesOf({ mode, uid, gid, mtimeSeconds }: Attributes): number {
    const key = `${mode} ${uid} ${gid} ${mtimeSeconds}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const index = this.#known.size
    this.#known.set(key, index)
    this.#attributes.push(mode, uid, gid, mtimeSeconds)
    return index
  }

  #addText(text: Uint8Array): void {
    this.#reserve(4 + text.length)
    this.#length = this.#bytes.writeUInt32LE(text.length, this.#length)
    this.#bytes.set(text, this.#length)
    this.#length += text.length
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, this.#length + count))
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
  }
}

/**
 * The trees that were packed, of which the first was scanned at the first of `paths`, and so on. Throws what `undoCaseHack`
 * throws where that is asked for.
 */
export function unpackScans({ attributes, bytes }: PackedScan, paths: readonly string[], caseHack = false): TreeNode[] {
  const reader = new ScanReader(attributes, bytes, caseHack)
  return paths.map((path) => reader.node(placeOf(Buffer.from(path)), Buffer.from(path)))
}

class ScanReader {
  readonly #attributes: readonly Attributes[]
  readonly #bytes: Buffer
  readonly #caseHack: boolean
  #at = 0

  constructor(attributes: Float64Array, bytes: Uint8Array, caseHack: boolean) {
    const field = (at: number): number => small(attributes[at] as number)
    this.#attributes = Array.from({ length: attributes.length / ATTRIBUTE_FIELDS }, (_, index) => {
      const at = ATTRIBUTE_FIELDS * index
      return { mode: field(at), uid: field(at + 1), gid: field(at + 2), mtimeSeconds: field(at + 3) }
    })
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#caseHack = caseHack
  }

  /** `path` is that of the node itself, of which only a directory has need. */
  node(place: HostPlace, path?: Uint8Array): TreeNode {
    const kind = this.#bytes.readUInt8(this.#at)
    const { mode, uid, gid, mtimeSeconds } = this.#attributes[this.#bytes.readUInt32LE(this.#at + 1)] as Attributes
    this.#at += 5
    switch (kind) {
      case KIND.file: {
        const size = small(this.#bytes.readDoubleLE(this.#at))
        this.#at += 8
        return { kind: 'file', mode, uid, gid, mtimeSeconds, size, content: new HostContent(place) }
      }
      case KIND.symlink:
        return { kind: 'symlink', mode, uid, gid, mtimeSeconds, target: this.#text() }
      case KIND.directory:
        return {
          kind: 'directory',
          mode,
          uid,
          gid,
          mtimeSeconds,
          entries: this.#entries(path ?? Buffer.concat([place.folder, place.name])),
        }
      default:
        throw new RangeError(`a scan gives no node of kind ${kind}`)
    }
  }

  #entries(path: Uint8Array): readonly Entry[] {
    const count = this.#bytes.readUInt32LE(this.#at)
    this.#at += 4
    const folder = Buffer.concat([path, SLASH])
    const entries: Entry[] = new Array(count)
    for (let index = 0; index < count; index++) {
      const start = this.#at + 4
      this.#at = start + this.#bytes.readUInt32LE(this.#at)
      const entry = new HostEntry(folder, this.#bytes, start, this.#at)
      entry.node = this.node(entry)
      entries[index] = entry
    }
    return this.#caseHack ? undoCaseHack(entries, printable(path)) : entries
  }

  /** A view of the message: it is kept as long as any name of it is. */
  #text(): Uint8Array {
    const start = this.#at + 4
    this.#at = start + this.#bytes.readUInt32LE(this.#at)
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + start, this.#at - start)
  }
}

const SLASH = Buffer.from('/')
