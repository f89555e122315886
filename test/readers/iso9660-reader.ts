/**
 * A small reader of ISO 9660 volumes that shares no code with the writer. It is strict: whatever
 * ECMA-119, SUSP, RRIP or El Torito forbid is an error, so that a wrong volume does not read well.
 */
export interface IsoExtent {
  readonly block: number
  readonly length: number
}

export interface IsoEntry {
  /** Names joined by `/`, as latin1 of their bytes (Rock Ridge), or as text (Joliet). */
  readonly path: string
  /** Identifier in the directory record, latin1 or text. */
  readonly identifier: string
  readonly kind: 'file' | 'directory' | 'symlink' | 'characterDevice' | 'blockDevice' | 'fifo' | 'socket'
  readonly mode: number | undefined
  readonly uid: number | undefined
  readonly gid: number | undefined
  readonly linkCount: number | undefined
  readonly serial: number | undefined
  readonly mtimeSeconds: number
  readonly target: string | undefined
  readonly device: { readonly high: number; readonly low: number } | undefined
  readonly size: number
  readonly extents: readonly IsoExtent[]
}

export interface IsoVolume {
  readonly volumeId: string
  readonly spaceSize: number
  readonly entries: readonly IsoEntry[]
}

export interface IsoBootEntry {
  readonly platform: number
  readonly sectorCount: number
  readonly block: number
}

export interface IsoImage {
  readonly primary: IsoVolume
  readonly joliet: IsoVolume | undefined
  readonly boot: readonly IsoBootEntry[]
  readonly catalogBlock: number | undefined
  /** Bytes of a file. */
  content(entry: IsoEntry): Buffer
}

export type ReadAt = (position: number, length: number) => Uint8Array

const BLOCK = 2048

function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`iso9660 reader: ${message}`)
}

function both32(bytes: Buffer, at: number, what: string): number {
  const value = bytes.readUInt32LE(at)
  check(value === bytes.readUInt32BE(at + 4), `${what}: the two byte orders differ`)
  return value
}

function both16(bytes: Buffer, at: number, what: string): number {
  const value = bytes.readUInt16LE(at)
  check(value === bytes.readUInt16BE(at + 2), `${what}: the two byte orders differ`)
  return value
}

/** Read a volume whose block 0 is at byte `base` of the source. */
export function readIso(readAt: ReadAt, base = 0): IsoImage {
  const blocks = (block: number, length: number): Buffer => Buffer.from(readAt(base + block * BLOCK, length))
  let primary: IsoVolume | undefined
  let joliet: IsoVolume | undefined
  let catalogBlock: number | undefined
  for (let block = 16; ; block++) {
    check(block < 32, 'no volume descriptor set terminator')
    const descriptor = blocks(block, BLOCK)
    check(descriptor.toString('latin1', 1, 6) === 'CD001' && descriptor[6] === 1, `block ${block} is no volume descriptor`)
    const type = descriptor[0]
    if (type === 255) break
    if (type === 0) {
      check(descriptor.toString('latin1', 7, 30) === 'EL TORITO SPECIFICATION', 'unknown boot record')
      catalogBlock = descriptor.readUInt32LE(71)
    } else if (type === 1) {
      check(block === 16, 'the primary descriptor is not the first')
      primary = new VolumeReader(descriptor, blocks, false).read()
    } else {
      check(type === 2 && descriptor.toString('latin1', 88, 91) === '%/E', `descriptor of type ${type}`)
      joliet = new VolumeReader(descriptor, blocks, true).read()
    }
  }
  check(primary !== undefined, 'no primary volume descriptor')
  return {
    primary,
    joliet,
    catalogBlock,
    boot: catalogBlock === undefined ? [] : readCatalog(blocks(catalogBlock, BLOCK)),
    content: (entry) => Buffer.concat(entry.extents.map(({ block, length }) => blocks(block, length))),
  }
}

function readCatalog(bytes: Buffer): IsoBootEntry[] {
  check(bytes[0] === 1 && bytes[30] === 0x55 && bytes[31] === 0xaa, 'no validation entry')
  let sum = 0
  for (let i = 0; i < 32; i += 2) sum += bytes.readUInt16LE(i)
  check((sum & 0xffff) === 0, 'checksum of the validation entry')
  const entryAt = (at: number, platform: number): IsoBootEntry => {
    check(bytes[at] === 0x88 && bytes[at + 1] === 0 && bytes.readUInt16LE(at + 2) === 0, 'not a bootable no-emulation entry')
    return { platform, sectorCount: bytes.readUInt16LE(at + 6), block: bytes.readUInt32LE(at + 8) }
  }
  const entries = [entryAt(32, bytes[1] as number)]
  for (let at = 64; bytes[at] !== 0; ) {
    const indicator = bytes[at]
    check(indicator === 0x90 || indicator === 0x91, `section indicator ${indicator}`)
    const platform = bytes[at + 1] as number
    const count = bytes.readUInt16LE(at + 2)
    at += 32
    for (let i = 0; i < count; i++, at += 32) entries.push(entryAt(at, platform))
    if (indicator === 0x91) break
  }
  return entries
}

interface RawRecord {
  readonly identifier: Buffer
  readonly block: number
  readonly length: number
  readonly flags: number
  readonly mtimeSeconds: number
  readonly systemUse: Buffer
}

interface RawDirectory {
  readonly path: string
  readonly block: number
  readonly identifier: Buffer
  readonly parentNumber: number
  readonly level: number
  readonly records: RawRecord[]
}

class VolumeReader {
  readonly #descriptor: Buffer
  readonly #blocks: (block: number, length: number) => Buffer
  readonly #joliet: boolean
  readonly #spaceSize: number
  readonly #entries: IsoEntry[] = []
  #rockRidge = false

  constructor(descriptor: Buffer, blocks: (block: number, length: number) => Buffer, joliet: boolean) {
    this.#descriptor = descriptor
    this.#blocks = blocks
    this.#joliet = joliet
    this.#spaceSize = both32(descriptor, 80, 'volume space size')
  }

  read(): IsoVolume {
    const descriptor = this.#descriptor
    check(both16(descriptor, 128, 'logical block size') === BLOCK, 'logical block size')
    check(both16(descriptor, 120, 'set size') === 1 && both16(descriptor, 124, 'sequence number') === 1, 'volume set')
    check(descriptor[881] === 1, 'file structure version')
    const rootRecord = this.#parseRecord(descriptor.subarray(156, 190))
    check(descriptor[156] === 34 && (rootRecord.flags & 2) !== 0, 'root directory record')
    const root: RawDirectory = { path: '', block: rootRecord.block, identifier: Buffer.of(0), parentNumber: 1, level: 1, records: [] }
    const directories = [root]
    for (let number = 1; number <= directories.length; number++) {
      const directory = directories[number - 1] as RawDirectory
      const parent = directories[directory.parentNumber - 1] as RawDirectory
      directory.records.push(...this.#readDirectory(directory.block))
      this.#checkDots(directory, parent, number === 1)
      directories.push(...this.#readEntries(directory, number))
    }
    this.#checkPathTables(directories)
    const id = descriptor.subarray(40, 72)
    const volumeId = (this.#joliet ? Buffer.from(id).swap16().toString('utf16le') : id.toString('latin1')).trimEnd()
    return { volumeId, spaceSize: this.#spaceSize, entries: this.#entries }
  }

  #parseRecord(bytes: Buffer): RawRecord {
    const length = bytes[0] as number
    const identifierLength = bytes[32] as number
    const identifier = bytes.subarray(33, 33 + identifierLength)
    check(length >= 34 && length % 2 === 0 && 33 + identifierLength <= length, 'directory record length')
    check(both16(bytes, 28, 'volume sequence number') === 1, 'volume sequence number')
    const [year, month, day, hour, minute, second] = bytes.subarray(18, 24) as unknown as [number, number, number, number, number, number]
    const block = both32(bytes, 2, 'extent')
    const size = both32(bytes, 10, 'data length')
    check(block + Math.ceil(size / BLOCK) <= this.#spaceSize, `extent ${block} lies beyond the volume`)
    return {
      identifier,
      block,
      length: size,
      flags: bytes[25] as number,
      mtimeSeconds: Date.UTC(1900 + year, month - 1, day, hour, minute, second) / 1000,
      systemUse: bytes.subarray(33 + identifierLength + ((identifierLength + 1) % 2), length),
    }
  }

  #readDirectory(block: number): RawRecord[] {
    const length = both32(this.#blocks(block, BLOCK), 10, 'directory length')
    check(length > 0 && length % BLOCK === 0, 'a directory is not a whole number of blocks')
    const bytes = this.#blocks(block, length)
    const records: RawRecord[] = []
    for (let start = 0; start < length; start += BLOCK) {
      const sector = bytes.subarray(start, start + BLOCK)
      let at = 0
      while (at < BLOCK && sector[at] !== 0) {
        const recordLength = sector[at] as number
        check(at + recordLength <= BLOCK, 'a record crosses a sector')
        records.push(this.#parseRecord(sector.subarray(at, at + recordLength)))
        at += recordLength
      }
      check(at > 0, 'an empty sector in a directory')
      check(
        sector.subarray(at).every((byte) => byte === 0),
        'rubbish behind the records of a sector',
      )
    }
    return records
  }

  #checkDots(directory: RawDirectory, parent: RawDirectory, isRoot: boolean): void {
    const [self, up] = directory.records
    check(self?.identifier.equals(Buffer.of(0)) === true && self.block === directory.block, `${directory.path}: record '.'`)
    check(up?.identifier.equals(Buffer.of(1)) === true && up.block === parent.block, `${directory.path}: record '..'`)
    check(self.flags === 2 && up.flags === 2, `${directory.path}: '.' and '..' are directories and nothing else`)
    if (this.#joliet) return
    const fields = this.#fields(self.systemUse, isRoot)
    if (isRoot) this.#rockRidge = fields.some(({ signature }) => signature === 'ER')
    if (!this.#rockRidge) return
    for (const list of [fields, this.#fields(up.systemUse, false)]) {
      const attributes = list.find(({ signature }) => signature === 'PX')
      check(attributes !== undefined && both32(attributes.data, 0, 'PX mode') >> 12 === 4, `${directory.path}: PX of '.' or '..'`)
    }
  }

  #readEntries(directory: RawDirectory, number: number): RawDirectory[] {
    const children: RawDirectory[] = []
    let extents: IsoExtent[] = []
    let previous: RawRecord | undefined
    for (const record of directory.records.slice(2)) {
      const continues = extents.length > 0
      if (previous !== undefined) {
        const order = compareIdentifiers(previous.identifier, record.identifier, this.#joliet)
        check(continues ? order === 0 : order < 0, `${directory.path}: records are not sorted`)
      }
      previous = record
      extents.push({ block: record.block, length: record.length })
      if ((record.flags & 0x80) !== 0) {
        check(record.length % BLOCK === 0 && record.length > 0, 'a section that goes on is not a whole number of blocks')
        continue
      }
      const entry = this.#entry(directory, record, extents)
      extents = []
      this.#entries.push(entry)
      if (entry.kind === 'directory') {
        children.push({
          path: entry.path,
          block: record.block,
          identifier: record.identifier,
          parentNumber: number,
          level: directory.level + 1,
          records: [],
        })
      }
    }
    check(extents.length === 0, 'a section goes on behind the last record')
    return children
  }

  #entry(directory: RawDirectory, record: RawRecord, extents: readonly IsoExtent[]): IsoEntry {
    const identifier = this.#joliet ? Buffer.from(record.identifier).swap16().toString('utf16le') : record.identifier.toString('latin1')
    const isDirectory = (record.flags & 2) !== 0
    if (this.#joliet) check(/^[^*/:;?\\]{1,64}$/s.test(identifier), `Joliet name '${identifier}'`)
    else
      check(
        (isDirectory ? /^[A-Z0-9_]{1,31}$/ : /^[A-Z0-9_]{0,30}\.[A-Z0-9_]{0,30};1$/).test(identifier) && identifier.length <= 33,
        `identifier '${identifier}'`,
      )
    const posix = this.#rockRidge ? this.#posix(record.systemUse) : undefined
    const name = posix === undefined ? identifier : posix.name
    const kind = posix === undefined ? (isDirectory ? 'directory' : 'file') : posix.kind
    check((kind === 'directory') === isDirectory, `${name}: directory flag and mode differ`)
    return {
      path: `${directory.path}/${name}`,
      identifier,
      kind,
      mode: posix?.mode,
      uid: posix?.uid,
      gid: posix?.gid,
      linkCount: posix?.linkCount,
      serial: posix?.serial,
      mtimeSeconds: posix?.mtimeSeconds ?? record.mtimeSeconds,
      target: posix?.target,
      device: posix?.device,
      size: kind === 'directory' ? 0 : extents.reduce((sum, { length }) => sum + length, 0),
      extents: kind === 'directory' ? [] : extents,
    }
  }

  /** SUSP fields of a record, its continuation areas followed. */
  #fields(systemUse: Buffer, rootSelf: boolean): { signature: string; data: Buffer }[] {
    const fields: { signature: string; data: Buffer }[] = []
    let area = systemUse
    for (let hops = 0; ; hops++) {
      check(hops < 32, 'more continuation areas than Linux follows')
      let next: { block: number; offset: number; length: number } | undefined
      let at = 0
      while (at + 4 <= area.length && area[at] !== 0) {
        const signature = area.toString('latin1', at, at + 2)
        const length = area[at + 2] as number
        check(length >= 4 && at + length <= area.length && area[at + 3] === 1, `field ${signature}`)
        const data = area.subarray(at + 4, at + length)
        if (signature === 'CE') {
          check(next === undefined, 'two continuations in one area')
          next = { block: both32(data, 0, 'CE'), offset: both32(data, 8, 'CE'), length: both32(data, 16, 'CE') }
        } else fields.push({ signature, data })
        at += length
      }
      if (next === undefined) break
      check(next.length > 0 && next.offset + next.length <= BLOCK && next.block < this.#spaceSize, 'a continuation area crosses its block')
      area = this.#blocks(next.block, BLOCK).subarray(next.offset, next.offset + next.length)
    }
    const hasProtocol = fields.some(({ signature }) => signature === 'SP')
    if (rootSelf && fields.length > 0) {
      check(fields[0]?.signature === 'SP' && fields[0].data.toString('hex') === 'beef00', 'the root does not begin with SP')
    } else check(!hasProtocol, 'SP outside of the root')
    return fields
  }

  #posix(systemUse: Buffer): {
    name: string
    kind: IsoEntry['kind']
    mode: number
    uid: number
    gid: number
    linkCount: number
    serial: number | undefined
    mtimeSeconds: number
    target: string | undefined
    device: IsoEntry['device']
  } {
    const fields = this.#fields(systemUse, false)
    const all = (wanted: string): Buffer[] => fields.filter(({ signature }) => signature === wanted).map(({ data }) => data)
    const [px, tf, pn] = [all('PX')[0], all('TF')[0], all('PN')[0]]
    check(px !== undefined && (px.length === 32 || px.length === 40), 'PX')
    check(tf !== undefined && tf[0] === 0x0e && tf.length === 22, 'TF')
    const names = all('NM')
    names.forEach((data, index) => {
      check(data[0] === (index < names.length - 1 ? 1 : 0), 'NM continue flag')
    })
    const name = Buffer.concat(names.map((data) => data.subarray(1))).toString('latin1')
    check(name.length > 0 && !name.includes('/'), 'NM is empty or holds a slash')
    const fullMode = both32(px, 0, 'PX mode')
    const kinds = { 1: 'fifo', 2: 'characterDevice', 4: 'directory', 6: 'blockDevice', 8: 'file', 10: 'symlink', 12: 'socket' } as const
    const kind = kinds[(fullMode >> 12) as keyof typeof kinds]
    check(kind !== undefined, `mode ${fullMode.toString(8)}`)
    const links = all('SL')
    check((kind === 'symlink') === links.length > 0, 'SL and mode differ')
    check((kind === 'characterDevice' || kind === 'blockDevice') === (pn !== undefined), 'PN and mode differ')
    const [year, month, day, hour, minute, second] = tf.subarray(1, 7) as unknown as [number, number, number, number, number, number]
    return {
      name,
      kind,
      mode: fullMode & 0o7777,
      linkCount: both32(px, 8, 'PX links'),
      uid: both32(px, 16, 'PX uid'),
      gid: both32(px, 24, 'PX gid'),
      serial: px.length === 40 ? both32(px, 32, 'PX serial') : undefined,
      mtimeSeconds: Date.UTC(1900 + year, month - 1, day, hour, minute, second) / 1000,
      target: links.length === 0 ? undefined : linkTarget(links),
      device: pn && { high: both32(pn, 0, 'PN'), low: both32(pn, 8, 'PN') },
    }
  }

  #checkPathTables(directories: readonly RawDirectory[]): void {
    const length = both32(this.#descriptor, 132, 'path table size')
    const little = this.#blocks(this.#descriptor.readUInt32LE(140), length)
    const big = this.#blocks(this.#descriptor.readUInt32BE(148), length)
    let at = 0
    let previous: RawDirectory | undefined
    for (const directory of directories) {
      const { identifier } = directory
      const record = [identifier.length, directory.block, directory.parentNumber]
      check(
        [little[at], little.readUInt32LE(at + 2), little.readUInt16LE(at + 6)].join() === record.join(),
        `L path table: ${directory.path}`,
      )
      check([big[at], big.readUInt32BE(at + 2), big.readUInt16BE(at + 6)].join() === record.join(), `M path table: ${directory.path}`)
      for (const table of [little, big])
        check(table.subarray(at + 8, at + 8 + identifier.length).equals(identifier), 'path table identifier')
      if (previous !== undefined && previous.level === directory.level && previous.parentNumber === directory.parentNumber) {
        check(compareIdentifiers(previous.identifier, identifier, this.#joliet) < 0, 'a path table is not sorted')
      }
      previous = directory
      at += 8 + identifier.length + (identifier.length % 2)
    }
    check(at === length, 'path table size')
  }
}

function linkTarget(fields: readonly Buffer[]): string {
  let target = ''
  let separator = false
  fields.forEach((data, index) => {
    check(data[0] === (index < fields.length - 1 ? 1 : 0), 'SL continue flag')
    for (let at = 1; at < data.length; ) {
      const flags = data[at] as number
      const length = data[at + 1] as number
      check(at + 2 + length <= data.length, 'SL component')
      if (separator) target += '/'
      const text = data.toString('latin1', at + 2, at + 2 + length)
      check((flags & 0x0e) === 0 || length === 0, 'SL component with a name and a meaning')
      target += flags & 0x02 ? '.' : flags & 0x04 ? '..' : flags & 0x08 ? '/' : text
      separator = (flags & 0x09) === 0
      at += 2 + length
    }
  })
  return target
}

/** ECMA-119 9.3 for the primary tree; plain byte order for Joliet. */
function compareIdentifiers(a: Buffer, b: Buffer, joliet: boolean): number {
  if (joliet) return Buffer.compare(a, b)
  const split = (identifier: Buffer): [string, string] => {
    const [name = '', extension = ''] = identifier.toString('latin1').replace(/;1$/, '').split('.')
    return [name.padEnd(40, ' '), extension.padEnd(40, ' ')]
  }
  const [nameA, extensionA] = split(a)
  const [nameB, extensionB] = split(b)
  const left = nameA + extensionA
  const right = nameB + extensionB
  return left < right ? -1 : left > right ? 1 : 0
}
