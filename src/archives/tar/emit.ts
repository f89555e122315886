/** From the plan to bytes: headers in runs between contents; the zeros behind contents and at the end are holes. */
import { alignUp } from '../../bytes/align.ts'
import { printable, utf8 } from '../../bytes/text.ts'
import type { Extent } from '../../io/image.ts'
import { contentExtents } from '../../tree/content.ts'
import type { DeviceNode } from '../../tree/tree.ts'
import {
  BLOCK_SIZE,
  DEVICE_WIDTH,
  ID_WIDTH,
  MAGIC_AND_VERSION,
  MTIME_WIDTH,
  nameLimit,
  numberField,
  SIZE_WIDTH,
  type TarFormat,
  tarHeader,
  writeChecksum,
} from './disk.ts'
import { type Extension, splitPath } from './extensions.ts'
import type { TarMember, TarPlan } from './plan.ts'

/** A run of headers is handed on in chunks of about this many bytes. */
const CHUNK_SIZE = 1 << 16
/** Names of the members that only belong to others, as Python and GNU tar have them: no file can be named so. */
const EXTENSION_NAMES = { x: '././@PaxHeader', L: '././@LongLink', K: '././@LongLink' } as const
const EXTENSION_MODE = 0o644

export function tarExtents(plan: TarPlan): Extent[] {
  const { members, format } = plan
  const extents: Extent[] = []
  let first = 0
  members.forEach((member, index) => {
    const contents = contentsOf(member)
    if (member.contentSize === 0 && index + 1 < members.length) return
    extents.push(headersExtent(members.slice(first, index + 1), format))
    first = index + 1
    for (const extent of contents) extents.push(extent)
  })
  return extents
}

function contentsOf({ type, node, path, contentStart }: TarMember): Extent[] {
  return type === '0' && node.kind === 'file' ? contentExtents(node, contentStart, `tar: ${printable(path)}`) : []
}

/** The headers of members that follow each other; only the last may have content. */
function headersExtent(members: readonly TarMember[], format: TarFormat): Extent {
  const start = members[0]?.start ?? 0
  const end = members.at(-1)?.contentStart ?? 0
  return {
    start,
    length: end - start,
    async *read() {
      let chunk: Uint8Array[] = []
      let length = 0
      for (const member of members) {
        chunk.push(...memberHeaders(member, format))
        length += member.contentStart - member.start
        if (length < CHUNK_SIZE) continue
        yield Buffer.concat(chunk)
        chunk = []
        length = 0
      }
      if (length > 0) yield Buffer.concat(chunk)
    },
  }
}

function memberHeaders(member: TarMember, format: TarFormat): Uint8Array[] {
  return [...member.extensions.flatMap((extension) => extensionBlocks(extension, format)), memberHeader(member, format)]
}

function extensionBlocks({ type, body }: Extension, format: TarFormat): Uint8Array[] {
  const header = tarHeader.encode({
    name: utf8(EXTENSION_NAMES[type]),
    mode: numberField(EXTENSION_MODE, ID_WIDTH),
    uid: numberField(0, ID_WIDTH),
    gid: numberField(0, ID_WIDTH),
    size: numberField(body.length, SIZE_WIDTH),
    mtime: numberField(0, MTIME_WIDTH),
    typeflag: utf8(type),
    magicAndVersion: MAGIC_AND_VERSION[format],
    ...deviceFields(undefined, format),
  })
  writeChecksum(header)
  const blocks = new Uint8Array(alignUp(body.length, BLOCK_SIZE))
  blocks.set(body)
  return [header, blocks]
}

/** A name that does not fit is cut: its extension says all of it. */
function memberHeader({ path, type, node, linkTarget, contentSize }: TarMember, format: TarFormat): Uint8Array {
  const header = tarHeader.encode({
    ...(splitPath(path, format) ?? { name: path.subarray(0, nameLimit(format)) }),
    mode: numberField(node.mode, ID_WIDTH),
    uid: numberField(node.uid, ID_WIDTH),
    gid: numberField(node.gid, ID_WIDTH),
    size: numberField(contentSize, SIZE_WIDTH),
    mtime: numberField(node.mtimeSeconds, MTIME_WIDTH),
    typeflag: utf8(type),
    linkname: linkTarget.subarray(0, tarHeader.fields.linkname[2]),
    magicAndVersion: MAGIC_AND_VERSION[format],
    ...deviceFields(node.kind === 'characterDevice' || node.kind === 'blockDevice' ? node : undefined, format),
  })
  writeChecksum(header)
  return header
}

/** Of what is no device POSIX wants zeros in digits, and GNU tar's format has zero bytes. */
function deviceFields(device: DeviceNode | undefined, format: TarFormat): { deviceMajor?: Uint8Array; deviceMinor?: Uint8Array } {
  if (device === undefined && format === 'gnu') return {}
  return { deviceMajor: numberField(device?.major ?? 0, DEVICE_WIDTH), deviceMinor: numberField(device?.minor ?? 0, DEVICE_WIDTH) }
}
