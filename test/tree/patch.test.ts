import { randomFillSync, randomInt } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { imageChunks } from '../../src/io/stream.ts'
import { contentBytes, contentExtents, contentRange } from '../../src/tree/content.ts'
import { applyPatches, patchedContent } from '../../src/tree/patch.ts'
import type { Content, FileNode, Patch } from '../../src/tree/tree.ts'

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-patch-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function node(content: Content, size: number): FileNode {
  return { kind: 'file', mode: 0o444, uid: 0, gid: 0, mtimeSeconds: 1, size, content }
}

function randomPatches(size: number, count: number): Patch[] {
  const patches: Patch[] = []
  let position = 0
  for (let index = 0; index < count; index++) {
    position += randomInt(Math.max(1, Math.floor(size / count)))
    const length = randomInt(1, 40)
    if (position + length > size) break
    patches.push({ position, bytes: randomFillSync(new Uint8Array(length)) })
    position += length
  }
  return patches
}

async function read(file: FileNode): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of imageChunks({ size: file.size, extents: contentExtents(file, 0, 'file') })) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

describe('patched contents', () => {
  it('read as the bytes with the patches over them: host files, memory, images; twice over; in ranges', async () => {
    for (const size of [50, 5000, 3_000_000]) {
      const bytes = randomFillSync(Buffer.alloc(size))
      const path = join(folder, `file-${size}`)
      writeFileSync(path, bytes)
      const contents: Content[] = [
        { kind: 'hostFile', path: Buffer.from(path) },
        { kind: 'bytes', bytes: Buffer.from(bytes) },
        {
          kind: 'image',
          image: { size, extents: contentExtents(node({ kind: 'hostFile', path: Buffer.from(path) }, size), 0, path) },
        },
      ]
      for (const content of contents) {
        const lower = randomPatches(size, 30)
        const upper = randomPatches(size, 30)
        const expected = Buffer.from(bytes)
        applyPatches(expected, 0, lower)
        const once = node(patchedContent(content, lower), size)
        expect((await read(once)).equals(expected), content.kind).toBe(true)
        applyPatches(expected, 0, upper)
        const twice = node(patchedContent(once.content, upper), size)
        expect((await read(twice)).equals(expected), content.kind).toBe(true)
        if (content.kind !== 'image') expect(Buffer.from(contentBytes(twice, path)).equals(expected)).toBe(true)
        for (let round = 0; round < 10; round++) {
          const start = randomInt(size)
          const length = randomInt(1, size - start + 1)
          const parts: Buffer[] = []
          for await (const chunk of contentRange(twice, start, length, { buffer: Buffer.alloc(1000) }))
            parts.push(typeof chunk === 'number' ? Buffer.alloc(chunk) : Buffer.from(chunk))
          expect(Buffer.concat(parts).equals(expected.subarray(start, start + length)), `${content.kind} ${start} ${length}`).toBe(true)
        }
      }
      expect((await read(node(contents[1] as Content, size))).equals(bytes), 'the original in memory is as it was').toBe(true)
    }
  })
})
