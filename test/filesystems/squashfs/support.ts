/** A plain data stage, so that the tables are proven without the real one; and comparisons. */
import { constants, deflateSync, zstdCompressSync } from 'node:zlib'
import type { Codec, CodecSpec } from '../../../src/codecs/codec.ts'
import { METADATA_BLOCK_SIZE, NO_INDEX } from '../../../src/filesystems/squashfs/disk.ts'
import { emitTables } from '../../../src/filesystems/squashfs/emit.ts'
import type { SquashfsOptions } from '../../../src/filesystems/squashfs/format.ts'
import { planSquashfs, type SquashfsPlan } from '../../../src/filesystems/squashfs/plan.ts'
import type { StoredData, StoredFile, StoredFragment } from '../../../src/filesystems/squashfs/stored.ts'
import { BufferTarget, type Target } from '../../../src/io/target.ts'
import type { DirectoryNode, Entry, FileNode, TreeNode } from '../../../src/tree/tree.ts'
import type { ReadImage, ReadNode, Source } from '../../readers/squashfs-reader.ts'

const ATTRIBUTES = { uid: 0, gid: 0, mtimeSeconds: 1 }

export function file(content: string | Uint8Array, more: Partial<FileNode> = {}): FileNode {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  return { kind: 'file', mode: 0o444, ...ATTRIBUTES, size: bytes.length, content: { kind: 'bytes', bytes }, ...more }
}

export function directory(
  children: Readonly<Record<string, TreeNode>> | readonly Entry[],
  more: Partial<DirectoryNode> = {},
): DirectoryNode {
  const entries = Array.isArray(children)
    ? (children as readonly Entry[])
    : Object.entries(children as Readonly<Record<string, TreeNode>>).map(([name, node]) => ({ name: Buffer.from(name), node }))
  return { kind: 'directory', mode: 0o755, ...ATTRIBUTES, entries, ...more }
}

export function symlink(target: string | Uint8Array, more: Partial<TreeNode> = {}): TreeNode {
  return { kind: 'symlink', mode: 0o777, ...ATTRIBUTES, target: Buffer.from(target as string), ...more } as TreeNode
}

export function device(kind: 'characterDevice' | 'blockDevice', major: number, minor: number, more: Partial<TreeNode> = {}): TreeNode {
  return { kind, mode: 0o600, ...ATTRIBUTES, major, minor, ...more } as TreeNode
}

export function pipe(kind: 'fifo' | 'socket', more: Partial<TreeNode> = {}): TreeNode {
  return { kind, mode: 0o644, ...ATTRIBUTES, ...more } as TreeNode
}

/** Bytes that do not compress, the same at every call. */
export function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = seed * 2654435761 + 1
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

export function testCodec(spec: CodecSpec, blockSize: number): Codec {
  const level = spec.level ?? 1
  const compress: Partial<Record<CodecSpec['name'], (block: Uint8Array) => Uint8Array>> = {
    none: (block) => block,
    gzip: (block) => deflateSync(block, { level }),
    zstd: (block) => zstdCompressSync(block, { params: { [constants.ZSTD_c_compressionLevel]: level } }),
  }
  const chosen = compress[spec.name]
  if (chosen === undefined) throw new Error(`no test codec ${spec.name}`)
  return { spec, blockSize, compress: chosen }
}

export type OpenCodec = (spec: CodecSpec, blockSize: number) => Codec | Promise<Codec>

/** Single-threaded, no deduplication: blocks in order, tails and small files in fragments. */
export async function storeData(plan: SquashfsPlan, target: Target, start: number, open: OpenCodec = testCodec): Promise<StoredData> {
  const { blockSize, fragments: useFragments } = plan.options
  const codec = await open(plan.options.codec, blockSize)
  const files = new Map<FileNode, StoredFile>()
  const fragments: StoredFragment[] = []
  let end = plan.dataStart
  let pending = Buffer.alloc(0)
  const put = async (block: Uint8Array): Promise<number> => {
    const compressed = codec.compress(block)
    const smaller = compressed.length < block.length
    const bytes = smaller ? compressed : block
    await target.write(start + end, bytes)
    end += bytes.length
    return bytes.length | (smaller ? 0 : 1 << 24)
  }
  const flush = async (): Promise<void> => {
    if (pending.length === 0) return
    fragments.push({ start: end, sizeWord: await put(pending) })
    pending = Buffer.alloc(0)
  }
  for (const node of plan.files) {
    if (node.content.kind !== 'bytes') throw new Error('the test data stage stores bytes only')
    const { bytes } = node.content
    const tail = useFragments ? bytes.length % blockSize : 0
    const blocksStart = bytes.length - tail === 0 ? 0 : end
    const words: number[] = []
    let sparseBytes = 0
    for (let at = 0; at < bytes.length - tail; at += blockSize) {
      const block = bytes.subarray(at, Math.min(at + blockSize, bytes.length - tail))
      const zero = block.every((byte) => byte === 0)
      if (zero) sparseBytes += block.length
      words.push(zero ? 0 : await put(block))
    }
    if (pending.length + tail > blockSize) await flush()
    const place =
      tail === 0 ? { fragmentIndex: NO_INDEX, fragmentOffset: 0 } : { fragmentIndex: fragments.length, fragmentOffset: pending.length }
    if (tail > 0) pending = Buffer.concat([pending, bytes.subarray(bytes.length - tail)])
    files.set(node, { blocksStart, blockWords: Uint32Array.from(words), sparseBytes, ...place })
  }
  await flush()
  return { files, fragments, end }
}

export async function buildImage(root: DirectoryNode, options: SquashfsOptions = {}, open: OpenCodec = testCodec): Promise<Uint8Array> {
  const plan = planSquashfs(root, { codec: { name: 'gzip', level: 9 }, blockSize: 4096, ...options })
  const target = new BufferTarget()
  const stored = await storeData(plan, target, 0, open)
  await emitTables(plan, stored, target, 0, await open(plan.options.codec, METADATA_BLOCK_SIZE))
  return target.bytes
}

/** Holds only what was written: images beyond 4 GiB that are all but empty. */
export class SparseTarget implements Target {
  readonly #writes: { position: number; bytes: Uint8Array }[] = []
  #size = 0

  async write(position: number, bytes: Uint8Array): Promise<void> {
    this.#writes.push({ position, bytes: Uint8Array.from(bytes) })
    this.#size = Math.max(this.#size, position + bytes.length)
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    return this.#copy(position, length)
  }

  async setSize(size: number): Promise<void> {
    this.#size = size
  }

  source(): Source {
    return { size: this.#size, read: (position, length) => this.#copy(position, length) }
  }

  #copy(position: number, length: number): Uint8Array {
    const result = new Uint8Array(length)
    for (const write of this.#writes) {
      const from = Math.max(position, write.position)
      const to = Math.min(position + length, write.position + write.bytes.length)
      if (from < to) result.set(write.bytes.subarray(from - write.position, to - write.position), from - position)
    }
    return result
  }
}

const TYPES: Readonly<Record<TreeNode['kind'], number>> = {
  directory: 1,
  file: 2,
  symlink: 3,
  blockDevice: 4,
  characterDevice: 5,
  fifo: 6,
  socket: 7,
}

/** What differs between a tree and what was read of its image, as lines with paths; none when all is well. */
export function differences(tree: DirectoryNode, image: ReadImage): string[] {
  const found: string[] = []
  const same = new Map<TreeNode, ReadNode>()
  const queue: { path: string; node: TreeNode; read: ReadNode }[] = [{ path: '', node: tree, read: image.root }]
  for (let item = queue.pop(); item !== undefined; item = queue.pop()) {
    const { path, node, read } = item
    const expect = (what: string, wanted: unknown, actual: unknown): void => {
      if (String(wanted) !== String(actual)) found.push(`${path || '/'}: ${what} is ${actual}, wanted ${wanted}`)
    }
    const { inode } = read
    if (same.has(node)) expect('inode number of the hard link', same.get(node)?.inode.number, inode.number)
    same.set(node, read)
    expect('type', TYPES[node.kind], inode.type)
    expect('mode', node.mode, inode.permissions)
    expect('uid', node.uid, read.uid)
    expect('gid', node.gid, read.gid)
    expect('mtime', node.mtimeSeconds, inode.mtimeSeconds)
    const xattrs = [...(node.xattrs ?? [])].map(({ name, value }) => `${name}=${Buffer.from(value).toString('hex')}`).sort()
    expect('xattrs', xattrs, [...read.xattrs].map(([name, value]) => `${name}=${value.toString('hex')}`).sort())
    if (node.kind === 'symlink') expect('target', Buffer.from(node.target).toString('hex'), inode.target?.toString('hex'))
    if (node.kind === 'blockDevice' || node.kind === 'characterDevice')
      expect('device', [node.major, node.minor], [inode.device?.major, inode.device?.minor])
    if (node.kind === 'file') {
      expect('size', node.size, inode.file?.size)
      if (node.content.kind === 'bytes') expect('content', true, Buffer.concat([...image.content(read)]).equals(node.content.bytes))
    }
    if (node.kind === 'directory') {
      expect('number of entries', node.entries.length, read.children.size)
      for (const entry of node.entries) {
        const name = Buffer.from(entry.name).toString('latin1')
        const child = read.children.get(name)
        if (child === undefined) found.push(`${path}/${name}: is not there`)
        else queue.push({ path: `${path}/${name}`, node: entry.node, read: child })
      }
    }
  }
  return found
}

/** One of everything, and the sizes at which the format turns. */
export function everything(): DirectoryNode {
  const linked = file('two names, one inode\n', { mode: 0o755 })
  const linkedFifo = pipe('fifo')
  const capability = { name: 'security.capability', value: Buffer.from('0100000200200000000000000000000000000000', 'hex') }
  const comment = { name: 'user.comment', value: Buffer.from('grüße') }
  return directory(
    {
      empty: file(''),
      one: file('x', { uid: 1000, gid: 100, mtimeSeconds: 0xffffffff }),
      block: file(noise(4096, 1)),
      'block-and-tail': file(noise(4097, 2)),
      text: file('all work and no play makes jack a dull boy\n'.repeat(1000), { mode: 0o4755 }),
      sparse: file(Buffer.concat([new Uint8Array(8192), noise(4096, 3), new Uint8Array(4096), Buffer.from('tail')])),
      zeros: file(new Uint8Array(20000)),
      linked,
      'no-entries': directory({}, { mode: 0o1777 }),
      sub: directory({ 'linked-too': linked, fifo: linkedFifo, deeper: directory({ up: symlink('../../one') }) }, { mtimeSeconds: 86400 }),
      link: symlink('sub/deeper/up'),
      'long-link': symlink('t'.repeat(4095), { uid: 7 }),
      console: device('characterDevice', 5, 1),
      disk: device('blockDevice', 4095, 0xfffff, { gid: 6 }),
      fifo: linkedFifo,
      socket: pipe('socket', { mode: 0o600 }),
      xattrs: directory(
        {
          file: file('with attributes', { xattrs: [capability, comment] }),
          'same-set': file('the same attributes in another order', { xattrs: [comment, capability] }),
          symlink: symlink('nowhere', { xattrs: [{ name: 'trusted.note', value: Buffer.from('on a link') }] }),
          device: device('blockDevice', 7, 300, { xattrs: [{ name: 'trusted.note', value: Buffer.from('') }] }),
          character: device('characterDevice', 1, 3, { xattrs: [{ name: 'trusted.note', value: Buffer.from('c') }] }),
          fifo: pipe('fifo', { xattrs: [{ name: 'trusted.note', value: Buffer.from('on a fifo') }] }),
          socket: pipe('socket', { xattrs: [{ name: 'trusted.note', value: Buffer.from('on a socket') }] }),
        },
        { xattrs: [{ name: 'user.on-a-directory', value: noise(1000, 4) }] },
      ),
    },
    { mode: 0o755, mtimeSeconds: 42 },
  )
}
