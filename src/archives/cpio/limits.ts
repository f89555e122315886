/**
 * What the format can hold, and what Linux unpacks (`init/initramfs.c`): it drops what it cannot take without
 * a word, so a limit of either is an error here.
 */
import { compareBytes } from '../../bytes/order.ts'
import { printable } from '../../bytes/text.ts'
import { type ErrorCode, ImageError } from '../../errors.ts'
import type { Attributes, FileNode, TreeNode } from '../../tree/tree.ts'
import { FIELD_MAXIMUM, TRAILER_NAME } from './disk.ts'

/** c_filesize has 32 bits. Today's tools drop a larger file (nixpkgs #399607). */
export const FILE_SIZE_MAXIMUM = FIELD_MAXIMUM
/** NAME_MAX of Linux. */
const ENTRY_NAME_MAXIMUM = 255
/** PATH_MAX less the zero byte: `do_header` skips records with longer names. */
const RECORD_NAME_MAXIMUM = 4095
/** `init_symlink` takes PATH_MAX bytes with the zero byte; `do_header` skips what is longer. */
const SYMLINK_TARGET_MAXIMUM = 4095
/** Device numbers of Linux have 12 and 20 bits; the bits above would run into each other (`new_encode_dev`). */
const DEVICE_MAJOR_MAXIMUM = 0xfff
const DEVICE_MINOR_MAXIMUM = 0xfffff
/** The largest number of 32 bits means "leave the owner as it is" to chown. */
const ID_MAXIMUM = FIELD_MAXIMUM - 1
const MODE_MAXIMUM = 0o7777

const SLASH = 0x2f
const DOT = 0x2e

interface Problem {
  readonly code: ErrorCode
  readonly message: string
}

/** Throws USAGE for a name that no entry of `folder` can have, LIMIT for one that Linux has no room for. */
export function checkEntryName(name: Uint8Array, folder: Uint8Array): void {
  const dots = name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT))
  if (name.length === 0 || dots || name.includes(SLASH) || name.includes(0)) {
    throw errorAt(folderPath(folder), { code: 'USAGE', message: `'${printable(name)}' cannot be the name of an entry; rename it` })
  }
  if (name.length > ENTRY_NAME_MAXIMUM) {
    const message = `the name ${printable(name)} is ${name.length} bytes, Linux allows ${ENTRY_NAME_MAXIMUM}; shorten it`
    throw errorAt(folderPath(folder), { code: 'LIMIT', message })
  }
}

/** USAGE for two entries of one name. */
export function duplicateError(name: Uint8Array, folder: Uint8Array): ImageError {
  return errorAt(folderPath(folder), { code: 'USAGE', message: `has two entries named ${printable(name)}; rename one` })
}

/** Throws for a whole name, prefix included, that Linux would skip (LIMIT), or take for the end of the archive (USAGE). */
export function checkRecordName(name: Uint8Array): void {
  if (name.length > RECORD_NAME_MAXIMUM) {
    const message = `the path is ${name.length} bytes, Linux unpacks paths of up to ${RECORD_NAME_MAXIMUM}; shorten it`
    throw errorAt(printable(name), { code: 'LIMIT', message })
  }
  if (compareBytes(name, TRAILER_NAME) === 0) {
    throw errorAt(printable(name), { code: 'USAGE', message: 'this name ends a cpio archive, what follows would be lost; rename it' })
  }
}

/** Throws LIMIT, UNSUPPORTED or USAGE for what the record of `node` cannot hold; `name` is its whole name. */
export function checkNode(node: TreeNode, name: Uint8Array): void {
  const problem = attributesProblem(node) ?? kindProblem(node)
  if (problem !== undefined) throw errorAt(printable(name), problem)
}

/** Throws for attributes that no record can hold; `name` is the whole name of what has them. */
export function checkAttributes(attributes: Attributes, name: Uint8Array): void {
  const problem = attributesProblem(attributes)
  if (problem !== undefined) throw errorAt(printable(name), problem)
}

/** LIMIT for a file of 4 GiB or more. */
export function fileSizeError(name: Uint8Array, size: number): ImageError {
  const message = `the file is ${size} bytes, a cpio archive (newc) holds files of up to ${FILE_SIZE_MAXIMUM} (4 GiB less 1 byte); split it or make it smaller`
  return errorAt(printable(name), { code: 'LIMIT', message })
}

function attributesProblem({ mode, uid, gid, mtimeSeconds, xattrs }: Attributes): Problem | undefined {
  if (xattrs !== undefined && xattrs.length > 0) {
    return { code: 'UNSUPPORTED', message: `a cpio archive holds no extended attributes such as '${xattrs[0]?.name}'; drop them` }
  }
  if (!isWithin(mode, MODE_MAXIMUM)) return { code: 'LIMIT', message: `mode is 0${mode.toString(8)}; give permission bits, 0 to 07777` }
  return (
    rangeProblem('the user id', uid, ID_MAXIMUM) ??
    rangeProblem('the group id', gid, ID_MAXIMUM) ??
    rangeProblem('the modification time', mtimeSeconds, FIELD_MAXIMUM)
  )
}

function kindProblem(node: TreeNode): Problem | undefined {
  switch (node.kind) {
    case 'file':
      return fileProblem(node)
    case 'symlink': {
      const { length } = node.target
      if (length === 0) return { code: 'USAGE', message: 'the link has no target; give it one' }
      if (node.target.includes(0)) return { code: 'USAGE', message: 'the link target holds a zero byte; no system follows it' }
      if (length <= SYMLINK_TARGET_MAXIMUM) return undefined
      return { code: 'LIMIT', message: `the link target is ${length} bytes, Linux allows ${SYMLINK_TARGET_MAXIMUM}; shorten it` }
    }
    case 'characterDevice':
    case 'blockDevice':
      return (
        rangeProblem('the major number', node.major, DEVICE_MAJOR_MAXIMUM) ??
        rangeProblem('the minor number', node.minor, DEVICE_MINOR_MAXIMUM)
      )
    case 'directory':
    case 'fifo':
    case 'socket':
      return undefined
  }
}

function fileProblem({ size, content }: FileNode): Problem | undefined {
  const problem = rangeProblem('the size', size, Number.MAX_SAFE_INTEGER)
  if (problem !== undefined || content.kind === 'hostFile' || content.kind === 'patched') return problem
  const actual = content.kind === 'bytes' ? content.bytes.length : content.image.size
  return actual === size ? undefined : { code: 'USAGE', message: `the content is ${actual} bytes, the node says ${size}` }
}

function rangeProblem(what: string, value: number, maximum: number): Problem | undefined {
  return isWithin(value, maximum) ? undefined : { code: 'LIMIT', message: `${what} is ${value}; give a whole number from 0 to ${maximum}` }
}

function isWithin(value: number, maximum: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= maximum
}

/** The root has no name of its own. */
function folderPath(folder: Uint8Array): string {
  return folder.length === 0 ? '/' : printable(folder)
}

function errorAt(path: string, { code, message }: Problem): ImageError {
  return new ImageError(code, `${path}: ${message}`, { path })
}
