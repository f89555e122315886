import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { nativeModuleSource } from '../../scripts/build-native.ts'
import { lz4FastNative } from '../../src/codecs/lz4.ts'
import { NATIVE_MODULE } from '../../src/codecs/native-module.ts'
import { openCodec, parseCodecSpec } from '../../src/codecs/open.ts'
import { mixed } from './samples.ts'

const ROOT = join(import.meta.dirname, '../..')

describe('the committed WebAssembly module', () => {
  it('is what the compiler makes of native/assembly', async () => {
    expect(readFileSync(join(ROOT, 'src/codecs/native-module.ts'), 'utf8')).toBe(await nativeModuleSource())
  })

  it('imports a memory and nothing else', () => {
    const { Module } = (globalThis as unknown as { WebAssembly: { Module: WebAssemblyModule } }).WebAssembly
    const module = new Module(Buffer.from(NATIVE_MODULE, 'base64'))
    expect(Module.imports(module)).toEqual([{ module: 'env', name: 'memory', kind: 'memory' }])
    expect(Module.exports(module).map(({ name, kind }) => `${kind} ${name}`)).toEqual([
      'function fletcher4',
      'function compressFast',
      'function compressHigh',
      'memory memory',
    ])
  })

  it.each(['lz4', 'lz4:hc'])('%s makes the same bytes where there is no WebAssembly', async (text) => {
    const block = mixed(50_000)
    const withModule = (await openCodec(parseCodecSpec(text), 65536)).compress(block)
    vi.stubGlobal('WebAssembly', undefined)
    expect(lz4FastNative(65536)).toBeUndefined()
    const withTwin = (await openCodec(parseCodecSpec(text), 65536)).compress(block)
    expect(Buffer.compare(withTwin, withModule)).toBe(0)
  })
})

afterEach(() => {
  vi.unstubAllGlobals()
})

interface WebAssemblyModule {
  new (bytes: Uint8Array): object
  imports(module: object): unknown
  exports(module: object): { name: string; kind: string }[]
}
