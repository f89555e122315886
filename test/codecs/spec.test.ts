import { describe, expect, it } from 'vitest'
import { formatCodecSpec, openCodec, parseCodecSpec } from '../../src/codecs/open.ts'
import { ImageError } from '../../src/errors.ts'

function usageError(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    expect(error).toBeInstanceOf(ImageError)
    expect((error as ImageError).code).toBe('USAGE')
    return (error as ImageError).message
  }
  throw new Error('nothing was thrown')
}

describe('codec specs', () => {
  it.each([
    ['zstd', { name: 'zstd', level: 19 }, 'zstd:19'],
    ['zstd:1', { name: 'zstd', level: 1 }, 'zstd:1'],
    ['zstd:22', { name: 'zstd', level: 22 }, 'zstd:22'],
    ['gzip', { name: 'gzip', level: 9 }, 'gzip:9'],
    ['gzip:1', { name: 'gzip', level: 1 }, 'gzip:1'],
    ['xz', { name: 'xz', level: 6 }, 'xz:6'],
    ['xz:0', { name: 'xz', level: 0 }, 'xz:0'],
    ['lz4', { name: 'lz4' }, 'lz4'],
    ['lz4:hc', { name: 'lz4', level: 12 }, 'lz4:hc'],
    ['none', { name: 'none' }, 'none'],
  ])('reads %s', (text, spec, formatted) => {
    expect(parseCodecSpec(text)).toEqual(spec)
    expect(formatCodecSpec(parseCodecSpec(text))).toBe(formatted)
    expect(parseCodecSpec(formatted)).toEqual(spec)
  })

  it.each([
    'zstd:0',
    'zstd:23',
    'zstd:',
    'zstd:-1',
    'zstd:3.5',
    'zstd:019',
    'zstd:19:1',
    'zstd:hc',
    'gzip:0',
    'gzip:10',
    'xz:10',
    'lz4:9',
    'lz4:HC',
    'none:1',
    'lzo',
    'Zstd',
    'toString',
    '',
    ':3',
    ' zstd',
  ])("refuses '%s' and says what is allowed", (text) => {
    const message = usageError(() => parseCodecSpec(text))
    expect(message).toContain(`'${text}'`)
    expect(message).toContain('zstd[:1-22], gzip[:1-9], xz[:0-9], lz4, lz4:hc or none')
  })

  it('fills in the default level of a spec made by hand', async () => {
    expect((await openCodec({ name: 'zstd' }, 4096)).spec).toEqual({ name: 'zstd', level: 19 })
  })

  it('refuses a level out of range in a spec made by hand', async () => {
    await expect(openCodec({ name: 'gzip', level: 0 }, 4096)).rejects.toMatchObject({ code: 'USAGE' })
    await expect(openCodec({ name: 'zstd', level: 1.5 }, 4096)).rejects.toMatchObject({ code: 'USAGE' })
    await expect(openCodec({ name: 'lz4', level: 3 }, 4096)).rejects.toMatchObject({ code: 'USAGE' })
  })

  it.each([0, 1, 511, 256, 100_000, 2 ** 25, Number.NaN, -4096])('refuses the block size %d', async (blockSize) => {
    await expect(openCodec({ name: 'none' }, blockSize)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('power of two from 512 to 16777216'),
    })
  })
})
