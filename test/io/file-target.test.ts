/** Output that appears whole or not at all, on file systems that misbehave. */
import { once } from 'node:events'
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openSpool, writeFileAtomically } from '../../src/io/file-target.ts'
import { bytesImage, type GrowingImage, type Image } from '../../src/io/image.ts'
import { imageStream, saveImage } from '../../src/io/output.ts'
import { regionImage } from '../../src/io/region.ts'
import { run } from '../oracles/tools.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-file-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const at = (name: string): string => join(folder, name)
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error) => error,
  )

/** Writes its parts to the target, last part first, as images do that know their head last. */
function growing(parts: readonly Uint8Array[]): GrowingImage {
  const size = parts.reduce((sum, part) => sum + part.length, 0)
  return {
    sizeLimit: size,
    async pack(target, start): Promise<Image> {
      let end = start + size
      for (const part of [...parts].reverse()) {
        end -= part.length
        await target.write(end, part)
      }
      return regionImage(target, start, size)
    },
  }
}

describe('a file', () => {
  it('stands at its path only when it is whole', async () => {
    const path = at('whole')
    await writeFileAtomically(path, {}, async (target) => {
      await target.write(3, Buffer.from('def'))
      expect(existsSync(path)).toBe(false)
      await target.write(0, Buffer.from('abc'))
      expect(Buffer.from(await target.read(1, 4)).toString()).toBe('bcde')
    })
    expect(readFileSync(path, 'utf8')).toBe('abcdef')
  })

  it('leaves nothing behind when building it fails', async () => {
    const path = at('failed')
    const before = readdirSync(folder)
    const broken = writeFileAtomically(path, {}, async (target) => {
      await target.write(0, Buffer.from('half'))
      throw new Error('out of ideas')
    })
    expect(await failure(broken)).toMatchObject({ message: 'out of ideas' })
    expect(readdirSync(folder)).toEqual(before)
  })

  it('is not replaced without force, not even when it came up meanwhile', async () => {
    const path = at('existing')
    writeFileSync(path, 'old')
    expect(await failure(saveImage(bytesImage(Buffer.from('new')), path))).toMatchObject({ code: 'EXISTS', path })
    await saveImage(bytesImage(Buffer.from('new')), path, { force: true })
    expect(readFileSync(path, 'utf8')).toBe('new')
    const raced = at('raced')
    const late = writeFileAtomically(raced, {}, async () => writeFileSync(raced, 'somebody else'))
    expect(await failure(late)).toMatchObject({ code: 'EXISTS' })
    expect(readFileSync(raced, 'utf8')).toBe('somebody else')
  })

  it('cannot be a folder or below a missing folder, and a link to a device is that device', async () => {
    mkdirSync(at('folder'))
    const image = bytesImage(Buffer.from('x'))
    expect(await failure(saveImage(image, at('folder'), { force: true }))).toMatchObject({ code: 'EXISTS' })
    // As the names of sticks below /dev/disk/by-id are: the device is what is meant.
    symlinkSync('/dev/null', at('device'))
    symlinkSync(at('device'), at('twice'))
    for (const name of ['device', 'twice']) {
      for (const force of [false, true]) {
        expect(await saveImage(image, at(name), { force })).toMatchObject({ size: 1 })
        const atomic = writeFileAtomically(at(name), { force }, async () => undefined)
        expect(await failure(atomic)).toMatchObject({
          code: 'UNSUPPORTED',
          message: expect.stringContaining('is a device, pipe or socket'),
        })
      }
      expect(lstatSync(at(name)).isSymbolicLink()).toBe(true)
    }
    expect(await failure(saveImage(image, '/dev/full'))).toMatchObject({ code: 'WRITE_FAILED', path: '/dev/full' })
    for (const name of ['device', 'twice']) rmSync(at(name))
    expect(await failure(saveImage(image, at('missing/file')))).toMatchObject({ code: 'WRITE_FAILED' })
    expect(await failure(saveImage(image, at('x'.repeat(256))))).toMatchObject({ code: 'WRITE_FAILED' })
  })

  it('may be a named pipe, for which it waits until somebody reads, or a signal comes', async () => {
    run('mkfifo', [at('pipe')])
    const content = Buffer.alloc(300_000, 'in order')
    const stop = new AbortController()
    const stopped = failure(saveImage(bytesImage(content), at('pipe'), { signal: stop.signal }))
    setTimeout(() => stop.abort(), 20)
    expect(await stopped).toMatchObject({ code: 'ABORTED' })
    const [saved, read] = await Promise.all([saveImage(growing([content]), at('pipe')), readFile(at('pipe'))])
    expect(read.equals(content)).toBe(true)
    expect(saved.size).toBe(content.length)
    expect(lstatSync(at('pipe')).isFIFO()).toBe(true)
    rmSync(at('pipe'))
  })

  it('replaces a link, not what the link leads to', async () => {
    writeFileSync(at('pointed-at'), 'keep')
    symlinkSync('pointed-at', at('link'))
    await saveImage(bytesImage(Buffer.from('new')), at('link'), { force: true })
    expect([readFileSync(at('pointed-at'), 'utf8'), readFileSync(at('link'), 'utf8')]).toEqual(['keep', 'new'])
  })

  it('may have a name of 255 bytes', async () => {
    await saveImage(bytesImage(Buffer.from('long')), at('n'.repeat(255)))
    expect(readFileSync(at('n'.repeat(255)), 'utf8')).toBe('long')
  })

  it.runIf(process.getuid?.() === 0)('fails with WRITE_FAILED on a full disk, whatever fits', async () => {
    const disk = at('disk')
    mkdirSync(disk)
    expect(run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk]).status).toBe(0)
    try {
      const image = growing([new Uint8Array(900_000).fill(1), new Uint8Array(900_000).fill(2)])
      const error = await failure(saveImage(image, join(disk, 'full.iso')))
      expect(error).toMatchObject({ code: 'WRITE_FAILED', path: join(disk, 'full.iso') })
      expect(error.message).toContain('full')
      expect(readdirSync(disk)).toEqual([])
    } finally {
      run('umount', [disk])
    }
  })
})

describe('saving and streaming', () => {
  const parts = [Buffer.alloc(3_000_000, 'head'), Buffer.alloc(5, 'tail')]
  const whole = Buffer.concat(parts)

  it('say size and digest, and give the same bytes', async () => {
    const saved = await saveImage(growing(parts), at('saved'))
    expect(readFileSync(at('saved')).equals(whole)).toBe(true)
    expect(saved.size).toBe(whole.length)
    expect(run('sha256sum', [at('saved')]).text.split(' ')[0]).toBe(saved.sha256)
    const streamed: Uint8Array[] = []
    for await (const chunk of imageStream(growing(parts))) streamed.push(chunk as Uint8Array)
    expect(Buffer.concat(streamed).equals(whole)).toBe(true)
  })

  it('compress the whole image', async () => {
    const saved = await saveImage(growing(parts), at('saved.zst'), { zstdLevel: 3 })
    expect(saved.size).toBeLessThan(1000)
    expect(run('zstd', ['-dc', at('saved.zst')]).stdout.equals(whole)).toBe(true)
    expect(run('sha256sum', [at('saved.zst')]).text.split(' ')[0]).toBe(saved.sha256)
  })

  it('hand errors on, and stop when they are told to', async () => {
    const broken: GrowingImage = { sizeLimit: 1, pack: () => Promise.reject(new Error('no clay')) }
    for (const options of [{}, { zstdLevel: 1 }]) {
      expect(await failure(imageStream(broken, options).toArray())).toMatchObject({ message: 'no clay' })
      expect(await failure(saveImage(broken, at('broken'), options))).toMatchObject({ message: 'no clay' })
    }
    const signal = AbortSignal.abort()
    expect(await failure(imageStream(growing(parts), { signal }).toArray())).toMatchObject({ code: 'ABORTED' })
    expect(await failure(saveImage(bytesImage(whole), at('aborted'), { signal }))).toMatchObject({ code: 'ABORTED' })
    expect(existsSync(at('aborted')) || existsSync(at('broken'))).toBe(false)
    expect(await failure(saveImage(bytesImage(whole), at('jobs'), { jobs: 0 }))).toMatchObject({ code: 'USAGE' })
  })

  it('stop the build when the stream is destroyed', async () => {
    for (const options of [{}, { zstdLevel: 1 }, { signal: new AbortController().signal }]) {
      let reason: unknown
      let begin = (): void => undefined
      const begun = new Promise<void>((resolve) => {
        begin = resolve
      })
      const pack: GrowingImage['pack'] = (_target, _start, { signal }) =>
        new Promise((_, reject) => {
          signal?.addEventListener('abort', () => {
            reason = signal.reason
            reject(new Error('stopped'))
          })
          begin()
        })
      const stream = imageStream({ sizeLimit: 1, pack }, options)
      stream.resume()
      await begun
      stream.destroy()
      await once(stream, 'close')
      await new Promise((resolve) => setTimeout(resolve, 20))
      expect(reason).toMatchObject({ name: 'AbortError' })
    }
  })

  it('use a scratch file that has no name', async () => {
    const scratch = at('scratch')
    mkdirSync(scratch)
    const spool = await openSpool(scratch)
    await spool.target.write(0, Buffer.from('unseen'))
    expect(readdirSync(scratch)).toEqual([])
    expect(Buffer.from(await spool.target.read(0, 6)).toString()).toBe('unseen')
    await spool.close()
    expect(await failure(openSpool(at('nowhere')))).toMatchObject({ code: 'WRITE_FAILED' })
  })
})
