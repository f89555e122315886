/** What datasets and their directories say of each other and of space (OpenZFS `module/zfs/dsl_{dataset,dir,deadlist}.c`). */
import { isSame, readDeadlist } from './block-lists.ts'
import type { Wrong } from './check.ts'
import { allDirectories, type Dataset, type Directory, MAP_TYPE, mapOf, properties } from './dsl.ts'
import type { ZfsReading } from './index.ts'
import type { Objset } from './objset.ts'
import { addSpace, NO_SPACE, type Pointer, type Space, showSpace, spaceOf } from './pointer.ts'
import { normalizationOf, zapNumber } from './zap.ts'

const UNIQUE_IS_ACCURATE = 4
/** Names of snapshots are looked up so too. */
const CASE_INSENSITIVE = 1 << 16
/** `U8_TEXTPREP_TOUPPER`. */
const UPPER_CASE = 2
const HAS_BREAKDOWN = 1
const ORIGIN = '/$ORIGIN'

/** Blocks of a dataset on the device by place and birth, so that snapshots can be compared. */
type Blocks = ReadonlyMap<string, Pointer>

interface Context {
  readonly reading: ZfsReading
  readonly wrong: Wrong
  /** By object. */
  readonly blocks: ReadonlyMap<number, Blocks>
  readonly origin: Dataset
}

export function checkDatasets(reading: ZfsReading, wrong: Wrong): void {
  const { meta, sets } = reading
  const blocks = new Map([...sets.values()].map(({ dataset, objset }) => [dataset.object, blocksOf(objset)]))
  const directories = [...allDirectories(meta.root)]
  const origin = directories.find(({ name }) => name === ORIGIN)?.snapshots[0]
  if (origin === undefined) throw new Error('there is no origin of datasets')
  const context: Context = { reading, wrong, blocks, origin }
  const all = directories.flatMap(({ head, snapshots }) => [...(head ? [head] : []), ...snapshots])
  const ids = [...all.map(({ guid }) => guid), ...all.map(({ fileSystemGuid }) => -fileSystemGuid)]
  if (new Set(ids).size !== ids.length || ids.includes(0n)) wrong('two datasets have the same identifier, or one has none')
  if (all.some(({ fileSystemGuid }) => fileSystemGuid >> 56n !== 0n)) wrong('the identifier of a file system is too large')
  for (const directory of directories) {
    checkChain(context, directory)
    checkUsage(context, directory)
    checkCounts(reading, directory, wrong)
    for (const child of directory.children) {
      if (child.fields.parent !== directory.object) wrong(`${child.name}: its parent is ${child.fields.parent}, not ${directory.object}`)
    }
  }
  if (meta.root.fields.parent !== 0) wrong('the root has a parent')
  checkClones(context, directories)
}

function keyOf({ copies, birthTxg }: Pointer): string {
  return `${copies[0]?.place} ${birthTxg}`
}

function blocksOf(objset: Objset): Blocks {
  return new Map(objset.blocks.flatMap(({ pointer }) => (pointer.copies.length > 0 ? [[keyOf(pointer), pointer] as const] : [])))
}

/** Origin, snapshots and head, each with its neighbours and what it has alone. */
function checkChain({ reading, wrong, blocks, origin }: Context, directory: Directory): void {
  const { head, snapshots, name, object } = directory
  if (head === undefined) return
  const isOrigin = name === ORIGIN
  const chain = [...(isOrigin ? [] : [origin]), ...snapshots, head]
  const keys: number[] = []
  for (const [index, dataset] of chain.entries()) {
    if (dataset === origin && !isOrigin) {
      keys.push(origin.fields.previousTxg)
      continue
    }
    const say: Wrong = (what) => wrong(`${dataset.name || 'the root'}: ${what}`)
    const { fields } = dataset
    const [previous, next] = [chain[index - 1], chain[index + 1]]
    const isFirst = !isOrigin && index === 1
    const wanted: Readonly<Record<string, number>> = {
      directory: object,
      previous: previous?.object ?? 0,
      previousTxg: previous?.fields.creationTxg ?? 0,
      next: next?.object ?? 0,
      flags: UNIQUE_IS_ACCURATE + (isCaseInsensitive(reading, dataset) ? CASE_INSENSITIVE : 0),
      userReferences: 0,
      ...(dataset !== origin && { children: dataset === head ? 0 : 1 }),
      ...(dataset !== head && dataset !== origin && { nextClones: 0 }),
    }
    compare(fields, wanted, say)
    if (dataset !== head && fields.snapshotNames !== 0) say('a snapshot has snapshots')
    if (dataset === head && snapshotNamesFlags(reading, dataset) !== UPPER_CASE) say('names of its snapshots are not hashed by capitals')
    if (previous !== undefined && dataset !== head && fields.creationTxg <= previous.fields.creationTxg)
      say('it is older than the one before')
    checkSpaceOf(reading, dataset, isFirst, say)
    checkUnique(blocks, chain, dataset, say)
    checkDeadlist(reading, { dataset, previous, keys, blocks }, say)
    keys.push(fields.previousTxg)
  }
}

function snapshotNamesFlags({ meta }: ZfsReading, { fields }: Dataset): number | undefined {
  const content = meta.objset.objects.get(fields.snapshotNames)?.content
  return content && normalizationOf(content)
}

/** The pool's own dataset is made without the flag. */
function isCaseInsensitive({ fileSystems, labels }: ZfsReading, { name }: Dataset): boolean {
  if (!name.startsWith('/')) return false
  const master = fileSystems.get(String(labels.config['name']) + name)?.master
  return master !== undefined && zapNumber(master, 'casesensitivity') === 1
}

function compare(fields: Readonly<Record<string, number>>, wanted: Readonly<Record<string, number>>, say: Wrong): void {
  for (const [name, value] of Object.entries(wanted)) if (fields[name] !== value) say(`${name} is ${fields[name]}, not ${value}`)
}

function checkSpaceOf({ sets, labels }: ZfsReading, dataset: Dataset, isFirst: boolean, say: Wrong): void {
  const { fields } = dataset
  const objset = sets.get(String(labels.config['name']) + dataset.name)?.objset
  const space = objset?.space ?? NO_SPACE
  const own = { used: fields.referenced, compressed: fields.compressed, uncompressed: fields.uncompressed }
  if (!isSame(own, space)) say(`it refers to ${showSpace(space)}, and says ${showSpace(own)}`)
  const after = dataset.fields.creationTxg
  const isSnapshot = dataset.fields.next !== 0
  for (const { pointer } of objset?.blocks ?? []) {
    if (isSnapshot && pointer.birthTxg > after) say(`a block was born in ${pointer.birthTxg}, the snapshot is of ${after}`)
    if (isFirst && pointer.birthTxg <= dataset.fields.previousTxg) say(`a block is as old as the origin (${pointer.birthTxg})`)
  }
}

/** What no other of the chain has. */
function checkUnique(blocks: Context['blocks'], chain: readonly Dataset[], dataset: Dataset, say: Wrong): void {
  const others = chain.filter((other) => other !== dataset).flatMap(({ object }) => blocks.get(object) ?? [])
  let unique = 0
  for (const [key, pointer] of blocks.get(dataset.object) ?? []) {
    if (!others.some((other) => other.has(key))) unique += spaceOf(pointer).used
  }
  if (dataset.fields.unique !== unique) say(`${unique} bytes are its own, and it says ${dataset.fields.unique}`)
}

interface DeadlistFacts {
  readonly dataset: Dataset
  readonly previous: Dataset | undefined
  /** A list for the blocks that were born after each of these. */
  readonly keys: readonly number[]
  readonly blocks: Context['blocks']
}

/** What the snapshot before it has and it has not. */
function checkDeadlist({ meta }: ZfsReading, { dataset, previous, keys, blocks }: DeadlistFacts, say: Wrong): void {
  const { lists, space } = readDeadlist(meta.objset, dataset.fields.deadlist)
  const own = blocks.get(dataset.object)
  const lost = new Map([...(blocks.get(previous?.object ?? 0) ?? [])].filter(([key]) => own?.has(key) !== true))
  const listedKeys = [...lists.keys()].sort((a, b) => a - b)
  if (listedKeys.join() !== [...new Set(keys)].sort((a, b) => a - b).join()) say(`its deadlist has keys ${listedKeys}, not ${keys}`)
  let sum = NO_SPACE
  for (const [key, list] of lists) {
    sum = addSpace(sum, list.space)
    for (const pointer of list.pointers) {
      if (pointer.payload !== undefined) continue
      if (!lost.delete(keyOf(pointer))) say(`its deadlist has a block at ${keyOf(pointer)} that is not lost, or twice`)
      const after = listedKeys.findLast((other) => other < pointer.birthTxg)
      if (key !== after) say(`a block of ${pointer.birthTxg} is in the list of ${key}, not of ${after}`)
    }
  }
  if (lost.size > 0) say(`its deadlist lacks ${lost.size} blocks, such as ${[...lost.keys()][0]}`)
  if (!isSame(sum, space)) say(`its deadlist counts ${showSpace(space)}, its lists have ${showSpace(sum)}`)
}

/** The sums of a directory (`dd_used_breakdown`). */
function checkUsage({ reading, wrong, blocks }: Context, directory: Directory): void {
  const { name, fields, head, snapshots, children } = directory
  const say: Wrong = (what) => wrong(`directory ${name || 'of the root'}: ${what}`)
  const chain = [...snapshots, ...(head ? [head] : [])]
  const every = new Map(chain.flatMap(({ object }) => [...(blocks.get(object) ?? [])]))
  const ofHead = blocks.get(head?.object ?? 0) ?? new Map<string, Pointer>()
  const own = name === '/$MOS' ? reading.meta.objset.space : sumOf(every.values(), chain, reading)
  const headUsed = name === '/$MOS' ? own.used : [...ofHead.values()].reduce((sum, pointer) => sum + spaceOf(pointer).used, 0)
  const reservation = Number(properties(directory).get('refreservation') ?? 0)
  const below = children.reduce(
    (sum, { fields: own }) => addSpace(sum, { used: own.used, compressed: own.compressed, uncompressed: own.uncompressed }),
    NO_SPACE,
  )
  const parts = {
    usedByHead: headUsed,
    usedBySnapshots: own.used - headUsed,
    usedByChildren: below.used,
    usedByChildReservations: children.reduce((sum, { fields: own }) => sum + Math.max(0, own.reserved - own.used), 0),
    usedByReservation: Math.max(0, reservation - (head?.fields.unique ?? 0)),
  }
  const wanted = {
    ...parts,
    used: Object.values(parts).reduce((sum, part) => sum + part, 0),
    compressed: own.compressed + below.compressed,
    uncompressed: own.uncompressed + below.uncompressed,
    flags: HAS_BREAKDOWN,
  }
  compare(fields, wanted, say)
  const { quota, reservation: reserved } = Object.fromEntries(properties(directory))
  if (fields.quota !== (quota ?? 0) || fields.reserved !== (reserved ?? 0)) say(`quota ${fields.quota}, reservation ${fields.reserved}`)
}

/** Each block once; embedded ones have no place, and count for what files contain. */
function sumOf(every: Iterable<Pointer>, chain: readonly Dataset[], { sets }: ZfsReading): Space {
  let space = NO_SPACE
  for (const pointer of every) space = addSpace(space, spaceOf(pointer))
  const seen = new Set<string>()
  for (const { objset } of [...sets.values()].filter(({ dataset }) => chain.includes(dataset))) {
    for (const { pointer, object, index } of objset.blocks) {
      const key = `${object} ${index} ${pointer.birthTxg}`
      if (pointer.payload === undefined || seen.has(key)) continue
      seen.add(key)
      space = addSpace(space, spaceOf(pointer))
    }
  }
  return space
}

/** All file systems are clones of the origin. */
function checkClones({ reading, wrong, origin }: Context, directories: readonly Directory[]): void {
  const { objset } = reading.meta
  const users = directories.filter(({ head, name }) => head !== undefined && name !== ORIGIN)
  const compareMap = (what: string, object: number, wanted: readonly number[]): void => {
    const map = mapOf(objset, object)
    const found = [...map.keys()].map((key) => (key === zapNumber(map, key).toString(16) ? zapNumber(map, key) : Number.NaN))
    if (found.sort((a, b) => a - b).join() !== [...wanted].sort((a, b) => a - b).join())
      wrong(`${what} of the origin are ${found}, not ${wanted}`)
  }
  const heads = users.map(({ head }) => head?.object ?? 0)
  const directory = directories.find(({ name }) => name === ORIGIN)
  compareMap('clones', directory?.fields.clones ?? 0, heads)
  compareMap(
    'the next',
    origin.fields.nextClones,
    users.map(({ head, snapshots }) => snapshots[0]?.object ?? head?.object ?? 0),
  )
  if (origin.fields.children !== 1 + users.length) wrong(`the origin has ${origin.fields.children} children, not ${1 + users.length}`)
  for (const { name, fields } of users) if (fields.origin !== origin.object) wrong(`${name}: its origin is ${fields.origin}`)
}

/** Where a limit is set, and below, directories count file systems and snapshots (`dsl_dir_init_fs_ss_count`). */
function checkCounts({ meta }: ZfsReading, directory: Directory, wrong: Wrong): void {
  const hasLimit = (own: Directory): boolean => ['filesystem_limit', 'snapshot_limit'].some((name) => own.properties.has(name))
  const below = [...allDirectories(directory)].filter(({ name }) => !name.startsWith('/$'))
  const above = [...allDirectories(meta.root)].filter((own) => own === directory || isAbove(own, directory))
  const isCounted = !directory.name.startsWith('/$') && above.some(hasLimit)
  if ((directory.stored.type === MAP_TYPE) !== isCounted)
    wrong(`${directory.name}: it counts and has no limit, or has one and does not count`)
  if (directory.stored.type !== MAP_TYPE) return
  const map = mapOf(meta.objset, directory.object)
  const counts = [zapNumber(map, 'com.joyent:filesystem_count'), zapNumber(map, 'com.joyent:snapshot_count')]
  const wanted = [below.length - 1, below.reduce((sum, { snapshots }) => sum + snapshots.length, 0)]
  if (counts.join() !== wanted.join()) wrong(`${directory.name}: it counts ${counts} file systems and snapshots, not ${wanted}`)
}

function isAbove(above: Directory, directory: Directory): boolean {
  return above.children.some((child) => child === directory || isAbove(child, directory))
}
