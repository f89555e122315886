/** Network boots to a folder that cannot be written, is not theirs, or is an input. */
import fs, { mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { netboot } from '../../src/images/netboot/index.ts'
import {
  digestsIn,
  errorOf,
  expectNothingLeft,
  expectWholePieces,
  type Fixture,
  netbootFixture,
  STYLES,
  saveNetboot,
} from './netboot-support.ts'
import { errorLine, kilnix, leftIn, NO_MOUNT, withDisk, withOwnDisk } from './support.ts'

let f: Fixture
beforeAll(async () => {
  f = await netbootFixture()
})
afterAll(() => f.work.remove())
expectNothingLeft(() => f)

const MEBIBYTE = 1 << 20
type Call = (this: unknown, ...args: unknown[]) => Promise<unknown>

const systemError = (code: string): Error => Object.assign(new Error(`${code}: a fault that was asked for`), { code })

describe('a folder that cannot be written', () => {
  const kexec = { name: 'lz4' } as const
  const NAMES = ['write', 'truncate', 'datasync'] as const
  let handles: Record<(typeof NAMES)[number], Call>
  let originals: typeof handles
  const calls = { ...fs.promises }
  beforeAll(async () => {
    const probe = await open(f.at('probe'), 'w')
    handles = Object.getPrototypeOf(probe)
    const { write, truncate, datasync } = handles
    originals = { write, truncate, datasync }
    await probe.close()
  })
  afterEach(() => {
    Object.assign(handles, originals)
    Object.assign(fs.promises, calls)
    fs.renameSync = renameSync
    syncBuiltinESMExports()
  })
  /** Let a function of node:fs/promises be another one. */
  function replaceCall(name: 'mkdir' | 'link' | 'copyFile', call: Call): void {
    Object.assign(fs.promises, { [name]: call })
    syncBuiltinESMExports()
  }

  const { renameSync } = fs
  /** Let the renames of the finished folder, and of the one that it replaces, be another call. */
  function replaceRename(call: (from: string, to: string) => void): void {
    fs.renameSync = (from, to) => (/\/(?:content|netboot)$/.test(String(from)) ? call(String(from), String(to)) : renameSync(from, to))
    syncBuiltinESMExports()
  }

  it('at a byte of any of its files', async () => {
    const build = (style: (typeof STYLES)[number]) => f.save({ style, pieces: f.pieces }, { kexec })
    for (const style of STYLES) {
      let count = 0
      handles.write = function (...args) {
        count++
        return originals.write.apply(this, args)
      }
      await build(style)
      f.takeAway()
      expect(count).toBeGreaterThan(20)
      const chosen = [0, 1, 2, Math.floor(count * 0.25), Math.floor(count * 0.5), Math.floor(count * 0.75), count - 1]
      for (const [index, which] of chosen.entries()) {
        const code = index % 2 === 0 ? 'ENOSPC' : 'EIO'
        let number = 0
        handles.write = function (...args) {
          if (number++ < which) return originals.write.apply(this, args)
          const [bytes, offset, length, position] = args as [Uint8Array, number, number, number]
          // As a disk does that fills up.
          const fits = number === which + 1 ? length >> 1 : 0
          return fits > 0 ? originals.write.call(this, bytes, offset, fits, position) : Promise.reject(systemError(code))
        }
        const error = await errorOf(build(style))
        expect(error, `${style}, write ${which} of ${count}`).toMatchObject({
          code: 'WRITE_FAILED',
          message: expect.stringContaining(code),
        })
        expect(leftIn(f.output)).toEqual([])
      }
      handles.write = originals.write
    }
  })

  it.each(['truncate', 'datasync'] as const)('in %s', async (name) => {
    handles[name] = () => Promise.reject(systemError('EIO'))
    expect(await errorOf(f.save({ pieces: f.pieces }))).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining('EIO') })
  })

  it('in write and again in close, as network disks have it: the first error is told, and nothing is left', async () => {
    let count = 0
    handles.write = function (this: unknown, ...args) {
      const handle = this as { close: () => Promise<void> }
      const { close } = handle
      if (count++ === 0) {
        handle.close = async () => {
          handle.close = close
          await close.call(handle)
          throw systemError('EDQUOT')
        }
      }
      return count > 10 ? Promise.reject(systemError('ENOSPC')) : originals.write.apply(this, args)
    }
    expect(await errorOf(f.save({ pieces: f.pieces }))).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining('ENOSPC') })
    handles.write = function (this: unknown, ...args) {
      const handle = this as { close: () => Promise<void> }
      const { close } = handle
      handle.close = async () => {
        handle.close = close
        await close.call(handle)
        throw systemError('EDQUOT')
      }
      return originals.write.apply(this, args)
    }
    expect(await errorOf(f.save({ pieces: f.pieces }))).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining('quota') })
  })

  it('in mkdir, and in copying where there are no hard links', async () => {
    replaceCall('mkdir', () => Promise.reject(systemError('ENOSPC')))
    expect(await errorOf(f.save({ pieces: undefined } as never))).toMatchObject({ code: 'WRITE_FAILED' })
    Object.assign(fs.promises, calls)
    syncBuiltinESMExports()
    replaceCall('link', () => Promise.reject(systemError('EPERM')))
    await f.save({ pieces: f.pieces }, { kexec: { name: 'none' } })
    expect(statSync(join(f.result, 'kexec/bzImage')).nlink).toBe(1)
    expect(digestsIn(f.result)).toMatchObject({ ...f.right.single, 'kexec/bzImage': f.right.single?.bzImage })
    f.takeAway()
    replaceCall('copyFile', () => Promise.reject(systemError('ENOSPC')))
    expect(await errorOf(f.save({ pieces: f.pieces }, { kexec: { name: 'none' } }))).toMatchObject({ code: 'WRITE_FAILED' })
  })

  it('in either rename: an older result is what it was', async () => {
    await f.save({ pieces: f.pieces, style: 'manifest' })
    for (const failing of [0, 1, 2]) {
      let count = 0
      replaceRename((from, to) => {
        if (count++ === failing) throw systemError('EIO')
        renameSync(from, to)
      })
      const error = await errorOf(f.save({ pieces: f.pieces }, { force: true }))
      expect(error, `rename ${failing}`).toMatchObject({ code: 'WRITE_FAILED', message: expect.stringContaining('EIO') })
      expect(leftIn(f.output)).toEqual(['netboot'])
      expect(digestsIn(f.result)).toEqual(f.right.manifest)
    }
    f.takeAway()
  })

  it('because another run was faster: its result stays, or is replaced with --force', async () => {
    const race = (force: boolean, style: (typeof STYLES)[number]) => {
      let isLate = false
      replaceRename((from, to) => {
        if (!isLate) {
          isLate = true
          mkdirSync(f.result, { recursive: true })
          writeFileSync(join(f.result, 'initrd'), 'of another run')
        }
        renameSync(from, to)
      })
      return f.save({ pieces: f.pieces, style }, { force })
    }
    expect(await errorOf(race(false, 'single'))).toMatchObject({ code: 'EXISTS', message: expect.stringContaining('force') })
    expect(readFileSync(join(f.result, 'initrd'), 'utf8')).toBe('of another run')
    expect(leftIn(f.output)).toEqual(['netboot'])
    await race(true, 'single')
    expect(leftIn(f.output)).toEqual(['netboot'])
    f.expectRight('single')
  })
})

describe.skipIf(NO_MOUNT)('a full disk', () => {
  it.each(STYLES)('under the output, and under the temporary files, of %s', async (style) => {
    const command = ['netboot', ...f.work.input, '--style', style, '--quiet', '-o', f.result]
    await withDisk(f.output, 10 * MEBIBYTE, async () => {
      const { status, stdout, stderr } = await kilnix([...command, '--pieces', f.pieces])
      expect(stderr).toMatch(
        errorLine('WRITE_FAILED', /netboot\/(?:initrd|nix-store): cannot be written \(ENOSPC\): the file system is full/),
      )
      expect({ status, stdout: stdout.length, left: leftIn(f.output) }).toEqual({ status: 1, stdout: 0, left: [] })
    })
    await withDisk(f.output, 4096, async () => {
      await expect(f.save({ style, pieces: f.pieces })).rejects.toMatchObject({ code: 'WRITE_FAILED' })
      expect(leftIn(f.output)).toEqual([])
    })
    const kept = f.at(`full ${style}`)
    mkdirSync(kept)
    await withOwnDisk(kept, 4 * MEBIBYTE, async () => {
      expect(await errorOf(f.save({ style, pieces: kept }))).toMatchObject({
        code: 'WRITE_FAILED',
        message: expect.stringContaining(`${kept}: cannot be written (ENOSPC)`),
      })
      expectWholePieces(kept)
    })
    if (style === 'single') return
    await withDisk(f.scratch, 4 * MEBIBYTE, async () => {
      const { status, stdout, stderr } = await kilnix(command)
      expect(stderr).toMatch(
        errorLine('WRITE_FAILED', `temporary folder in ${f.scratch} (TMPDIR chooses the place): cannot be written (ENOSPC)`),
      )
      expect({ status, stdout: stdout.length, left: leftIn(f.scratch) }).toEqual({ status: 1, stdout: 0, left: [] })
    })
  })
})

describe('the place of the output', () => {
  const refuse = async (...args: string[]) => {
    const { status, stdout, stderr } = await kilnix(['netboot', ...f.work.input, '--quiet', '--force', ...args])
    expect(stdout.length).toBe(0)
    return { status, stderr }
  }

  it('may be an empty folder, or an older result of another style, whose files go', async () => {
    mkdirSync(f.result)
    await f.save({ style: 'manifest', pieces: f.pieces }, { kexec: { name: 'none' } })
    expect(leftIn(f.result)).toContain('kexec.tar')
    for (const style of STYLES) {
      expect(await errorOf(f.save({ style, pieces: f.pieces }))).toMatchObject({ code: 'EXISTS' })
      await f.save({ style, pieces: f.pieces }, { force: true })
      expect(digestsIn(f.result)).toEqual(f.right[style])
    }
    f.expectRight('per-path')
  })

  it('is kept when it holds what is not ours, at its top or below', async () => {
    await f.save({ pieces: f.pieces }, { kexec: { name: 'none' } })
    const before = digestsIn(f.result)
    const foreign: [string, () => void][] = [
      ['thesis.txt', () => writeFileSync(join(f.result, 'thesis.txt'), '')],
      ['kexec/thesis.txt', () => writeFileSync(join(f.result, 'kexec/thesis.txt'), '')],
      ['manifest', () => mkdirSync(join(f.result, 'manifest'))],
      ['.hidden', () => symlinkSync('/', join(f.result, '.hidden'))],
    ]
    for (const [name, create] of foreign) {
      create()
      expect(await errorOf(f.save({ pieces: f.pieces }, { force: true }))).toMatchObject({
        code: 'EXISTS',
        message: expect.stringContaining(`'${name}'`),
      })
      rmSync(join(f.result, name), { recursive: true })
    }
    expect(digestsIn(f.result)).toEqual(before)
    f.takeAway()
  })

  it('is no link, no file, no input, nor a folder around or within one, nor within the pieces', async () => {
    const target = f.at('target')
    mkdirSync(target)
    symlinkSync(target, f.at('link'))
    writeFileSync(f.at('file'), 'mine')
    const older = f.at('older')
    await saveNetboot(f.options({ pieces: f.pieces }), older)
    const before = digestsIn(older)
    const [path = ''] = leftIn(join(f.work.closure.root, 'nix/store'))
    const inStore = join(f.work.closure.root, 'nix/store', path)
    const listed = leftIn(f.work.closure.folder)
    const cases: [string[], number, string | RegExp][] = [
      [['-o', f.at('link')], 1, `[EXISTS]: ${f.at('link')}: is there and is no folder`],
      [['-o', f.at('file')], 1, `[EXISTS]: ${f.at('file')}: is there and is no folder`],
      [['-o', join(f.at('file'), 'x')], 1, '[WRITE_FAILED]'],
      [['-o', join(f.at('nowhere'), 'x')], 1, 'its folder does not exist; create it first'],
      [['-o', f.work.closure.folder], 1, '[EXISTS]'],
      [['-o', join(inStore, 'netboot')], 2, 'lies within the input'],
      [['-o', older, '--prepend', join(older, 'initrd')], 2, `the input ${join(older, 'initrd')} lies within the output ${older}`],
      [['-o', older, '--pieces', older], 2, 'is the input'],
      [['-o', target, '--pieces', join(target, 'a/b')], 2, 'lies within the output'],
      [['-o', target, '--pieces', join(f.at('link'), 'a/b')], 2, 'lies within the output'],
      [['-o', join(f.pieces, 'x'), '--pieces', f.pieces], 2, 'lies within the input'],
      [['-o', f.result, '--pieces', join(inStore, 'pieces')], 2, 'lies within the input'],
      [['-o', f.result, '--pieces', f.at('file')], 2, 'is there and is no folder'],
      [['-o', '-'], 2, 'a folder cannot be streamed'],
      [['-o', f.result, '--json'], 2, '--json goes with --dry-run'],
    ]
    for (const [args, status, message] of cases) {
      const refusal = await refuse(...args)
      expect(refusal, args.join(' ')).toEqual({ status, stderr: expect.stringContaining(String(message)) })
    }
    expect(digestsIn(older)).toEqual(before)
    expect(readFileSync(f.at('file'), 'utf8')).toBe('mine')
    expect([leftIn(target), leftIn(f.work.closure.folder)]).toEqual([[], listed])
  })

  it('is not looked at for a plan', async () => {
    const { status, stdout, stderr } = await kilnix(['netboot', ...f.work.input, '--style', 'manifest', '--dry-run', '--json'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const { plan } = await netbootPlan()
    expect(JSON.parse(stdout.toString())).toEqual(plan)
    const table = await kilnix(['netboot', ...f.work.input, '--dry-run', '-o', f.at('file')])
    expect(table).toMatchObject({ status: 0, stderr: '' })
    expect(table.stdout.toString()).toMatch(/^style +single\n/)
  })

  const netbootPlan = async () => {
    const { plan } = await netboot(f.options({ style: 'manifest', compression: { name: 'zstd', level: 1 }, blockSize: MEBIBYTE }))
    return { plan: JSON.parse(JSON.stringify(plan)) as unknown }
  }
})
