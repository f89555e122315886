import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import type { CodecName } from '../../src/codecs/codec.ts'
import { compressorVersion } from '../../src/codecs/version.ts'
import { XZ_PACKAGE } from '../../src/codecs/xz.ts'

it('names the compressor that is installed', () => {
  expect(compressorVersion('zstd')).toBe(`zstd ${process.versions['zstd']}`)
  expect(compressorVersion('gzip')).toContain(process.versions.zlib)
  const installed = fileURLToPath(new URL('../../node_modules/node-liblzma/package.json', import.meta.url))
  const { version } = JSON.parse(readFileSync(installed, 'utf8'))
  expect(compressorVersion('xz')).toBe(`xz ${version}`)
  expect(`node-liblzma@${version}`).toBe(XZ_PACKAGE)
  expect(compressorVersion('lz4')).toMatch(/^lz4 [0-9a-f]{64}$/)
})

it('is another for each codec, and the same at every call', () => {
  const names: CodecName[] = ['zstd', 'gzip', 'xz', 'lz4', 'none']
  const versions = names.map(compressorVersion)
  expect(new Set(versions).size).toBe(names.length)
  expect(names.map(compressorVersion)).toEqual(versions)
})
