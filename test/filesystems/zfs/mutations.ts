/** A small pool with something of everything, and what can be made wrong in it. */
import type { ZfsPoolOptions } from '../../../src/filesystems/zfs/index.ts'
import { readAttributes } from '../../readers/zfs-reader/attributes.ts'
import type { ZfsReading } from '../../readers/zfs-reader/index.ts'
import type { Objset, StoredObject } from '../../readers/zfs-reader/objset.ts'
import { POINTER_SIZE } from '../../readers/zfs-reader/pointer.ts'
import type { BlockNode } from '../../readers/zfs-reader/pool.ts'
import { zapNumber } from '../../readers/zfs-reader/zap.ts'
import { type Damage, removeName } from './repair.ts'
import { directory, file, many, noise, OPTIONS, symlink, xattr } from './support.ts'

const STORE_NAME = 'q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6-a-package-of-some-length-'
const twin = file(noise(9000, 5))
export const MUTATED_TREE = directory({
  large: file(noise(1 << 20, 9)),
  odd: file(noise(5000, 1)),
  other: file(noise(5000, 2)),
  twin,
  'link of twin': twin,
  attributes: file('x', { xattrs: [xattr('user.large', noise(4000, 7))] }),
  link: symlink('target'),
  null: { kind: 'characterDevice', mode: 0o666, uid: 0, gid: 0, mtimeSeconds: 1, major: 1, minor: 3 },
  store: many(200, (index) => file(noise(600, index)), STORE_NAME),
  home: directory({ user: directory({ mine: file('mine', { uid: 1000, gid: 100 }) }) }),
})
export const MUTATED_OPTIONS: ZfsPoolOptions = {
  ...OPTIONS,
  size: 64 << 20,
  datasets: [
    { name: 'tank', mount: '/', snapshots: [{ name: 'blank', state: 'empty' }] },
    { name: 'tank/home', mount: '/home', snapshots: [{ name: 'full', state: 'populated' }], properties: { 'org.example:note': 'x' } },
    { name: 'tank/spare', properties: { refreservation: '1M', mountpoint: 'none' } },
  ],
}

export const setOf = (reading: ZfsReading, name: string): Objset => reading.sets.get(name)?.objset as Objset
export const blockOf = (objset: Objset, object: number, level = 0, index = 0): BlockNode | undefined =>
  objset.blocks.find((node) => node.object === object && node.level === level && node.index === index)
const metaObject = (reading: ZfsReading, name: string): StoredObject | undefined =>
  reading.meta.objset.objects.get(zapNumber(reading.meta.directory, name))
export const metaBlock = (reading: ZfsReading, object: number): BlockNode | undefined => blockOf(reading.meta.objset, object)
const spaceMap = (reading: ZfsReading): StoredObject | undefined => [...reading.meta.objset.objects.values()].find(({ type }) => type === 8)
const childOf = (reading: ZfsReading, name: string): ZfsReading['meta']['root'] =>
  reading.meta.root.children.find((child) => child.name === `/${name}`) as ZfsReading['meta']['root']

/** The object of a path of `tank`. */
export function objectAt({ fileSystems }: ZfsReading, name: string): StoredObject {
  const { nodes, root } = fileSystems.get('tank') ?? { nodes: new Map<number, never>(), root: 0 }
  let object = root
  for (const part of name.split('/').filter((piece) => piece !== '')) {
    object = nodes.get(object)?.entries.find((entry) => entry.name.toString() === part)?.object ?? 0
  }
  return nodes.get(object)?.stored as StoredObject
}

export const add = (bytes: Buffer, at: number, more: bigint): unknown =>
  bytes.writeBigUInt64LE(BigInt.asUintN(64, bytes.readBigUInt64LE(at) + more), at)

export type Harm = (damage: Damage) => void

/** Add to a field of the dataset or directory that `find` gives. */
const bonusField =
  (find: (reading: ZfsReading) => { readonly object: number } | undefined, at: number, more = 512n): Harm =>
  (damage) =>
    damage.changeDnode(
      (reading) => reading.meta.objset.objects.get(find(reading)?.object ?? 0),
      (dnode, { bonusAt }) => add(dnode, bonusAt + at, more),
    )
const dnodeField =
  (name: string, edit: (dnode: Buffer, object: StoredObject) => void): Harm =>
  (damage) =>
    damage.changeDnode((reading) => objectAt(reading, name), edit)
const attribute =
  (name: string, key: string, more = 1n, at = 0): Harm =>
  (damage) =>
    damage.changeDnode(
      (reading) => objectAt(reading, name),
      (dnode, object, reading) => {
        const tables = reading.fileSystems.get('tank')?.tables
        const value = tables && readAttributes(tables, object).get(key)
        if (value === undefined) throw new Error(`${name} has no ${key}`)
        add(dnode, value.byteOffset - object.bytes.byteOffset + at, more)
      },
    )
const without =
  (find: (reading: ZfsReading) => StoredObject | undefined, name: string): Harm =>
  (damage) =>
    damage.changeObject(find, (content, blockSize) => removeName(content, blockSize, name))
const directoryOf = (reading: ZfsReading): StoredObject | undefined => reading.meta.objset.objects.get(1)
const dataPointer = 64

export const BITS: readonly (readonly [name: string, find: (reading: ZfsReading) => BlockNode | undefined])[] = [
  ['the head of the meta objset', ({ meta }) => meta.objset.root],
  ['the dnodes of the meta objset', ({ meta }) => blockOf(meta.objset, 0)],
  ['the object directory', (reading) => metaBlock(reading, 1)],
  ['the configuration', (reading) => metaBlock(reading, metaObject(reading, 'config')?.object ?? 0)],
  ['a space map', (reading) => metaBlock(reading, spaceMap(reading)?.object ?? 0)],
  ['the head of a file system', (reading) => setOf(reading, 'tank').root],
  ['dnodes', (reading) => blockOf(setOf(reading, 'tank'), 0)],
  ['a leaf of a directory', (reading) => blockOf(setOf(reading, 'tank'), objectAt(reading, 'store').object, 0, 1)],
  ['attributes in a block of their own', (reading) => blockOf(setOf(reading, 'tank'), objectAt(reading, 'attributes').object, 0, -1)],
  ['the content of a file', (reading) => blockOf(setOf(reading, 'tank'), objectAt(reading, 'odd').object)],
  ['block pointers', (reading) => blockOf(setOf(reading, 'tank'), objectAt(reading, 'large').object, 1)],
]

/** What is wrong but has good checksums. */
interface Meaning {
  readonly name: string
  readonly harm: Harm
  /** What the reader says of it. */
  readonly sentence: RegExp
  /** What `zdb` has to check to find it too. */
  readonly zdb: 'objects' | 'blocks' | undefined
}

const meaning = (name: string, harm: Harm, sentence: RegExp, zdb?: Meaning['zdb']): Meaning => ({ name, harm, sentence, zdb })

export const MEANINGS: readonly Meaning[] = [
  meaning('no config', without(directoryOf, 'config'), /there is no config/, 'objects'),
  meaning('no features_for_read', without(directoryOf, 'features_for_read'), /there is no features_for_read/, 'objects'),
  meaning('no root_dataset', without(directoryOf, 'root_dataset'), /there is no root_dataset/, 'objects'),
  meaning('no deflate', without(directoryOf, 'deflate'), /there is no deflate/),
  meaning('no history', without(directoryOf, 'history'), /there is no history/),
  meaning(
    'a dataset that its parent does not name',
    without(({ meta }) => meta.objset.objects.get(meta.root.fields.childMap), 'spare'),
    /nothing refers to object \d+ of type 12/,
    'objects',
  ),
  meaning('a leaked block', (damage) => growSpaceMap(damage), /space is leaked: 4096 bytes/, 'blocks'),
  meaning('a block that two files have', (damage) => shareBlock(damage), /both have \d+/, 'blocks'),
  meaning('a space map that is not listed', (damage) => forgetSpaceMap(damage), /that the maps have as free/, 'blocks'),
  meaning('a block over the border of metaslabs', (damage) => straddle(damage), /is not in one metaslab/),
  meaning('a histogram', bonusField(spaceMap, 64, 1n), /bucket 0 of the histogram/),
  meaning('the sum of a space map', bonusField(spaceMap, 16), /the bonus says/),
  meaning(
    'what a dataset refers to',
    bonusField(({ meta }) => meta.root.head, 72),
    /it refers to .*, and says/,
  ),
  meaning(
    'its compressed size',
    bonusField(({ meta }) => meta.root.head, 80),
    /it refers to .*, and says/,
  ),
  meaning(
    'its size before',
    bonusField(({ meta }) => meta.root.head, 88),
    /it refers to .*, and says/,
  ),
  meaning(
    'what only it has',
    bonusField(({ meta }) => meta.root.head, 96),
    /are its own, and it says/,
  ),
  meaning(
    'its deadlist',
    bonusField(({ meta }) => ({ object: meta.root.head?.fields.deadlist ?? 0 }), 0),
    /its deadlist counts/,
  ),
  meaning(
    'the snapshot before it',
    bonusField(({ meta }) => meta.root.head, 16, 1n),
    /previousTxg is/,
  ),
  meaning(
    'a flag of a dataset',
    bonusField(({ meta }) => meta.root.head, 120, 1n << 16n),
    /flags is 65540, not 4/,
  ),
  meaning('names of snapshots in their own case', (damage) => keepCase(damage), /not hashed by capitals/),
  meaning('the flag of a sorted leaf', (damage) => sortLeaf(damage), /a leaf with the flags 1/),
  meaning(
    'the children of a snapshot',
    bonusField(({ meta }) => meta.root.snapshots[0], 40, 1n),
    /children is/,
  ),
  meaning(
    'the time of a snapshot',
    bonusField(({ meta }) => meta.root.snapshots[0], 56, -2n),
    /a block was born in/,
  ),
  meaning(
    'the clones of the origin',
    bonusField((reading) => childOf(reading, '$ORIGIN').snapshots[0], 40, 1n),
    /the origin has/,
  ),
  meaning(
    'what a directory uses',
    bonusField(({ meta }) => meta.root, 40),
    /directory of the root: used is/,
  ),
  meaning(
    'what $MOS uses',
    bonusField((reading) => childOf(reading, '$MOS'), 40),
    /directory \/\$MOS: used is/,
  ),
  meaning(
    'what children use',
    bonusField(({ meta }) => meta.root, 120),
    /usedByChildren is/,
  ),
  meaning(
    'what is reserved',
    bonusField((reading) => childOf(reading, 'spare'), 136),
    /usedByReservation is/,
  ),
  meaning(
    'a quota',
    bonusField((reading) => childOf(reading, 'spare'), 64),
    /quota 512/,
  ),
  meaning(
    'a parent of a directory',
    bonusField((reading) => childOf(reading, 'spare'), 16, 1n),
    /its parent is/,
  ),
  meaning('the count of a feature', featureCount, /the feature com.delphix:spacemap_histogram is used/, 'objects'),
  meaning(
    'a feature of a dataset',
    without(({ meta }) => meta.root.head?.stored, 'org.zfsonlinux:project_quota'),
    /needs the feature org.zfsonlinux:project_quota/,
    'objects',
  ),
  meaning('links of a file', attribute('twin', 'LINKS'), /it has 3 links, not 2/),
  meaning('links of a directory', attribute('store', 'LINKS'), /it has 3 links, not 2/),
  meaning('the size of a directory', attribute('store', 'SIZE'), /its size is 203 with 200 entries/),
  meaning('the parent of a file', attribute('odd', 'PARENT'), /its parent is/),
  meaning('the parent of a directory', attribute('store', 'PARENT'), /its parent is/),
  meaning('the kind of a file', attribute('odd', 'MODE', 0o020000n - 0o100000n), /it is called a file and is a characterDevice/),
  meaning('the owner', attribute('odd', 'UID'), /the account '[01]' of users/),
  meaning('the size of a link', attribute('link', 'SIZE'), /a target of 6 bytes, size 7/),
  meaning('a size that leaves bytes behind it', attribute('odd', 'SIZE', -1n), /something stands behind its end/),
  meaning('a generation', attribute('odd', 'GEN', 1000n), /its generation is/),
  meaning('the flag of a project', attribute('odd', 'FLAGS', -0x800000000000n), /a project without its flag/),
  meaning('nanoseconds', attribute('odd', 'MTIME', 2_000_000_000n, 8), /more than a second of nanoseconds/),
  meaning('the count of access entries', attribute('odd', 'DACL_COUNT'), /4 access entries/),
  meaning(
    'a name that is missing',
    without((reading) => objectAt(reading, 'store'), `${STORE_NAME}7`),
    /no directory has it/,
  ),
  meaning('a name that was changed', (damage) => changeName(damage), /has another hash/),
  meaning(
    'what an object uses',
    dnodeField('odd', (dnode) => add(dnode, 24, 512n)),
    /bytes are used, its blocks have/,
  ),
  meaning(
    'a block behind the last',
    dnodeField('large', (dnode) => add(dnode, 16, -1n)),
    /it is behind the last block/,
  ),
  meaning(
    'a fill count',
    dnodeField('large', (dnode) => add(dnode, dataPointer + 88, 1n)),
    /fill is 9, and below it are 8/,
  ),
  meaning(
    'a birth',
    dnodeField('odd', (dnode) => add(dnode, dataPointer + 80, 100n)),
    /it was born in/,
  ),
  meaning(
    'a type in a pointer',
    dnodeField('odd', (dnode) => dnode.writeUInt8(20, dataPointer + 54)),
    /a pointer of type 20/,
  ),
  meaning(
    'flags of accounts',
    dnodeField('odd', (dnode) => dnode.writeUInt8(1, 7)),
    /flags 1/,
  ),
  meaning('accounts', (damage) => changeAccount(damage), /the account '0' of users/),
]

function growSpaceMap(damage: Damage): void {
  damage.change(
    (reading) => metaBlock(reading, spaceMap(reading)?.object ?? 0),
    (block, reading) => {
      const length = spaceMap(reading)?.bonus.readUInt32LE(8) ?? 0
      add(block, length - 8, 1n)
    },
  )
  bonusField(spaceMap, 16, 4096n)(damage)
}

function shareBlock(damage: Damage): void {
  damage.changeDnode(
    (reading) => objectAt(reading, 'odd'),
    (dnode, _, reading) => objectAt(reading, 'other').bytes.copy(dnode, dataPointer, dataPointer, dataPointer + POINTER_SIZE),
  )
}

function forgetSpaceMap(damage: Damage): void {
  damage.change(
    ({ meta }) => {
      const array = [...meta.objset.objects.values()].find(({ type }) => type === 2)
      return blockOf(meta.objset, array?.object ?? 0)
    },
    (block) => block.fill(0, 0, 8),
  )
}

/** The metaslabs of this pool have 16 MiB. */
function straddle(damage: Damage): void {
  dnodeField('odd', (dnode) => dnode.writeUInt32LE(((16 << 20) - 4096) / 512, dataPointer + 8))(damage)
}

function featureCount(damage: Damage): void {
  damage.change(
    (reading) => metaBlock(reading, metaObject(reading, 'features_for_write')?.object ?? 0),
    (block) => add(block, block.indexOf('com.delphix:spacemap_histogram\0') - 14, 1n),
  )
}

function changeName(damage: Damage): void {
  damage.change(
    (reading) => blockOf(setOf(reading, 'tank'), objectAt(reading, 'store').object, 0, 1),
    (block) => block.write('Q', block.indexOf('q1w2')),
  )
}

function keepCase(damage: Damage): void {
  damage.change(
    (reading) => metaBlock(reading, reading.meta.root.head?.fields.snapshotNames ?? 0),
    (block) => add(block, 16, -2n),
  )
}

function sortLeaf(damage: Damage): void {
  damage.change(
    (reading) => blockOf(setOf(reading, 'tank'), objectAt(reading, 'store').object, 0, 1),
    (block) => block.writeUInt8(1, 36),
  )
}

function changeAccount(damage: Damage): void {
  damage.change(
    (reading) => setOf(reading, 'tank').blocks.find(({ pointer }) => pointer.type === 39),
    (block) => add(block, 64, 512n),
  )
}
