/** System attributes of files (OpenZFS `module/zfs/{sa,zfs_sa}.c`, `include/sys/sa_impl.h`). */
import type { StoredObject } from './objset.ts'
import { readZap, type Zap, zapBits, zapNumber } from './zap.ts'

const MAGIC = 0x2f505a

interface Attribute {
  readonly name: string
  /** 0: the header says it. */
  readonly size: number
}

export interface AttributeTables {
  readonly attributes: ReadonlyMap<number, Attribute>
  /** Numbers of attributes in their order, by layout. */
  readonly layouts: ReadonlyMap<number, readonly number[]>
}

/** Values by name without `ZPL_`. */
export type Attributes = ReadonlyMap<string, Buffer>

export function readTables(master: Zap, objects: ReadonlyMap<number, StoredObject>): AttributeTables {
  const zapOf = (name: string): Zap => {
    const object = objects.get(zapNumber(master, name))
    return readZap(object?.content, object?.blockSize ?? 0)
  }
  const attributes = new Map<number, Attribute>()
  for (const [name, entry] of zapOf('REGISTRY')) {
    const bits = Number(zapBits(entry))
    const number = bits % 65536
    if (attributes.has(number)) throw new Error(`two attributes are number ${number}`)
    attributes.set(number, { name: name.replace(/^ZPL_/, ''), size: Math.floor(bits / 2 ** 24) })
  }
  const layouts = new Map<number, number[]>()
  for (const [name, { integerSize, value }] of zapOf('LAYOUTS')) {
    if (integerSize !== 2) throw new Error(`the layout ${name} has numbers of ${integerSize} bytes`)
    layouts.set(
      Number(name),
      Array.from({ length: value.length / 2 }, (_, index) => value.readUInt16BE(2 * index)),
    )
  }
  return { attributes, layouts }
}

/** Of a bonus and a spill block. */
export function readAttributes(tables: AttributeTables, { bonus, spill, flags }: StoredObject): Attributes {
  const found = new Map<string, Buffer>()
  readPart(tables, bonus, found)
  if ((flags & 4) !== 0) {
    if (spill === undefined) throw new Error('the spill block cannot be read')
    readPart(tables, spill, found)
  }
  return found
}

/** Which attributes the bonus has, in their order. */
export function layoutOf({ layouts }: AttributeTables, bonus: Buffer): readonly number[] {
  const layout = layouts.get(bonus.readUInt16LE(4) & 0x3ff)
  if (layout === undefined) throw new Error(`there is no layout ${bonus.readUInt16LE(4) & 0x3ff}`)
  return layout
}

function readPart(tables: AttributeTables, bytes: Buffer, found: Map<string, Buffer>): void {
  if (bytes.readUInt32LE(0) !== MAGIC) throw new Error('there are no attributes')
  const headerSize = (bytes.readUInt16LE(4) >> 10) * 8
  let end = headerSize
  let variable = 0
  for (const number of layoutOf(tables, bytes)) {
    const attribute = tables.attributes.get(number)
    if (attribute === undefined) throw new Error(`attribute ${number} is not registered`)
    const size = attribute.size > 0 ? attribute.size : bytes.readUInt16LE(6 + 2 * variable++)
    const at = Math.ceil(end / 8) * 8
    end = at + size
    if (end > bytes.length || found.has(attribute.name)) throw new Error(`${attribute.name} goes past the end, or stands twice`)
    found.set(attribute.name, bytes.subarray(at, end))
  }
  if (headerSize !== Math.ceil((6 + 2 * Math.max(1, variable)) / 8) * 8)
    throw new Error(`a header of ${headerSize} bytes for ${variable} sizes`)
}
