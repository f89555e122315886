/**
 * Reads tar archives from the specification alone (POSIX.1-2024, pax, "Extended Description"; GNU tar manual, "Basic Tar
 * Format") and is strict: every byte has to be what the format says, or it throws.
 */

export interface ReadMember {
  readonly path: Buffer
  readonly type: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtimeSeconds: number
  readonly linkTarget: Buffer
  readonly deviceMajor: number
  readonly deviceMinor: number
  readonly xattrs: ReadonlyMap<string, Buffer>
  readonly content: Buffer
  /** Keywords of its pax header and types of its GNU members, in order. */
  readonly extensions: readonly string[]
}

const BLOCK = 512

/** All members in order. */
export function readTar(bytes: Uint8Array): ReadMember[] {
  const archive = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  if (archive.length === 0 || archive.length % 10240 !== 0) throw new Error(`${archive.length} bytes are not whole records`)
  const members: ReadMember[] = []
  const seen = new Map<string, string>()
  let pending: Extensions = none()
  let at = 0
  while (at < archive.length && archive[at] !== 0) {
    const header = archive.subarray(at, at + BLOCK)
    checkHeader(header, at)
    const type = String.fromCharCode(header[156] ?? 0)
    const size = pending.pax.has('size') && type !== 'x' ? decimal(pending.pax.get('size')) : number(header, 124, 12)
    const start = at + BLOCK
    const end = start + size
    at = start + Math.ceil(size / BLOCK) * BLOCK
    if (at > archive.length) throw new Error(`the content at ${start} ends behind the archive`)
    const body = archive.subarray(start, end)
    if (!isZero(archive.subarray(end, at))) throw new Error(`what pads the content at ${start} is not zero`)
    if (type === 'x' || type === 'L' || type === 'K') {
      addExtension(pending, type, body)
      continue
    }
    const read = member(header, type, body, pending)
    checkMember(read, seen)
    members.push(read)
    pending = none()
  }
  if (pending.kinds.length > 0) throw new Error('an extension stands before nothing')
  if (archive.length - at < 2 * BLOCK || !isZero(archive.subarray(at))) throw new Error(`no end of archive at ${at}`)
  return members
}

interface Extensions {
  readonly pax: Map<string, Buffer>
  readonly kinds: string[]
  path: Buffer | undefined
  linkTarget: Buffer | undefined
}

function none(): Extensions {
  return { pax: new Map(), kinds: [], path: undefined, linkTarget: undefined }
}

function addExtension(extensions: Extensions, type: 'x' | 'L' | 'K', body: Buffer): void {
  if (type !== 'x') {
    if (body.indexOf(0) !== body.length - 1) throw new Error('a long name has to end with its only zero byte')
    const field = type === 'L' ? 'path' : 'linkTarget'
    if (extensions[field] !== undefined) throw new Error('a long name is given twice')
    extensions[field] = body.subarray(0, -1)
    extensions.kinds.push(type)
    return
  }
  if (extensions.kinds.length > 0) throw new Error('a pax header behind another extension')
  for (let at = 0; at < body.length; ) {
    const blank = body.indexOf(' ', at)
    const length = decimal(body.subarray(at, blank))
    const record = body.subarray(blank + 1, at + length)
    const equals = record.indexOf('=')
    if (at + length > body.length || record.at(-1) !== 0x0a || equals < 1) throw new Error(`pax record at ${at} is malformed`)
    const keyword = record.subarray(0, equals).toString('utf8')
    if (!/^(hdrcharset|path|linkpath|size|uid|gid|mtime|SCHILY\.xattr\..+)$/s.test(keyword)) throw new Error(`pax keyword '${keyword}'`)
    if (extensions.pax.has(keyword)) throw new Error(`pax keyword '${keyword}' twice`)
    extensions.pax.set(keyword, record.subarray(equals + 1, -1))
    extensions.kinds.push(keyword)
    at += length
  }
  const names = ['path', 'linkpath'].map((keyword) => extensions.pax.get(keyword) ?? Buffer.alloc(0))
  const binary = extensions.pax.get('hdrcharset')
  if (binary !== undefined && (binary.toString() !== 'BINARY' || extensions.kinds[0] !== 'hdrcharset')) throw new Error('hdrcharset')
  const decodes = names.every((name) => Buffer.from(name.toString('utf8')).equals(name))
  if (decodes !== (binary === undefined)) throw new Error('hdrcharset says the contrary of what is so')
}

function member(header: Buffer, type: string, content: Buffer, { pax, kinds, path, linkTarget }: Extensions): ReadMember {
  const gnu = isGnu(header)
  const prefix = gnu ? Buffer.alloc(0) : text(header, 345, 155)
  const name = text(header, 0, 100)
  const short = prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from('/'), name])
  const value = (keyword: string, offset: number, width: number): number => {
    const field = number(header, offset, width)
    const record = pax.get(keyword)
    if (record !== undefined && decimal(record) !== field) throw new Error(`${keyword} is ${field} and ${decimal(record)}`)
    return field
  }
  const device = (offset: number): number =>
    gnu && !'34'.includes(type) && isZero(header.subarray(offset, offset + 8)) ? 0 : number(header, offset, 8)
  const xattrs = [...pax].filter(([keyword]) => keyword.startsWith('SCHILY.xattr.'))
  return {
    path: pax.get('path') ?? path ?? short,
    type,
    mode: number(header, 100, 8),
    uid: value('uid', 108, 8),
    gid: value('gid', 116, 8),
    mtimeSeconds: value('mtime', 136, 12),
    linkTarget: pax.get('linkpath') ?? linkTarget ?? text(header, 157, 100),
    deviceMajor: device(329),
    deviceMinor: device(337),
    xattrs: new Map(xattrs.map(([keyword, bytes]) => [keyword.slice('SCHILY.xattr.'.length), bytes])),
    content,
    extensions: kinds,
  }
}

function checkMember(member: ReadMember, seen: Map<string, string>): void {
  const path = member.path.toString('latin1')
  if (!'0123456'.includes(member.type)) throw new Error(`${path}: type '${member.type}'`)
  if (path.split('/').some((part, i, all) => part === '.' || part === '..' || (part === '' && i !== all.length - 1))) {
    throw new Error(`'${path}' is no path`)
  }
  if (path.endsWith('/') !== (member.type === '5')) throw new Error(`${path}: a slash at the end is for directories`)
  if (seen.has(path)) throw new Error(`${path}: is there twice`)
  const target = member.linkTarget.toString('latin1')
  if ((target !== '') !== '12'.includes(member.type)) throw new Error(`${path}: link target '${target}'`)
  const linked = seen.get(target)
  if (member.type === '1' && (linked === undefined || '15'.includes(linked))) throw new Error(`${path}: no earlier '${target}'`)
  if (member.content.length > 0 && member.type !== '0') throw new Error(`${path}: only files have content`)
  if ((member.deviceMajor > 0 || member.deviceMinor > 0) && !'134'.includes(member.type)) throw new Error(`${path}: is no device`)
  seen.set(path, member.type)
}

function isGnu(header: Buffer): boolean {
  return header.subarray(257, 265).toString('latin1') === 'ustar  \0'
}

function checkHeader(header: Buffer, at: number): void {
  if (!isGnu(header) && header.subarray(257, 265).toString('latin1') !== 'ustar\x0000') throw new Error(`no header at ${at}`)
  const stated = /^([0-7]{6})\0 $/.exec(header.subarray(148, 156).toString('latin1'))
  let sum = 8 * 0x20
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += header[i] ?? 0
  if (stated === null || Number.parseInt(stated[1] ?? '', 8) !== sum) throw new Error(`wrong checksum at ${at}`)
  if (!isZero(header.subarray(265, 329))) throw new Error(`owner names at ${at}`)
  if (!isZero(header.subarray(isGnu(header) ? 345 : 500, BLOCK))) throw new Error(`bytes behind the header at ${at}`)
}

/** A field of bytes up to the first zero; nothing may stand behind it. */
function text(header: Buffer, offset: number, width: number): Buffer {
  const field = header.subarray(offset, offset + width)
  const end = field.indexOf(0)
  if (end === -1) return field
  if (!isZero(field.subarray(end))) throw new Error(`bytes behind the text at ${offset}`)
  return field.subarray(0, end)
}

function number(header: Buffer, offset: number, width: number): number {
  const field = header.subarray(offset, offset + width)
  if (((field[0] ?? 0) & 0x80) !== 0) {
    const bits = BigInt(`0x${field.toString('hex')}`) & ((1n << BigInt(8 * width - 1)) - 1n)
    return Number(BigInt.asIntN(8 * width - 1, bits))
  }
  const digits = field.toString('latin1')
  if (!/^[0-7]+\0$/.test(digits)) throw new Error(`'${digits}' is no number`)
  return Number.parseInt(digits, 8)
}

function decimal(bytes: Buffer | undefined): number {
  const digits = bytes?.toString('latin1') ?? ''
  if (!/^(0|-?[1-9][0-9]*)$/.test(digits)) throw new Error(`'${digits}' is no decimal number`)
  return Number(digits)
}

function isZero(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false
  return true
}
