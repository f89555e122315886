/** Some thousand damaged inputs; `scripts/fuzz.ts` goes on with others. */
import { describe, expect, it } from 'vitest'
import { fuzzListings, fuzzNars } from './fuzz.ts'

describe('damaged inputs are refused, or are what they say', () => {
  it.each([1, 2])('NARs, seed %i', { timeout: 60_000 }, async (seed) => {
    const { taken, refused } = await fuzzNars(seed, 2000)
    // Neither may be rare, or the test says little.
    expect(taken).toBeGreaterThan(100)
    expect(refused).toBeGreaterThan(1000)
  })

  it.each([1, 2])('listings, seed %i', { timeout: 60_000 }, async (seed) => {
    const { taken, refused } = await fuzzListings(seed, 1500)
    expect(taken).toBeGreaterThan(100)
    expect(refused).toBeGreaterThan(500)
  })
})
