/**
 * Writes the meta objset. The space maps must count the blocks that hold them, and the directory `$MOS` all of the
 * objset; so places are taken first for everything that depends on places, which is not compressed.
 */
import { ImageError } from '../../../errors.ts'
import { addSpace, type BlockPointer, NO_SPACE, type Space } from '../block-pointer.ts'
import type { Reservation } from '../block-writer.ts'
import { BLOCK_POINTER_SIZE, DNODE_BLOCK_SIZE, DNODE_SIZE, DNODES_PER_BLOCK, OBJECT_TYPE, OBJSET_TYPE } from '../constants.ts'
import { OBJSET } from '../disk.ts'
import { type DnodeContent, emptyData, encodeDnode, type ObjectData } from '../dnode.ts'
import { type WriteContext, writeMetadata } from '../object-writer.ts'
import { encodeObjset } from '../objset.ts'
import type { ResolvedOptions } from '../options.ts'
import { type SpaceMapForm, spaceMapBlockSize, spaceMapBonus, spaceMapEntries, spaceMapForm } from '../space-map.ts'
import type { MetaObject, MetaObjects, PoolTotals } from './objects.ts'

/** The one block of pointers over the dnodes. */
const INDIRECT_SHIFT = 17
const OBJECTS_MAXIMUM = (2 ** INDIRECT_SHIFT / BLOCK_POINTER_SIZE) * DNODES_PER_BLOCK
/** As space maps of real pools have it when they have no room for a histogram: the bonus starts behind three pointers. */
const POINTERS_WITHOUT_HISTOGRAM = 3

interface Places {
  /** By object. */
  readonly late: ReadonlyMap<number, Reservation>
  /** In the order of their objects, which are the last ones. */
  readonly spaceMaps: readonly Reservation[]
  readonly dnodes: readonly Reservation[]
  readonly indirect: Reservation
  readonly objset: Reservation
}

/** Returns the pointer for the uberblock. Throws LIMIT when the pool is full. */
export async function emitMetaObjset(context: WriteContext, objects: MetaObjects, options: ResolvedOptions): Promise<BlockPointer> {
  const early = new Map<number, ObjectData>()
  let metaSpace: Space = NO_SPACE
  for (const { object, type, blockSize, content } of objects.all) {
    if (content.kind === 'late') continue
    const { blocks } = content
    const data = await writeMetadata(context, type, blockSize, blocks.length, blocks)
    early.set(object, data)
    metaSpace = addSpace(metaSpace, data.space)
  }
  const mapForm = spaceMapForm(options.geometry, options.features)
  const places = takePlaces(context, objects, spaceMapBlockSize(mapForm))
  metaSpace = addSpace(metaSpace, spaceOf(context, places))
  const { used } = context.writer.allocator
  let map = objects.next
  const totals = { metaSpace, spaceMaps: used.map((bytes) => (bytes === 0 ? 0 : map++)) }
  const dnodes = new Map<number, DnodeContent>()
  for (const meta of objects.all) {
    dnodes.set(meta.object, await metaDnode(context, meta, totals, early.get(meta.object), places.late.get(meta.object)))
  }
  for (const [index, object] of totals.spaceMaps.filter((own) => own !== 0).entries()) {
    const metaslab = totals.spaceMaps.indexOf(object)
    dnodes.set(object, await spaceMapDnode(context, object, used[metaslab] as number, places.spaceMaps[index] as Reservation, mapForm))
  }
  return writeDnodes(context, dnodes, places)
}

/** Each place that is taken may be the first of a metaslab, which then needs a space map, which needs places. */
function takePlaces({ writer, metadataStyle }: WriteContext, objects: MetaObjects, spaceMapSize: number): Places {
  const reserve = (size: number): Reservation => writer.reserve(size, metadataStyle.copies)
  const late = new Map<number, Reservation>()
  for (const { object, blockSize, content } of objects.all) if (content.kind === 'late') late.set(object, reserve(blockSize))
  const indirect = reserve(2 ** INDIRECT_SHIFT)
  const objset = reserve(OBJSET.size)
  const spaceMaps: Reservation[] = []
  const dnodes: Reservation[] = []
  for (;;) {
    const mapCount = writer.allocator.used.filter((bytes) => bytes > 0).length
    const objectLimit = objects.next + mapCount
    if (objectLimit > OBJECTS_MAXIMUM) {
      throw new ImageError(
        'LIMIT',
        `zfs: the pool has ${objectLimit} objects of its own, this writer makes ${OBJECTS_MAXIMUM}; use fewer datasets`,
      )
    }
    if (spaceMaps.length < mapCount) spaceMaps.push(reserve(spaceMapSize))
    else if (dnodes.length < Math.ceil(objectLimit / DNODES_PER_BLOCK)) dnodes.push(reserve(DNODE_BLOCK_SIZE))
    else return { late, spaceMaps, dnodes, indirect, objset }
  }
}

function spaceOf({ writer }: WriteContext, { late, spaceMaps, dnodes, indirect, objset }: Places): Space {
  let space: Space = NO_SPACE
  for (const { size, places } of [...late.values(), ...spaceMaps, ...dnodes, indirect, objset]) {
    space = addSpace(space, { used: places.length * writer.allocator.sizeOnDisk(size), compressed: size, uncompressed: size })
  }
  return space
}

async function metaDnode(
  { writer, birthTxg }: WriteContext,
  { type, blockSize, content, bonus, bonusType }: MetaObject,
  totals: PoolTotals,
  early: ObjectData | undefined,
  place: Reservation | undefined,
): Promise<DnodeContent> {
  const bytes = bonus(totals)
  const more = bytes === undefined ? {} : { bonus: { type: bonusType, bytes } }
  if (early !== undefined) return { type, data: early, ...more }
  if (content.kind !== 'late' || place === undefined) throw new Error('an object was neither written nor placed')
  const pointer = await writer.writeReserved(place, content.make(totals), { type, level: 0, birthTxg, fill: 1 })
  return { type, data: { ...emptyData(blockSize, pointer), space: pointer }, ...more }
}

async function spaceMapDnode(
  { writer, birthTxg }: WriteContext,
  object: number,
  used: number,
  place: Reservation,
  form: SpaceMapForm,
): Promise<DnodeContent> {
  const type = OBJECT_TYPE.spaceMap
  const block = new Uint8Array(place.size)
  block.set(spaceMapEntries(used, form))
  const pointer = await writer.writeReserved(place, block, { type, level: 0, birthTxg, fill: 1 })
  const bytes = spaceMapBonus({ ...form, object, used })
  return {
    type,
    data: { ...emptyData(place.size, pointer), space: pointer },
    bonus: { type: OBJECT_TYPE.spaceMapHeader, bytes },
    ...(!form.hasHistogram && { blockPointers: POINTERS_WITHOUT_HISTOGRAM }),
  }
}

async function writeDnodes(context: WriteContext, dnodes: ReadonlyMap<number, DnodeContent>, places: Places): Promise<BlockPointer> {
  const { writer, birthTxg } = context
  const type = OBJECT_TYPE.dnode
  const indirect = new Uint8Array(2 ** INDIRECT_SHIFT)
  let fill = 0
  let space: Space = NO_SPACE
  for (const [index, place] of places.dnodes.entries()) {
    const block = new Uint8Array(DNODE_BLOCK_SIZE)
    let own = 0
    for (let slot = 0; slot < DNODES_PER_BLOCK; slot++) {
      const dnode = dnodes.get(index * DNODES_PER_BLOCK + slot)
      if (dnode === undefined) continue
      block.set(encodeDnode(dnode), DNODE_SIZE * slot)
      own++
    }
    const pointer = await writer.writeReserved(place, block, { type, level: 0, birthTxg, fill: own })
    indirect.set(pointer.bytes, BLOCK_POINTER_SIZE * index)
    space = addSpace(space, pointer)
    fill += own
  }
  const top = await writer.writeReserved(places.indirect, indirect, { type, level: 1, birthTxg, fill })
  const data: ObjectData = {
    blockSize: DNODE_BLOCK_SIZE,
    blockCount: places.dnodes.length,
    levels: 2,
    indirectShift: INDIRECT_SHIFT,
    pointer: top,
    space: addSpace(space, top),
  }
  const objset = encodeObjset({ type: OBJSET_TYPE.meta, flags: 0, dnodes: data })
  return writer.writeReserved(places.objset, objset, { type: OBJECT_TYPE.objset, level: 0, birthTxg, fill })
}
