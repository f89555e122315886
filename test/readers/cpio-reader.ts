/**
 * A reader of newc archives that shares nothing with the writer, after buffer-format.rst and what
 * `init/initramfs.c` does: several archives one after the other, zeros between them. It decompresses nothing
 * and is stricter than other readers: padding is zero, digits are hexadecimal, nothing is left over.
 */

export interface CpioEntry {
  /** Of the header, from the beginning of the bytes. */
  readonly start: number
  readonly name: Buffer
  readonly ino: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly nlink: number
  readonly mtime: number
  readonly devmajor: number
  readonly devminor: number
  readonly rdevmajor: number
  readonly rdevminor: number
  readonly data: Buffer
}

export interface CpioMember {
  readonly start: number
  /** Behind the padding of the trailer; what follows may be zeros. */
  readonly end: number
  readonly entries: readonly CpioEntry[]
}

const PATH_MAX = 4096

/** All archives of `bytes`, which hold nothing else but zeros. */
export function readCpio(bytes: Uint8Array): CpioMember[] {
  const members: CpioMember[] = []
  let at = 0
  while (true) {
    while (at < bytes.length && bytes[at] === 0) at++
    if (at === bytes.length) return members
    const member = readCpioMember(bytes, at)
    members.push(member)
    at = member.end
  }
}

/** The archive that begins at `start`; what comes after it is not looked at. */
export function readCpioMember(bytes: Uint8Array, start = 0): CpioMember {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  if (start % 4 !== 0) throw new Error(`an archive begins at ${start}, which is no multiple of 4`)
  const entries: CpioEntry[] = []
  let at = start
  while (true) {
    const { entry, end } = readEntry(all, at)
    at = end
    if (entry.name.equals(Buffer.from('TRAILER!!!'))) {
      if (entry.data.length > 0 || entry.mode !== 0) throw new Error(`the trailer at ${entry.start} has a mode or data`)
      return { start, end, entries }
    }
    entries.push(entry)
  }
}

function readEntry(all: Buffer, start: number): { entry: CpioEntry; end: number } {
  const header = cut(all, start, 110).toString('latin1')
  const match = /^070701((?:[0-9A-Fa-f]{8}){13})$/.exec(header)
  if (!match) throw new Error(`no newc header at ${start}: ${JSON.stringify(header)}`)
  const numbers = (match[1] ?? '').match(/.{8}/g)?.map((digits) => Number.parseInt(digits, 16)) ?? []
  const [ino, mode, uid, gid, nlink, mtime, size, devmajor, devminor, rdevmajor, rdevminor, nameSize, check] = numbers as [
    ...[number, number, number, number, number, number, number],
    ...[number, number, number, number, number, number],
  ]
  if (check !== 0) throw new Error(`the checksum at ${start} is ${check}, newc has none`)
  if (nameSize < 2 || nameSize > PATH_MAX) throw new Error(`the name at ${start} has ${nameSize} bytes`)
  const nameEnd = start + 110 + nameSize
  const name = cut(all, start + 110, nameSize)
  if (name.indexOf(0) !== nameSize - 1) throw new Error(`the name at ${start} does not end with its one zero byte`)
  const dataStart = padded(all, nameEnd)
  const data = cut(all, dataStart, size)
  const end = padded(all, dataStart + size)
  const entry = { start, name: name.subarray(0, -1), ino, mode, uid, gid, nlink, mtime, devmajor, devminor, rdevmajor, rdevminor, data }
  return { entry, end }
}

function cut(all: Buffer, start: number, length: number): Buffer {
  if (start + length > all.length) throw new Error(`the archive ends at ${all.length}, within ${length} bytes at ${start}`)
  return all.subarray(start, start + length)
}

/** The next multiple of 4, up to which there are zeros. */
function padded(all: Buffer, at: number): number {
  const end = Math.ceil(at / 4) * 4
  if (cut(all, at, end - at).some((byte) => byte !== 0)) throw new Error(`the padding at ${at} is not zero`)
  return end
}

export type CpioKind = 'file' | 'directory' | 'symlink' | 'characterDevice' | 'blockDevice' | 'fifo' | 'socket'

/** What stands at a path when Linux has unpacked everything. Hard links are one and the same object. */
export interface UnpackedNode {
  readonly kind: CpioKind
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: number
  /** Of a file its content, of a link its target. */
  data: Buffer
  /** Of devices, else 0:0. */
  readonly device: string
}

const KINDS: Readonly<Record<number, CpioKind>> = {
  1: 'fifo',
  2: 'characterDevice',
  4: 'directory',
  6: 'blockDevice',
  8: 'file',
  10: 'symlink',
  12: 'socket',
}

/**
 * Unpack as Linux does, into paths (one character a byte, latin1). What Linux drops without a word (a record
 * whose folder is not there, data of what has none) is an error here; `folders` are there already.
 */
export function unpackCpio(members: readonly CpioMember[], folders: readonly string[] = []): Map<string, UnpackedNode> {
  const nodes = new Map<string, UnpackedNode>()
  for (const { entries } of members) {
    const links = new Map<string, UnpackedNode>()
    for (const entry of entries) {
      const path = entry.name.toString('latin1')
      const folder = path.slice(0, Math.max(0, path.lastIndexOf('/')))
      if (folder !== '' && !folders.includes(folder) && nodes.get(folder)?.kind !== 'directory')
        throw new Error(`${path}: its folder is not there`)
      const kind = KINDS[entry.mode >> 12]
      if (kind === undefined) throw new Error(`${path}: mode 0${entry.mode.toString(8)} is of no kind`)
      if (kind !== 'file' && kind !== 'symlink' && entry.data.length > 0) throw new Error(`${path}: a ${kind} with data`)
      if (kind === 'symlink' && (entry.data.length === 0 || entry.data.length >= PATH_MAX))
        throw new Error(`${path}: a link target of ${entry.data.length} bytes`)
      const key = `${entry.devmajor}:${entry.devminor}:${entry.ino}:${kind}`
      const isLinked = entry.nlink > 1 && kind !== 'directory' && kind !== 'symlink'
      const first = isLinked ? links.get(key) : undefined
      if (first !== undefined && entry.data.length > 0) first.data = entry.data
      const { uid, gid, mtime, data } = entry
      const own: UnpackedNode = { kind, mode: entry.mode & 0o7777, uid, gid, mtime, data, device: `${entry.rdevmajor}:${entry.rdevminor}` }
      if (first !== undefined && JSON.stringify({ ...own, data: '' }) !== JSON.stringify({ ...first, data: '' })) {
        throw new Error(`${path}: is a hard link with other attributes than its first name`)
      }
      const node = first ?? own
      if (isLinked) links.set(key, node)
      nodes.set(path, node)
    }
  }
  return nodes
}
