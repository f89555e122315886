import { describe, expect, it } from 'vitest'
import { concatenation, concatGrowing, concatImages, padded, sizeChecked } from '../../src/io/concat.ts'
import { bytesImage, type GrowingImage, type Image, isGrowing } from '../../src/io/image.ts'
import { imageChunks } from '../../src/io/stream.ts'
import { BufferTarget } from '../../src/io/target.ts'

const JOBS = { jobs: 1 }
const image = (text: string, size?: number): Image => bytesImage(Buffer.from(text), size)

/** Says only when it is packed how large it is. */
function growing(text: string): GrowingImage {
  return {
    sizeLimit: text.length + 10,
    async pack(target, start) {
      await target.write(start, Buffer.from(text))
      return image(text)
    },
  }
}

async function textOf(one: Image): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of imageChunks(one)) chunks.push(chunk)
  return Buffer.concat(chunks).toString().replaceAll('\0', '.')
}

describe('images one after another', () => {
  it('begin and end at multiples of the alignment', async () => {
    expect(await textOf(concatImages([image('abcde'), image('f'), image('', 3), image('ghij')], 4))).toBe('abcde...f.......ghij')
    expect(await textOf(concatImages([image('abc', 5), image('d')], 1))).toBe('abc..d')
    expect(concatImages([], 4)).toEqual({ size: 0, extents: [] })
  })

  it('are packed where the one before ends, at any start', async () => {
    const whole = concatGrowing([image('abcde'), growing('fg'), image('hi', 3), growing('')], 4)
    expect(whole.sizeLimit).toBe(8 + 12 + 4 + 12)
    const target = new BufferTarget()
    const packed = await whole.pack(target, 7, JOBS)
    expect(await textOf(packed)).toBe('abcde...fg..hi..')
    expect(Buffer.from(target.bytes).toString().replaceAll('\0', '.')).toBe('.......abcde...fg..hi..')
  })

  it('are growing when one of them is', () => {
    expect(isGrowing(concatenation([image('a'), image('b')], 4))).toBe(false)
    expect(isGrowing(concatenation([image('a'), growing('b')], 4))).toBe(true)
  })

  it('are cancelled between two', async () => {
    const stop = new AbortController()
    const first: GrowingImage = {
      sizeLimit: 1,
      async pack() {
        stop.abort()
        return image('a')
      },
    }
    await expect(
      concatGrowing([first, growing('b')], 4).pack(new BufferTarget(), 0, { jobs: 1, signal: stop.signal }),
    ).rejects.toMatchObject({ code: 'ABORTED' })
  })
})

describe('padding', () => {
  it('goes up to a multiple', async () => {
    expect(padded(image('abcde'), 4)).toMatchObject({ size: 8 })
    expect(padded(image('abcd'), 4)).toMatchObject({ size: 4 })
    const one = padded(growing('abcde'), 4)
    if (!isGrowing(one)) throw new Error('it is growing')
    expect(one.sizeLimit).toBe(16)
    expect(await textOf(await one.pack(new BufferTarget(), 3, JOBS))).toBe('abcde...')
  })
})

describe('the size of a growing image', () => {
  const large: number[] = []
  const rule = { what: 'initrd', warnFrom: 4, refuseFrom: 6, remedy: 'leave something out', onLarge: (size: number) => large.push(size) }

  it.each([
    ['abc', []],
    ['abcd', [4]],
    ['abcde', [5]],
  ])('%s', async (text, warnings) => {
    large.length = 0
    await sizeChecked(growing(text), rule).pack(new BufferTarget(), 0, JOBS)
    expect(large).toEqual(warnings)
  })

  it('is refused at the limit', async () => {
    await expect(sizeChecked(growing('abcdef'), rule).pack(new BufferTarget(), 0, JOBS)).rejects.toMatchObject({
      code: 'LIMIT',
      message: 'initrd: at least 6 bytes, it has to be smaller than 6; leave something out',
    })
    const hole: GrowingImage = { sizeLimit: 6, pack: async () => image('', 6) }
    await expect(sizeChecked(hole, rule).pack(new BufferTarget(), 0, JOBS)).rejects.toMatchObject({
      code: 'LIMIT',
      message: 'initrd: 6 bytes, it has to be smaller than 6; leave something out',
    })
  })
  it('is refused before it is packed where the parts are too large already', () => {
    const parts = [image('abc'), growing(''), image('d')]
    expect(concatGrowing(parts, 4).leastSize).toBe(5)
    expect(() => sizeChecked(concatGrowing(parts, 4), { ...rule, refuseFrom: 5 })).toThrow(
      expect.objectContaining({ code: 'LIMIT', message: 'initrd: at least 5 bytes, it has to be smaller than 5; leave something out' }),
    )
    expect(sizeChecked(concatGrowing(parts, 4), rule).leastSize).toBe(5)
    expect(padded(concatGrowing(parts, 4), 4)).toMatchObject({ leastSize: 8 })
  })

  it('is refused at the first byte that is too many', async () => {
    const endless: GrowingImage = {
      sizeLimit: 1000,
      async pack(target, start) {
        for (let at = 0; at < 1000; at++) await target.write(start + at, Buffer.from('x'))
        return image('x'.repeat(1000))
      },
    }
    const target = new BufferTarget()
    await expect(sizeChecked(endless, rule).pack(target, 10, JOBS)).rejects.toMatchObject({ code: 'LIMIT' })
    expect(target.bytes.length).toBe(15)
  })
})
