/** Packing without threads: the same bytes, the same errors, and nothing left open. */
import { createHash } from 'node:crypto'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { CodecSpec } from '../../../src/codecs/codec.ts'
import { type SquashfsPackOptions, squashfs } from '../../../src/filesystems/squashfs/index.ts'
import type { BuildContext } from '../../../src/io/image.ts'
import { BufferTarget } from '../../../src/io/target.ts'
import { scanHost } from '../../../src/tree/scan.ts'
import type { DirectoryNode, FileNode, TreeDigest } from '../../../src/tree/tree.ts'
import { directory, file, noise } from './support.ts'

const MEBIBYTE = 1 << 20
const LARGE = Buffer.concat([noise(2 * MEBIBYTE + 17, 1), Buffer.alloc(MEBIBYTE)])

let folder: string
let root: DirectoryNode
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-own-thread-'))
  mkdirSync(join(folder, 'tree/many'), { recursive: true })
  for (let index = 0; index < 300; index++) writeFileSync(join(folder, `tree/many/${index}`), noise(index * 40, index % 50))
  writeFileSync(join(folder, 'tree/large'), LARGE)
  writeFileSync(join(folder, 'tree/large-twin'), LARGE)
  writeFileSync(join(folder, 'tree/large-other'), noise(3 * MEBIBYTE + 17, 2))
  writeFileSync(join(folder, 'tree/empty'), '')
  root = scanHost(join(folder, 'tree'), { attributes: (_kind, host) => ({ ...host, mtimeSeconds: 1 }) }) as DirectoryNode
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let threadCount = 0
const onWorker = (_worker: Worker): void => void threadCount++
let openBefore: number
beforeEach(() => {
  threadCount = 0
  process.on('worker', onWorker)
  openBefore = openFiles()
})
afterEach(() => {
  process.off('worker', onWorker)
  expect(openFiles()).toBe(openBefore)
})

function openFiles(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0
}

async function pack(tree: DirectoryNode, options: SquashfsPackOptions, context: Partial<BuildContext>): Promise<Buffer> {
  const target = new BufferTarget()
  const image = await squashfs(tree, options).pack(target, 0, { jobs: 2, ...context })
  return Buffer.from(target.bytes.subarray(0, image.size))
}

const CODECS: readonly CodecSpec[] = [{ name: 'zstd', level: 1 }, { name: 'lz4' }, { name: 'none' }]

it.each(CODECS)('the same bytes as threads make, with $name', async (codec) => {
  const inMemory = directory({ a: file(noise(9000, 3)), b: file('b'), twin: file(noise(9000, 3)) })
  const cases: [DirectoryNode, number][] = [
    [root, 4096],
    [root, MEBIBYTE],
    [inMemory, 4096],
    [directory({}), MEBIBYTE],
  ]
  for (const [tree, blockSize] of cases) {
    threadCount = 0
    const threaded = await pack(tree, { codec, blockSize }, {})
    expect(threadCount).toBe(2)
    // Twice, for the second run gets the memory of the first.
    for (let round = 0; round < 2; round++)
      expect((await pack(tree, { codec, blockSize }, { threads: 'none' })).equals(threaded)).toBe(true)
    expect(threadCount).toBe(2)
  }
})

it('two at once do not share memory', async () => {
  const options: SquashfsPackOptions = { codec: { name: 'zstd', level: 1 }, blockSize: 4096 }
  const other = directory({ a: file(noise(3 * MEBIBYTE, 9)), b: file(noise(77, 8)) })
  const expected = [await pack(root, options, {}), await pack(other, options, {})]
  const packed = await Promise.all([pack(root, options, { threads: 'none' }), pack(other, options, { threads: 'none' })])
  expect(packed.map((bytes, index) => expected[index]?.equals(bytes))).toEqual([true, true])
})

it('checks digests', async () => {
  const entry = root.entries.find(({ name }) => Buffer.from(name).equals(Buffer.from('large'))) as { node: FileNode }
  const digest: TreeDigest = {
    name: 'large',
    node: entry.node,
    algorithm: 'sha256',
    expected: createHash('sha256').update(LARGE).digest(),
    pieces: () => [entry.node],
  }
  await pack(root, { digests: [digest], codec: { name: 'lz4' } }, { threads: 'none' })
  const wrong = { ...digest, expected: Buffer.alloc(32) }
  await expect(pack(root, { digests: [wrong], codec: { name: 'lz4' } }, { threads: 'none' })).rejects.toMatchObject({
    code: 'HASH_MISMATCH',
  })
})

it('CHANGED for a file that grew, and its file is closed', async () => {
  const path = join(folder, 'grows')
  mkdirSync(path)
  writeFileSync(join(path, 'f'), noise(3 * MEBIBYTE, 4))
  const tree = scanHost(path, { attributes: (_kind, host) => host }) as DirectoryNode
  appendFileSync(join(path, 'f'), 'x')
  await expect(pack(tree, { codec: { name: 'lz4' } }, { threads: 'none' })).rejects.toMatchObject({ code: 'CHANGED' })
})

it('ABORTED before and in the middle, and its file is closed', async () => {
  const options: SquashfsPackOptions = { codec: { name: 'lz4' } }
  await expect(pack(root, options, { threads: 'none', signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' })
  const abort = new AbortController()
  const onProgress = (event: { kind: string }): void => {
    if (event.kind === 'bytes') abort.abort()
  }
  await expect(pack(root, options, { threads: 'none', signal: abort.signal, onProgress })).rejects.toMatchObject({ code: 'ABORTED' })
})
