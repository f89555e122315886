/**
 * What a header cannot hold stands before it: in one pax header of records (POSIX.1-2024, pax, "pax Header
 * Block"), or in members of GNU tar, one a name.
 */
import { isUtf8 } from 'node:buffer'
import { compareBytes } from '../../bytes/order.ts'
import { utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { Xattr } from '../../tree/tree.ts'
import { type ExtensionType, ID_WIDTH, MTIME_WIDTH, nameLimit, octalLimit, PREFIX_LIMIT, SIZE_WIDTH, type TarFormat } from './disk.ts'

/** A member that belongs to the one behind it. */
export interface Extension {
  readonly type: ExtensionType
  readonly body: Uint8Array
}

/** The values of a member that may not fit into its header. */
export interface Extensible {
  readonly path: Uint8Array
  readonly linkTarget: Uint8Array
  readonly contentSize: number
  readonly uid: number
  readonly gid: number
  readonly mtimeSeconds: number
  readonly xattrs: readonly Xattr[]
}

/** libarchive takes no longer pax header (archive_read_support_format_tar.c). */
const PAX_LIMIT = 1 << 20

const SLASH = 0x2f
const NO_BYTES = new Uint8Array(0)

/** A path as the header holds it. */
export interface SplitPath {
  readonly prefix: Uint8Array
  readonly name: Uint8Array
}

/** The fields that hold `path`, or undefined where it does not fit. Only pax has a prefix, and fills its fields. */
export function splitPath(path: Uint8Array, format: TarFormat): SplitPath | undefined {
  if (path.length <= nameLimit(format)) return { prefix: NO_BYTES, name: path }
  if (format === 'gnu' || path.length > PREFIX_LIMIT + 1 + nameLimit(format)) return undefined
  // The last slash of a directory is no place to cut, since the name would be empty.
  const cut = path.lastIndexOf(SLASH, Math.min(PREFIX_LIMIT, path.length - 2))
  if (cut <= 0 || path.length - cut - 1 > nameLimit(format)) return undefined
  return { prefix: path.subarray(0, cut), name: path.subarray(cut + 1) }
}

/** The members that stand before this one, none in most cases. Throws LIMIT and UNSUPPORTED without a path. */
export function extensionsOf(member: Extensible, format: TarFormat): Extension[] {
  return format === 'pax' ? paxExtensions(member) : gnuExtensions(member)
}

/** GNU tar writes names with a zero byte behind, the link target first (create.c, write_long_name). */
function gnuExtensions({ path, linkTarget, xattrs }: Extensible): Extension[] {
  if (xattrs.length > 0) {
    throw new ImageError('UNSUPPORTED', "extended attributes do not exist in GNU's format; use the pax format or drop them")
  }
  const extensions: Extension[] = []
  if (linkTarget.length > nameLimit('gnu')) extensions.push({ type: 'K', body: withZero(linkTarget) })
  if (splitPath(path, 'gnu') === undefined) extensions.push({ type: 'L', body: withZero(path) })
  return extensions
}

function withZero(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(bytes.length + 1)
  result.set(bytes)
  return result
}

function paxExtensions(member: Extensible): Extension[] {
  const { path, linkTarget, contentSize, uid, gid, mtimeSeconds, xattrs } = member
  const names: Uint8Array[] = []
  if (splitPath(path, 'pax') === undefined) names.push(paxRecord('path', path))
  if (linkTarget.length > nameLimit('pax')) names.push(paxRecord('linkpath', linkTarget))
  // Records are UTF-8 unless this one says otherwise; GNU tar warns that it does not know it and reads bytes anyway.
  const records = names.every(isUtf8) ? names : [paxRecord('hdrcharset', utf8('BINARY')), ...names]
  if (contentSize > octalLimit(SIZE_WIDTH)) records.push(paxRecord('size', utf8(String(contentSize))))
  if (uid > octalLimit(ID_WIDTH)) records.push(paxRecord('uid', utf8(String(uid))))
  if (gid > octalLimit(ID_WIDTH)) records.push(paxRecord('gid', utf8(String(gid))))
  if (mtimeSeconds < 0 || mtimeSeconds > octalLimit(MTIME_WIDTH)) records.push(paxRecord('mtime', utf8(String(mtimeSeconds))))
  for (const { name, value } of sortedXattrs(xattrs)) records.push(paxRecord(`SCHILY.xattr.${name}`, value))
  if (records.length === 0) return []
  const body = Buffer.concat(records)
  if (body.length > PAX_LIMIT) {
    throw new ImageError('LIMIT', `the pax header is ${body.length} bytes, libarchive reads ${PAX_LIMIT}; drop extended attributes`)
  }
  return [{ type: 'x', body: new Uint8Array(body) }]
}

/** `length keyword=value`, with a line feed; the length counts itself. */
export function paxRecord(keyword: string, value: Uint8Array): Uint8Array {
  const rest = Buffer.concat([utf8(` ${keyword}=`), value, utf8('\n')])
  let length = rest.length + String(rest.length).length
  if (String(length).length > String(rest.length).length) length++
  return Buffer.concat([utf8(String(length)), rest])
}

function sortedXattrs(xattrs: readonly Xattr[]): Xattr[] {
  return [...xattrs].sort((a, b) => compareBytes(utf8(a.name), utf8(b.name)))
}
