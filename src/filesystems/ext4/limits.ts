/** What ext4, and Linux where it is narrower, can hold: checks of one name or one node. */
import { type ErrorCode, ImageError } from '../../errors.ts'
import { checkImage } from '../../io/stream.ts'
import type { FileNode, TreeNode } from '../../tree/tree.ts'
import { BLOCK_SIZE, FILE_BLOCK_COUNT_MAXIMUM, NAME_MAXIMUM, TIME_MAXIMUM, TIME_MINIMUM } from './disk.ts'

export interface Problem {
  readonly code: ErrorCode
  readonly message: string
}

/** PATH_MAX less its final zero, and a block less one. */
const SYMLINK_TARGET_MAXIMUM = 4095
/** The largest number of 32 bits means "no id" to Linux. */
const ID_MAXIMUM = 0xfffffffe
/** Of Linux's device numbers, 12 and 20 bits. */
const DEVICE_MAJOR_MAXIMUM = 0xfff
const DEVICE_MINOR_MAXIMUM = 0xfffff
const FILE_SIZE_MAXIMUM = FILE_BLOCK_COUNT_MAXIMUM * BLOCK_SIZE

const SLASH = 0x2f
const DOT = 0x2e

export function nameProblem(name: Uint8Array): Problem | undefined {
  if (name.length === 0) return { code: 'USAGE', message: 'an entry has no name' }
  if (name.length > NAME_MAXIMUM) {
    return { code: 'LIMIT', message: `the name is ${name.length} bytes, ext4 allows ${NAME_MAXIMUM}; shorten it` }
  }
  if (name.includes(SLASH) || name.includes(0)) return { code: 'USAGE', message: "the name holds '/' or a zero byte" }
  if (name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT))) {
    return { code: 'USAGE', message: "'.' and '..' are not names of entries" }
  }
  return undefined
}

/** All of a node but its extended attributes, which their own plan checks. */
export function nodeProblem(node: TreeNode): Problem | undefined {
  return (
    rangeProblem('mode', node.mode, 0, 0o7777) ??
    rangeProblem('user id', node.uid, 0, ID_MAXIMUM) ??
    rangeProblem('group id', node.gid, 0, ID_MAXIMUM) ??
    rangeProblem('modification time', node.mtimeSeconds, TIME_MINIMUM, TIME_MAXIMUM) ??
    kindProblem(node)
  )
}

function kindProblem(node: TreeNode): Problem | undefined {
  switch (node.kind) {
    case 'file':
      return rangeProblem('size', node.size, 0, FILE_SIZE_MAXIMUM) ?? contentProblem(node)
    case 'symlink':
      return targetProblem(node.target)
    case 'characterDevice':
    case 'blockDevice':
      return (
        rangeProblem('major number', node.major, 0, DEVICE_MAJOR_MAXIMUM) ??
        rangeProblem('minor number', node.minor, 0, DEVICE_MINOR_MAXIMUM)
      )
    case 'directory':
    case 'fifo':
    case 'socket':
      return undefined
  }
}

function targetProblem(target: Uint8Array): Problem | undefined {
  if (target.length === 0) return { code: 'USAGE', message: 'the link has no target' }
  if (target.includes(0)) return { code: 'USAGE', message: 'the link target holds a zero byte' }
  if (target.length <= SYMLINK_TARGET_MAXIMUM) return undefined
  return { code: 'LIMIT', message: `the link target is ${target.length} bytes, ext4 allows ${SYMLINK_TARGET_MAXIMUM}; shorten it` }
}

function contentProblem({ content, size }: FileNode): Problem | undefined {
  if (content.kind === 'hostFile' || content.kind === 'patched') return undefined
  const length = content.kind === 'bytes' ? content.bytes.length : content.image.size
  if (length !== size) return { code: 'USAGE', message: `the content is ${length} bytes, the node says ${size}` }
  if (content.kind === 'bytes') return undefined
  try {
    checkImage(content.image)
    return undefined
  } catch (error) {
    if (error instanceof ImageError) return { code: error.code, message: error.message }
    throw error
  }
}

function rangeProblem(what: string, value: number, least: number, most: number): Problem | undefined {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return undefined
  const shown = what === 'mode' ? `0${value.toString(8)}, it can be permission bits 0 to 07777` : `${value}, it can be ${least} to ${most}`
  return { code: 'LIMIT', message: `${what} is ${shown}` }
}
