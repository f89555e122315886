/** The checksum kernel and its twin. */
import { expect, it, vi } from 'vitest'
import { fletcher4, fletcher4Native } from '../../../src/filesystems/zfs/fletcher4.ts'
import { fletcher4Twin } from '../../../src/filesystems/zfs/fletcher4-twin.ts'
import { noise } from './support.ts'

const SIZES = [0, 4, 252, 256, 260, 512, 4096, 131_072 - 512, 131_072, 131_072 + 4, 300_004, 1 << 20]

it.each(SIZES)('both give the same sums of %i bytes, of noise and of ones', (size) => {
  const native = fletcher4Native()
  expect(native).toBeDefined()
  for (const bytes of [noise(size, 7), new Uint8Array(size).fill(0xff), new Uint8Array(size)]) {
    expect(native?.(bytes)).toEqual(fletcher4Twin(bytes))
  }
})

it('keeps nothing from one call to the next, and gives memory of its own', () => {
  const first = fletcher4(noise(4096, 1))
  const copy = first.slice()
  fletcher4(noise(300_000, 2))
  expect(first).toEqual(copy)
  expect(fletcher4(noise(4096, 1))).toEqual(copy)
})

it('reads memory that is shared and not aligned', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(5000), 1, 4096)
  shared.set(noise(4096, 3))
  expect(fletcher4(shared)).toEqual(fletcher4Twin(noise(4096, 3)))
  expect(fletcher4Twin(shared)).toEqual(fletcher4Twin(noise(4096, 3)))
})

it('is the twin where there is no WebAssembly', () => {
  vi.stubGlobal('WebAssembly', undefined)
  expect(fletcher4Native()).toBeUndefined()
  vi.unstubAllGlobals()
})
