/** What the ZFS POSIX layer can hold. */
import type { ErrorCode } from '../../../errors.ts'
import type { TreeNode } from '../../../tree/tree.ts'
import { PACKED_XATTRS_SIZE_MAXIMUM, packedXattrs } from './attributes.ts'

export interface Problem {
  readonly code: ErrorCode
  readonly message: string
}

const NAME_LENGTH_MAXIMUM = 255
const TARGET_LENGTH_MAXIMUM = 4095
const ID_MAXIMUM = 0xfffffffe
const MODE_MAXIMUM = 0o7777
const MAJOR_MAXIMUM = 0xfff
const MINOR_MAXIMUM = 0xfffff
const XATTR_NAME_LENGTH_MAXIMUM = 255
const SLASH = 0x2f
const DOT = 0x2e

/** What is wrong with the name of an entry. */
export function nameProblem(name: Uint8Array): Problem | undefined {
  if (name.length === 0) return { code: 'USAGE', message: 'an entry has an empty name' }
  if (name.length > NAME_LENGTH_MAXIMUM) {
    return { code: 'LIMIT', message: `the name is ${name.length} bytes, ZFS allows ${NAME_LENGTH_MAXIMUM}; shorten it` }
  }
  if (name.includes(0) || name.includes(SLASH)) return { code: 'USAGE', message: 'the name holds a zero byte or a slash' }
  if (name.length <= 2 && name.every((byte) => byte === DOT)) return { code: 'USAGE', message: 'the name stands for a directory itself' }
  return undefined
}

/** What is wrong with a node. */
export function nodeProblem(node: TreeNode): Problem | undefined {
  if (!isWhole(node.mode, MODE_MAXIMUM)) return { code: 'USAGE', message: `the mode is ${node.mode}, it can be 0 to 07777` }
  for (const id of [node.uid, node.gid]) {
    if (!isWhole(id, ID_MAXIMUM)) return { code: 'LIMIT', message: `an owner is ${id}, Linux allows 0 to ${ID_MAXIMUM}` }
  }
  if (!Number.isSafeInteger(node.mtimeSeconds))
    return { code: 'USAGE', message: `the time is ${node.mtimeSeconds}, it must be whole seconds` }
  return kindProblem(node) ?? xattrProblem(node)
}

function kindProblem(node: TreeNode): Problem | undefined {
  switch (node.kind) {
    case 'file':
      if (isWhole(node.size, Number.MAX_SAFE_INTEGER)) return undefined
      return { code: 'USAGE', message: `the size is ${node.size}, it must be a whole number` }
    case 'symlink': {
      const { length } = node.target
      if (length > 0 && length <= TARGET_LENGTH_MAXIMUM && !node.target.includes(0)) return undefined
      return { code: 'LIMIT', message: `the target is ${length} bytes; Linux allows 1 to ${TARGET_LENGTH_MAXIMUM}, none of them zero` }
    }
    case 'characterDevice':
    case 'blockDevice':
      if (isWhole(node.major, MAJOR_MAXIMUM) && isWhole(node.minor, MINOR_MAXIMUM)) return undefined
      return {
        code: 'LIMIT',
        message: `the device is ${node.major}:${node.minor}, Linux allows up to ${MAJOR_MAXIMUM}:${MINOR_MAXIMUM}`,
      }
    default:
      return undefined
  }
}

function xattrProblem(node: TreeNode): Problem | undefined {
  const names = new Set<string>()
  for (const { name } of node.xattrs ?? []) {
    if (names.has(name)) return { code: 'USAGE', message: `the extended attribute ${name} is given twice` }
    names.add(name)
    if (name.length === 0 || name.length > XATTR_NAME_LENGTH_MAXIMUM || name.includes('\0')) {
      return { code: 'LIMIT', message: `the name of an extended attribute has ${name.length} characters, Linux allows 1 to 255` }
    }
  }
  const size = packedXattrs(node)?.length ?? 0
  if (size <= PACKED_XATTRS_SIZE_MAXIMUM) return undefined
  return {
    code: 'LIMIT',
    message: `its extended attributes take ${size} bytes, system attributes hold ${PACKED_XATTRS_SIZE_MAXIMUM}; keep fewer of them`,
  }
}

function isWhole(value: number, most: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= most
}
