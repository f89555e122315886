/**
 * A strict FAT reader for tests, written from fatgen103 and sharing no code with the writer. It checks
 * every structure it passes and throws on the first thing that is not as the specification says.
 */

/** Bytes of the volume from `position` on. */
export type ByteSource = (position: number, length: number) => Buffer

export interface ReadFile {
  readonly size: number
  readonly shortName: string
  readonly attributes: number
  readonly mtimeSeconds: number
  readonly clusters: readonly number[]
  read(): Buffer
}

export interface ReadDirectory {
  readonly shortName: string
  readonly mtimeSeconds: number
  readonly clusters: readonly number[]
}

export interface ReadVolume {
  readonly type: 12 | 16 | 32
  readonly clusterSize: number
  readonly clusterCount: number
  readonly totalBytes: number
  readonly dataStart: number
  readonly freeClusterCount: number
  readonly volumeSerial: number
  /** Of the boot sector, without the padding. */
  readonly bootLabel: string
  /** Of the root directory; undefined when it has no such entry. */
  readonly label: string | undefined
  readonly files: ReadonlyMap<string, ReadFile>
  readonly directories: ReadonlyMap<string, ReadDirectory>
}

function must(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`fat-reader: ${message}`)
}

export function fromBytes(bytes: Uint8Array): ByteSource {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return (position, length) => buffer.subarray(position, position + length)
}

export function readFat(source: ByteSource): ReadVolume {
  const boot = source(0, 512)
  must(boot[510] === 0x55 && boot[511] === 0xaa, 'no boot signature')
  must((boot[0] === 0xeb && boot[2] === 0x90) || boot[0] === 0xe9, 'no jump at the beginning')
  const sectorSize = boot.readUInt16LE(11)
  must([512, 1024, 2048, 4096].includes(sectorSize), `sector size ${sectorSize}`)
  const sectorsPerCluster = boot.readUInt8(13)
  must([1, 2, 4, 8, 16, 32, 64, 128].includes(sectorsPerCluster), `${sectorsPerCluster} sectors a cluster`)
  const clusterSize = sectorSize * sectorsPerCluster
  must(clusterSize <= 32768, `cluster size ${clusterSize}`)
  const reserved = boot.readUInt16LE(14)
  must(reserved > 0, 'no reserved sectors')
  must(boot.readUInt8(16) === 2, 'not two FATs')
  const rootEntries = boot.readUInt16LE(17)
  must((rootEntries * 32) % sectorSize === 0, 'root directory does not fill its sectors')
  const small = boot.readUInt16LE(19)
  const large = boot.readUInt32LE(32)
  must((small === 0) !== (large === 0), 'both or neither sector counts are set')
  const totalSectors = small || large
  must(boot.readUInt8(21) === 0xf8, 'media byte')
  const fatSectors16 = boot.readUInt16LE(22)
  const fatSectors = fatSectors16 || boot.readUInt32LE(36)
  const rootSectors = (rootEntries * 32) / sectorSize
  const dataSector = reserved + 2 * fatSectors + rootSectors
  must(totalSectors > dataSector, 'no data area')
  const clusterCount = Math.floor((totalSectors - dataSector) / sectorsPerCluster)
  const type = clusterCount < 4085 ? 12 : clusterCount < 65525 ? 16 : 32
  must((type === 32) === (fatSectors16 === 0), `${clusterCount} clusters and the FAT size field do not agree on the type`)
  must((type === 32) === (rootEntries === 0), 'root entry count does not agree with the type')
  must(type !== 32 || small === 0, 'FAT32 with a 16-bit sector count')
  must((fatSectors * sectorSize * 8) / type >= clusterCount + 2, 'FAT is too small for the clusters')
  const extended = type === 32 ? 64 : 36
  must(boot.readUInt8(extended + 2) === 0x29, 'no extended boot signature')
  must(boot.toString('latin1', extended + 18, extended + 26) === `FAT${type}   `, 'file system type text')

  const fatBytes = source(reserved * sectorSize, fatSectors * sectorSize)
  must(fatBytes.equals(source((reserved + fatSectors) * sectorSize, fatSectors * sectorSize)), 'the FAT copies differ')
  const entry = (n: number): number => {
    if (type === 12) return (fatBytes.readUInt16LE(n + (n >> 1)) >> (n % 2 === 0 ? 0 : 4)) & 0xfff
    return type === 16 ? fatBytes.readUInt16LE(n * 2) : fatBytes.readUInt32LE(n * 4) & 0x0fffffff
  }
  const endMark = 2 ** (type === 32 ? 28 : type) - 8
  must(entry(0) === endMark, `FAT[0] is ${entry(0).toString(16)}`)
  must(entry(1) === endMark + 7, `FAT[1] is ${entry(1).toString(16)}`)

  const used = new Uint8Array(clusterCount + 2)
  const chain = (first: number, what: string): number[] => {
    const list: number[] = []
    for (let n = first; ; n = entry(n)) {
      must(n >= 2 && n < clusterCount + 2, `${what}: cluster ${n} lies outside the volume`)
      must(used[n] === 0, `${what}: cluster ${n} is used twice`)
      used[n] = 1
      list.push(n)
      if (entry(n) >= endMark) return list
    }
  }
  const dataStart = dataSector * sectorSize
  const readClusters = (clusters: readonly number[]): Buffer =>
    Buffer.concat(clusters.map((n) => source(dataStart + (n - 2) * clusterSize, clusterSize)))

  const files = new Map<string, ReadFile>()
  const directories = new Map<string, ReadDirectory>()
  let label: string | undefined

  const walk = (path: string, bytes: Buffer, self: number, parent: number): void => {
    let longParts: { order: number; text: Buffer; checksum: number }[] = []
    const names = new Set<string>()
    const shortNames = new Set<string>()
    for (let at = 0, ended = false; at < bytes.length; at += 32) {
      const record = bytes.subarray(at, at + 32)
      if (record[0] === 0) ended = true
      if (ended) {
        must(
          record.every((byte) => byte === 0),
          `${path}: bytes after the end of the directory`,
        )
        continue
      }
      must(record[0] !== 0xe5, `${path}: a deleted entry`)
      const attributes = record.readUInt8(11)
      if (attributes === 0x0f) {
        must(record.readUInt8(12) === 0 && record.readUInt16LE(26) === 0, `${path}: long entry with a type or cluster`)
        const text = Buffer.concat([record.subarray(1, 11), record.subarray(14, 26), record.subarray(28, 32)])
        longParts.push({ order: record.readUInt8(0), text, checksum: record.readUInt8(13) })
        continue
      }
      const rawShort = record.toString('latin1', 0, 11)
      const cluster = (record.readUInt16LE(20) << 16) | record.readUInt16LE(26)
      const size = record.readUInt32LE(28)
      must(type === 32 || record.readUInt16LE(20) === 0, `${path}: high cluster bits on FAT${type}`)
      if (attributes & 0x08) {
        must(path === '/' && label === undefined && longParts.length === 0 && cluster === 0 && size === 0, `${path}: stray label`)
        label = rawShort.trimEnd()
        continue
      }
      const shortName = decodeShort(rawShort, path)
      must(!shortNames.has(shortName), `${path}: short name ${shortName} stands twice`)
      shortNames.add(shortName)
      const mtimeSeconds = decodeTime(record.readUInt16LE(24), record.readUInt16LE(22), `${path}${shortName}`)
      must(record.readUInt16LE(16) !== 0 && record.readUInt16LE(18) !== 0, `${path}${shortName}: no creation or access date`)
      if (path !== '/' && at < 64) {
        must(longParts.length === 0 && attributes === 0x10 && size === 0, `${path}: bad dot entry`)
        must(shortName === (at === 0 ? '.' : '..') && cluster === (at === 0 ? self : parent), `${path}: wrong ${shortName} entry`)
        continue
      }
      const name = longParts.length === 0 ? shortName : decodeLong(longParts, rawShort, path)
      longParts = []
      must(!names.has(name.toLowerCase()), `${path}: name ${name} stands twice`)
      names.add(name.toLowerCase())
      const childPath = path === '/' ? `/${name}` : `${path}/${name}`
      if (attributes & 0x10) {
        must(size === 0, `${childPath}: directory with a size`)
        const clusters = chain(cluster, childPath)
        directories.set(childPath, { shortName, mtimeSeconds, clusters })
        walk(childPath, readClusters(clusters), cluster, self)
      } else {
        const clusters = size === 0 ? [] : chain(cluster, childPath)
        must(size > 0 || cluster === 0, `${childPath}: empty file with a cluster`)
        must(clusters.length === Math.ceil(size / clusterSize), `${childPath}: ${clusters.length} clusters for ${size} bytes`)
        files.set(childPath, { size, shortName, attributes, mtimeSeconds, clusters, read: () => readClusters(clusters).subarray(0, size) })
      }
    }
    must(longParts.length === 0, `${path}: long entries without a short one`)
  }

  if (type === 32) {
    must(boot.readUInt16LE(40) === 0 && boot.readUInt16LE(42) === 0, 'FAT32 flags or version')
    const rootCluster = boot.readUInt32LE(44)
    walk('/', readClusters(chain(rootCluster, '/')), 0, 0)
  } else {
    walk('/', source((reserved + 2 * fatSectors) * sectorSize, rootEntries * 32), 0, 0)
  }

  let freeClusterCount = 0
  for (let n = 2; n < clusterCount + 2; n++) {
    must(used[n] === 1 || entry(n) === 0, `cluster ${n} is marked used and belongs to nothing`)
    if (used[n] === 0) freeClusterCount++
  }
  if (type === 32) checkFat32Records(source, boot, sectorSize, reserved, freeClusterCount, clusterCount)
  const bootLabel = boot.toString('latin1', extended + 7, extended + 18).trimEnd()
  must(bootLabel === (label ?? 'NO NAME'), `the labels differ: ${bootLabel} and ${label}`)
  return {
    type,
    clusterSize,
    clusterCount,
    totalBytes: totalSectors * sectorSize,
    dataStart,
    freeClusterCount,
    volumeSerial: boot.readUInt32LE(extended + 3),
    bootLabel,
    label,
    files,
    directories,
  }
}

function checkFat32Records(
  source: ByteSource,
  boot: Buffer,
  sectorSize: number,
  reserved: number,
  free: number,
  clusterCount: number,
): void {
  const infoSector = boot.readUInt16LE(48)
  const backupSector = boot.readUInt16LE(50)
  must(infoSector === 1 && backupSector === 6 && reserved > 8, 'FSInfo or backup sector number')
  for (const first of [0, backupSector]) {
    must(boot.equals(source(first * sectorSize, 512)), 'the backup boot sector differs')
    const info = source((first + infoSector) * sectorSize, 512)
    must(
      info.readUInt32LE(0) === 0x41615252 && info.readUInt32LE(484) === 0x61417272 && info.readUInt32LE(508) === 0xaa550000,
      'FSInfo signature',
    )
    must(info.readUInt32LE(488) === free, `FSInfo counts ${info.readUInt32LE(488)} free clusters, there are ${free}`)
    const next = info.readUInt32LE(492)
    must(next >= 2 && next < clusterCount + 2, `FSInfo names ${next} as the next free cluster`)
    must(source((first + 2) * sectorSize + 510, 2).equals(Buffer.of(0x55, 0xaa)), 'no signature in the third boot sector')
  }
}

function decodeShort(raw: string, path: string): string {
  if (raw === '.          ') return '.'
  if (raw === '..         ') return '..'
  must(/^[A-Z0-9$%'_@~`!(){}^#& -]{11}$/.test(raw) && raw[0] !== ' ', `${path}: bad short name '${raw}'`)
  const base = raw.slice(0, 8).trimEnd()
  const extension = raw.slice(8).trimEnd()
  must(!base.includes(' ') && !extension.includes(' '), `${path}: blank inside short name '${raw}'`)
  return extension === '' ? base : `${base}.${extension}`
}

function decodeLong(parts: { order: number; text: Buffer; checksum: number }[], rawShort: string, path: string): string {
  let sum = 0
  for (const character of Buffer.from(rawShort, 'latin1')) sum = (((sum & 1) * 0x80 + (sum >> 1) + character) & 0xff) >>> 0
  parts.forEach((part, i) => {
    must(part.order === ((i === 0 ? 0x40 : 0) | (parts.length - i)), `${path}: long entries out of order`)
    must(part.checksum === sum, `${path}: checksum of the long name of ${rawShort}`)
  })
  const units = Buffer.concat(parts.toReversed().map((part) => part.text))
  let length = units.length / 2
  for (let i = 0; i < units.length / 2; i++) {
    if (units.readUInt16LE(i * 2) !== 0) continue
    length = i
    must(
      units.subarray(i * 2 + 2).every((byte) => byte === 0xff),
      `${path}: padding of a long name`,
    )
    break
  }
  must(Math.ceil(length / 13) === parts.length && length <= 255, `${path}: long name of ${length} units in ${parts.length} entries`)
  const text = units.toString('utf16le', 0, length * 2)
  must(!/["*/:<>?\\|]/.test(text) && !text.endsWith('.') && !text.endsWith(' '), `${path}: bad long name '${text}'`)
  return text
}

function decodeTime(date: number, time: number, what: string): number {
  const month = (date >> 5) & 15
  const day = date & 31
  const hour = time >> 11
  const minute = (time >> 5) & 63
  const second = (time & 31) * 2
  must(month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour < 24 && minute < 60 && second < 60, `${what}: bad date or time`)
  return Date.UTC(1980 + (date >> 9), month - 1, day, hour, minute, second) / 1000
}
