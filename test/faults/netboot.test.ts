/** Network boots from a store, or from pieces, that are damaged or change; threads that die, and cancelled runs. */
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ProgressEvent } from '../../src/io/progress.ts'
import { changesOf, flipByte, grow, type Harm, removed, shrinkTo, toLinkToItself, toPipe } from './harm.ts'
import {
  digestsIn,
  errorOf,
  expectNothingLeft,
  expectWholePieces,
  type Fixture,
  LARGEST_INPUT,
  netbootFixture,
  STYLES,
  saveNetboot,
} from './netboot-support.ts'
import { errorLine, kilnix, kilnixMeasured, leftIn, NOT_UNPRIVILEGED, UNPRIVILEGED } from './support.ts'

let f: Fixture
beforeAll(async () => {
  f = await netbootFixture()
})
afterAll(() => f.work.remove())
expectNothingLeft(() => f)

const MEBIBYTE = 1 << 20

/** A copy of all pieces. */
function copiedPieces(name: string): string {
  const copy = f.at(`pieces ${name}`)
  cpSync(f.pieces, copy, { recursive: true, preserveTimestamps: true })
  return copy
}

describe.each(STYLES)('a store in the style %s', (style) => {
  it('that was damaged before', async () => {
    const file = join(f.store.named('contents'), 'text-70000')
    const path = `/nix/store/${dirname(file)}`
    const cases: [string, Harm, object][] = [
      [file, flipByte, { code: 'HASH_MISMATCH', path }],
      [file, grow, { code: 'HASH_MISMATCH', path }],
      [file, shrinkTo(10), { code: 'HASH_MISMATCH', path }],
      [file, removed, { code: 'HASH_MISMATCH', path }],
      [file, toLinkToItself, { code: 'HASH_MISMATCH', path }],
      [file, toPipe, { code: 'UNSUPPORTED' }],
      [dirname(file), removed, { code: 'NOT_FOUND', path }],
      [f.kernel, flipByte, { code: 'HASH_MISMATCH', path: `/nix/store/${dirname(f.kernel)}` }],
      [f.kernel, removed, { code: 'HASH_MISMATCH', path: `/nix/store/${dirname(f.kernel)}` }],
    ]
    // Whoever checks store paths is the same in all styles; what stands in a file's place, the first has all of.
    const chosen = style === 'single' ? cases : cases.filter(([, harm]) => [flipByte, removed].includes(harm))
    for (const [place, harm, error] of chosen) {
      expect(await f.store.whileHarmed(place, harm, () => errorOf(f.save({ style }))), `${place}: ${harm.name}`).toMatchObject(error)
    }
  })

  it('whose kernel or initrd was damaged after the pieces were made', async () => {
    for (const file of style === 'per-path' ? [f.kernel] : [f.kernel, f.ownInitrd]) {
      const path = `/nix/store/${dirname(file)}`
      expect(await f.store.whileHarmed(file, flipByte, () => errorOf(f.save({ style, pieces: f.pieces })))).toMatchObject({
        code: 'HASH_MISMATCH',
        path,
      })
    }
    const gone = f.store.named('etc')
    const missing = await f.store.whileHarmed(gone, removed, () => errorOf(f.save({ style, pieces: f.pieces })))
    expect(missing).toMatchObject({ code: 'NOT_FOUND', path: `/nix/store/${gone}` })
    await f.store.whileHarmed(f.kernel, flipByte, () => f.save({ style, pieces: f.pieces, verify: false }))
    expect(digestsIn(f.result)).not.toEqual(f.right[style])
    f.takeAway()
  })

  it('whose kernel changes between plan and reading', async () => {
    const file = f.kernel
    for (const [what, harm, code] of changesOf(10)) {
      // The pieces hold the kernel as it was; what is served beside them is read again.
      if (code === 'HASH_MISMATCH') continue
      const change = (): void => f.store.harm(file, harm)
      const error = await errorOf(f.save({ style, pieces: f.pieces }, { onBuilt: change })).finally(() => f.store.heal(file))
      expect(error, what).toMatchObject({ code, path: join(f.work.closure.root, 'nix/store', file) })
    }
  })

  it('of which a file changes after the plan, or while the first ones are read', async () => {
    const file = join(f.store.named('contents'), 'text-70000')
    // The styles of pieces scan a store path when its turn comes, and so see it as it is then.
    for (const [what, harm] of style === 'single' ? changesOf(10) : changesOf(10).slice(1, 3)) {
      const change = (): void => f.store.harm(file, harm)
      const planned = await errorOf(f.save({ style }, { onPlanned: change })).finally(() => f.store.heal(file))
      expect(planned, what).toMatchObject({ code: expect.stringMatching(/^(?:CHANGED|HASH_MISMATCH|UNSUPPORTED)$/) })
    }
    const last = join(f.store.named('linux-6.1.176'), 'release')
    let isHarmed = false
    const onProgress = (event: ProgressEvent): void => {
      if (isHarmed || event.kind !== 'bytes' || event.doneBytes === 0) return
      isHarmed = true
      f.store.harm(last, grow)
    }
    // By then a thread may have read it.
    const outcome = await f
      .save({ style }, { jobs: 1, onProgress })
      .then(
        () => undefined,
        ({ code }: { code: string }) => code,
      )
      .finally(() => f.store.heal(last))
    expect([undefined, 'CHANGED', 'HASH_MISMATCH']).toContain(outcome)
    if (outcome === undefined) f.expectRight(style)
  })

  it.skipIf(NOT_UNPRIVILEGED)('that may not be read', async () => {
    chmodSync(f.work.folder, 0o755)
    for (const place of [f.output, f.scratch]) chmodSync(place, 0o777)
    const file = join(f.work.closure.root, 'nix/store', f.store.named('contents'), 'many/file-7')
    chmodSync(file, 0)
    const { status, stdout, stderr } = await kilnix(
      ['netboot', ...f.work.input, '--style', style, '--quiet', '-o', f.result],
      UNPRIVILEGED,
    ).finally(() => chmodSync(file, 0o444))
    expect(stderr).toMatch(errorLine('UNREADABLE', `${file}: cannot be read (EACCES)`))
    expect({ status, stdout: stdout.length }).toEqual({ status: 1, stdout: 0 })
  })

  it('with a listing that says otherwise, and one that has no hashes', async () => {
    const listing = f.at('listing')
    const text = readFileSync(join(f.work.closure.folder, 'registration'), 'utf8')
    writeFileSync(listing, text.replace('\nsha256:0sjjj', '\nsha256:1sjjj'))
    expect(readFileSync(listing, 'utf8')).not.toBe(text)
    expect(await errorOf(f.save({ style, closure: listing }))).toMatchObject({ code: 'HASH_MISMATCH' })
    await f.save({ style, closure: join(f.work.closure.folder, 'qR.txt'), toplevel: f.work.closure.toplevel })
    f.expectRight(style)
  })
})

describe('the folder of pieces', () => {
  const pieceOf = (folder: string, name: string): string => {
    const found = readdirSync(folder).find((file) => file.includes(`-${name}-`) && file.endsWith('.squashfs'))
    return join(folder, found ?? 'none')
  }

  it('with anything but sound pieces where pieces were: those are built anew', async () => {
    const folder = copiedPieces('harmed')
    const relink: Harm = (path) => {
      rmSync(path)
      symlinkSync('nowhere', path)
    }
    const harms: Record<string, Harm> = {
      contents: flipByte,
      'empty-file': shrinkTo(0),
      program: (path) => truncateSync(path, 256 * MEBIBYTE),
      etc: toLinkToItself,
      'empty-directory': relink,
      'system-path': toPipe,
    }
    for (const [name, harm] of Object.entries(harms)) harm(pieceOf(folder, name))
    removed(pieceOf(folder, 'link-to-program'))
    const notes: string[] = []
    const onProgress = (event: ProgressEvent): void => void (event.kind === 'note' && notes.push(event.message))
    await f.save({ style: 'manifest', pieces: folder }, { onProgress })
    f.expectRight('manifest')
    expect(notes.map((note) => /: the piece .*; it is built anew$/.test(note))).toEqual(Object.keys(harms).map(() => true))
    rmSync(`${pieceOf(folder, 'etc')}.moved`)
    expectWholePieces(folder)
  })

  it('with a folder where a piece was', async () => {
    const folder = copiedPieces('a folder')
    const piece = pieceOf(folder, 'contents')
    rmSync(piece)
    mkdirSync(join(piece, 'mine'), { recursive: true })
    expect(await errorOf(f.save({ style: 'manifest', pieces: folder }))).toMatchObject({ code: 'WRITE_FAILED', path: piece })
    expect(leftIn(piece)).toEqual(['mine'])
    rmSync(folder, { recursive: true })
  })

  it('with what is not ours: it is left alone', async () => {
    const folder = copiedPieces('foreign')
    const foreign = [
      '..data',
      'x.squashfs',
      `${'0'.repeat(32)}-${'0'.repeat(64)}.squashfs`,
      `a-${'g'.repeat(32)}-${'0'.repeat(64)}.squashfs`,
      'lost+found',
    ]
    for (const name of foreign) mkdirSync(join(folder, name))
    const whole = `a-${'0'.repeat(32)}-${'0'.repeat(64)}.squashfs`
    writeFileSync(join(folder, whole), 'a piece of something else')
    for (const style of STYLES) {
      await f.save({ style, pieces: folder })
      f.expectRight(style)
    }
    expect(leftIn(folder)).toEqual(expect.arrayContaining([...foreign, whole]))
    rmSync(folder, { recursive: true })
  })

  it.skipIf(NOT_UNPRIVILEGED)('that may only be read is used, and new pieces are WRITE_FAILED', async () => {
    chmodSync(f.work.folder, 0o755)
    for (const place of [f.output, f.scratch]) chmodSync(place, 0o777)
    const folder = f.at('read-only')
    const run = (...more: string[]) =>
      kilnix(['netboot', ...f.work.input, '--style', 'manifest', '--pieces', folder, '--quiet', '-o', f.result, ...more], UNPRIVILEGED)
    await saveNetboot(
      f.options({ style: 'manifest', pieces: folder, compression: { name: 'zstd', level: 1 }, blockSize: MEBIBYTE }),
      f.result,
    )
    const before = digestsIn(f.result)
    f.takeAway()
    chmodSync(folder, 0o555)
    expect(await run()).toMatchObject({ status: 0, stderr: '' })
    expect(digestsIn(f.result)).toEqual(before)
    f.takeAway()
    const { status, stderr } = await run('--compression', 'lz4')
    expect(stderr).toMatch(errorLine('WRITE_FAILED', `${folder}: cannot be written (EACCES)`))
    expect(status).toBe(1)
  })

  it('that is not there is made, with those above it', async () => {
    const folder = f.at('new/folder')
    await f.save({ style: 'per-path', pieces: folder })
    f.expectRight('per-path')
    expectWholePieces(folder)
  })
})

describe('a worker that dies', () => {
  it.each(STYLES)('while the pieces of %s are made', async (style) => {
    let died = 0
    for (const which of [0, 1]) {
      let count = 0
      const kill = (worker: Worker): void => void (count++ === which && worker.once('online', () => void worker.terminate()))
      process.on('worker', kill)
      const outcome = await f.save({ style, compression: { name: 'zstd', level: 9 } }).then(
        () => undefined,
        (error: unknown) => error,
      )
      process.off('worker', kill)
      // The one that is killed may have had nothing to do.
      if (outcome === undefined) f.takeAway()
      else expect(outcome).toMatchObject({ code: 'WORKER_DIED', message: expect.stringContaining('fewer jobs') })
      died += outcome === undefined ? 0 : 1
      expect(leftIn(f.output)).toEqual([])
    }
    expect(died).toBeGreaterThan(0)
  })

  it('while the tarball is compressed', async () => {
    const kill = (worker: Worker): void => void worker.once('online', () => void worker.terminate())
    process.on('worker', kill)
    const error = await errorOf(f.save({ pieces: f.pieces }, { kexec: { name: 'xz', level: 0 } })).finally(() =>
      process.off('worker', kill),
    )
    expect(error).toMatchObject({ code: 'WORKER_DIED' })
  })
})

describe('cancelling', () => {
  it.each(STYLES)('at any event of %s: ABORTED, and a second run with the same pieces is right', async (style) => {
    const folder = f.at(`cancelled ${style}`)
    let count = 0
    await f.save({ style }, { onProgress: () => count++, kexec: { name: 'none' } })
    f.takeAway()
    for (const last of [0, Math.floor(count / 2), count - 2]) {
      const abort = new AbortController()
      let seen = 0
      const onProgress = (): void => void (seen++ === last && abort.abort())
      const outcome = await f.save({ style, pieces: folder }, { signal: abort.signal, onProgress, kexec: { name: 'none' } }).then(
        () => undefined,
        (error: unknown) => error,
      )
      // What is there already is not built again, which makes for fewer events.
      if (seen > last) expect(outcome, `event ${last} of ${count}`).toMatchObject({ code: 'ABORTED' })
      rmSync(f.result, { recursive: true, force: true })
      expect(leftIn(f.output)).toEqual([])
      expectWholePieces(folder)
    }
    await f.save({ style, pieces: folder })
    f.expectRight(style)
  })
})

describe.skipIf(LARGEST_INPUT === undefined)('peak memory', () => {
  // The styles of pieces: serve.test.ts.
  it('is below 512 MiB for the largest closure in the style single', { timeout: 300_000 }, async () => {
    const input = [...(LARGEST_INPUT ?? []), '--compression', 'zstd:1', '--jobs', '2', '--quiet', '-o', f.result]
    const { status, stderr, peakBytes } = await kilnixMeasured(['netboot', ...input, '--style', 'single'])
    console.log(`netboot single: peak ${Math.round(peakBytes / MEBIBYTE)} MiB`)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(peakBytes).toBeLessThan(512 * MEBIBYTE)
    f.takeAway()
  })
})
