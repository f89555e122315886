/** What a descriptor that is read says ("The Descriptor File"). */
import { quote } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { NO_PARENT } from './descriptor.ts'
import { SECTOR_SIZE } from './disk.ts'

export interface Description {
  readonly contentId: string | undefined
  readonly parent: { readonly contentId: string; readonly name: string } | undefined
  readonly extents: readonly DescribedExtent[]
}

export interface DescribedExtent {
  readonly kind: string
  /** Bytes. */
  readonly size: number
  /** Of the file; none for zeros. */
  readonly fileName?: string
  /** Bytes of the file before the extent. */
  readonly position: number
}

/** A disk of 2 TiB in parts of 2 GiB has 1024. */
const EXTENT_LIMIT = 4096

/** Throws BAD_INPUT for a line of an extent that is none, UNSUPPORTED for an extent that may not be read. */
export function parseDescriptor(text: string): Description {
  const textOf = (key: string): string | undefined => new RegExp(`^\\s*${key}\\s*=\\s*"?([^"\\r\\n\\0]*)`, 'im').exec(text)?.[1]?.trim()
  const parentId = textOf('parentCID')?.toLowerCase()
  const hasParent = parentId !== undefined && /^[0-9a-f]{1,8}$/.test(parentId) && parentId !== NO_PARENT
  const extents = text
    .split(/[\r\n\0]+/)
    .map((line) => line.trim())
    .filter((line) => /^(RW|RDONLY|NOACCESS)\s/.test(line))
  if (extents.length > EXTENT_LIMIT)
    throw new ImageError('LIMIT', `vmdk: the disk lies in ${extents.length} extents; ${EXTENT_LIMIT} are read`)
  return {
    contentId: textOf('CID')?.toLowerCase(),
    parent: hasParent ? { contentId: parentId, name: textOf('parentFileNameHint') ?? '' } : undefined,
    extents: extents.map(parseExtent),
  }
}

/** Access, sectors, kind, name, and sectors before it. */
function parseExtent(line: string): DescribedExtent {
  const [, access = '', sectors = '', kind = '', fileName, offset = '0'] =
    /^(\w+)\s+(\d+)\s+(\w+)(?:\s+"([^"]*)"(?:\s+(\d+))?.*)?$/.exec(line) ?? []
  const [size, position] = [Number(sectors) * SECTOR_SIZE, Number(offset) * SECTOR_SIZE]
  if (kind === '' || !Number.isSafeInteger(size + position)) {
    throw new ImageError('BAD_INPUT', `vmdk: the descriptor has a line of an extent that is none: ${quote(line)}`)
  }
  if (access === 'NOACCESS') throw new ImageError('UNSUPPORTED', `vmdk: the descriptor allows nobody to read an extent: ${quote(line)}`)
  return { kind: kind.toUpperCase(), size, position, ...(fileName !== undefined && { fileName }) }
}
