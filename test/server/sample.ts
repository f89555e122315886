/** Images of all kinds of extents. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bytesExtent, type Extent, type Image, moveExtent } from '../../src/io/image.ts'
import type { ServedFile } from '../../src/server/index.ts'
import { hostFileImage } from '../../src/tree/host-image.ts'
import { randomNumbers } from '../faults/support.ts'

export const MEBIBYTE = 1 << 20

/** Bytes that repeat nowhere near. */
export function randomBytes(length: number, seed: number): Buffer {
  const random = randomNumbers(seed)
  const words = new Uint32Array(Math.ceil(length / 4))
  for (let index = 0; index < words.length; index++) words[index] = random() * 2 ** 32
  return Buffer.from(words.buffer, 0, length)
}

export interface Sample {
  readonly image: Image
  readonly bytes: Buffer
}

/**
 * About `mebibytes` MiB: memory, a hole, a host file, many extents of few bytes, an extent in large chunks that cannot be
 * read from its middle, a hole at the end.
 */
export function sampleImage(mebibytes: number, folder: string): Sample {
  const unit = Math.floor((mebibytes * MEBIBYTE) / 8)
  const memory = randomBytes(unit + 1, 1)
  const file = randomBytes(3 * unit + 3, 2)
  const path = join(folder, `sample-${mebibytes}`)
  writeFileSync(path, file)
  const stream = randomBytes(2 * unit, 3)
  const extents: Extent[] = [bytesExtent(0, memory)]
  let end = 2 * unit
  for (const extent of hostFileImage(path, file.length).extents) extents.push(moveExtent(extent, end))
  end += file.length
  const small = randomBytes(3000, 4)
  const smallStart = end
  for (let at = 0; at < small.length; at += 3) extents.push(bytesExtent(end + 2 * at, small.subarray(at, at + 3)))
  end += 2 * small.length
  extents.push({
    start: end,
    length: stream.length,
    async *read() {
      for (let at = 0; at < stream.length; at += MEBIBYTE) yield stream.subarray(at, at + MEBIBYTE)
    },
  })
  const streamStart = end
  end += stream.length + unit
  const bytes = Buffer.alloc(end)
  bytes.set(memory, 0)
  bytes.set(file, 2 * unit)
  for (let at = 0; at < small.length; at += 3) bytes.set(small.subarray(at, at + 3), smallStart + 2 * at)
  bytes.set(stream, streamStart)
  return { image: { size: end, extents }, bytes }
}

export function served(path: string, image: Image, etag = 'tag'): ServedFile {
  return { path, image, etag, contentType: 'application/octet-stream' }
}
