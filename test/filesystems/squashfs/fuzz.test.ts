/**
 * Random trees at the edges of blocks, slots and tasks, through the whole of `squashfs`: what is read back
 * must be what went in, and one worker must make the bytes that several make.
 *
 *     FUZZ_SECONDS=600 FUZZ_SEED=1000 npx vitest run test/filesystems/squashfs/fuzz.test.ts
 */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { CodecSpec } from '../../../src/codecs/codec.ts'
import { type SquashfsPackOptions, squashfs } from '../../../src/filesystems/squashfs/index.ts'
import { BufferTarget, type Target } from '../../../src/io/target.ts'
import type { DirectoryNode, Entry, FileNode, TreeDigest, TreeNode } from '../../../src/tree/tree.ts'
import { Dice } from '../../dice.ts'
import { oracle, runOk } from '../../oracles/tools.ts'
import { readLz4Block } from '../../readers/lz4-reader.ts'
import { bytesSource, readSquashfs } from '../../readers/squashfs-reader.ts'
import { folderDifferences } from './folder.ts'
import { differences, directory, file, noise, symlink } from './support.ts'

const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 2)
const FIRST_SEED = Number(process.env['FUZZ_SEED'] ?? 1)
/** One image takes some 100 ms; a run that takes this long hangs. */
const HANG_MILLISECONDS = 60_000
const SLOT = 2 << 20
/** Bytes of all files of a tree, about; the larger fill all slots. */
const SMALL_TREE = 8 << 20
const LARGE_TREE = 80 << 20
const CODECS: readonly CodecSpec[] = [{ name: 'none' }, { name: 'lz4' }, { name: 'zstd', level: 1 }, { name: 'gzip', level: 1 }]
const FIXED = { mode: 0o444, uid: 0, gid: 0, mtimeSeconds: 1 }

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-fuzz-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Case {
  readonly tree: DirectoryNode
  /** The same with all contents in memory, to compare with. */
  readonly expected: DirectoryNode
  readonly options: SquashfsPackOptions
  readonly jobs: number
  readonly slowTarget: boolean
}

/** Makes the tree of one seed. */
class Grower {
  readonly #dice: Dice
  readonly #blockSize: number
  readonly #at: string
  readonly #contents: Uint8Array[] = []
  readonly #files: FileNode[] = []
  /** What each file holds, whether it lies on the host or in memory. */
  readonly bytes = new Map<FileNode, Uint8Array>()
  readonly #large: boolean
  #left: number
  #hostFiles = 0

  constructor(dice: Dice, blockSize: number, at: string) {
    this.#dice = dice
    this.#large = dice.chance(12)
    this.#left = this.#large ? LARGE_TREE : SMALL_TREE
    this.#blockSize = blockSize
    this.#at = at
  }

  /** Small blocks, then files that go into fragments, before more content than all slots hold: what locked the pools up once. */
  pile(): Entry[] {
    const dice = this.#dice
    this.#left = LARGE_TREE
    const small = dice.pick([90, this.#blockSize - 1])
    const crowd = Array.from({ length: 50 + dice.below(200) }, (_, i) => {
      const size = dice.chance(50) ? small : Math.min(this.#blockSize, 32768)
      return [`${dice.chance(90) && size === small ? 'b' : 'a'}${i}`, this.#fileOf(this.#noise(size))] as const
    })
    const large = Array.from(
      { length: 1 + dice.below(4) },
      (_, i) => [`z${i}`, this.#fileOf(new Uint8Array(dice.below(LARGE_TREE / 2)))] as const,
    )
    return [
      ...this.entries(1),
      { name: Buffer.from(dice.pick(['!pile', 'pile'])), node: directory(Object.fromEntries([...crowd, ...large])) },
    ]
  }

  entries(depth: number): Entry[] {
    const dice = this.#dice
    const count = dice.chance(8) ? 0 : dice.pick([1, 4, 8, 16, 16])
    const entries = Array.from({ length: count }, (_, i) => ({ name: Buffer.from(`${dice.below(1000)}-${i}`), node: this.#node(depth) }))
    // A crowd of one size: many parts in a task, many blocks in a slot, many identities.
    const crowd = dice.chance(12) ? dice.pick([60, 60, 300, 300, 600, 600, 9000]) : 0
    const sizes = crowd === 9000 ? [dice.below(3)] : [this.#crowdSize(), this.#crowdSize()]
    for (let i = 0; i < crowd; i++) {
      const size = dice.pick(sizes)
      if (size > this.#left) break
      entries.push({ name: Buffer.from(`crowd-${i}`), node: dice.chance(3) ? this.#file() : this.#fileOf(this.#noise(size), crowd < 9000) })
    }
    return entries
  }

  #crowdSize(): number {
    return this.#dice.pick([0, 1, 90, 90, this.#blockSize - 1, this.#blockSize, this.#blockSize])
  }

  #node(depth: number): TreeNode {
    const dice = this.#dice
    if (depth > 0 && dice.chance(35)) return directory(this.entries(depth - 1), { mode: 0o555 })
    if (dice.chance(5)) return symlink('nowhere')
    if (this.#files.length > 0 && dice.chance(8)) return dice.pick(this.#files)
    return this.#file()
  }

  #file(): FileNode {
    const dice = this.#dice
    const twin = this.#contents.length > 0 && dice.chance(30) ? dice.pick(this.#contents) : undefined
    if (twin === undefined) return this.#fileOf(this.#content(this.#size()))
    if (twin.length > this.#left) return this.#fileOf(new Uint8Array(0))
    const content = Uint8Array.from(twin)
    const last = content.length - 1
    if (last >= 0 && dice.chance(30)) content[last] = (content[last] ?? 0) ^ 1
    return this.#fileOf(content)
  }

  #fileOf(bytes: Uint8Array, onHost = true): FileNode {
    this.#left = Math.max(0, this.#left - bytes.length)
    this.#contents.push(bytes)
    let node: FileNode = file(bytes, FIXED)
    if (onHost && this.#dice.chance(60)) {
      const path = join(this.#at, `f${this.#hostFiles++}`)
      writeFileSync(path, bytes)
      node = { ...node, content: { kind: 'hostFile', path: Buffer.from(path) } }
    }
    this.#files.push(node)
    this.bytes.set(node, bytes)
    return node
  }

  #size(): number {
    const dice = this.#dice
    if (this.#large && this.#left > LARGE_TREE / 2 && dice.chance(20)) return dice.below(LARGE_TREE / 2)
    const unit = dice.pick([this.#blockSize, this.#blockSize, SLOT])
    const size = dice.pick([0, 1, dice.below(300), dice.below(this.#blockSize), dice.below(4) * unit + dice.below(3) - 1])
    return size >= 0 && size <= this.#left ? size : Math.min(this.#left, dice.below(2000))
  }

  #content(size: number): Uint8Array {
    const dice = this.#dice
    const kind = dice.below(4)
    if (kind === 0) return new Uint8Array(size)
    if (kind === 1) return Buffer.alloc(size, `text ${dice.below(9)} `)
    const bytes = this.#noise(size)
    if (kind === 2) {
      const hole = this.#blockSize * dice.pick([1, 1, 2, 3])
      for (let at = dice.below(2) * hole; at < size; at += 2 * hole) bytes.fill(0, at, at + hole)
    }
    return bytes
  }

  /** One long stretch of noise, cut at random places: far cheaper than noise of its own a file. */
  #noise(size: number): Uint8Array {
    if (size > NOISE.length) return new Uint8Array(size)
    const start = this.#dice.below(NOISE.length - size + 1)
    return NOISE.slice(start, start + size)
  }
}

const NOISE = noise(16 << 20, 1)

function makeCase(seed: number, at: string): Case {
  const dice = new Dice(seed)
  const blockSize = 4096 << dice.below(9)
  const grower = new Grower(dice, blockSize, at)
  const pile = dice.chance(20)
  const tree = directory(pile ? grower.pile() : grower.entries(dice.below(4)))
  const digests = tree.entries.filter(() => dice.chance(60)).map((entry) => randomDigest(dice, entry, grower.bytes))
  const options = { blockSize, codec: dice.pick(CODECS), fragments: dice.chance(80), exportable: dice.chance(80), digests }
  // A file that stands in two entries of the root has one digest.
  const unique = digests.filter(({ node }, index) => digests.findIndex((one) => one.node === node) === index)
  return {
    tree,
    expected: inMemory(tree, grower.bytes),
    options: { ...options, digests: unique },
    jobs: 2 + dice.below(4),
    slowTarget: dice.chance(pile ? 70 : 25),
  }
}

/** Framing of any length before, between and after the files below an entry; the files come as the packer wants them. */
function randomDigest(dice: Dice, { name, node }: Entry, contents: ReadonlyMap<FileNode, Uint8Array>): TreeDigest {
  const framing = Array.from({ length: 8 }, () => NOISE.subarray(0, dice.pick([0, 1, 8, 100, 65536, 65536, 200_000])))
  const often = dice.pick([1, 1, 1, 40])
  function* pieces(): Generator<Uint8Array | FileNode> {
    let index = 0
    yield framing[0] as Uint8Array
    for (const one of filesOf(node)) {
      yield one
      if (index++ % often === 0)
        for (const _ of Array(index % 3)) yield (framing[index % 8] as Uint8Array).subarray(0, index > 50 ? 90 : undefined)
    }
    if (often > 1) for (let i = 0; i < often; i++) yield framing[i % 8] as Uint8Array
  }
  const hash = createHash('sha256')
  for (const piece of pieces()) hash.update(piece instanceof Uint8Array ? piece : (contents.get(piece) as Uint8Array))
  return { name: Buffer.from(name).toString(), node, algorithm: 'sha256', expected: hash.digest(), pieces }
}

function* filesOf(node: TreeNode): Generator<FileNode> {
  if (node.kind === 'file') yield node
  if (node.kind !== 'directory') return
  const sorted = [...node.entries].sort((a, b) => Buffer.compare(a.name, b.name))
  for (const entry of sorted) yield* filesOf(entry.node)
}

/** The tree with contents in memory; a node that stands twice still does. */
function inMemory(tree: DirectoryNode, contents: ReadonlyMap<FileNode, Uint8Array>): DirectoryNode {
  const known = new Map<TreeNode, TreeNode>()
  const copy = (node: TreeNode): TreeNode => {
    const made = known.get(node) ?? copyNode(node)
    known.set(node, made)
    return made
  }
  const copyNode = (node: TreeNode): TreeNode => {
    if (node.kind === 'file') return { ...node, content: { kind: 'bytes', bytes: contents.get(node) as Uint8Array } }
    return node.kind === 'directory' ? { ...node, entries: node.entries.map((entry) => ({ ...entry, node: copy(entry.node) })) } : node
  }
  return copy(tree) as DirectoryNode
}

/** LZ4 blocks do not say how long their content is. */
function decodeLz4(block: Uint8Array): Uint8Array {
  let size = 0
  for (let at = 0; at < block.length; ) {
    const token = block[at++] ?? 0
    const extended = (nibble: number): number => {
      let length = nibble
      for (let more = nibble === 15 ? 255 : 0; more === 255; ) length += more = block[at++] ?? 0
      return length
    }
    const literals = extended(token >> 4)
    at += literals
    size += literals
    if (at >= block.length) break
    at += 2
    size += extended(token & 15) + 4
  }
  return readLz4Block(block, size).bytes
}

/** Pauses at first, and now and then, so that all slots fill up behind it. */
function slow(target: Target, dice: Dice): Target {
  let count = 0
  return {
    write: async (position, bytes) => {
      const pause = ++count <= 8 ? 60 : dice.chance(8) ? dice.below(40) : 0
      if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause))
      await target.write(position, bytes)
    },
    read: (position, length) => target.read(position, length),
    setSize: (size) => target.setSize(size),
  }
}

async function pack({ tree, options, slowTarget }: Case, jobs: number, seed: number): Promise<Uint8Array> {
  const target = new BufferTarget()
  const image = squashfs(tree, options)
  await target.setSize(image.sizeLimit)
  const signal = AbortSignal.timeout(HANG_MILLISECONDS)
  const packed = await image.pack(slowTarget ? slow(target, new Dice(seed + jobs)) : target, 0, { jobs, signal })
  await target.setSize(packed.size)
  return target.bytes
}

async function check(seed: number, withOracle: boolean): Promise<void> {
  const at = join(folder, String(seed))
  mkdirSync(at)
  const one = makeCase(seed, at)
  const image = await pack(one, one.jobs, seed)
  const alone = await pack(one, 1, seed)
  expect(Buffer.compare(image, alone), `bytes differ between 1 and ${one.jobs} jobs`).toBe(0)
  expect(differences(one.expected, readSquashfs(bytesSource(image), { lz4: decodeLz4 }))).toEqual([])
  if (withOracle) {
    writeFileSync(join(at, 'image'), image)
    runOk('unsquashfs', ['-no-progress', '-d', join(at, 'out'), join(at, 'image')])
    expect(folderDifferences(one.expected, join(at, 'out'), { mounted: false })).toEqual([])
  }
  rmSync(at, { recursive: true, force: true })
}

const unsquashfs = !oracle('unsquashfs').skip && process.getuid?.() === 0

it(
  `packs random trees for ${SECONDS} seconds, from seed ${FIRST_SEED} on`,
  async () => {
    const end = performance.now() + SECONDS * 1000
    let seed = FIRST_SEED
    do {
      try {
        await check(seed, unsquashfs && seed % 8 === 0)
      } catch (cause) {
        const what = cause instanceof Error ? cause.message : String(cause)
        throw new Error(`seed ${seed}: ${what === 'cancelled' ? 'hangs' : what}; again with FUZZ_SEED=${seed} FUZZ_SECONDS=0`, { cause })
      }
      seed++
    } while (performance.now() < end)
    console.info(`fuzz: ${seed - FIRST_SEED} trees, seeds ${FIRST_SEED} to ${seed - 1}`)
  },
  SECONDS * 1000 + 4 * HANG_MILLISECONDS,
)

it('would see one wrong byte', async () => {
  const at = join(folder, 'wrong')
  mkdirSync(at)
  const one = makeCase(3, at)
  const image = readSquashfs(bytesSource(await pack(one, 2, 3)), { lz4: decodeLz4 })
  expect(differences(one.expected, image)).toEqual([])
  const victim = [...filesOf(one.expected)].find(({ size }) => size > 0) as FileNode & { content: { kind: 'bytes'; bytes: Uint8Array } }
  victim.content.bytes[victim.size >> 1] = (victim.content.bytes[victim.size >> 1] ?? 0) ^ 1
  expect(differences(one.expected, image).length).toBeGreaterThan(0)
})
