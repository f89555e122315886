/** What the format, and Linux where it is narrower, can hold: checks of one name or one node. */
import type { ErrorCode } from '../../errors.ts'
import type { FileNode, TreeNode, Xattr } from '../../tree/tree.ts'
import { DEVICE_MAJOR_MAXIMUM, DEVICE_MINOR_MAXIMUM, U16_MAXIMUM, U32_MAXIMUM, XATTR_PREFIXES } from './disk.ts'

export interface Problem {
  readonly code: ErrorCode
  readonly message: string
}

/** The format holds 256 bytes, Linux 255 (NAME_MAX). */
const NAME_MAXIMUM = 255
/** PATH_MAX less its final zero; longer targets are stored but cannot be followed. */
const SYMLINK_TARGET_MAXIMUM = 4095
/** Linux and unsquashfs count the blocks of a file in an `int`. */
const FILE_BLOCKS_MAXIMUM = 0x7fffffff
/** The largest number of 32 bits means "no id" to Linux. */
const ID_MAXIMUM = U32_MAXIMUM - 1
/** XATTR_SIZE_MAX and XATTR_NAME_MAX of Linux. */
const XATTR_VALUE_MAXIMUM = 65536
const XATTR_NAME_MAXIMUM = 255

const SLASH = 0x2f
const DOT = 0x2e

export function nameProblem(name: Uint8Array): Problem | undefined {
  if (name.length === 0) return { code: 'USAGE', message: 'an entry has no name' }
  if (name.length > NAME_MAXIMUM)
    return { code: 'LIMIT', message: `the name is ${name.length} bytes, Linux allows ${NAME_MAXIMUM}; shorten it` }
  if (name.includes(SLASH) || name.includes(0)) return { code: 'USAGE', message: "the name holds '/' or a zero byte" }
  if (name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT))) {
    return { code: 'USAGE', message: "'.' and '..' are not names of entries" }
  }
  return undefined
}

export function nodeProblem(node: TreeNode, blockSize: number): Problem | undefined {
  return (
    integerProblem('mode', node.mode, 0o7777) ??
    integerProblem('user id', node.uid, ID_MAXIMUM) ??
    integerProblem('group id', node.gid, ID_MAXIMUM) ??
    integerProblem('modification time', node.mtimeSeconds, U32_MAXIMUM) ??
    kindProblem(node, blockSize) ??
    xattrsProblem(node.xattrs ?? [])
  )
}

function contentProblem({ content, size }: FileNode): Problem | undefined {
  if (content.kind === 'image') return { code: 'UNSUPPORTED', message: 'the content is an image; give a host file or bytes' }
  if (content.kind !== 'bytes' || content.bytes.length === size) return undefined
  return { code: 'USAGE', message: `the content is ${content.bytes.length} bytes, the node says ${size}` }
}

function kindProblem(node: TreeNode, blockSize: number): Problem | undefined {
  switch (node.kind) {
    case 'file': {
      const problem = integerProblem('size', node.size, Number.MAX_SAFE_INTEGER)
      if (problem !== undefined || node.size <= FILE_BLOCKS_MAXIMUM * blockSize) return problem ?? contentProblem(node)
      return {
        code: 'LIMIT',
        message: `${node.size} bytes are more than ${FILE_BLOCKS_MAXIMUM} blocks of ${blockSize} bytes; use larger blocks`,
      }
    }
    case 'symlink':
      if (node.target.length === 0) return { code: 'USAGE', message: 'the link has no target' }
      if (node.target.includes(0)) return { code: 'USAGE', message: 'the link target holds a zero byte' }
      if (node.target.length > SYMLINK_TARGET_MAXIMUM) {
        return {
          code: 'LIMIT',
          message: `the link target is ${node.target.length} bytes, Linux follows ${SYMLINK_TARGET_MAXIMUM}; shorten it`,
        }
      }
      return undefined
    case 'characterDevice':
    case 'blockDevice':
      return (
        integerProblem('major number', node.major, DEVICE_MAJOR_MAXIMUM) ?? integerProblem('minor number', node.minor, DEVICE_MINOR_MAXIMUM)
      )
    case 'directory':
    case 'fifo':
    case 'socket':
      return undefined
  }
}

function xattrsProblem(xattrs: readonly Xattr[]): Problem | undefined {
  const names = new Set<string>()
  for (const { name, value } of xattrs) {
    const prefix = XATTR_PREFIXES.find((known) => name.startsWith(known))
    if (prefix === undefined) {
      return { code: 'UNSUPPORTED', message: `extended attribute '${name}': the format holds only ${XATTR_PREFIXES.join(', ')}; drop it` }
    }
    const nameBytes = Buffer.byteLength(name)
    if (name.length === prefix.length || name.includes('\0'))
      return { code: 'USAGE', message: `extended attribute '${name}' has no valid name` }
    if (nameBytes > XATTR_NAME_MAXIMUM) {
      return {
        code: 'LIMIT',
        message: `the name of extended attribute '${name}' is ${nameBytes} bytes, Linux allows ${XATTR_NAME_MAXIMUM}`,
      }
    }
    if (value.length > XATTR_VALUE_MAXIMUM) {
      return { code: 'LIMIT', message: `extended attribute '${name}' is ${value.length} bytes, Linux allows ${XATTR_VALUE_MAXIMUM}` }
    }
    if (names.has(name)) return { code: 'USAGE', message: `extended attribute '${name}' is given twice` }
    names.add(name)
  }
  return undefined
}

function integerProblem(what: string, value: number, maximum: number): Problem | undefined {
  if (Number.isSafeInteger(value) && value >= 0 && value <= maximum) return undefined
  const shown =
    what === 'mode' ? `0${value.toString(8)}, the format holds permission bits 0 to 07777` : `${value}, it can be 0 to ${maximum}`
  return { code: 'LIMIT', message: `${what} is ${shown}` }
}

/** The superblock counts ids in 16 bits, and the kernel refuses the 0 that 65536 would become. */
export const ID_COUNT_MAXIMUM = U16_MAXIMUM
