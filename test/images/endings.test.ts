/** Names of files that say something else than what is written. */
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { CONTAINERS } from '../../src/disks/containers.ts'
import { convertDisk } from '../../src/images/disk/convert.ts'
import { formatOfFile, innerName, wholeCompression } from '../../src/images/endings.ts'
import { imageProduct } from '../../src/images/product.ts'
import { saveProduct } from '../../src/images/save.ts'
import { bytesImage } from '../../src/io/image.ts'
import { bytesSource } from '../../src/io/source.ts'
import { noise } from '../codecs/samples.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-endings-'))
afterAll(() => rmSync(folder, { recursive: true }))

const ISO = { what: 'an ISO image', endings: ['iso'] }
const refused = (message: RegExp): object => expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(message) })

describe('the ending of a file name', () => {
  it.each(['nixos.iso', 'NIXOS.ISO', 'nixos', 'nixos-26.05', 'disk.img', 'a.bin', 'iso', '.iso', 'x.iso.old'])(
    '%s may be an ISO',
    (name) => {
      expect(wholeCompression(name, ISO)).toBeUndefined()
    },
  )

  it.each(['x.squashfs', 'x.qcow2', 'x.raw', 'x.zip', 'x.iso.bz2', 'x.tar.gz', 'X.TGZ', 'x.qcow2.gz', 'x.raw.zst', 'x.tar.xz'])(
    '%s is none',
    (name) => {
      expect(() => wholeCompression(name, ISO)).toThrow(
        refused(/ends with \.\S+, and what is written is an ISO image; name it \.iso\S*, or/),
      )
    },
  )

  it.each([
    ['x.iso.zst', 'zstd'],
    ['x.ISO.GZ', 'gzip'],
    ['x.xz', 'xz'],
    ['x.img.zstd', 'zstd'],
  ])('%s is a whole one, compressed', (name, codec) => {
    expect(wholeCompression(name, ISO)).toMatchObject({ name: codec })
    expect(() => wholeCompression(name, { ...ISO, isWrappable: false })).toThrow(refused(/ends with/))
  })

  it.each(['x.iso.zst', 'x.zst', 'x'])('%s may be compressed by zstd, where that is asked for', (name) => {
    expect(wholeCompression(name, ISO, 5)).toEqual({ name: 'zstd', level: 5 })
  })

  it.each(['x.iso', 'x.iso.gz', 'x.iso.xz'])('%s may not', (name) => {
    expect(() => wholeCompression(name, ISO, 5)).toThrow(refused(/what is written is an ISO image, compressed by zstd; name it \.iso\.zst/))
  })

  it('of a disk is that of its container', () => {
    for (const format of CONTAINERS.outputFormats) {
      const named = CONTAINERS.named(format)
      expect(wholeCompression(CONTAINERS.fileName('x', format), named)).toBeUndefined()
      if (format !== 'raw.tar.gz') expect(wholeCompression(`${CONTAINERS.fileName('x', format)}.xz`, named)).toMatchObject({ name: 'xz' })
      for (const name of ['x.iso.gz', 'x.qcow', 'x.qed', 'x.iso', 'x.dmg'])
        expect(() => wholeCompression(name, named)).toThrow(refused(/ends with/))
      for (const other of CONTAINERS.outputFormats) {
        const name = CONTAINERS.fileName('x', other)
        const isShared = named.endings.some((ending) => name.endsWith(`.${ending}`)) || other === 'raw'
        if (!isShared) expect(() => wholeCompression(name, named), `${format} as ${name}`).toThrow(refused(/ends with/))
      }
    }
  })

  it('is looked at before anything is written', async () => {
    const image = bytesImage(Uint8Array.of(1))
    const product = imageProduct({ name: 'x', named: ISO, image, plan: {}, inputs: [], source: { narBytes: 0, verified: true } })
    for (const [name, options] of [
      ['x.iso.bz2', {}],
      ['x.iso', { zstdLevel: 3 }],
    ] as const) {
      await expect(saveProduct(product, join(folder, name), options)).rejects.toEqual(refused(/ends with/))
      expect(existsSync(join(folder, name))).toBe(false)
    }
  })

  it('of a compressed disk says its container within', () => {
    expect(['x.qcow2.gz', 'x.VHDX.zst', 'x.raw.tar.gz', 'x.img.xz', 'x.gz', 'x.qcow2.bz2'].map(formatOfFile)).toEqual([
      'qcow2',
      'vhdx',
      'raw.tar.gz',
      'raw',
      undefined,
      undefined,
    ])
    expect(['x.vmdk.gz', 'x.raw.tar.gz', 'x'].map(innerName)).toEqual(['x.vmdk', 'x.raw.tar.gz', 'x'])
  })
})

describe('a file whose name says that it is compressed', () => {
  const content = noise(300_000, 7)

  it.each([
    ['gz', gunzipSync],
    ['zst', zstdDecompressSync],
    ['zstd', zstdDecompressSync],
  ])('is, by .%s, and is the same every time', async (ending, unpack) => {
    const made = async (jobs: number): Promise<Buffer> => {
      const image = bytesImage(content, 2_000_000)
      const product = imageProduct({ name: 'x', named: ISO, image, plan: {}, inputs: [], source: { narBytes: 0, verified: true } })
      const path = join(folder, `${jobs}.iso.${ending}`)
      const [saved] = await saveProduct(product, path, { jobs })
      const bytes = readFileSync(path)
      expect(saved).toEqual({ path, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') })
      return bytes
    }
    const [one, other] = [await made(1), await made(2)]
    expect(one.equals(other)).toBe(true)
    expect(unpack(one).equals(Buffer.concat([content, Buffer.alloc(1_700_000)]))).toBe(true)
  })

  it('is converted within', async () => {
    const input = join(folder, 'disk.img')
    writeFileSync(input, Buffer.concat([content, Buffer.alloc(512 - (content.length % 512))]))
    const converted = await convertDisk({ input, fileName: 'disk.vmdk.gz' })
    expect(converted.plan.format).toBe('vmdk')
    await saveProduct(converted, join(folder, 'disk.vmdk.gz'))
    const bytes = gunzipSync(readFileSync(join(folder, 'disk.vmdk.gz')))
    expect(bytes.toString('latin1')).toContain('SPARSE "disk.vmdk"')
    expect((await CONTAINERS.open(bytesSource(bytes))).format).toBe('vmdk')
  })
})
