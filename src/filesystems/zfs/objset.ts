/** Object sets: dnodes in blocks of 32, and the block at their head (OpenZFS `include/sys/dmu_objset.h`). */
import { addSpace, type BlockPointer, HOLE, NO_SPACE, type Space } from './block-pointer.ts'
import { DNODE_BLOCK_SIZE, DNODE_SIZE, DNODES_PER_BLOCK, OBJECT_TYPE } from './constants.ts'
import { OBJSET } from './disk.ts'
import { type DnodeContent, dnodeSpace, emptyData, encodeDnode, type ObjectData, writeDnode } from './dnode.ts'
import { PointerTree, type WriteContext } from './object-writer.ts'

/** Takes the dnodes of an object set in ascending order of their numbers and writes block after block. */
export class DnodeTable {
  readonly #context: WriteContext
  readonly #tree: PointerTree
  readonly #block = new Uint8Array(DNODE_BLOCK_SIZE)
  #index = 0
  #fill = 0
  #space: Space = NO_SPACE

  /** `objectLimit` is above every object number. */
  constructor(context: WriteContext, objectLimit: number) {
    this.#context = context
    this.#tree = new PointerTree(context, OBJECT_TYPE.dnode, DNODE_BLOCK_SIZE, Math.ceil(objectLimit / DNODES_PER_BLOCK))
  }

  add(object: number, content: DnodeContent): void {
    const index = Math.floor(object / DNODES_PER_BLOCK)
    if (index !== this.#index) this.#flush()
    this.#index = index
    this.#fill++
    this.#space = addSpace(this.#space, dnodeSpace(content))
    writeDnode(this.#block, DNODE_SIZE * (object % DNODES_PER_BLOCK), content)
  }

  /** The dnodes' own data, and the space of all objects and of the dnodes. */
  finish(): { readonly dnodes: ObjectData; readonly space: Space } {
    this.#flush()
    const dnodes = this.#tree.finish()
    return { dnodes, space: addSpace(this.#space, dnodes.space) }
  }

  #flush(): void {
    if (this.#fill === 0) return
    const { writer, birthTxg, metadataStyle } = this.#context
    const identity = { type: OBJECT_TYPE.dnode, level: 0, birthTxg, fill: this.#fill }
    this.#tree.add(this.#index, writer.write(this.#block, identity, metadataStyle))
    this.#block.fill(0)
    this.#fill = 0
  }
}

/** What stands in the head of an object set beside its dnodes. */
export interface ObjsetContent {
  readonly type: number
  readonly flags: number
  readonly dnodes: ObjectData
  readonly userUsed?: DnodeContent
  readonly groupUsed?: DnodeContent
  readonly projectUsed?: DnodeContent
}

export function encodeObjset({ type, flags, dnodes, userUsed, groupUsed, projectUsed }: ObjsetContent): Uint8Array {
  return OBJSET.encode({
    metaDnode: encodeDnode({ type: OBJECT_TYPE.dnode, data: dnodes }),
    type,
    flags,
    ...(userUsed !== undefined && { userUsedDnode: encodeDnode(userUsed) }),
    ...(groupUsed !== undefined && { groupUsedDnode: encodeDnode(groupUsed) }),
    ...(projectUsed !== undefined && { projectUsedDnode: encodeDnode(projectUsed) }),
  })
}

/** Write the head; its space is not yet in that of the set. */
export function writeObjset(context: WriteContext, content: ObjsetContent): BlockPointer {
  const identity = { type: OBJECT_TYPE.objset, level: 0, birthTxg: context.birthTxg, fill: content.dnodes.pointer.fill }
  return context.writer.write(encodeObjset(content), identity, context.metadataStyle)
}

/** For an object whose data are holes. */
export function holeData(blockSize: number): ObjectData {
  return emptyData(blockSize, HOLE)
}
