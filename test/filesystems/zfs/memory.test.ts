/** Memory does not follow the number of files nor the size of the pool, and planning is quick. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'

const MEBIBYTE = 1 << 20
const LIMIT = 512 * MEBIBYTE
/** On a machine that does nothing else it takes half a second. */
const PLAN_LIMIT_MILLISECONDS = 20_000

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-zfs-memory-'))
  for (let index = 0; index < 2000; index++) {
    const sub = join(folder, 'tree', `folder-${Math.floor(index / 100)}`)
    if (index % 100 === 0) mkdirSync(sub, { recursive: true })
    writeFileSync(join(sub, `a-file-with-a-name-${index}.txt`), `file ${index} `.repeat(1 + (index % 40)))
  }
})
afterAll(() => rmSync(folder, { recursive: true }))

function measured(mode: 'many' | 'sparse') {
  const output = join(folder, mode)
  const program = join(import.meta.dirname, 'pack-many.ts')
  const said = execFileSync(process.execPath, [program, mode, join(folder, 'tree'), output], { encoding: 'utf8' })
  const result = JSON.parse(said) as { size: number; nodes: number; planMilliseconds: number; peakKibibytes: number }
  const { size, blocks } = statSync(output)
  expect(size).toBe(result.size)
  rmSync(output)
  console.log(`${mode}: peak ${Math.round(result.peakKibibytes / 1024)} MiB, planned in ${Math.round(result.planMilliseconds)} ms`)
  return { ...result, writtenBytes: 512 * blocks }
}

it('200,000 files', () => {
  const { nodes, planMilliseconds, peakKibibytes } = measured('many')
  expect(nodes).toBeGreaterThan(200_000)
  expect(planMilliseconds).toBeLessThan(PLAN_LIMIT_MILLISECONDS)
  expect(peakKibibytes * 1024).toBeLessThan(LIMIT)
})

it('100 GiB, nearly all of them holes', () => {
  const { size, writtenBytes, peakKibibytes } = measured('sparse')
  expect(size).toBe(100 * 2 ** 30)
  expect(writtenBytes).toBeLessThan(200 * MEBIBYTE)
  expect(peakKibibytes * 1024).toBeLessThan(LIMIT)
})
