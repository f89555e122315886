import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { openCodec } from '../../src/codecs/open.ts'
import { dictionarySizeOf, XZ_PACKAGE } from '../../src/codecs/xz.ts'
import { oracle, runOk } from '../oracles/tools.ts'
import { mixed, text } from './samples.ts'
import { hasXz } from './xz-package.ts'

const ROOT = join(import.meta.dirname, '../..')
const BLOCK_SIZES = [512, 4096, 8192, 65536, 131072, 2 ** 20]

describe.skipIf(!hasXz)('xz streams', () => {
  it.each(BLOCK_SIZES)('a block size of %d is the dictionary size, the check is CRC32', async (blockSize) => {
    for (const level of [0, 6, 9]) {
      const stream = (await openCodec({ name: 'xz', level }, blockSize)).compress(mixed(blockSize))
      expect(dictionarySizeOf(stream)).toBe(Math.max(4096, blockSize))
      // Stream header: magic FD "7zXZ" 00, then flags 00 and check type 01 (sections 2.1.1.1 and 2.1.1.2).
      expect(Buffer.from(stream.subarray(0, 8)).toString('hex')).toBe('fd377a585a000001')
    }
  })

  describe.skipIf(oracle('xz').skip)('by the xz tool', () => {
    const describeStream = (stream: Uint8Array): string => {
      const folder = mkdtempSync(join(tmpdir(), 'kilnix-xz-'))
      try {
        writeFileSync(join(folder, 'block.xz'), stream)
        return runOk('xz', ['-lvv', join(folder, 'block.xz')]).text
      } finally {
        rmSync(folder, { recursive: true })
      }
    }

    it.each([
      [8192, '8KiB'],
      [131072, '128KiB'],
      [2 ** 20, '1MiB'],
    ])('a block size of %d is listed as a dictionary of %s', async (blockSize, dictionary) => {
      const listing = describeStream((await openCodec({ name: 'xz' }, blockSize)).compress(mixed(blockSize)))
      expect(listing).toContain(`--lzma2=dict=${dictionary}\n`)
      expect(listing).toContain('CRC32')
      expect(listing).not.toContain('--x86')
    })

    it('the listing and the reader tell a larger dictionary', () => {
      const stream = runOk('xz', ['-c', '-6', '--check=crc32'], { input: text(10_000) }).stdout
      expect(dictionarySizeOf(stream)).toBe(8 * 2 ** 20)
      expect(describeStream(stream)).not.toContain('--lzma2=dict=1MiB\n')
    })

    it.each([0, 1, 2, 3, 4, 5, 6, 9])('level %d makes as much of a block as the preset of the tool', async (level) => {
      const block = mixed(131072, 5)
      const ours = (await openCodec({ name: 'xz', level }, 131072)).compress(block).length
      const args = ['-c', '-T1', '--check=crc32', `--lzma2=preset=${level},dict=131072`]
      const tools = runOk('xz', args, { input: block }).stdout.length
      // Our block header states the sizes, that of the tool does not.
      expect(Math.abs(ours - tools)).toBeLessThan(32)
    })
  })
})

describe('without its package', () => {
  it('xz is UNSUPPORTED, and the message says what to install', () => {
    const hooks = `import { registerHooks } from 'node:module'
      registerHooks({ resolve(specifier, context, next) {
        if (specifier.startsWith('node-liblzma')) throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
        return next(specifier, context)
      } })`
    const script = `import { openCodec } from './src/codecs/open.ts'
      const opened = await openCodec({ name: 'xz' }, 4096).catch((error) => error)
      console.log(opened.code, '|', opened.message)
      console.log((await openCodec({ name: 'zstd' }, 4096)).spec.name)`
    const args = ['--import', `data:text/javascript,${encodeURIComponent(hooks)}`, '--input-type=module', '-e', script]
    const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' })
    expect(stderr).toBe('')
    expect(stdout).toBe(
      `UNSUPPORTED | xz needs the optional package node-liblzma, which cannot be loaded; run: npm install ${XZ_PACKAGE}\nzstd\n`,
    )
  })

  it('the message names the version that package.json asks for', () => {
    const { optionalDependencies, peerDependencies, devDependencies } = packageJson as unknown as Record<
      string,
      Record<string, string> | undefined
    >
    const versions = [optionalDependencies, peerDependencies, devDependencies].map((list) => list?.['node-liblzma'])
    expect(versions.filter((version) => version !== undefined)).toContain(XZ_PACKAGE.slice(XZ_PACKAGE.indexOf('@') + 1))
  })
})
