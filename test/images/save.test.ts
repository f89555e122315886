/** Writing products: a file or a folder, closed afterwards, with a digest of what is worth one. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { type ImageProduct, imageProduct, type Product } from '../../src/images/product.ts'
import { saveProduct } from '../../src/images/save.ts'
import type { FolderFile } from '../../src/io/folder.ts'
import { bytesImage, type Extent, type GrowingImage, type Image } from '../../src/io/image.ts'
import { writeImage } from '../../src/io/stream.ts'
import { scratchFolder } from '../nix/scratch.ts'

const scratch = scratchFolder()
const GIBIBYTE = 2 ** 30

let closed = 0
const closing = { close: async () => void closed++ }

function one(image: Image | GrowingImage): ImageProduct {
  const named = { what: 'an ISO image', endings: ['iso'] }
  return imageProduct({ name: 'one', named, image, plan: {}, inputs: [], source: { narBytes: 0, verified: true }, ...closing })
}

function several(files: readonly FolderFile[], more: Partial<Product> = {}): Product {
  const source = { narBytes: 0, verified: true }
  return { plan: {}, inputs: [], source, replaceable: files.map(({ path }) => path), files: async () => files, ...closing, ...more }
}

const file = (path: string, text: string): FolderFile => ({ path, content: { kind: 'image', image: bytesImage(Buffer.from(text)) } })

/** Nothing but zeros that somebody says are there: such an image is not written here. */
const holes = (size: number, extents: readonly Extent[] = []): Image => ({ size, extents })

/** Packed by copying; its size is known before. */
const growing = (image: Image): GrowingImage => ({
  sizeLimit: image.size,
  leastSize: image.size,
  async pack(target, start, context) {
    await writeImage(image, target, start, context)
    return image
  },
})

describe('a product', () => {
  it('of one image becomes a file, and is closed', async () => {
    closed = 0
    const path = scratch('file')
    const saved = await saveProduct(one(bytesImage(Buffer.from('bytes'))), path, { jobs: 1 })
    expect(saved).toEqual([{ path, size: 5, sha256: '277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9' }])
    expect(readFileSync(path, 'utf8')).toBe('bytes')
    expect(closed).toBe(1)
    await expect(saveProduct(one(bytesImage(Buffer.from('other'))), path, { jobs: 1 })).rejects.toMatchObject({ code: 'EXISTS' })
    expect(closed).toBe(2)
    await saveProduct(one(bytesImage(Buffer.from('other'))), path, { jobs: 1, force: true })
    expect(readFileSync(path, 'utf8')).toBe('other')
  })

  it('of several files becomes a folder, which replaces one that holds no others', async () => {
    closed = 0
    const path = scratch('folder')
    const saved = await saveProduct(several([file('a', '1'), file('sub/b', '22')]), path, { jobs: 1 })
    expect(saved.map(({ path: name, size }) => [name, size])).toEqual([
      ['a', 1],
      ['sub/b', 2],
    ])
    await expect(saveProduct(several([file('a', '2')]), path, { jobs: 1, force: true })).rejects.toMatchObject({
      code: 'EXISTS',
      message: expect.stringContaining('sub'),
    })
    await saveProduct(several([file('a', '2')], { replaceable: ['a', 'sub/b'] }), path, { jobs: 1, force: true })
    expect(readFileSync(`${path}/a`, 'utf8')).toBe('2')
    expect(existsSync(`${path}/sub`)).toBe(false)
    expect(closed).toBe(3)
  })

  it('is closed when its files cannot be made, or nothing can be made of it', async () => {
    closed = 0
    const failing = several([], { files: () => Promise.reject(new Error('no files')) })
    await expect(saveProduct(failing, scratch('none'), { jobs: 1 })).rejects.toThrow('no files')
    await expect(saveProduct(several([file('a', '1')]), scratch('none'), { jobs: 1, zstdLevel: 3 })).rejects.toMatchObject({
      code: 'USAGE',
    })
    await expect(saveProduct(one(bytesImage(Buffer.from('x'))), scratch('none'), { jobs: 0 })).rejects.toMatchObject({ code: 'USAGE' })
    expect(closed).toBe(3)
    expect(existsSync(scratch('none'))).toBe(false)
  })

  it('has a digest unless it is mostly holes, or as is asked for', async () => {
    const digestOf = async (product: Product, options = {}) => {
      const [saved] = await saveProduct(product, scratch('holes'), { jobs: 1, force: true, ...options })
      return saved?.sha256
    }
    expect(await digestOf(one(holes(5 * GIBIBYTE)))).toBeUndefined()
    expect(statSync(scratch('holes')).size).toBe(5 * GIBIBYTE)
    expect(await digestOf(one(holes(1 << 20)))).toMatch(/^[0-9a-f]{64}$/)
    expect(await digestOf(one(holes(1 << 20)), { digest: false })).toBeUndefined()
    // What is packed does not say what it holds; whoever made the product may.
    const disk: FolderFile = { path: 'disk', content: { kind: 'image', image: growing(holes(5 * GIBIBYTE)) } }
    const folder = { ...several([disk]), replaceable: ['disk'] }
    const saved = await saveProduct({ ...folder, dataBytes: 1 << 20 }, scratch('disks'), { jobs: 1 })
    expect(saved.map(({ sha256 }) => sha256)).toEqual([undefined])
  })
})
