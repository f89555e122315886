/** The ways in which the data stage ends: never stuck, never with a file open or a write under way. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type SquashfsPackOptions, squashfs } from '../../../src/filesystems/squashfs/index.ts'
import { FileTarget, type OpenFile } from '../../../src/io/file-target.ts'
import type { BuildContext } from '../../../src/io/image.ts'
import type { ProgressEvent } from '../../../src/io/progress.ts'
import { BufferTarget, type Target } from '../../../src/io/target.ts'
import { scanHost } from '../../../src/tree/scan.ts'
import type { DirectoryNode, FileNode, TreeDigest, TreeNode } from '../../../src/tree/tree.ts'
import { bytesSource, readSquashfs } from '../../readers/squashfs-reader.ts'
import { differences, directory, file, noise } from './support.ts'

const FAST: SquashfsPackOptions = { codec: { name: 'zstd', level: 1 }, blockSize: 4096 }
const FIXED = { mode: 0o444, uid: 0, gid: 0, mtimeSeconds: 1 }
const MEBIBYTE = 1 << 20

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-ends-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What packing ends with. A minute is far more than any of these takes: it stands for ever. */
function end(root: DirectoryNode, options: SquashfsPackOptions, context: Partial<BuildContext>, target: Target = new BufferTarget()) {
  const signal = AbortSignal.any([AbortSignal.timeout(60_000), ...(context.signal ? [context.signal] : [])])
  return squashfs(root, options)
    .pack(target, 0, { jobs: 1, ...context, signal })
    .then(
      () => 'packed',
      (error) => error,
    )
}

/** A target that calls `before` ahead of every write. */
function targetWith(before: (count: number) => Promise<unknown>): Target & { readonly buffer: BufferTarget; pending: number } {
  const buffer = new BufferTarget()
  let count = 0
  return {
    buffer,
    pending: 0,
    async write(position, bytes) {
      this.pending++
      await before(++count)
      await buffer.write(position, bytes)
      this.pending--
    },
    read: (position, length) => buffer.read(position, length),
    setSize: (size) => buffer.setSize(size),
  }
}

const digest = (node: TreeNode, pieces: TreeDigest['pieces']): TreeDigest => ({
  name: 'it',
  node,
  algorithm: 'sha256',
  expected: new Uint8Array(32),
  pieces,
})

describe('packing ends', () => {
  it.each([1, 2, 4])('behind a slow target, when blocks fill up the wait and small files come next: %i jobs', async (jobs) => {
    const blocks = Array.from({ length: 60 * jobs }, (_, i) => ({ name: Buffer.from(`a${i}`), node: file(noise(4096, i), FIXED) }))
    const tails = Array.from({ length: 100 }, (_, i) => ({ name: Buffer.from(`b${i}`), node: file(noise(90, i), FIXED) }))
    // More than all input slots.
    const rest = { name: Buffer.from('c'), node: file(new Uint8Array((32 + 8 * jobs) * MEBIBYTE), FIXED) }
    const tree = directory({ it: directory([...blocks, ...tails, rest]) })
    const target = targetWith((count) => (count <= 8 ? pause(60) : Promise.resolve()))
    expect(await end(tree, FAST, { jobs }, target)).toBe('packed')
    expect(differences(tree, readSquashfs(bytesSource(target.buffer.bytes)))).toEqual([])
  })

  it('with ABORTED when a listener cancels at the very last event', async () => {
    const twins = { a: file(noise(5000, 1), FIXED), b: file(noise(5000, 1), FIXED), c: directory({ empty: file('', FIXED) }) }
    for (const tree of [directory(twins), directory({ empty: file('', FIXED) })]) {
      const events: ProgressEvent[] = []
      expect(await end(tree, FAST, { onProgress: (event) => events.push(event) })).toBe('packed')
      for (let last = 1; last <= events.length; last++) {
        const controller = new AbortController()
        let count = 0
        const onProgress = (): void => {
          if (++count === last) controller.abort('enough')
        }
        expect(await end(tree, FAST, { onProgress, signal: controller.signal })).toMatchObject({ code: 'ABORTED', message: 'cancelled' })
      }
    }
  })

  it('with what a listener throws, or a digest', async () => {
    const tree = directory({ a: file(noise(5000, 1), FIXED) })
    const onProgress = (event: ProgressEvent): void => {
      if (event.kind === 'bytes') throw new Error('no listener')
    }
    expect(await end(tree, FAST, { onProgress })).toMatchObject({ message: 'no listener' })
    const node = tree.entries[0]?.node as FileNode
    function* pieces(): Generator<Uint8Array | FileNode> {
      for (let i = 0; i < 40; i++) yield noise(65536, i)
      yield node
      throw new Error('no pieces')
    }
    expect(await end(tree, { ...FAST, digests: [digest(node, pieces)] }, {})).toMatchObject({ message: 'no pieces' })
  })

  it('when nothing is written any more', async () => {
    const tree = directory({ a: file(noise(9 * MEBIBYTE, 1), FIXED) })
    const controller = new AbortController()
    const target = targetWith(async (count) => {
      if (count === 2) controller.abort()
      await pause(50)
    })
    expect(await end(tree, FAST, { jobs: 2, signal: controller.signal }, target)).toMatchObject({ code: 'ABORTED' })
    expect(target.pending).toBe(0)
    const written = target.buffer.bytes.length
    await pause(120)
    expect(target.buffer.bytes.length).toBe(written)
  })

  it.runIf(process.platform === 'linux')('with all files closed, while one is read and while two are compared', async () => {
    const path = join(folder, 'twins')
    mkdirSync(path)
    for (const name of ['a', 'b']) writeFileSync(join(path, name), noise(12 * MEBIBYTE, 1))
    const tree = scanHost(path, { attributes: () => FIXED }) as DirectoryNode
    for (const stop of [1, 5 * MEBIBYTE, 13 * MEBIBYTE, 20 * MEBIBYTE]) {
      const controller = new AbortController()
      let open = 0
      const onProgress = (event: ProgressEvent): void => {
        if (event.kind !== 'bytes' || event.doneBytes < stop) return
        open = Math.max(open, openBelow(path))
        controller.abort()
      }
      expect(await end(tree, FAST, { onProgress, signal: controller.signal })).toMatchObject({ code: 'ABORTED' })
      expect([open > 0, openBelow(path)]).toEqual([true, 0])
    }
  })

  it.each(['workers', 'none'] as const)('with the same bytes in a file, to which threads write themselves: %s', async (threads) => {
    const path = join(folder, `direct-${threads}`)
    const large = Array.from({ length: 30 }, (_, i) => ({ name: Buffer.from(`a${i}`), node: file(noise(700_000 + i, i), FIXED) }))
    const small = Array.from({ length: 900 }, (_, i) => ({ name: Buffer.from(`b${i}`), node: file(noise(i * 9, i % 70), FIXED) }))
    const tree = directory([...large, ...small])
    const buffer = new BufferTarget()
    const options = { ...FAST, blockSize: 131_072 }
    expect(await end(tree, options, { jobs: 3 }, buffer)).toBe('packed')
    const handle = await open(path, 'wx+')
    const target = new FileTarget(handle, path)
    const writes = vi.spyOn(target, 'write')
    expect(await end(tree, options, { jobs: 3, threads }, target)).toBe('packed')
    await target.close()
    expect(readFileSync(path).equals(buffer.bytes)).toBe(true)
    // Tables only.
    expect(writes.mock.calls.every(([position]) => position === 0 || position > buffer.bytes.length / 2)).toBe(true)
  })

  it.each([
    ['/dev/full', 'w', /full: cannot be written \(ENOSPC\): the file system is full/],
    ['/dev/zero', 'r', /zero: cannot be written \(EBADF\)/],
  ] as const)('with WRITE_FAILED where threads cannot write: %s', async (path, flags, message) => {
    const tree = directory({ a: file(noise(30 * MEBIBYTE, 1), FIXED) })
    for (const threads of ['workers', 'none'] as const) {
      const handle = await open(path, flags)
      const target = new FileTarget(handle, path, false)
      expect(await end(tree, FAST, { jobs: 2, threads }, target)).toMatchObject({
        code: 'WRITE_FAILED',
        path,
        message: expect.stringMatching(message),
      })
      await target.close()
    }
  })

  it('with what was written before and did not get to the disk', async () => {
    const path = join(folder, 'flushed')
    const handle = await open(path, 'wx+')
    const failing: OpenFile = {
      fd: handle.fd,
      write: (...given) => handle.write(...given),
      read: (...given) => handle.read(...given),
      truncate: (size) => handle.truncate(size),
      datasync: () => Promise.reject(Object.assign(new Error('lost'), { code: 'EIO' })),
      close: () => handle.close(),
    }
    const target = new FileTarget(failing, path)
    const tree = directory({ a: file(new Uint8Array(200 * MEBIBYTE).fill(1), FIXED) })
    expect(await end(tree, { ...FAST, blockSize: MEBIBYTE, codec: { name: 'none' } }, { jobs: 2 }, target)).toMatchObject({
      code: 'WRITE_FAILED',
      message: expect.stringContaining('EIO'),
    })
    await target.close()
  })

  it.each([0, -1, 1.5, Number.NaN, 257, Number.POSITIVE_INFINITY])('at once with %d jobs', async (jobs) => {
    expect(await end(directory({}), FAST, { jobs })).toMatchObject({ code: 'USAGE' })
  })

  it('before it begins: content of another size than its node says, two checksums of one entry', () => {
    const wrong = file('four', { ...FIXED, size: 5 })
    expect(() => squashfs(directory({ sub: directory({ wrong }) }))).toThrow(
      expect.objectContaining({ code: 'USAGE', path: '/sub/wrong', message: expect.stringContaining('4 bytes, the node says 5') }),
    )
    const node = file('x', FIXED)
    const twice = [digest(node, () => [node]), digest(node, () => [node])]
    expect(() => squashfs(directory({ node }), { digests: twice })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  })
})

/** Files below `path` that this process has open, whichever thread opened them. */
function openBelow(path: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(path)
    } catch {
      return false
    }
  }).length
}
