/** From a tree to the members of an archive and where they lie: nothing is read, every limit is checked. */
import { alignUp } from '../../bytes/align.ts'
import { printable, utf8 } from '../../bytes/text.ts'
import { type ErrorCode, ImageError } from '../../errors.ts'
import { checkDepth } from '../../tree/depth.ts'
import {
  attributesProblem,
  deviceProblem,
  entryNameProblem,
  linkTargetProblem,
  type Problem,
  rangeProblem,
  XATTR_NAME_MAXIMUM,
  XATTR_VALUE_MAXIMUM,
} from '../../tree/limits.ts'
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

/** Names and targets may be of any length: pax and GNU's format hold them, and other systems take them. */
function checkName(name: Uint8Array, last: Uint8Array | undefined, folder: Uint8Array): void {
  const problem = entryNameProblem(name, last, Number.POSITIVE_INFINITY)
  if (problem !== undefined) fail(folder, problem.code, problem.message)
}

function checkNode(path: Uint8Array, node: TreeNode): void {
  const problem = attributesProblem(node, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER) ?? kindProblem(node)
  if (problem !== undefined) fail(path, problem.code, problem.message)
  checkXattrs(path, node.xattrs ?? [])
}

function kindProblem(node: TreeNode): Problem | undefined {
  switch (node.kind) {
    case 'file':
      return rangeProblem('size', node.size, 0, Number.MAX_SAFE_INTEGER)
    case 'symlink':
      return linkTargetProblem(node.target, Number.POSITIVE_INFINITY)
    case 'characterDevice':
    case 'blockDevice':
      return deviceProblem(node, [octalLimit(DEVICE_WIDTH), octalLimit(DEVICE_WIDTH)])
    case 'directory':
    case 'fifo':
    case 'socket':
      return undefined
  }
}

function checkXattrs(path: Uint8Array, xattrs: readonly Xattr[]): void {
  const names = new Set<string>()
  for (const { name, value } of xattrs) {
    const shown = `extended attribute '${printable(utf8(name))}'`
    const nameBytes = Buffer.byteLength(name)
    if (name === '' || name.includes('\0')) fail(path, 'USAGE', `${shown} has no valid name`)
    if (nameBytes > XATTR_NAME_MAXIMUM)
      fail(path, 'LIMIT', `the name of ${shown} is ${nameBytes} bytes, Linux allows ${XATTR_NAME_MAXIMUM}`)
    if (value.length > XATTR_VALUE_MAXIMUM) fail(path, 'LIMIT', `${shown} is ${value.length} bytes, Linux allows ${XATTR_VALUE_MAXIMUM}`)
    // A pax keyword ends at '='; GNU tar writes '%3D' and '%25', which libarchive does not undo.
    if (/[=%]/.test(name)) fail(path, 'UNSUPPORTED', `${shown}: readers disagree on names with '=' or '%'; drop it`)
    if (names.has(name)) fail(path, 'USAGE', `${shown} is given twice`)
    names.add(name)
  }
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
