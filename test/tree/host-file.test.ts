import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { ImageError } from '../../src/errors.ts'
import type { Image } from '../../src/io/image.ts'
import { Proof } from '../../src/io/proven.ts'
import { imageSlice } from '../../src/io/slice.ts'
import { imageChunks } from '../../src/io/stream.ts'
import { contentExtents } from '../../src/tree/content.ts'
import { type HostFile, HostReader, type HostReaderOptions, readHostFile } from '../../src/tree/host-file.ts'
import { hostFileChunks, hostFileExtent, hostFileImage } from '../../src/tree/host-image.ts'
import { randomNumbers } from '../faults/support.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-host-file-'))
afterAll(() => rmSync(folder, { recursive: true }))

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const list: Uint8Array[] = []
  for await (const chunk of chunks) list.push(chunk)
  return Buffer.concat(list)
}

const random = randomNumbers(5)
const bytes = Buffer.from(Uint8Array.from({ length: 70_000 }, () => Math.floor(random() * 256)))
const path = join(folder, 'bytes')
writeFileSync(path, bytes)
const whole = { path: Buffer.from(path), size: bytes.length }
const changed = expect.objectContaining({ code: 'CHANGED' })

describe('hostFileChunks', () => {
  it('reads ranges in chunks', async () => {
    for (let round = 0; round < 100; round++) {
      const start = Math.floor(random() * bytes.length)
      const length = Math.floor(random() * (bytes.length - start + 1))
      const chunkSize = 1 + Math.floor(random() * 30_000)
      for await (const chunk of hostFileChunks(whole, { chunkSize, start, length })) {
        expect(chunk.length).toBeLessThanOrEqual(chunkSize)
      }
      const read = await collect(hostFileChunks(whole, { chunkSize, start, length }))
      expect(read.equals(bytes.subarray(start, start + length))).toBe(true)
    }
    expect((await collect(hostFileChunks(whole, { start: 69_990 }))).equals(bytes.subarray(69_990))).toBe(true)
  })

  it('reads into a buffer that is lent, in chunks of its length', async () => {
    const buffer = new Uint8Array(10_000)
    for (const [start, length] of [
      [0, 70_000],
      [5, 69_995],
      [69_000, 1000],
    ] as const) {
      const copies: Uint8Array[] = []
      for await (const chunk of hostFileChunks(whole, { start, length, buffer })) {
        expect(chunk.buffer).toBe(buffer.buffer)
        copies.push(Buffer.from(chunk))
      }
      expect(Buffer.concat(copies).equals(bytes.subarray(start, start + length))).toBe(true)
    }
    const large = new Uint8Array(100_000)
    for await (const chunk of hostFileChunks(whole, { buffer: large })) {
      expect([chunk.buffer === large.buffer, Buffer.compare(chunk, bytes)]).toEqual([true, 0])
    }
  })

  it('sees in a range that the file grew, shrank or was written to', async () => {
    const file = join(folder, 'changing')
    const range = () => hostFileChunks({ path: Buffer.from(file), size: 1000 }, { start: 100, length: 200, chunkSize: 100 })
    writeFileSync(file, Buffer.alloc(1000))
    expect(await collect(range())).toHaveLength(200)
    appendFileSync(file, 'x')
    await expect(collect(range())).rejects.toThrow(changed)
    truncateSync(file, 250)
    await expect(collect(range())).rejects.toThrow(changed)
    writeFileSync(file, Buffer.alloc(1000))
    // Change times are as coarse as the kernel's clock ticks.
    await setTimeout(20)
    const chunks = range()
    await chunks.next()
    const handle = await open(file, 'r+')
    writeSync(handle.fd, 'new', 900)
    await handle.close()
    await expect(collect(chunks)).rejects.toThrow(changed)
  })
})

describe('hostFileImage', () => {
  it('can be read often and at the same time, and holds nothing open', async () => {
    const image = hostFileImage(path, bytes.length, { chunkSize: 1000 })
    const before = readdirSync('/proc/self/fd').length
    const reads = await Promise.all([1, 2, 3, 4].map(() => collect(imageChunks(image))))
    for (const read of reads) expect(read.equals(bytes)).toBe(true)
    for await (const _chunk of imageChunks(image)) break
    expect(readdirSync('/proc/self/fd').length).toBe(before)
  })

  it('has chunks of 128 KiB when nothing else is asked for', async () => {
    const file = join(folder, 'large')
    writeFileSync(file, Buffer.alloc(300_000))
    const lengths: number[] = []
    for await (const chunk of imageChunks(hostFileImage(file, 300_000))) lengths.push(chunk.length)
    expect(lengths).toEqual([131_072, 131_072, 37_856])
  })

  it('takes names that look like anything', async () => {
    const file = join(folder, 'ünïcode %41 ?')
    writeFileSync(file, 'content')
    expect(String(await collect(imageChunks(hostFileImage(file, 7))))).toBe('content')
  })

  it('has no extent when it is empty', () => {
    expect(hostFileImage(join(folder, 'nothing'), 0)).toEqual({ size: 0, extents: [] })
  })

  it('throws CHANGED for a file that is gone or became a link', async () => {
    const file = join(folder, 'gone')
    writeFileSync(file, 'content')
    const image = hostFileImage(file, 7)
    expect(String(await collect(imageChunks(image)))).toBe('content')
    unlinkSync(file)
    await expect(collect(imageChunks(image))).rejects.toThrow(changed)
    symlinkSync(path, file)
    await expect(collect(imageChunks(image))).rejects.toThrow(changed)
  })
})

describe('a range of a large file', () => {
  const size = 2 ** 40
  const file = join(folder, 'sparse')
  writeFileSync(file, '')
  truncateSync(file, size)

  const node = { kind: 'file', size, mode: 0o444, uid: 0, gid: 0, mtimeSeconds: 1 } as const
  const images: [string, () => Image][] = [
    ['hostFileImage', () => hostFileImage(file, size)],
    [
      'contentExtents',
      () => ({ size, extents: contentExtents({ ...node, content: { kind: 'hostFile', path: Buffer.from(file) } }, 0, 'sparse') }),
    ],
  ]

  // A tebibyte takes minutes to read.
  it.each(images)('is read without what lies before: %s', async (_name, image) => {
    expect(await collect(imageChunks(imageSlice(image(), size - 1000, size)))).toEqual(Buffer.alloc(1000))
    expect(await collect(imageChunks(imageSlice(image(), size / 2, size / 2 + 5)))).toEqual(Buffer.alloc(5))
  })
})

describe('HostReader', () => {
  const patches = [
    { position: 10, bytes: Buffer.from('patched') },
    { position: 69_998, bytes: Buffer.from('!!') },
  ]
  const patched = Buffer.from(bytes)
  for (const { position, bytes: other } of patches) patched.set(other, position)
  const proof = new Proof(createHash('sha256').update(bytes).digest(), bytes.length)

  /** All of a file in parts, read one after the other; `act` comes before the second. */
  async function parts(file: HostFile, options: HostReaderOptions & { readonly later?: boolean } = {}, act = () => {}): Promise<Buffer> {
    const { start = 0, length = file.size - start } = options
    const reader = new HostReader(file, options)
    const read = Buffer.alloc(length)
    try {
      for (let at = 0; at < length; at += 30_000) {
        if (at > 0) act()
        const part = read.subarray(at, at + 30_000)
        if (options.later) await reader.readLater(part)
        else reader.read(part)
      }
    } finally {
      reader.close()
    }
    return read
  }

  it.each([{ later: false }, { later: true }])('reads with patches and a proof: %j', async (options) => {
    for (const file of [whole, { ...whole, proof }]) {
      expect((await parts(file, options)).equals(bytes)).toBe(true)
      expect((await parts({ ...file, patches }, options)).equals(patched)).toBe(true)
    }
    const image = { size: bytes.length, extents: [hostFileExtent({ ...whole, patches, proof }, 0)] }
    expect((await collect(imageChunks(image))).equals(patched)).toBe(true)
    expect((await collect(imageChunks(imageSlice(image, 12, 69_999)))).equals(patched.subarray(12, 69_999))).toBe(true)
  })

  it('reads again, and at any position', () => {
    const reader = new HostReader({ ...whole, patches })
    const part = Buffer.alloc(20)
    for (const position of [69_980, 0, 5, 69_980]) {
      reader.read(part, position)
      expect(part).toEqual(patched.subarray(position, position + 20))
    }
    reader.close()
  })

  it.each([{ later: false }, { later: true }])('sees what happens to the file meanwhile: %j', async ({ later }) => {
    const file = { path: Buffer.from(join(folder, 'meanwhile')), size: bytes.length }
    const restore = () => writeFileSync(file.path, bytes)
    restore()
    // Change times are as coarse as the kernel's clock ticks.
    await setTimeout(20)
    const change = (position: number) => () => {
      const handle = openSync(file.path, 'r+')
      writeSync(handle, 'new', position)
      closeSync(handle)
    }
    const truncate = () => truncateSync(file.path, 40_000)
    const grow = () => appendFileSync(file.path, 'x')
    for (const isProven of [false, true]) {
      const wanted = isProven ? { ...file, proof } : file
      const message = async (act: () => void) => {
        restore()
        await setTimeout(20)
        const error = await parts(wanted, { later }, act).catch((caught: unknown) => caught)
        return error instanceof ImageError ? `${error.code} ${error.message}` : error
      }
      expect(await message(truncate)).toMatch(/^CHANGED .*meanwhile: ended at byte 40000 while it was read/)
      expect(await message(grow)).toMatch(/^CHANGED .*meanwhile: grew beyond its 70000 bytes/)
      expect(await message(change(50_000))).toMatch(isProven ? /^CHANGED .*: has other bytes/ : /^CHANGED .*: was written to/)
      // What was read before it was written to is what was proven.
      const before = await message(change(5))
      if (isProven) expect(before).toEqual(bytes)
      else expect(before).toMatch(/^CHANGED .*: was written to/)
    }
    unlinkSync(file.path)
  })

  it('compares the parts of a file with each other', async () => {
    const file = { path: Buffer.from(join(folder, 'in parts')), size: bytes.length }
    writeFileSync(file.path, bytes)
    const state = { changeTimeNs: undefined }
    await parts(file, { start: 0, length: 40_000, state })
    await parts(file, { start: 40_000, state })
    await setTimeout(20)
    writeFileSync(file.path, bytes)
    expect(() => new HostReader(file, { start: 40_000, state })).toThrow(changed)
    expect((await parts(file, { start: 40_000 })).equals(bytes.subarray(40_000))).toBe(true)
  })

  it('refuses what became something else, without waiting', () => {
    const place = join(folder, 'was a file')
    const codeOf = (size: number) => {
      try {
        readHostFile({ path: Buffer.from(place), size }, Buffer.alloc(size))
        return undefined
      } catch (error) {
        return (error as ImageError).code
      }
    }
    expect(codeOf(5)).toBe('CHANGED')
    mkdirSync(place)
    expect([codeOf(5), codeOf(statSync(place).size)]).toEqual(['CHANGED', 'CHANGED'])
    rmSync(place, { recursive: true })
    spawnSync('mkfifo', [place])
    expect(codeOf(5)).toBe('CHANGED')
    rmSync(place)
    writeFileSync(place, 'bytes')
    const open = readdirSync('/proc/self/fd').length
    expect([codeOf(5), codeOf(4), codeOf(6)]).toEqual([undefined, 'CHANGED', 'CHANGED'])
    expect(readdirSync('/proc/self/fd').length).toBe(open)
  })

  it('is UNREADABLE when reading fails', () => {
    // The memory of a process cannot be read at its beginning, not even by root.
    const path = '/proc/self/mem'
    const reader = new HostReader({ path: Buffer.from(path), size: 0 }, { length: 10 })
    expect(() => reader.read(Buffer.alloc(10))).toThrow(expect.objectContaining({ code: 'UNREADABLE', path }))
    reader.close()
  })

  it('takes a proof for the whole of a file in order, and says so where it is used otherwise', () => {
    expect(() => new HostReader({ ...whole, proof }, { start: 1 })).toThrow(RangeError)
    const reader = new HostReader({ ...whole, proof })
    expect(() => reader.read(Buffer.alloc(5), 10)).toThrow(RangeError)
    reader.close()
  })
})
