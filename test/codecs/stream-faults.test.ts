/** What goes wrong around a stream: it is told, nothing hangs, no thread is left, nothing is written afterwards. */
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { parseCodecSpec } from '../../src/codecs/open.ts'
import { compressedImage } from '../../src/codecs/stream/index.ts'
import { ImageError } from '../../src/errors.ts'
import { type BuildContext, bytesImage, type GrowingImage, type Image } from '../../src/io/image.ts'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { BufferTarget, type Target } from '../../src/io/target.ts'
import { content, pack, SPECS, withWorkers } from './stream-support.ts'

const MIB = 1 << 20
const LARGE = content(4 * MIB)
/** Contents that keep two workers busy for a while. */
const LONG: Readonly<Record<string, Buffer>> = {
  gzip: content(8 * MIB),
  zstd: content(32 * MIB),
  lz4: content(40 * MIB),
  xz: content(12 * MIB),
}

function ended(workers: readonly Worker[]): boolean {
  return workers.every(({ threadId }) => threadId === -1)
}

async function rejected(image: Image | GrowingImage, spec: string, context: Partial<BuildContext>, target: Target = new BufferTarget()) {
  const { result, workers } = await withWorkers(() =>
    compressedImage(image, { codec: parseCodecSpec(spec) })
      .pack(target, 0, { jobs: 2, ...context })
      .then(
        () => undefined,
        (error: unknown) => error,
      ),
  )
  expect(ended(workers)).toBe(true)
  return result
}

describe.each(SPECS)('%s', (spec) => {
  const name = parseCodecSpec(spec).name
  const long = bytesImage(LONG[name] ?? LARGE)

  it('is ABORTED before, between and within blocks', async () => {
    expect(await rejected(long, spec, { signal: AbortSignal.abort() })).toMatchObject({ code: 'ABORTED' })
    for (const delay of [1, 60]) {
      expect(await rejected(long, spec, { signal: AbortSignal.timeout(delay) })).toMatchObject({ code: 'ABORTED' })
    }
    for (const threads of ['workers', 'none'] as const) {
      const controller = new AbortController()
      const onProgress = (event: ProgressEvent): void => {
        if (event.kind === 'bytes') controller.abort()
      }
      expect(await rejected(long, spec, { signal: controller.signal, onProgress, threads })).toMatchObject({ code: 'ABORTED' })
    }
  })

  it('passes on what the image throws, whenever', async () => {
    const broken = new ImageError('CHANGED', 'the file changed')
    for (const good of [0, 1000, MIB + 1, 3 * MIB]) {
      async function* read(): AsyncGenerator<Uint8Array> {
        yield LARGE.subarray(0, good)
        throw broken
      }
      const image = { size: LARGE.length, extents: [{ start: 0, length: LARGE.length, read }] }
      expect(await rejected(image, spec, {})).toBe(broken)
    }
  })

  it('passes on what the target throws, and writes nothing more', async () => {
    const full = new ImageError('WRITE_FAILED', 'full')
    for (const good of [0, 1, 3]) {
      let calls = 0
      const target: Target = Object.assign(new BufferTarget(), {
        write: async () => {
          if (calls++ === good) throw full
        },
      })
      const error = await rejected(bytesImage(LARGE), spec, {}, target)
      // zstd and lz4 have few results.
      if (error !== undefined) expect(error).toBe(full)
      const before = calls
      await sleep(20)
      expect(calls).toBe(before)
      expect(calls).toBeLessThanOrEqual(good + 1)
    }
  })

  it('tells the stage and all bytes', async () => {
    for (const bytes of [LARGE, LARGE.subarray(0, 1000), LARGE.subarray(0, 0)]) {
      const events: ProgressEvent[] = []
      await pack(bytes, spec, { onProgress: (event) => events.push(event) })
      expect(events[0]).toEqual({ kind: 'stage', stage: 'compress', totalBytes: bytes.length })
      const done = events.slice(1).map((event) => (event.kind === 'bytes' && event.stage === 'compress' ? event.doneBytes : -1))
      expect(done).toEqual(done.toSorted((a, b) => a - b))
      expect(done.at(-1) ?? 0).toBe(bytes.length)
    }
  })

  it('starts threads for large contents only, no more than there are blocks, and ends them', async () => {
    const large = await withWorkers(() => pack(LARGE, spec, { jobs: 16 }))
    const blocks = { gzip: 16, zstd: 1, lz4: 1, xz: 4 }[name as 'gzip']
    expect(large.workers).toHaveLength(blocks)
    expect(ended(large.workers)).toBe(true)
    const none = await withWorkers(() => pack(LARGE, spec, { jobs: 16, threads: 'none' }))
    expect(none.workers).toHaveLength(0)
    const small = await withWorkers(() => pack(LARGE.subarray(0, MIB - 1), spec, { jobs: 16 }))
    expect(small.workers).toHaveLength(name === 'xz' ? 1 : 0)
  })

  it('waits for a target that is slow', async () => {
    const target = new BufferTarget()
    let read = 0
    let written = 0
    const bytes = LONG[name] ?? LARGE
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (; read < bytes.length; read += 65_536) yield bytes.subarray(read, read + 65_536)
    }
    let gate: (() => void) | undefined
    const stalled = new Promise<void>((resolve) => {
      gate = resolve
    })
    const slow: Target = {
      async write(position, chunk) {
        await stalled
        written += chunk.length
        await target.write(position, chunk)
      },
      read: (position, length) => target.read(position, length),
      setSize: (size) => target.setSize(size),
    }
    const image = { size: bytes.length, extents: [{ start: 0, length: bytes.length, read: chunks }] }
    const packing = compressedImage(image, { codec: parseCodecSpec(spec) }).pack(slow, 0, { jobs: 2 })
    for (let before = -1; before !== read; await sleep(300)) before = read
    expect(written).toBe(0)
    // What fits in the slots is read, and no more; for zstd also what its jobs hold.
    expect(read).toBeLessThan({ gzip: 3, zstd: 40, lz4: 48, xz: 8 }[name as 'gzip'] * MIB)
    gate?.()
    const packed = await packing
    expect(packed.size).toBe(written)
  })

  it('takes a growing image by way of a scratch file, which is closed in every case', async () => {
    const grow = (fail: boolean): GrowingImage => ({
      sizeLimit: LARGE.length + 1000,
      async pack(target, start) {
        await target.write(start, LARGE.subarray(0, 10))
        if (fail) throw new ImageError('HASH_MISMATCH', 'not this one')
        await target.write(start, LARGE)
        return bytesImage(LARGE)
      },
    })
    expect((await pack(grow(false), spec)).equals(await pack(LARGE, spec))).toBe(true)
    const before = openFiles()
    expect(await rejected(grow(true), spec, {})).toMatchObject({ code: 'HASH_MISMATCH' })
    expect(await rejected(grow(false), spec, { signal: AbortSignal.abort() })).toMatchObject({ code: 'ABORTED' })
    expect(openFiles()).toBe(before)
  })
})

function openFiles(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0
}

// Not a codec of zlib's: to terminate a thread inside zlib may abort the process (Node 24).
it.each([0, 20, 100, 300])('WORKER_DIED when a thread dies after %d ms', async (delay) => {
  process.once('worker', (worker: Worker) => setTimeout(() => void worker.terminate(), delay))
  expect(await rejected(bytesImage(LONG['lz4'] ?? LARGE), 'lz4:hc', {})).toMatchObject({
    code: 'WORKER_DIED',
    message: expect.stringContaining('fewer jobs'),
  })
})

it('USAGE for a number of workers that is none', async () => {
  await expect(pack(LARGE, 'gzip:1', { jobs: 0 })).rejects.toMatchObject({ code: 'USAGE' })
})

it('several at once do not disturb each other', async () => {
  const alone = await Promise.all(SPECS.map((spec) => pack(LARGE, spec)))
  const small = await Promise.all([...SPECS, ...SPECS].map((spec) => pack(LARGE.subarray(0, 300_000), spec, { threads: 'none' })))
  for (const [index, spec] of SPECS.entries()) {
    expect((await pack(LARGE, spec)).equals(alone[index] as Buffer)).toBe(true)
    expect((await pack(LARGE.subarray(0, 300_000), spec)).equals(small[index] as Buffer)).toBe(true)
    expect(small[index + SPECS.length]?.equals(small[index] as Buffer)).toBe(true)
  }
})
