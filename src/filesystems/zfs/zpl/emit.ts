/** From the plan of a file system to its object set (OpenZFS `module/zfs/zfs_znode.c`, `zfs_create_fs`). */
import { throwIfAborted } from '../../../errors.ts'
import { addSpace, type BlockPointer, type Space } from '../block-pointer.ts'
import type { PackedStyle } from '../block-writer.ts'
import { DNODE_SIZE, FILE_SYSTEM_VERSION, OBJECT_TYPE, OBJSET_TYPE, SECTOR_SIZE } from '../constants.ts'
import type { RecordStream } from '../data/records.ts'
import { DNODE_FLAGS, OBJSET_FLAGS } from '../disk.ts'
import { type DnodeContent, dnodeSpace, type ObjectData } from '../dnode.ts'
import { PointerTree, type WriteContext, writeMetadata } from '../object-writer.ts'
import { DnodeTable, holeData, writeObjset } from '../objset.ts'
import type { Accounts } from '../options.ts'
import { fatZap } from '../zap/fat.ts'
import { type ZapEntry, zapBlocks, zapEntry, zapSalt, zapShorts } from '../zap/index.ts'
import { ATTRIBUTES, encodeAttributes, layoutKey, placeAttributes, spillBlock } from './attributes.ts'
import { recordShape } from './content.ts'
import { directoryEntryValue } from './modes.ts'
import { normalForm, normalizationFlags } from './name-rules.ts'
import { PlainBonuses } from './plain-bonus.ts'
import { type FileSystemPlan, type PlannedNode, SYSTEM_OBJECT } from './plan.ts'

export interface FileSystemStyle {
  /** Of file contents. */
  readonly data: PackedStyle
  readonly recordSize: number
  /** The number of the first node among the files of the record stream. */
  readonly firstFile: number
  readonly accounts: Accounts
  /** Makes salts; another for each file system. */
  readonly seed: string
  /** Of the file system, and so of its root directory, which is the same one in snapshots of any state. */
  readonly createdTxg: number
  readonly signal: AbortSignal | undefined
  /** Called for each node when all of it is placed. */
  readonly onNode: (planned: PlannedNode) => void
}

export interface WrittenObjset {
  readonly pointer: BlockPointer
  readonly space: Space
}

/** Space and objects by owner. */
type Usage = Map<number, { used: number; objects: number }>

/** `records` has the contents of all files. Throws what it throws, LIMIT when the pool is full, and ABORTED. */
export async function emitFileSystem(
  plan: FileSystemPlan,
  context: WriteContext,
  style: FileSystemStyle,
  records: RecordStream,
): Promise<WrittenObjset> {
  const { accounts, seed } = style
  const flags = DNODE_FLAGS.userUsedAccounted | (accounts.objects ? DNODE_FLAGS.userObjectsAccounted : 0)
  const table = new DnodeTable(context, SYSTEM_OBJECT.root + plan.nodes.length)
  for (const { object, type, entries, isFat } of systemObjects(plan)) {
    const salt = zapSalt(seed, `object ${object}`)
    const zap = isFat ? fatZap(entries, salt) : zapBlocks(entries, salt)
    table.add(object, { type, flags, data: writeMetadata(context, type, zap.blockSize, zap.blockCount, zap.blocks()) })
  }
  const users: Usage = new Map()
  const groups: Usage = new Map()
  const projects: Usage = new Map()
  const bonuses = new PlainBonuses(plan.layouts)
  for (const [index, planned] of plan.nodes.entries()) {
    throwIfAborted(style.signal)
    const { node } = planned
    const object = SYSTEM_OBJECT.root + index
    const hasContent = node.kind === 'file' && node.size > 0
    const data = hasContent
      ? await emitContent(style.firstFile + index, node.size, context, style, records)
      : emitNames(planned, object, plan, context, style)
    const dnode = { ...emitNode(planned, data, plan, context, style, bonuses), flags }
    const used = DNODE_SIZE + dnodeSpace(dnode).used
    count(users, node.uid, used)
    count(groups, node.gid, used)
    count(projects, 0, used)
    table.add(object, dnode)
    style.onNode(planned)
    const wait = context.writer.drained()
    if (wait !== undefined) await wait
  }
  const { dnodes, space: objectSpace } = table.finish()
  const special = {
    userUsed: emitUsage(users, 'user', context, style),
    groupUsed: emitUsage(groups, 'group', context, style),
    ...(accounts.projects && { projectUsed: emitUsage(projects, 'project', context, style) }),
  }
  const objsetFlags =
    OBJSET_FLAGS.userAccounting |
    (accounts.objects ? OBJSET_FLAGS.userObjectAccounting : 0) |
    (accounts.projects ? OBJSET_FLAGS.projectQuota : 0)
  const pointer = writeObjset(context, { type: OBJSET_TYPE.zfs, dnodes, flags: objsetFlags, ...special })
  let space = addSpace(objectSpace, pointer)
  for (const dnode of Object.values(special)) space = addSpace(space, dnode.data.space)
  return { pointer, space }
}

interface SystemObject {
  readonly object: number
  readonly type: number
  readonly entries: readonly ZapEntry[]
  readonly isFat?: boolean
}

function systemObjects({ layouts: layoutNumbers, names }: FileSystemPlan): SystemObject[] {
  const { masterNode, attributeMaster, deleteQueue, registration, layouts, root } = SYSTEM_OBJECT
  return [
    {
      object: masterNode,
      type: OBJECT_TYPE.masterNode,
      entries: [
        zapEntry('VERSION', FILE_SYSTEM_VERSION),
        zapEntry('normalization', names.normalization),
        zapEntry('utf8only', names.isUtf8Only ? 1 : 0),
        zapEntry('casesensitivity', names.caseSensitivity),
        zapEntry('SA_ATTRS', attributeMaster),
        zapEntry('DELETE_QUEUE', deleteQueue),
        zapEntry('ROOT', root),
      ],
    },
    {
      object: attributeMaster,
      type: OBJECT_TYPE.attributeMaster,
      entries: [zapEntry('LAYOUTS', layouts), zapEntry('REGISTRY', registration)],
    },
    { object: deleteQueue, type: OBJECT_TYPE.deleteQueue, entries: [] },
    {
      object: registration,
      type: OBJECT_TYPE.attributeRegistration,
      entries: ATTRIBUTES.map(([name, size, swap], number) => zapEntry(name, size * 2 ** 24 + swap * 2 ** 16 + number)),
    },
    {
      object: layouts,
      type: OBJECT_TYPE.attributeLayouts,
      entries: [...layoutNumbers].map(([key, number]) => zapEntry(String(number), zapShorts(key.split(' ').map(Number)))),
      isFat: true,
    },
  ]
}

function emitNode(
  planned: PlannedNode,
  data: ObjectData,
  plan: FileSystemPlan,
  context: WriteContext,
  { createdTxg }: FileSystemStyle,
  bonuses: PlainBonuses,
): DnodeContent {
  const { node, parent, links, entries } = planned
  const size = node.kind === 'file' ? node.size : node.kind === 'symlink' ? node.target.length : entries ? entries.length + 2 : 0
  const generation = planned === plan.nodes[0] ? createdTxg : context.birthTxg
  const facts = { size, parent, links, generation, hasProjects: plan.hasProjects }
  const type = node.kind === 'directory' ? OBJECT_TYPE.directory : OBJECT_TYPE.plainFile
  const plain = bonuses.encode(node, facts)
  if (plain !== undefined) return { type, data, bonus: { type: OBJECT_TYPE.systemAttributes, bytes: plain } }
  const { bonus, spill } = placeAttributes(node, facts)
  const layoutOf = (attributes: typeof bonus): number => plan.layouts.get(layoutKey(attributes)) as number
  const { birthTxg, writer, metadataStyle } = context
  const identity = { type: OBJECT_TYPE.systemAttributes, level: 0, birthTxg, fill: 1 }
  return {
    type,
    data,
    bonus: { type: OBJECT_TYPE.systemAttributes, bytes: encodeAttributes(bonus, layoutOf(bonus)) },
    ...(spill.length > 0 && { spill: writer.write(spillBlock(spill, layoutOf(spill)), identity, metadataStyle) }),
  }
}

/** The names in a directory; all else has no data. */
function emitNames(
  { entries, children }: PlannedNode,
  object: number,
  plan: FileSystemPlan,
  context: WriteContext,
  { seed }: FileSystemStyle,
): ObjectData {
  if (entries === undefined || children === undefined) return holeData(SECTOR_SIZE)
  const flags = normalizationFlags(plan.names)
  const names = entries.map(({ name, node }, index) => {
    const entry = { name, value: directoryEntryValue(node, children[index] as number) }
    return flags === 0 ? entry : { ...entry, hashedName: normalForm(name, flags) }
  })
  const zap = zapBlocks(names, zapSalt(seed, `object ${object}`), flags)
  return writeMetadata(context, OBJECT_TYPE.directory, zap.blockSize, zap.blockCount, zap.blocks())
}

async function emitContent(
  file: number,
  size: number,
  context: WriteContext,
  { recordSize, data, signal }: FileSystemStyle,
  records: RecordStream,
): Promise<ObjectData> {
  const { writer, birthTxg } = context
  const shape = recordShape(size, recordSize)
  const type = OBJECT_TYPE.plainFile
  const tree = new PointerTree(context, type, shape.recordSize, shape.recordCount)
  const identity = { type, level: 0, birthTxg, fill: 1 }
  for (;;) {
    // Most records are there already, and a promise for each would cost more than writing it.
    const record = records.ready(file) ?? (await records.next(file))
    if (record === undefined) return tree.finish()
    tree.add(record.index, writer.writePacked(record, record.logicalSize, identity, data, record))
    const wait = writer.drained()
    if (wait !== undefined) await wait
    throwIfAborted(signal)
  }
}

function count(usage: Usage, owner: number, used: number): void {
  const before = usage.get(owner)
  if (before === undefined) usage.set(owner, { used, objects: 1 })
  else {
    before.used += used
    before.objects++
  }
}

function emitUsage(usage: Usage, of: string, context: WriteContext, { seed, accounts }: FileSystemStyle): DnodeContent {
  const type = OBJECT_TYPE.userGroupUsed
  const entries = [...usage].flatMap(([owner, { used, objects }]) => [
    zapEntry(owner.toString(16), used),
    ...(accounts.objects ? [zapEntry(`obj-${owner.toString(16)}`, objects)] : []),
  ])
  const zap = zapBlocks(entries, zapSalt(seed, `used by ${of}`))
  return { type, data: writeMetadata(context, type, zap.blockSize, zap.blockCount, zap.blocks()) }
}
