/**
 * What the format can hold, and what Linux unpacks (`init/initramfs.c`): it drops what it cannot take without
 * a word, so a limit of either is an error here.
 */
import { compareBytes } from '../../bytes/order.ts'
import { printable } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import {
  attributesProblem,
  deviceProblem,
  entryNameProblem,
  fileProblem,
  linkTargetProblem,
  PATH_MAXIMUM,
  type Problem,
} from '../../tree/limits.ts'
import type { Attributes, TreeNode } from '../../tree/tree.ts'
import { FIELD_MAXIMUM, TRAILER_NAME } from './disk.ts'

/** c_filesize has 32 bits. Today's tools drop a larger file (nixpkgs #399607). */
export const FILE_SIZE_MAXIMUM = FIELD_MAXIMUM
/** PATH_MAX less the zero byte: `do_header` skips records with longer names, and `init_symlink` takes no longer targets. */
const RECORD_NAME_MAXIMUM = PATH_MAXIMUM

/** Throws USAGE for a name that no entry of `folder` can have beside the one before it, LIMIT for one that Linux has no room for. */
export function checkEntryName(name: Uint8Array, folder: Uint8Array, before?: Uint8Array): void {
  const problem = entryNameProblem(name, before)
  if (problem !== undefined) throw errorAt(folder.length === 0 ? '/' : printable(folder), problem)
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
  const problem = recordProblem(node) ?? kindProblem(node)
  if (problem !== undefined) throw errorAt(printable(name), problem)
}

/** Throws for attributes that no record can hold; `name` is the whole name of what has them. */
export function checkAttributes(attributes: Attributes, name: Uint8Array): void {
  const problem = recordProblem(attributes)
  if (problem !== undefined) throw errorAt(printable(name), problem)
}

/** LIMIT for a file of 4 GiB or more. */
export function fileSizeError(name: Uint8Array, size: number): ImageError {
  const message = `the file is ${size} bytes, a cpio archive (newc) holds files of up to ${FILE_SIZE_MAXIMUM} (4 GiB less 1 byte); split it or make it smaller`
  return errorAt(printable(name), { code: 'LIMIT', message })
}

function recordProblem(attributes: Attributes): Problem | undefined {
  const { xattrs } = attributes
  if (xattrs !== undefined && xattrs.length > 0) {
    return { code: 'UNSUPPORTED', message: `a cpio archive holds no extended attributes such as '${xattrs[0]?.name}'; drop them` }
  }
  return attributesProblem(attributes, 0, FIELD_MAXIMUM)
}

function kindProblem(node: TreeNode): Problem | undefined {
  switch (node.kind) {
    case 'file':
      return fileProblem(node)
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

function errorAt(path: string, { code, message }: Problem): ImageError {
  return new ImageError(code, `${path}: ${message}`, { path })
}
