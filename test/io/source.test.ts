/** Files as sources. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { bytesSource, FileSource, readPart, tableChunks } from '../../src/io/source.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-source-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('reads at any place, and says when a file has changed or is none', async () => {
  const path = join(folder, 'file')
  writeFileSync(path, 'abcdefgh')
  const source = await FileSource.open(path)
  expect(source.size).toBe(8)
  expect(Buffer.from(await source.read(2, 3)).toString()).toBe('cde')
  truncateSync(path, 4)
  await expect(source.read(2, 3)).rejects.toMatchObject({ code: 'CHANGED', path })
  await source.close()
  await expect(FileSource.open(join(folder, 'none'))).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await expect(FileSource.open(folder)).rejects.toMatchObject({ code: 'UNSUPPORTED' })
})

it('refuses parts beyond the end before they are read', async () => {
  const source = bytesSource(new Uint8Array(100))
  for (const [position, length] of [
    [-1, 1],
    [99, 2],
    [2 ** 60, 1],
    [0, 2 ** 50],
    [Number.NaN, 1],
  ] as const) {
    await expect(readPart(source, position, length, 'a part')).rejects.toMatchObject({ code: 'BAD_INPUT' })
  }
  const table = tableChunks(source, { position: 0, entrySize: 8, what: 'a table' }, 0, 2 ** 40)
  await expect(table.next()).rejects.toMatchObject({ code: 'BAD_INPUT' })
})
