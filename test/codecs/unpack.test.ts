/** Compressed streams of all kinds, whole and damaged. The samples of other people's tools are small and stand here. */
import { execFileSync, spawnSync } from 'node:child_process'
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type Unpacker, unpackStream } from '../../src/codecs/unpack/index.ts'
import { failure } from '../nix/scratch.ts'

async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function unpacked(kind: Unpacker, bytes: Uint8Array, size = 1000): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const chunk of unpackStream(kind, cut(bytes, size), 'sample')) parts.push(Uint8Array.from(chunk))
  return Buffer.concat(parts)
}

/** Runs, words and noise. */
function sample(): Buffer {
  const noise = Buffer.alloc(300_000)
  for (let index = 0, state = 1; index < noise.length; index++) {
    state = (state * 1103515245 + 12345) & 0x7fffffff
    noise[index] = state >> 16
  }
  return Buffer.concat([
    Buffer.alloc(700_000, 'all work and no play '),
    Buffer.alloc(300_000),
    noise,
    Buffer.from('aaaa'),
    Buffer.alloc(260, 'b'),
  ])
}

const TEXT = sample()
const has = (tool: string): boolean => spawnSync(tool, ['--version'], { input: '' }).error === undefined
const packed = (tool: string, args: string[]) => (bytes: Uint8Array) => execFileSync(tool, args, { input: bytes, maxBuffer: 1 << 28 })

const KINDS: readonly { kind: Unpacker; name: string; pack: (bytes: Uint8Array) => Buffer; skip?: boolean }[] = [
  { kind: 'zstd', name: 'zstd', pack: (bytes) => zstdCompressSync(bytes) },
  { kind: 'gzip', name: 'gzip', pack: (bytes) => gzipSync(bytes) },
  { kind: 'xz', name: 'xz', pack: packed('xz', ['-1']), skip: !has('xz') },
  { kind: 'bzip2', name: 'bzip2', pack: packed('bzip2', ['-9']), skip: !has('bzip2') },
  { kind: 'bzip2', name: 'bzip2 in small blocks', pack: packed('bzip2', ['-1']), skip: !has('bzip2') },
  { kind: 'lz4', name: 'lz4', pack: packed('lz4', ['-c']), skip: !has('lz4') },
  { kind: 'lz4', name: 'lz4 with linked blocks', pack: packed('lz4', ['-c', '-BD', '-B4', '-BX']), skip: !has('lz4') },
]

describe.each(KINDS)('$name', ({ kind, pack, skip = false }) => {
  it.skipIf(skip)('comes back, in pieces of any size, and several in a row', async () => {
    const bytes = pack(TEXT)
    for (const size of [777, 65_536, bytes.length]) expect((await unpacked(kind, bytes, size)).equals(TEXT)).toBe(true)
    const two = Buffer.concat([bytes, pack(Buffer.from('second'))])
    for (const size of [1000, two.length]) {
      expect((await unpacked(kind, two, size)).equals(Buffer.concat([TEXT, Buffer.from('second')]))).toBe(true)
    }
    expect(await unpacked(kind, pack(Buffer.alloc(0)))).toHaveLength(0)
  })

  it.skipIf(skip)('cut short or changed is an error', async () => {
    const bytes = pack(TEXT)
    for (const length of [bytes.length - 1, bytes.length >> 1, 3]) {
      await failure(() => unpacked(kind, bytes.subarray(0, length)), 'BAD_INPUT', /sample: cannot be decompressed/)
    }
    await failure(() => unpacked(kind, Buffer.from('something else, which is no stream')), 'BAD_INPUT', /sample: cannot be decompressed/)
  })
})

it('Brotli comes back', async () => {
  const bytes = brotliCompressSync(TEXT)
  expect((await unpacked('br', bytes)).equals(TEXT)).toBe(true)
  await failure(() => unpacked('br', bytes.subarray(0, bytes.length - 2)), 'BAD_INPUT', /sample/)
})

it('what is not compressed is handed on', async () => {
  expect((await unpacked('none', TEXT)).equals(TEXT)).toBe(true)
})

it.skipIf(!has('bzip2'))('a changed byte of a bzip2 block is found by its checksum or before', async () => {
  const bytes = packed('bzip2', ['-1'])(TEXT)
  for (let at = 20; at < bytes.length; at += 9973) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] as number) ^ 0x10
    await failure(() => unpacked('bzip2', changed), 'BAD_INPUT', /sample/)
  }
})
