/** Damaged headers and tables end in an ImageError, or in a disk whose data can be read or not: never in anything else. */
import { describe, expect, it } from 'vitest'
import { CONTAINERS as REGISTRY } from '../../src/disks/containers.ts'
import { ImageError } from '../../src/errors.ts'
import { bytesExtent, type Image } from '../../src/io/image.ts'
import { CONTAINERS, random, written } from './containers.ts'
import { damage, guarded, interesting, readSome } from './damage.ts'

const ROUNDS = 150
const noise = random(9)
const disk: Image = {
  size: 2 ** 22 + 512,
  extents: [
    bytesExtent(
      0,
      Uint8Array.from({ length: 90_000 }, (_, at) => (at * at) >> 5),
    ),
    bytesExtent(
      2 ** 21 - 9,
      Uint8Array.from({ length: 9000 }, () => noise(256)),
    ),
  ],
}

describe.each(CONTAINERS.filter(({ name }) => name !== 'vhdx'))('$name', ({ write, open }) => {
  it(`survives ${ROUNDS} damaged files`, async () => {
    const memory = await written(write(disk))
    const original = await memory.read(0, memory.size)
    const places = [...interesting(original, 6000), ...interesting(original.subarray(-2048), 500).map((at) => at + original.length - 2048)]
    const next = random(2026)
    let refused = 0
    for (let round = 0; round < ROUNDS; round++) {
      const { bytes, mend } = damage(original, places, next)
      const source = guarded(bytes)
      try {
        await REGISTRY.probe(source)
        const image = await open(source)
        let end = 0
        for (const { start, length } of image.extents) {
          expect(start).toBeGreaterThanOrEqual(end)
          end = start + length
        }
        expect(end).toBeLessThanOrEqual(image.size)
        expect(image.extents.length).toBeLessThan(1 << 18)
        await readSome(image)
      } catch (error) {
        if (!(error instanceof ImageError)) throw new Error(`round ${round}: ${error instanceof Error ? error.stack : error}`)
        expect(['BAD_INPUT', 'UNSUPPORTED']).toContain(error.code)
        refused++
      } finally {
        mend()
      }
    }
    expect(refused).toBeGreaterThan(ROUNDS / 50)
  })
})
