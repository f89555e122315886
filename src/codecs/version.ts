/** Which compressor makes the bytes: equal versions make equal bytes of equal input, for results that are kept. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { CodecName } from './codec.ts'
import { NATIVE_MODULE } from './native-module.ts'

/** Name and version of what compresses for `name`; `xz none` where its optional package is missing. */
export function compressorVersion(name: CodecName): string {
  switch (name) {
    case 'zstd':
      return `zstd ${process.versions['zstd']}`
    case 'gzip':
      // Node's zlib finds matches with the instructions that the processor has, and other ones elsewhere.
      return `zlib ${process.versions['zlib']} ${process.arch}`
    case 'xz':
      return `xz ${liblzmaVersion() ?? 'none'}`
    case 'lz4':
      return `lz4 ${createHash('sha256').update(NATIVE_MODULE).digest('hex')}`
    case 'none':
      return 'none'
  }
}

function liblzmaVersion(): string | undefined {
  try {
    const module = createRequire(import.meta.url).resolve('node-liblzma/wasm')
    const folder = module.slice(0, module.lastIndexOf('node-liblzma') + 'node-liblzma'.length)
    return String(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version)
  } catch {
    return undefined
  }
}
