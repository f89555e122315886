/** Contents for streams, and what packs and unpacks them. */
import type { Worker } from 'node:worker_threads'
import { parseCodecSpec } from '../../src/codecs/open.ts'
import { type CompressedImageOptions, compressedImage, openStreamCompressor } from '../../src/codecs/stream/index.ts'
import { type BuildContext, bytesImage, type GrowingImage, type Image } from '../../src/io/image.ts'
import { BufferTarget } from '../../src/io/target.ts'
import { run } from '../oracles/tools.ts'
import { mixed } from './samples.ts'
import { hasXz } from './xz-package.ts'

/** Fast levels: what is tested is the stream around the blocks. */
export const SPECS: readonly string[] = ['gzip:1', 'zstd:1', 'lz4', ...(hasXz ? ['xz:0'] : [])]

const TILE = Buffer.from(mixed(1 << 20))

/** Bytes that compress to about a third and do not repeat as a whole. */
export function content(size: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at < size; at += TILE.length) {
    bytes.set(TILE.subarray(0, size - at), at)
    for (let stamp = at; stamp + 4 <= Math.min(size, at + TILE.length); stamp += 4099) bytes.writeUInt32LE(stamp, stamp)
  }
  return bytes
}

/** The stream of `source` at `spec`, written from `start` on. */
export async function pack(
  source: Image | GrowingImage | Uint8Array,
  spec: string,
  context: Partial<BuildContext> = {},
  options: Omit<CompressedImageOptions, 'codec'> = {},
  start = 0,
): Promise<Buffer> {
  const target = new BufferTarget()
  const image = source instanceof Uint8Array ? bytesImage(source) : source
  const stream = compressedImage(image, { codec: parseCodecSpec(spec), ...options })
  const packed = await stream.pack(target, start, { jobs: 2, ...context })
  if (packed.size > stream.sizeLimit) throw new Error(`${spec}: ${packed.size} bytes, the limit is ${stream.sizeLimit}`)
  if (packed.size > 0 && start + packed.size !== target.bytes.length) throw new Error(`${spec}: the image is not what was written`)
  return Buffer.from(target.bytes.subarray(start))
}

/** The stream of a compressor that gets its content in chunks of `chunkSize` bytes. */
export async function compress(bytes: Uint8Array, spec: string, chunkSize: number): Promise<Buffer> {
  const compressor = await openStreamCompressor(parseCodecSpec(spec))
  const parts: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += chunkSize) parts.push(compressor.push(bytes.subarray(at, at + chunkSize)).slice())
  parts.push(compressor.end().slice())
  compressor.close()
  return Buffer.concat(parts)
}

/** The tool of the format; it refuses what follows a stream and is no stream. */
export const TOOLS: Readonly<Record<string, readonly [string, ...string[]]>> = {
  gzip: ['gzip', '-dc'],
  zstd: ['zstd', '-dcq'],
  xz: ['xz', '-dc', '-T1'],
  lz4: ['lz4', '-dcq'],
}

export function codecName(spec: string): string {
  return parseCodecSpec(spec).name
}

/** By the tool; throws when it fails or warns. */
export function decompress(spec: string, stream: Uint8Array): Buffer {
  const [tool = '', ...args] = TOOLS[codecName(spec)] ?? []
  const { status, stdout, stderr } = run(tool, args, { input: stream })
  if (status !== 0 || stderr !== '') throw new Error(`${tool}: exit status ${status}: ${stderr}`)
  return stdout
}

/** The threads that `work` starts. */
export async function withWorkers<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly workers: readonly Worker[] }> {
  const workers: Worker[] = []
  const note = (worker: Worker): void => void workers.push(worker)
  process.on('worker', note)
  try {
    return { result: await work(), workers }
  } finally {
    process.removeListener('worker', note)
  }
}
