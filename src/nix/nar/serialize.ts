/**
 * NAR, the serialisation of a store path whose SHA-256 and length are registered (Nix manual, "Nix Archive
 * (NAR) Format"; `libutil/archive.cc`). Strings are a 64-bit little endian length, bytes, and zeros up to a
 * multiple of 8; entries are sorted by bytes. Of a node's attributes only the owner's execute bit counts.
 *
 * Not supported, as in Nix: devices, pipes and sockets; more than 64 levels; names beyond 255 bytes; link
 * targets beyond 4095 bytes.
 */
import { compareBytes } from '../../bytes/order.ts'
import { printable, utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { isEntryName } from '../../tree/limits.ts'
import type { Entry, FileNode, SymlinkNode, TreeDigest, TreeNode } from '../../tree/tree.ts'
import { sortedEntries } from '../../tree/tree.ts'

/** Levels of a tree, the root counted: Nix 2.28.7, 2.30.5 and later refuse more (`libutil/archive.cc`). */
export const NAR_DEPTH_LIMIT = 64
/** Bytes of the name of an entry, and of the target of a link. */
export const NAR_NAME_LIMIT = 255
export const NAR_TARGET_LIMIT = 4095

/** A framing piece is handed on when it has grown to this many bytes. */
const PIECE_SIZE = 64 * 1024

/** Bytes between two files, gathered in one buffer that is used again after each `take`. */
class Framing {
  #buffer = Buffer.alloc(4096)
  #length = 0

  get length(): number {
    return this.#length
  }

  add(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
  }

  addLength(length: number): void {
    this.#reserve(8)
    this.#buffer.writeUInt32LE(length % 2 ** 32, this.#length)
    this.#buffer.writeUInt32LE(Math.floor(length / 2 ** 32), this.#length + 4)
    this.#length += 8
  }

  /** The zeros after a string of `length` bytes. */
  addPadding(length: number): void {
    const count = padding(length)
    this.#reserve(count)
    this.#buffer.fill(0, this.#length, this.#length + count)
    this.#length += count
  }

  addString(bytes: Uint8Array): void {
    this.addLength(bytes.length)
    this.add(bytes)
    this.addPadding(bytes.length)
  }

  /** A copy of what was gathered; the next piece begins empty. */
  take(): Uint8Array {
    // Of memory that small pieces share: a piece a file of its own would cost more than all else here.
    const piece = Buffer.allocUnsafe(this.#length)
    this.#buffer.copy(piece, 0, 0, this.#length)
    this.#length = 0
    return piece
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#buffer.length) return
    const next = Buffer.alloc(Math.max(this.#buffer.length * 2, this.#length + count))
    next.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = next
  }
}

const MAGIC = narStrings('nix-archive-1')
const FILE_HEAD = narStrings('(', 'type', 'regular', 'contents')
const EXECUTABLE_HEAD = narStrings('(', 'type', 'regular', 'executable', '', 'contents')
const SYMLINK_HEAD = narStrings('(', 'type', 'symlink', 'target')
const DIRECTORY_HEAD = narStrings('(', 'type', 'directory')
const ENTRY_HEAD = narStrings('entry', '(', 'name')
const ENTRY_NODE = narStrings('node')
const CLOSE = narStrings(')')

/** A digest whose pieces are a NAR of `narSize` bytes. */
export interface NarDigest extends TreeDigest {
  readonly narSize: number
}

/**
 * The NAR of `node` as a digest that formats check while its files pass: the framing between two files is
 * one piece. `name` is named in a mismatch. Throws what `narSize` throws.
 */
export function narDigest(name: string, node: TreeNode, expected: Uint8Array): NarDigest {
  return { name, node, algorithm: 'sha256', expected, narSize: narSize(node, name), pieces: () => narPieces(node) }
}

/**
 * Bytes of the NAR of `node`. Throws LIMIT (levels, length of a name or target), BAD_INPUT (a name that no
 * directory can hold, twice the same name), UNSUPPORTED (a device, pipe or socket); `name` begins the message.
 */
export function narSize(node: TreeNode, name: string): number {
  return MAGIC.length + nodeSize(node, name, 1)
}

/** The NAR of `node`: framing bytes, and files whose content stands there. Empty files do not appear. */
export function* narPieces(node: TreeNode): Generator<Uint8Array | FileNode> {
  const framing = new Framing()
  framing.add(MAGIC)
  yield* nodePieces(node, framing)
  yield framing.take()
}

/** A directory whose entries are being written. */
interface Level {
  readonly entries: readonly Entry[]
  next: number
}

/** With a stack of its own: a generator in a generator hands each piece on through all levels. */
function* nodePieces(root: TreeNode, framing: Framing): Generator<Uint8Array | FileNode> {
  const levels: Level[] = []
  for (let node: TreeNode | undefined = root; node !== undefined; ) {
    switch (node.kind) {
      case 'file':
        framing.add(fileHead(node))
        framing.addLength(node.size)
        if (node.size > 0) {
          yield framing.take()
          yield node
          framing.addPadding(node.size)
        }
        framing.add(CLOSE)
        break
      case 'symlink':
        framing.add(SYMLINK_HEAD)
        framing.addString(node.target)
        framing.add(CLOSE)
        break
      case 'directory':
        framing.add(DIRECTORY_HEAD)
        levels.push({ entries: sortedEntries(node), next: 0 })
        break
      default:
        throw new ImageError('UNSUPPORTED', `a NAR has no ${node.kind}`)
    }
    const isEntry = node.kind !== 'directory'
    node = undefined
    if (isEntry && levels.length > 0) framing.add(CLOSE)
    for (let level = levels.at(-1); level !== undefined && node === undefined; level = levels.at(-1)) {
      if (framing.length >= PIECE_SIZE) yield framing.take()
      const entry: Entry | undefined = level.entries[level.next++]
      if (entry === undefined) {
        levels.pop()
        // Of the directory, and of the entry that it is.
        framing.add(CLOSE)
        if (levels.length > 0) framing.add(CLOSE)
      } else {
        framing.add(ENTRY_HEAD)
        framing.addString(entry.name)
        framing.add(ENTRY_NODE)
        node = entry.node
      }
    }
  }
}

function nodeSize(node: TreeNode, where: string, level: number): number {
  if (level > NAR_DEPTH_LIMIT) {
    throw new ImageError('LIMIT', `${where}: lies ${level} levels deep; Nix allows ${NAR_DEPTH_LIMIT} in a store path`, { path: where })
  }
  switch (node.kind) {
    case 'file':
      return fileHead(node).length + stringSize(node.size) + CLOSE.length
    case 'symlink':
      return SYMLINK_HEAD.length + stringSize(checkTarget(node, where)) + CLOSE.length
    case 'directory': {
      let size = DIRECTORY_HEAD.length + CLOSE.length
      let last: Uint8Array | undefined
      for (const entry of sortedEntries(node)) {
        // A name may be made when it is asked for.
        const { name, node: below } = entry
        checkName(name, last, where)
        last = name
        const inner = nodeSize(below, below.kind === 'file' ? where : `${where}/${printable(name)}`, level + 1)
        size += ENTRY_HEAD.length + stringSize(name.length) + ENTRY_NODE.length + inner + CLOSE.length
      }
      return size
    }
    default:
      throw new ImageError('UNSUPPORTED', `${where}: is a ${node.kind}; Nix keeps files, directories and symlinks only`, { path: where })
  }
}

function checkName(name: Uint8Array, last: Uint8Array | undefined, where: string): void {
  if (!isEntryName(name)) {
    throw new ImageError('BAD_INPUT', `${where}: '${printable(name)}' cannot be the name of an entry`, { path: where })
  }
  if (name.length > NAR_NAME_LIMIT)
    throw new ImageError('LIMIT', `${where}: the name ${printable(name)} has ${name.length} bytes, the limit is ${NAR_NAME_LIMIT}`, {
      path: where,
    })
  if (last !== undefined && compareBytes(last, name) === 0)
    throw new ImageError('BAD_INPUT', `${where}: has two entries named ${printable(name)}`, { path: where })
}

function checkTarget(node: SymlinkNode, where: string): number {
  const { length } = node.target
  if (length === 0 || length > NAR_TARGET_LIMIT)
    throw new ImageError('LIMIT', `${where}: the link target has ${length} bytes, 1 to ${NAR_TARGET_LIMIT} are possible`, { path: where })
  return length
}

/** The executable bit of a NAR is the owner's (`S_IXUSR`). */
function fileHead(node: FileNode): Uint8Array {
  return (node.mode & 0o100) === 0 ? FILE_HEAD : EXECUTABLE_HEAD
}

function stringSize(length: number): number {
  return 8 + length + padding(length)
}

/** Zeros that follow a string of `length` bytes. */
export function padding(length: number): number {
  return (8 - (length % 8)) % 8
}

/** The words of the format as they stand in a NAR. */
export function narStrings(...texts: readonly string[]): Buffer {
  const framing = new Framing()
  for (const text of texts) framing.addString(utf8(text))
  return Buffer.from(framing.take())
}
