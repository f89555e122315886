/** What the format, and Linux where it is narrower, can hold: checks of one node. */
import {
  attributesProblem,
  deviceProblem,
  fileProblem,
  linkTargetProblem,
  type Problem,
  XATTR_NAME_MAXIMUM,
  XATTR_VALUE_MAXIMUM,
} from '../../tree/limits.ts'
import type { FileNode, TreeNode, Xattr } from '../../tree/tree.ts'
import { U16_MAXIMUM, U32_MAXIMUM, XATTR_PREFIXES } from './disk.ts'

/** Linux and unsquashfs count the blocks of a file in an `int`. */
const FILE_BLOCKS_MAXIMUM = 0x7fffffff

export function nodeProblem(node: TreeNode, blockSize: number): Problem | undefined {
  return attributesProblem(node, 0, U32_MAXIMUM) ?? kindProblem(node, blockSize) ?? (node.xattrs && xattrsProblem(node.xattrs))
}

function kindProblem(node: TreeNode, blockSize: number): Problem | undefined {
  switch (node.kind) {
    case 'file':
      return fileProblem(node) ?? blocksProblem(node, blockSize)
    case 'symlink':
      return linkTargetProblem(node.target)
    case 'characterDevice':
    case 'blockDevice':
      return deviceProblem(node)
    case 'directory':
    case 'fifo':
    case 'socket':
      return undefined
  }
}

function blocksProblem({ size, content }: FileNode, blockSize: number): Problem | undefined {
  if (size > FILE_BLOCKS_MAXIMUM * blockSize) {
    return { code: 'LIMIT', message: `${size} bytes are more than ${FILE_BLOCKS_MAXIMUM} blocks of ${blockSize} bytes; use larger blocks` }
  }
  if (content.kind !== 'image') return undefined
  return { code: 'UNSUPPORTED', message: 'the content is an image; give a host file or bytes' }
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

/** The superblock counts ids in 16 bits, and the kernel refuses the 0 that 65536 would become. */
export const ID_COUNT_MAXIMUM = U16_MAXIMUM
