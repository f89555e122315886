/** The pool's own objects: datasets and their directories (OpenZFS `include/sys/dsl_{dir,dataset,deadlist}.h`). */
import { numbersOf } from './device.ts'
import type { Objset, StoredObject } from './objset.ts'
import { type Pointer, readPointer } from './pointer.ts'
import { attempt, type BlockNode, type Pool } from './pool.ts'
import { readZap, type Zap, type ZapEntry, zapNumber, zapText } from './zap.ts'

const DIRECTORY = {
  creation: 0,
  head: 8,
  parent: 16,
  origin: 24,
  childMap: 32,
  used: 40,
  compressed: 48,
  uncompressed: 56,
  quota: 64,
  reserved: 72,
  properties: 80,
  delegation: 88,
  flags: 96,
  usedByHead: 104,
  usedBySnapshots: 112,
  usedByChildren: 120,
  usedByChildReservations: 128,
  usedByReservation: 136,
  clones: 144,
} as const

const DATASET = {
  directory: 0,
  previous: 8,
  previousTxg: 16,
  next: 24,
  snapshotNames: 32,
  children: 40,
  creation: 48,
  creationTxg: 56,
  deadlist: 64,
  referenced: 72,
  compressed: 80,
  uncompressed: 88,
  unique: 96,
  flags: 120,
  nextClones: 256,
  properties: 264,
  userReferences: 272,
} as const
/** Of the pointer to the set of objects, in the bonus. */
const POINTER_AT = 128

export interface Dataset {
  readonly name: string
  readonly object: number
  readonly stored: StoredObject
  readonly fields: { readonly [K in keyof typeof DATASET]: number }
  readonly guid: bigint
  readonly fileSystemGuid: bigint
  readonly pointer: Pointer
  /** Of the set of objects; undefined for that of the origin, which has none. */
  readonly root: BlockNode | undefined
  /** Guids; of a snapshot too. */
  readonly features: readonly string[]
}

export interface Directory {
  readonly name: string
  readonly object: number
  readonly stored: StoredObject
  readonly fields: { readonly [K in keyof typeof DIRECTORY]: number }
  readonly properties: Zap
  readonly children: readonly Directory[]
  readonly head: Dataset | undefined
  /** From the oldest to the youngest. */
  readonly snapshots: readonly Dataset[]
  /** By name. */
  readonly snapshotNames: Zap
}

export interface Meta {
  readonly objset: Objset
  /** The map of what there is. */
  readonly directory: Zap
  readonly root: Directory
}

export function mapOf({ objects, name }: Objset, object: number): Zap {
  const stored = objects.get(object)
  if (stored === undefined) throw new Error(`${name}: there is no object ${object}`)
  return readZap(stored.content, stored.blockSize)
}

export function readMeta(pool: Pool, objset: Objset): Meta | undefined {
  return attempt(pool, 'mos', () => {
    const directory = mapOf(objset, 1)
    return { objset, directory, root: readDirectory(pool, objset, zapNumber(directory, 'root_dataset'), '') }
  })
}

function readDirectory(pool: Pool, objset: Objset, object: number, path: string): Directory {
  const stored = objset.objects.get(object)
  if (stored === undefined || stored.bonus.length < 256) throw new Error(`${path || 'the root'} has no directory`)
  const fields = numbersOf(stored.bonus, DIRECTORY)
  const head = fields.head === 0 ? undefined : attempt(pool, path || 'the root', () => readDataset(pool, objset, fields.head, path))
  const children = [...mapOf(objset, fields.childMap).values()].flatMap(({ name }) => {
    const own = `${path}/${name}`
    return (
      attempt(pool, own, () => readDirectory(pool, objset, zapNumber(mapOf(objset, fields.childMap), name.toString('latin1')), own)) ?? []
    )
  })
  const snapshotNames = head === undefined ? new Map<string, ZapEntry>() : mapOf(objset, head.fields.snapshotNames)
  const snapshots = [...snapshotNames.keys()].flatMap((name) => {
    const own = `${path}@${name}`
    return attempt(pool, own, () => readDataset(pool, objset, zapNumber(snapshotNames, name), own)) ?? []
  })
  snapshots.sort((a, b) => a.fields.creationTxg - b.fields.creationTxg)
  return { name: path, object, stored, fields, properties: mapOf(objset, fields.properties), children, head, snapshots, snapshotNames }
}

/** An object that has, by its type, a map as well: datasets of the features that they need, directories of counts. */
export const MAP_TYPE = 0xc4

function readDataset(pool: Pool, objset: Objset, object: number, name: string): Dataset {
  const stored = objset.objects.get(object)
  if (stored === undefined || stored.bonus.length < 320) throw new Error(`there is no dataset ${object}`)
  const { bonus, holder, at, bonusAt } = stored
  const pointer = readPointer(bonus, POINTER_AT)
  const root: BlockNode = { pointer, holder, at: at + bonusAt + POINTER_AT, objset: name, object: 0, level: -1, index: 0 }
  const features = stored.type === MAP_TYPE ? attempt(pool, name, () => [...mapOf(objset, object).keys()]) : undefined
  return {
    name,
    object,
    stored,
    fields: numbersOf(bonus, DATASET),
    guid: bonus.readBigUInt64LE(112),
    fileSystemGuid: bonus.readBigUInt64LE(104),
    pointer,
    root: pointer.isHole ? undefined : root,
    features: features ?? [],
  }
}

/** Every directory, the root first, in the order of the tree. */
export function* allDirectories(root: Directory): Generator<Directory> {
  yield root
  for (const child of root.children) yield* allDirectories(child)
}

/** Numbers as they are, texts as texts. */
export function properties({ properties: map }: Directory): Map<string, number | string> {
  return new Map([...map].map(([name, entry]) => [name, entry.integerSize === 1 ? zapText(entry) : Number(entry.value.readBigUInt64BE(0))]))
}
