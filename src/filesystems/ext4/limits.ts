/** What ext4, and Linux where it is narrower, can hold: checks of one node. */
import { ImageError } from '../../errors.ts'
import { checkImage } from '../../io/stream.ts'
import { attributesProblem, deviceProblem, fileProblem, linkTargetProblem, type Problem } from '../../tree/limits.ts'
import type { FileNode, TreeNode } from '../../tree/tree.ts'
import { BLOCK_SIZE, FILE_BLOCK_COUNT_MAXIMUM, TIME_MAXIMUM, TIME_MINIMUM } from './disk.ts'

const FILE_SIZE_MAXIMUM = FILE_BLOCK_COUNT_MAXIMUM * BLOCK_SIZE

/** All of a node but its extended attributes, which their own plan checks. */
export function nodeProblem(node: TreeNode): Problem | undefined {
  return attributesProblem(node, TIME_MINIMUM, TIME_MAXIMUM) ?? kindProblem(node)
}

function kindProblem(node: TreeNode): Problem | undefined {
  switch (node.kind) {
    case 'file':
      return fileProblem(node, FILE_SIZE_MAXIMUM) ?? imageProblem(node)
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

function imageProblem({ content }: FileNode): Problem | undefined {
  if (content.kind !== 'image') return undefined
  try {
    checkImage(content.image)
    return undefined
  } catch (error) {
    if (error instanceof ImageError) return { code: error.code, message: error.message }
    throw error
  }
}
