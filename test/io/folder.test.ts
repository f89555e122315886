import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FolderFile, saveFolder } from '../../src/io/folder.ts'
import { bytesImage, type GrowingImage } from '../../src/io/image.ts'

const OPTIONS = { force: false, replaceable: ['a', 'sub/b'], digest: true }
const JOBS = { jobs: 1 }
const HELLO_SHA256 = '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'

let work: string
let out: string
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'kilnix-folder-'))
  out = join(work, 'out')
})
afterEach(() => rmSync(work, { recursive: true, force: true }))

const file = (path: string, text: string, mode?: number): FolderFile => ({
  path,
  ...(mode !== undefined && { mode }),
  content: { kind: 'image', image: bytesImage(Buffer.from(text)) },
})

/** Fails when half is written. */
function broken(error: Error): GrowingImage {
  return {
    sizeLimit: 10,
    async pack(target, start) {
      await target.write(start, Buffer.from('half'))
      throw error
    },
  }
}

describe('a folder of images', () => {
  it('has files, modes, links and files made of others, and says their digests', async () => {
    const files: FolderFile[] = [
      file('a', 'hello'),
      file('sub/script', 'x', 0o755),
      { path: 'sub/same', content: { kind: 'sameAs', path: 'a' } },
      { path: 'sub/made', content: { kind: 'made', make: (written) => written.get('a') ?? bytesImage(new Uint8Array(0)) } },
    ]
    const umask = process.umask(0o077)
    const saved = await saveFolder(files, out, OPTIONS, JOBS).finally(() => process.umask(umask))
    expect(saved.map(({ path, size, sha256 }) => [path, size, sha256?.slice(0, 8)])).toEqual([
      ['a', 5, HELLO_SHA256.slice(0, 8)],
      ['sub/script', 1, '2d711642'],
      ['sub/same', 5, HELLO_SHA256.slice(0, 8)],
      ['sub/made', 5, HELLO_SHA256.slice(0, 8)],
    ])
    expect(readFileSync(join(out, 'sub/made'), 'utf8')).toBe('hello')
    expect(statSync(join(out, 'sub/same')).ino).toBe(statSync(join(out, 'a')).ino)
    expect(statSync(join(out, 'a')).mode & 0o7777).toBe(0o644)
    expect(statSync(join(out, 'sub/script')).mode & 0o7777).toBe(0o755)
    expect(readdirSync(work)).toEqual(['out'])
  })

  it('leaves nothing when a file fails, and what was there stays', async () => {
    const failing: FolderFile[] = [file('a', 'new'), { path: 'b', content: { kind: 'image', image: broken(new Error('no more')) } }]
    await expect(saveFolder(failing, out, OPTIONS, JOBS)).rejects.toThrow('no more')
    expect(readdirSync(work)).toEqual([])
    await saveFolder([file('a', 'old')], out, OPTIONS, JOBS)
    await expect(saveFolder(failing, out, { ...OPTIONS, force: true }, JOBS)).rejects.toThrow('no more')
    expect(readFileSync(join(out, 'a'), 'utf8')).toBe('old')
    expect(readdirSync(work)).toEqual(['out'])
  })

  it('replaces an empty folder, and with force one of its own', async () => {
    mkdirSync(out)
    await saveFolder([file('a', '1'), file('sub/b', '1')], out, OPTIONS, JOBS)
    await expect(saveFolder([file('a', '2')], out, OPTIONS, JOBS)).rejects.toMatchObject({ code: 'EXISTS', message: /use force/ })
    await saveFolder([file('a', '2')], out, { ...OPTIONS, force: true }, JOBS)
    expect(readdirSync(out)).toEqual(['a'])
    expect(readFileSync(join(out, 'a'), 'utf8')).toBe('2')
    expect(readdirSync(work)).toEqual(['out'])
  })

  it('does not replace what others have written', async () => {
    mkdirSync(out)
    writeFileSync(join(out, 'thesis.txt'), '')
    await expect(saveFolder([file('a', '1')], out, { ...OPTIONS, force: true }, JOBS)).rejects.toMatchObject({
      code: 'EXISTS',
      message: /holds 'thesis.txt'/,
    })
    writeFileSync(join(work, 'file'), '')
    symlinkSync('out', join(work, 'link'))
    for (const name of ['file', 'link']) {
      await expect(saveFolder([file('a', '1')], join(work, name), { ...OPTIONS, force: true }, JOBS)).rejects.toMatchObject({
        code: 'EXISTS',
      })
    }
    expect(readdirSync(out)).toEqual(['thesis.txt'])
  })

  it('is not replaced by one that came up meanwhile', async () => {
    const slow: GrowingImage = {
      sizeLimit: 1,
      async pack(target, start) {
        mkdirSync(out)
        writeFileSync(join(out, 'a'), 'faster')
        await target.write(start, Buffer.from('x'))
        return bytesImage(Buffer.from('x'))
      },
    }
    await expect(saveFolder([{ path: 'a', content: { kind: 'image', image: slow } }], out, OPTIONS, JOBS)).rejects.toMatchObject({
      code: 'EXISTS',
    })
    expect(readFileSync(join(out, 'a'), 'utf8')).toBe('faster')
  })

  it('is cancelled, and needs a folder to be in', async () => {
    await expect(saveFolder([file('a', '1')], out, OPTIONS, { jobs: 1, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    await expect(saveFolder([file('a', '1')], join(work, 'none/out'), OPTIONS, JOBS)).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    expect(existsSync(out)).toBe(false)
    expect(readdirSync(work)).toEqual([])
  })
})
