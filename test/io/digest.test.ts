/** The checksum of a file that was written: what was not written is not read, and counts as zeros. */
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { fileSha256 } from '../../src/io/digest.ts'
import { FileTarget } from '../../src/io/file-target.ts'
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
