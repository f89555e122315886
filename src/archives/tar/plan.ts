/** From a tree to the members of an archive and where they lie: nothing is read, every limit is checked. */
import { alignUp } from '../../bytes/align.ts'
import { compareBytes } from '../../bytes/order.ts'
import { printable, utf8 } from '../../bytes/text.ts'
import { type ErrorCode, ImageError } from '../../errors.ts'
import { checkDepth } from '../../tree/depth.ts'
import { type DirectoryNode, sortedEntries, type TreeNode, type Xattr } from '../../tree/tree.ts'
import { BLOCK_SIZE, DEVICE_WIDTH, END_SIZE, type MemberType, octalLimit, RECORD_SIZE, type TarFormat } from './disk.ts'
import { type Extension, extensionsOf } from './extensions.ts'

export interface TarOptions {
  /** Put before every name, such as `nix/store`; these folders have no member of their own. */
  readonly prefix?: string
  /** `gnu` is what GNU tar calls oldgnu: for readers that know no pax, such as Google Compute Engine's. */
  readonly format?: TarFormat
}

export const TAR_DEFAULTS = { prefix: '', format: 'pax' } as const

export interface TarMember {
  /** In the archive, without a slash before it; a directory's ends with one. */
  readonly path: Uint8Array
  readonly type: MemberType
  readonly node: TreeNode
  /** Of a symbolic link as it is; of a hard link the path of an earlier member; else empty. */
  readonly linkTarget: Uint8Array
  readonly extensions: readonly Extension[]
  /** Of the first header that belongs to it. */
  readonly start: number
  /** Behind its own header. */
  readonly contentStart: number
  readonly contentSize: number
}

export interface TarPlan {
  readonly format: TarFormat
  /** Depth first, the entries of a directory in the order of names. */
  readonly members: readonly TarMember[]
  readonly size: number
}

const SLASH = utf8('/')
const NO_BYTES = new Uint8Array(0)
/** The largest number of 32 bits means "no id" to Linux. */
const ID_LIMIT = 0xfffffffe
/** XATTR_NAME_MAX and XATTR_SIZE_MAX of Linux. */
const XATTR_NAME_LIMIT = 255
const XATTR_VALUE_LIMIT = 65536

/**
 * Lay out an archive. Throws USAGE for a prefix, name or target that cannot be one, LIMIT for numbers and
 * attributes that no reader takes, UNSUPPORTED for sockets and attributes that the format does not have.
 */
export function planTar(root: DirectoryNode, options: TarOptions = {}): TarPlan {
  checkDepth(root)
  const format = options.format ?? TAR_DEFAULTS.format
  const members: TarMember[] = []
  const firstPaths = new Map<TreeNode, Uint8Array>()
  let end = 0

  const addMember = (path: Uint8Array, node: TreeNode): void => {
    const firstPath = firstPaths.get(node)
    if (firstPath === undefined) {
      checkNode(path, node)
      if (node.kind !== 'directory') firstPaths.set(node, path)
    }
    const type = firstPath === undefined ? typeOf(path, node) : '1'
    const linkTarget = firstPath ?? (node.kind === 'symlink' ? node.target : NO_BYTES)
    const contentSize = type === '0' && node.kind === 'file' ? node.size : 0
    const { uid, gid, mtimeSeconds } = node
    const xattrs = type === '1' ? [] : (node.xattrs ?? [])
    const extensions = at(path, () => extensionsOf({ path, linkTarget, contentSize, uid, gid, mtimeSeconds, xattrs }, format))
    const start = end
    const headersSize = extensions.reduce((sum, { body }) => sum + BLOCK_SIZE + alignUp(body.length, BLOCK_SIZE), BLOCK_SIZE)
    const contentStart = start + headersSize
    end = alignUp(contentStart + contentSize, BLOCK_SIZE)
    if (end > Number.MAX_SAFE_INTEGER - RECORD_SIZE) {
      fail(path, 'LIMIT', `the archive would be more than ${Number.MAX_SAFE_INTEGER} bytes long; put less into it`)
    }
    members.push({ path, type, node, linkTarget, extensions, start, contentStart, contentSize })
  }

  const addEntries = (directory: DirectoryNode, folder: Uint8Array): void => {
    let last: Uint8Array | undefined
    for (const { name, node } of sortedEntries(directory)) {
      checkName(name, last, folder)
      last = name
      const path = node.kind === 'directory' ? Buffer.concat([folder, name, SLASH]) : Buffer.concat([folder, name])
      addMember(path, node)
      if (node.kind === 'directory') addEntries(node, path)
    }
  }

  addEntries(root, prefixFolder(options.prefix ?? TAR_DEFAULTS.prefix))
  return { format, members, size: alignUp(end + END_SIZE, RECORD_SIZE) }
}

function typeOf(path: Uint8Array, node: TreeNode): MemberType {
  switch (node.kind) {
    case 'file':
      return '0'
    case 'symlink':
      return '2'
    case 'characterDevice':
      return '3'
    case 'blockDevice':
      return '4'
    case 'directory':
      return '5'
    case 'fifo':
      return '6'
    case 'socket':
      return fail(path, 'UNSUPPORTED', 'is a socket, which tar cannot hold; leave it out')
  }
}

/** The prefix as bytes with a slash behind it. */
function prefixFolder(prefix: string): Uint8Array {
  if (prefix === '') return NO_BYTES
  if (prefix.includes('\0') || prefix.split('/').some((part) => part === '' || part === '.' || part === '..')) {
    throw new ImageError('USAGE', `tar: the prefix '${prefix}' is not of the form 'nix/store': names with single slashes between`)
  }
  return utf8(`${prefix}/`)
}

function checkName(name: Uint8Array, last: Uint8Array | undefined, folder: Uint8Array): void {
  const dots = name.length <= 2 && name.every((byte) => byte === 0x2e)
  if (dots || name.includes(0x2f) || name.includes(0)) fail(folder, 'USAGE', `'${printable(name)}' cannot be the name of an entry`)
  if (last !== undefined && compareBytes(last, name) === 0) fail(folder, 'USAGE', `two entries are named '${printable(name)}'`)
}

function checkNode(path: Uint8Array, node: TreeNode): void {
  checkInteger(path, 'mode', node.mode, 0, 0o7777)
  checkInteger(path, 'user id', node.uid, 0, ID_LIMIT)
  checkInteger(path, 'group id', node.gid, 0, ID_LIMIT)
  checkInteger(path, 'modification time', node.mtimeSeconds, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
  checkXattrs(path, node.xattrs ?? [])
  switch (node.kind) {
    case 'file':
      checkInteger(path, 'size', node.size, 0, Number.MAX_SAFE_INTEGER)
      break
    case 'symlink':
      if (node.target.length === 0 || node.target.includes(0)) fail(path, 'USAGE', 'the link target is empty or holds a zero byte')
      break
    case 'characterDevice':
    case 'blockDevice':
      checkInteger(path, 'major number', node.major, 0, octalLimit(DEVICE_WIDTH))
      checkInteger(path, 'minor number', node.minor, 0, octalLimit(DEVICE_WIDTH))
      break
    case 'directory':
    case 'fifo':
    case 'socket':
      break
  }
}

function checkXattrs(path: Uint8Array, xattrs: readonly Xattr[]): void {
  const names = new Set<string>()
  for (const { name, value } of xattrs) {
    const shown = `extended attribute '${printable(utf8(name))}'`
    const nameBytes = Buffer.byteLength(name)
    if (name === '' || name.includes('\0')) fail(path, 'USAGE', `${shown} has no valid name`)
    if (nameBytes > XATTR_NAME_LIMIT) fail(path, 'LIMIT', `the name of ${shown} is ${nameBytes} bytes, Linux allows ${XATTR_NAME_LIMIT}`)
    if (value.length > XATTR_VALUE_LIMIT) fail(path, 'LIMIT', `${shown} is ${value.length} bytes, Linux allows ${XATTR_VALUE_LIMIT}`)
    // A pax keyword ends at '='; GNU tar writes '%3D' and '%25', which libarchive does not undo.
    if (/[=%]/.test(name)) fail(path, 'UNSUPPORTED', `${shown}: readers disagree on names with '=' or '%'; drop it`)
    if (names.has(name)) fail(path, 'USAGE', `${shown} is given twice`)
    names.add(name)
  }
}

function checkInteger(path: Uint8Array, what: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return
  fail(path, 'LIMIT', `${what} is ${value}, it can be a whole number from ${least} to ${most}`)
}

/** Runs `action`, whose errors know no path. */
function at<T>(path: Uint8Array, action: () => T): T {
  try {
    return action()
  } catch (error) {
    if (error instanceof ImageError) fail(path, error.code, error.message)
    throw error
  }
}

function fail(path: Uint8Array, code: ErrorCode, message: string): never {
  const shown = path.length === 0 ? '/' : printable(path)
  throw new ImageError(code, `tar: ${shown}: ${message}`, { path: shown })
}
