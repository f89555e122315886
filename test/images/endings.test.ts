/** Names of files that say something else than what is written. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { CONTAINERS } from '../../src/disks/containers.ts'
import { checkEnding } from '../../src/images/endings.ts'
import { imageProduct } from '../../src/images/product.ts'
import { saveProduct } from '../../src/images/save.ts'
import { bytesImage } from '../../src/io/image.ts'

const folder = mkdtempSync(join(tmpdir(), 'kilnix-endings-'))
afterAll(() => rmSync(folder, { recursive: true }))

const ISO = { what: 'an ISO image', endings: ['iso'] }
const refused = (message: RegExp): object => expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(message) })

describe('the ending of a file name', () => {
  it.each(['nixos.iso', 'NIXOS.ISO', 'nixos', 'nixos-26.05', 'disk.img', 'a.bin', 'iso', '.iso', 'x.iso.old'])(
    '%s may be an ISO',
    (name) => {
      expect(() => checkEnding(name, ISO)).not.toThrow()
    },
  )

  it.each(['x.iso.zst', 'x.iso.gz', 'x.squashfs', 'x.qcow2', 'x.raw', 'x.zip', 'x.tar.gz', 'X.ISO.XZ'])('%s is none', (name) => {
    expect(() => checkEnding(name, ISO)).toThrow(refused(/ends with \.\S+, and what is written is an ISO image; name it \.iso, or/))
  })

  it.each(['x.iso.zst', 'x.zst', 'x'])('%s may be a compressed one', (name) => {
    expect(() => checkEnding(name, ISO, { isCompressed: true })).not.toThrow()
  })

  it.each(['x.iso', 'x.iso.gz', 'x.iso.xz'])('%s is no compressed one', (name) => {
    expect(() => checkEnding(name, ISO, { isCompressed: true })).toThrow(
      refused(/what is written is an ISO image, compressed by zstd; name it \.iso\.zst/),
    )
  })

  it('of a disk is that of its container', () => {
    for (const format of CONTAINERS.outputFormats) {
      const named = CONTAINERS.named(format)
      expect(() => checkEnding(CONTAINERS.fileName('x', format), named)).not.toThrow()
      for (const name of ['x.img.zst', 'x.qcow2.gz', 'x.qcow', 'x.qed', 'x.iso', 'x.dmg'])
        expect(() => checkEnding(name, named)).toThrow(refused(/ends with/))
      for (const other of CONTAINERS.outputFormats) {
        const name = CONTAINERS.fileName('x', other)
        const isShared = named.endings.some((ending) => name.endsWith(`.${ending}`)) || other === 'raw'
        if (!isShared) expect(() => checkEnding(name, named), `${format} as ${name}`).toThrow(refused(/ends with/))
      }
    }
  })

  it('is looked at before anything is written', async () => {
    const image = bytesImage(Uint8Array.of(1))
    const product = imageProduct({ name: 'x', named: ISO, image, plan: {}, inputs: [], source: { narBytes: 0, verified: true } })
    for (const [name, options] of [
      ['x.iso.xz', {}],
      ['x.iso', { zstdLevel: 3 }],
    ] as const) {
      await expect(saveProduct(product, join(folder, name), options)).rejects.toEqual(refused(/ends with/))
      expect(existsSync(join(folder, name))).toBe(false)
    }
  })
})
