/** Sets of objects (OpenZFS `include/sys/dmu_objset.h`). */
import { isZero, number64 } from './device.ts'
import { checkCopies, checkUsed, DNODE_SIZE, type Dnode, readDnode, walkBlocks } from './dnode.ts'
import { addSpace, isMetadata, type Space, spaceOf } from './pointer.ts'
import { attempt, type BlockNode, type Pool, readBlock } from './pool.ts'

const OBJSET_TYPE = 11
const HEAD_SIZE = 4096
/** Dnodes of accounts in the head, and the numbers that OpenZFS gives them. */
const SPECIAL = [
  [1024, -1],
  [1536, -2],
  [2048, -3],
] as const
/** Metadata above it would be absurd here. */
const CONTENT_MAXIMUM = 64 << 20

/** A dnode with what its blocks hold. */
export interface StoredObject extends Dnode {
  /** All blocks in their order, holes as zeros; undefined for file contents and where a block cannot be read. */
  readonly content: Buffer | undefined
  readonly spill: Buffer | undefined
  /** Behind the last byte that is not zero. */
  readonly contentEnd: number
}

export interface Objset {
  readonly name: string
  readonly type: number
  readonly flags: number
  readonly root: BlockNode
  readonly objects: ReadonlyMap<number, StoredObject>
  /** Accounts, where there are any; those of projects take a feature. */
  readonly special: { readonly user: StoredObject; readonly group: StoredObject; readonly project?: StoredObject } | undefined
  /** Every block but holes, the head among them. */
  readonly blocks: readonly BlockNode[]
  readonly space: Space
}

/** Read a set of objects whole, but do not keep what files contain. Undefined when its head cannot be read. */
export function readObjset(pool: Pool, name: string, root: BlockNode): Objset | undefined {
  const head = readBlock(pool, root)
  if (head === undefined) return undefined
  const { type, level, logicalSize, payload } = root.pointer
  if (type !== OBJSET_TYPE || level !== 0 || logicalSize !== HEAD_SIZE || payload !== undefined) {
    pool.problems.push(`${name}: its head is a block of type ${type} L${level} with ${logicalSize} bytes`)
  }
  checkCopies(pool, root)
  const blocks: BlockNode[] = [root]
  let space = spaceOf(root.pointer)
  const objects = new Map<number, StoredObject>()
  const keep = (dnode: Dnode): StoredObject => {
    const object = readStored(pool, name, dnode, blocks)
    space = addSpace(space, object.space)
    return object
  }
  const inner = (at: number, what: string, object: number): Dnode | undefined =>
    attempt(pool, `${name} ${what}`, () => readDnode(head, at, root, object))
  const meta = inner(0, 'dnodes', 0)
  if (meta === undefined) return undefined
  const found: Dnode[] = []
  const walked = walkBlocks(pool, name, meta, (node, content) => {
    blocks.push(node)
    if (node.level === 0 && content !== undefined) found.push(...dnodesOf(pool, node, content))
  })
  space = addSpace(space, walked.space)
  checkUsed(pool, `${name} dnodes`, meta, walked.space)
  if (walked.fill !== root.pointer.fill) pool.problems.push(`${name}: ${walked.fill} objects, its pointer says ${root.pointer.fill}`)
  for (const dnode of found) objects.set(dnode.object, keep(dnode))
  const flags = number64(head, 712)
  const [user, group, project] = SPECIAL.map(([at, object]) =>
    head.length > at && head[at] !== 0 ? inner(at, 'accounts', object) : undefined,
  )
  const special = user && group && { user: keep(user), group: keep(group), ...(project && { project: keep(project) }) }
  if (!isZero(head.subarray(512, 704))) pool.problems.push(`${name}: the intent log is not empty`)
  return { name, type: number64(head, 704), flags, root, objects, special, blocks, space }
}

function dnodesOf(pool: Pool, node: BlockNode, block: Buffer): Dnode[] {
  const found: Dnode[] = []
  for (let at = 0; at < block.length; ) {
    const object = node.index * (block.length / DNODE_SIZE) + at / DNODE_SIZE
    const isFree = block[at] === 0
    if (isFree && !isZero(block.subarray(at, at + DNODE_SIZE))) pool.problems.push(`${node.objset} object ${object}: no type, but not zero`)
    const dnode = isFree ? undefined : attempt(pool, `${node.objset} object ${object}`, () => readDnode(block, at, node, object))
    if (dnode !== undefined) found.push(dnode)
    at += DNODE_SIZE * (dnode?.slots ?? 1)
  }
  return found
}

function readStored(pool: Pool, objset: string, dnode: Dnode, blocks: BlockNode[]): StoredObject & { readonly space: Space } {
  const size = (dnode.maxBlock + 1) * dnode.blockSize
  const isKept = isMetadata(dnode.type) && size <= CONTENT_MAXIMUM
  if (isMetadata(dnode.type) && !isKept) pool.problems.push(`${objset} object ${dnode.object}: ${size} bytes of metadata`)
  let content: Buffer | undefined = isKept ? Buffer.alloc(size) : undefined
  let spill: Buffer | undefined
  let contentEnd = 0
  const { space } = walkBlocks(pool, objset, dnode, (node, block) => {
    blocks.push(node)
    if (node.index === -1) spill = block
    else if (block === undefined) content = undefined
    else if (node.level === 0) {
      if (content !== undefined) block.copy(content, node.index * dnode.blockSize)
      contentEnd = node.index * dnode.blockSize + endOf(block)
    }
  })
  checkUsed(pool, `${objset} object ${dnode.object}`, dnode, space)
  return { ...dnode, content, spill, contentEnd, space }
}

/** Behind the last byte that is not zero. */
function endOf(block: Buffer): number {
  let end = block.length
  while (end > 0 && isZero(block.subarray(Math.max(0, end - 512), end))) end -= 512
  return block.subarray(0, Math.max(0, end)).findLastIndex((byte) => byte !== 0) + 1
}
