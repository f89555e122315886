/** What the ZFS POSIX layer can hold. */
import {
  attributesProblem,
  deviceProblem,
  linkTargetProblem,
  type Problem,
  rangeProblem,
  XATTR_NAME_MAXIMUM,
} from '../../../tree/limits.ts'
import type { TreeNode } from '../../../tree/tree.ts'
import { PACKED_XATTRS_SIZE_MAXIMUM, packedXattrs } from './attributes.ts'

/** What is wrong with a node. */
export function nodeProblem(node: TreeNode): Problem | undefined {
  return attributesProblem(node, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER) ?? kindProblem(node) ?? xattrProblem(node)
}

function kindProblem(node: TreeNode): Problem | undefined {
  switch (node.kind) {
    case 'file':
      return rangeProblem('size', node.size, 0, Number.MAX_SAFE_INTEGER)
    case 'symlink':
      return linkTargetProblem(node.target)
    case 'characterDevice':
    case 'blockDevice':
      return deviceProblem(node)
    default:
      return undefined
  }
}

function xattrProblem(node: TreeNode): Problem | undefined {
  const names = new Set<string>()
  for (const { name } of node.xattrs ?? []) {
    if (names.has(name)) return { code: 'USAGE', message: `the extended attribute ${name} is given twice` }
    names.add(name)
    if (name.length === 0 || name.length > XATTR_NAME_MAXIMUM || name.includes('\0')) {
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
