/** What of an image is carried, and what is written in order. */
import { describe, expect, it } from 'vitest'
import { sharedOut, wholeSource } from '../../src/io/carried.ts'
import { bytesExtent, type CarriedGroup, type CarriedSource, type Carrier, type Extent, moveExtent } from '../../src/io/image.ts'
import { imageSlice } from '../../src/io/slice.ts'
import { together } from '../../src/io/together.ts'

const carrier: Carrier = { carry: async () => undefined }
const group = (size: number): CarriedGroup => ({ size, carrier })

function carried(
  start: number,
  length: number,
  sources: readonly [source: CarriedSource, at: number, length: number, offset?: number][],
): Extent {
  return {
    ...bytesExtent(start, new Uint8Array(length)),
    carried: {
      parts: () => sources.map(([source, at, count, offset = 0]) => ({ start: at, length: count, source, offset })),
      rest: () => [bytesExtent(length - 1, Uint8Array.of(7))],
    },
  }
}

describe('an image that is shared out', () => {
  it('gives parts that count from the beginning of the file, and the rest in order', () => {
    const [one, other] = [group(30), group(5)]
    const [a, b, c] = [
      { size: 10, group: one },
      { size: 20, group: one },
      { size: 5, group: other },
    ] as const
    const extents = [
      bytesExtent(0, new Uint8Array(3)),
      moveExtent(
        carried(0, 40, [
          [a, 0, 16],
          [b, 16, 12],
        ]),
        10,
      ),
      carried(60, 30, [
        [b, 2, 8, 12],
        [c, 10, 5],
      ]),
    ]
    const { loads, before, left } = sharedOut({ size: 100, extents }, 1000)
    expect(loads.get(carrier)).toEqual(
      new Map([
        [
          one,
          [
            { start: 1010, length: 16, source: a, offset: 0 },
            { start: 1026, length: 12, source: b, offset: 0 },
            { start: 1062, length: 8, source: b, offset: 12 },
          ],
        ],
        [other, [{ start: 1070, length: 5, source: c, offset: 0 }]],
      ]),
    )
    expect(before).toEqual(extents.slice(0, 1))
    expect(left.map(({ start, length }) => [start, length])).toEqual([
      [49, 1],
      [89, 1],
    ])
  })

  it('leaves groups of which something is missing, and what stands in an extent with them', () => {
    const [broken, tied, whole] = [group(11), group(20), group(5)]
    const [a, b, c] = [
      { size: 10, group: broken },
      { size: 20, group: tied },
      { size: 5, group: whole },
    ]
    const extents = [
      carried(0, 30, [
        [a, 0, 10],
        [b, 10, 10],
      ]),
      carried(40, 20, [[b, 0, 10, 10]]),
      carried(70, 20, [[c, 0, 5]]),
    ]
    const { loads, before, left } = sharedOut({ size: 100, extents }, 0)
    expect([...(loads.get(carrier)?.keys() ?? [])]).toEqual([whole])
    expect(before).toEqual(extents.slice(0, 2))
    expect(left.map(({ start, length }) => [start, length])).toEqual([[89, 1]])
    expect(sharedOut({ size: 100, extents: extents.slice(0, 1) }, 0)).toEqual({ loads: new Map(), before: extents.slice(0, 1), left: [] })
  })

  it('knows a source that is all of an image', () => {
    const source = { size: 10, group: group(10) }
    const extent = {
      ...bytesExtent(0, new Uint8Array(10)),
      carried: { parts: () => [{ start: 0, length: 10, source, offset: 0 }], rest: () => [] },
    }
    expect(wholeSource({ size: 10, extents: [extent] })).toBe(source)
    expect(wholeSource({ size: 11, extents: [extent] })).toBe(undefined)
    expect(wholeSource({ size: 10, extents: [bytesExtent(0, new Uint8Array(10))] })).toBe(undefined)
    expect(wholeSource({ size: 0, extents: [] })).toBe(undefined)
    // A slice is read: its bytes are not those of the source.
    expect(wholeSource(imageSlice({ size: 10, extents: [extent] }, 1, 10))).toBe(undefined)
  })
})

describe('what is done together', () => {
  it('ends with the first error, when the others have heard of it and ended', async () => {
    const ended: string[] = []
    const other = async (signal: AbortSignal): Promise<void> => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      await new Promise((resolve) => setTimeout(resolve, 5))
      ended.push('other')
      throw new Error('a later one')
    }
    const failing = async (): Promise<void> => {
      throw new Error('the first')
    }
    await expect(together(undefined, [other, failing])).rejects.toThrow('the first')
    expect(ended).toEqual(['other'])
  })

  it('hears of the signal, with its reason', async () => {
    const stop = new AbortController()
    const waiting = async (signal: AbortSignal): Promise<void> => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      throw signal.reason
    }
    const all = together(stop.signal, [waiting, waiting, async () => 1])
    stop.abort(new Error('enough'))
    await expect(all).rejects.toThrow('enough')
  })
})
