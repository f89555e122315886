/** Streams cut into reads, and what a thread makes of them, wherever contents go. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type PlannedRead, planReads } from '../../src/data/reads.ts'
import { partsOf } from '../../src/data/segments.ts'
import { type Rooms, StreamReader } from '../../src/data/stream-reader.ts'
import type { FileNode } from '../../src/tree/tree.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-stream-'))
afterAll(() => rmSync(folder, { recursive: true }))

const stop = { isStopped: () => false, signal: new AbortController().signal }
const BLOCK_SIZE = 100
const ROOM_SIZE = 300

function bytesOf(size: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => (index * 7 + seed * 13 + (index >> 5)) & 0xff)
}

function hostFile(name: string, bytes: Uint8Array): FileNode {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return {
    kind: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtimeSeconds: 1,
    size: bytes.length,
    content: { kind: 'hostFile', path: Buffer.from(path) },
  }
}

function memoryFile(bytes: Uint8Array): FileNode {
  return { ...hostFile('unused', new Uint8Array(0)), size: bytes.length, content: { kind: 'bytes', bytes } }
}

function patchedFile(file: FileNode, position: number, bytes: Uint8Array): FileNode {
  if (file.content.kind !== 'hostFile') throw new Error('no host file')
  return { ...file, content: { kind: 'patched', path: file.content.path, patches: [{ position, bytes }] } }
}

const FRAMING = Buffer.from('framing')
const large = bytesOf(730, 1)
const patched = Uint8Array.from(large)
patched.set([1, 2, 3], 299)
const contents = [bytesOf(99, 2), large, bytesOf(0, 3), bytesOf(250, 4), patched, bytesOf(40, 5)]
const files = contents.map((bytes, index) => {
  if (index === 3) return memoryFile(bytes)
  return index === 4 ? patchedFile(hostFile('4', large), 299, bytes.slice(299, 302)) : hostFile(String(index), bytes)
})
const stream = { digest: undefined, pieces: () => [FRAMING, ...files.flatMap((file) => [file, FRAMING])] }
const plan = (identify: (file: FileNode) => boolean): PlannedRead[] => [
  ...planReads(stream, { roomSize: ROOM_SIZE, blockSize: () => BLOCK_SIZE, identify }),
]

/** Reads all; contents in the order in which they were filled. */
function readAll(reads: readonly PlannedRead[], reader = new StreamReader(stop)) {
  const found: Buffer[] = []
  const identities: Buffer[] = []
  let digest: Uint8Array | undefined
  for (const { segments, text, last } of reads) {
    const rooms: Rooms = { room: (_place, length) => Buffer.alloc(length), filled: (_place, content) => found.push(content) }
    const result = reader.read({ stream: 0, segments, text, hashed: true, last }, rooms)
    identities.push(Buffer.from(result.identities))
    expect(result.digest !== undefined).toBe(last)
    digest = result.digest
  }
  reader.close()
  return { content: Buffer.concat(found), identities: Buffer.concat(identities), digest: Buffer.from(digest ?? []) }
}

function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

describe('streams in reads', () => {
  it('cuts files at blocks, and small ones never', () => {
    for (const { segments, text, files: parts } of plan(() => false)) {
      let used = 0
      const described = [...partsOf({ segments, text })].filter(({ kind }) => kind !== 0)
      expect(described).toHaveLength(parts.length)
      for (const [index, { place, length, fileOffset, fileSize }] of described.entries()) {
        expect(place).toBe(used)
        expect(fileOffset % BLOCK_SIZE).toBe(0)
        expect(fileOffset + length === fileSize || length % BLOCK_SIZE === 0).toBe(true)
        expect(fileSize).toBe(parts[index]?.size)
        used += length
      }
      expect(used).toBeLessThanOrEqual(ROOM_SIZE)
    }
  })

  it('are read and hashed in order', () => {
    const { content, digest, identities } = readAll(plan((file) => file.size > 100))
    expect(content.equals(Buffer.concat(contents))).toBe(true)
    expect(digest.equals(sha256(FRAMING, ...contents.flatMap((bytes) => [bytes, FRAMING])))).toBe(true)
    // A file in memory has none: whoever wants it has the bytes.
    expect(identities.equals(Buffer.concat([sha256(large), sha256(patched)]))).toBe(true)
  })

  it('end with CHANGED at a file that is not what was listed', () => {
    const reads = plan(() => false)
    writeFileSync(join(folder, '5'), bytesOf(41, 5))
    const reader = new StreamReader(stop)
    expect(() => readAll(reads, reader)).toThrow(expect.objectContaining({ code: 'CHANGED', path: join(folder, '5') }))
    reader.close()
    writeFileSync(join(folder, '5'), contents[5] as Uint8Array)
  })

  it('are compared with what lies in a room', () => {
    const reader = new StreamReader(stop)
    const room = Buffer.concat([contents[0] as Uint8Array, large.subarray(0, 200)])
    const [read] = plan(() => false)
    if (read === undefined) throw new Error('no read')
    const rooms: Rooms = { room: (place, length) => room.subarray(place, place + length) }
    expect(reader.compare(read, rooms)).toBe(-1)
    room[150] = (room[150] as number) ^ 1
    expect(reader.compare(read, rooms)).toBe(1)
  })
})
