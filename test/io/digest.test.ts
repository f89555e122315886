/** The checksum of a file that was written: what was not written is not read, and counts as zeros. */
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { afterAll, describe, expect, it } from 'vitest'
import { ImageError } from '../../src/errors.ts'
import { Digests, fileSha256, imageSha256, placeHashed } from '../../src/io/digest.ts'
import { FileTarget } from '../../src/io/file-target.ts'
import { bytesExtent, type Extent, type GrowingImage, type Image } from '../../src/io/image.ts'
import { placeImage } from '../../src/io/stream.ts'
import { WrittenBlocks } from '../../src/io/written-blocks.ts'
import { Dice } from '../dice.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-digest-'))
afterAll(() => rmSync(folder, { recursive: true }))

const MEBIBYTE = 1 << 20

describe('written blocks', () => {
  it('are runs of whole mebibytes, up to the size', () => {
    const blocks = new WrittenBlocks()
    expect(blocks.runs(10 * MEBIBYTE)).toEqual([])
    blocks.add(5, 0)
    expect(blocks.runs(10 * MEBIBYTE)).toEqual([])
    blocks.add(3 * MEBIBYTE - 1, 2)
    blocks.add(4 * MEBIBYTE, 1)
    blocks.add(200 * MEBIBYTE + 7, 1)
    expect(blocks.runs(300 * MEBIBYTE)).toEqual([
      { start: 2 * MEBIBYTE, length: 3 * MEBIBYTE },
      { start: 200 * MEBIBYTE, length: MEBIBYTE },
    ])
    expect(blocks.runs(200 * MEBIBYTE + 9)).toEqual([
      { start: 2 * MEBIBYTE, length: 3 * MEBIBYTE },
      { start: 200 * MEBIBYTE, length: 9 },
    ])
    expect(blocks.runs(2 * MEBIBYTE)).toEqual([])
  })
})

describe('the checksum of a file that was written', () => {
  it.each([1, 2, 3, 4, 5, 6])('is that of all its bytes (seed %i)', async (seed) => {
    const dice = new Dice(seed)
    const next = (count: number): number => dice.below(count)
    const path = join(folder, `${seed}`)
    const handle = await open(path, 'wx+')
    const target = new FileTarget(handle, path)
    const size = next(2) === 0 ? 40 * MEBIBYTE + next(5000) : next(3 * MEBIBYTE)
    await target.setSize(size)
    for (let count = next(6); count > 0; count--) {
      const position = next(Math.max(1, size - 10))
      const bytes = new Uint8Array(Math.min(size - position, next(2 * MEBIBYTE))).fill(1 + next(255))
      if (next(2) === 0) await target.write(position, bytes)
      else {
        await handle.write(bytes, 0, bytes.length, position)
        target.lent.written(position, bytes.length)
      }
    }
    expect(await fileSha256(target.lent, size)).toBe(createHash('sha256').update(readFileSync(path)).digest('hex'))
    await target.close()
  })

  it('reads only what was written', async () => {
    const path = join(folder, 'unread')
    const handle = await open(path, 'wx+')
    const target = new FileTarget(handle, path)
    await target.write(MEBIBYTE, Uint8Array.of(1))
    await target.setSize(4 * MEBIBYTE)
    // Nobody does so: it shows that these bytes are not read.
    await handle.write(Uint8Array.of(9), 0, 1, 3 * MEBIBYTE)
    const expected = Buffer.alloc(4 * MEBIBYTE)
    expected[MEBIBYTE] = 1
    expect(await fileSha256(target.lent, 4 * MEBIBYTE)).toBe(createHash('sha256').update(expected).digest('hex'))
    await target.close()
  })
})

describe('an image whose file is hashed while it is written', () => {
  const context = { jobs: 2 }
  /** Extents of whole and broken mebibytes, with holes between them. */
  function scattered(seed: number, onRead: (start: number) => Promise<void> = async () => undefined): Image {
    const dice = new Dice(seed)
    const extents: Extent[] = []
    let end = 0
    for (let index = 0; index < 12; index++) {
      const start = end + (dice.chance(50) ? dice.below(3 * MEBIBYTE) : 0)
      const length = 3 * MEBIBYTE + dice.below(2 * MEBIBYTE)
      const byte = 1 + dice.below(255)
      const read = async function* (): AsyncGenerator<Uint8Array> {
        await onRead(start)
        for (let left = length; left > 0; left -= MEBIBYTE) yield new Uint8Array(Math.min(left, MEBIBYTE)).fill(byte)
      }
      extents.push({ start, length, read })
      end = start + length
    }
    return { size: end + dice.below(3 * MEBIBYTE), extents }
  }

  async function placed(name: string, image: Image, use: (target: FileTarget) => Promise<unknown>): Promise<string> {
    const path = join(folder, name)
    const handle = await open(path, 'wx+')
    const target = new FileTarget(handle, path)
    try {
      await use(target)
    } finally {
      await target.close()
    }
    const bytes = readFileSync(path)
    expect(bytes.length).toBe(image.size)
    return createHash('sha256').update(bytes).digest('hex')
  }

  it.each([1, 2])('has the checksum of all its bytes (seed %i)', async (seed) => {
    const image = scattered(seed)
    for (const jobs of seed === 1 ? [1, 2] : [2]) {
      let given: string | undefined
      const actual = await placed(`image-${seed}-${jobs}`, image, async (target) => {
        const { image: there, sha256 } = await placeHashed(image, target, { jobs })
        given = sha256
        expect(await imageSha256(there)).toBe(sha256)
      })
      expect(given).toBe(actual)
    }
  })

  it('is read anew when something was written where it has no data', async () => {
    const image = scattered(4)
    const [first] = image.extents as [Extent]
    let given: string | undefined
    const writesMore: Extent = {
      ...first,
      async *read() {
        yield* first.read()
        await target?.write(image.size - 1, Buffer.from('x'))
      },
    }
    let target: FileTarget | undefined
    const withMore = { size: image.size + 50 * MEBIBYTE, extents: [writesMore, ...image.extents.slice(1)] }
    const actual = await placed('more', withMore, async (opened) => {
      target = opened
      given = (await placeHashed(withMore, opened, context)).sha256
    })
    expect(given).toBe(actual)
  })

  it.each([{ jobs: 1 }, { jobs: 3 }, { jobs: 3, threads: 'none' as const }])(
    'is one of several, which are hashed together: %j',
    async (how) => {
      const packed = scattered(8)
      const growing: GrowingImage = { sizeLimit: packed.size, pack: (target, start, own) => placeImage(packed, target, start, own) }
      const few: Image = { size: 3, extents: [bytesExtent(1, Buffer.from('x'))] }
      const names = ['planned', 'growing', 'few', 'holes']
      const images = [scattered(7), growing, few, { size: 70 * MEBIBYTE, extents: [] }]
      const paths = names.map((name) => join(folder, `${name}-${how.jobs}-${how.threads}`))
      const targets = await Promise.all(paths.map(async (path) => new FileTarget(await open(path, 'wx+'), path)))
      const digests = new Digests(how)
      for (const [index, image] of images.entries()) await digests.place(image, targets[index] as FileTarget)
      const given = await digests.finish()
      await digests.close()
      await Promise.all(targets.map((target) => target.close()))
      expect(given).toEqual(paths.map((path) => createHash('sha256').update(readFileSync(path)).digest('hex')))
    },
  )

  it('ends with what went wrong, and no thread waits for more', async () => {
    const threads = new Set<Worker>()
    const onWorker = (worker: Worker): void => {
      threads.add(worker)
      worker.on('exit', () => threads.delete(worker))
    }
    process.on('worker', onWorker)
    try {
      const failing = scattered(5, async (start) => {
        if (start > 20 * MEBIBYTE) throw new ImageError('CHANGED', 'it changed')
      })
      const stop = new AbortController()
      const stopping = scattered(6, async (start) => {
        if (start > 20 * MEBIBYTE) stop.abort('enough')
      })
      for (const [index, [image, code]] of (
        [
          [failing, 'CHANGED'],
          [stopping, 'ABORTED'],
        ] as const
      ).entries()) {
        await placed(`failing-${index}`, image, async (target) => {
          await expect(placeHashed(image, target, { ...context, signal: stop.signal })).rejects.toMatchObject({ code })
        })
        expect(threads.size).toBe(0)
        const digests = new Digests({ ...context, signal: new AbortController().signal })
        await placed(`before-${index}`, scattered(9), async (target) => {
          await digests.place(scattered(9), target)
          await digests.close()
        })
        expect(threads.size).toBe(0)
      }
    } finally {
      process.off('worker', onWorker)
    }
  })
})
