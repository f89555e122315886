/** Every kind of image of the small closure has the bytes that it had; what changes on purpose is kept by `npm run golden`. */
import { expect, it } from 'vitest'
import { changed, compressors, digests, kept } from '../scripts/golden.ts'

const golden = kept()
const isSame = JSON.stringify(golden.compressors) === JSON.stringify(compressors())

it('tells what changed', () => {
  expect(changed({ a: '1', b: '2', c: '3' }, { a: '1', b: '4', d: '5' })).toEqual(['b', 'c', 'd'])
})

it('says why each image that changed did', () => {
  const names = new Set(Object.keys(golden.digests))
  for (const { why, images } of golden.changes) expect([why.length > 10, images.length > 0], why).toEqual([true, true])
  expect(names.size).toBeGreaterThan(60)
  for (const digest of Object.values(golden.digests)) expect(digest).toMatch(/^[0-9a-f]{16}$/)
})

it.skipIf(!isSame)('every kind of image has the bytes that are kept', { timeout: 600_000 }, async () => {
  const now = await digests(import.meta.dirname.replace(/\/test$/, ''))
  expect(changed(golden.digests, now)).toEqual([])
})
