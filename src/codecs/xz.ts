/**
 * xz: one .xz stream a block (The .xz File Format 1.2.1) with CRC32, one LZMA2 filter, and a dictionary of the
 * block size. The encoder is liblzma as WebAssembly, from the optional package `node-liblzma`, which ships
 * the module inside (nothing is fetched or compiled), runs synchronously and on every platform makes the same bytes.
 *
 * Its own functions know presets only, whose dictionaries a kernel's decoder refuses (more than the block size), so
 * this calls liblzma's `lzma_stream_buffer_encode` with a filter chain laid out in the module's memory.
 */
import { ImageError } from '../errors.ts'
import type { Codec, CodecSpec } from './codec.ts'

export const XZ_PACKAGE = 'node-liblzma@5.1.3'

/** The part of the Emscripten module that is used here; pointers are offsets in HEAPU8. */
interface LzmaModule {
  readonly HEAPU8: Uint8Array<ArrayBuffer>
  _malloc(size: number): number
  _lzma_stream_buffer_encode(
    filters: number,
    check: number,
    allocator: number,
    input: number,
    inputSize: number,
    output: number,
    outputPosition: number,
    outputSize: number,
  ): number
}

const LZMA_CHECK_CRC32 = 1
const LZMA_FILTER_LZMA2 = 0x21n
const LZMA_VLI_UNKNOWN = 0xffff_ffff_ffff_ffffn
/** The smallest dictionary LZMA2 has. */
const SMALLEST_DICTIONARY = 4096

const MODE = { fast: 1, normal: 2 } as const
const MATCH_FINDER = { hashChain3: 0x03, hashChain4: 0x04, binaryTree4: 0x14 } as const

interface Preset {
  readonly mode: number
  readonly matchFinder: number
  readonly niceLength: number
  readonly depth: number
}

/** What `xz -0` to `xz -9` mean apart from the dictionary (`lzma_lzma_preset`); 6 to 9 differ in the dictionary only. */
const PRESETS: readonly Preset[] = [
  { mode: MODE.fast, matchFinder: MATCH_FINDER.hashChain3, niceLength: 128, depth: 4 },
  { mode: MODE.fast, matchFinder: MATCH_FINDER.hashChain4, niceLength: 128, depth: 8 },
  { mode: MODE.fast, matchFinder: MATCH_FINDER.hashChain4, niceLength: 273, depth: 24 },
  { mode: MODE.fast, matchFinder: MATCH_FINDER.hashChain4, niceLength: 273, depth: 48 },
  { mode: MODE.normal, matchFinder: MATCH_FINDER.binaryTree4, niceLength: 16, depth: 0 },
  { mode: MODE.normal, matchFinder: MATCH_FINDER.binaryTree4, niceLength: 32, depth: 0 },
]
const PRESET_6_TO_9: Preset = { mode: MODE.normal, matchFinder: MATCH_FINDER.binaryTree4, niceLength: 64, depth: 0 }

/**
 * Open at `spec.level` 0 to 9. A result is overwritten by the next call.
 *
 * @throws ImageError UNSUPPORTED when the package is missing or its module is not the one described above.
 */
export async function openXz(spec: CodecSpec, blockSize: number): Promise<Codec> {
  const module = await loadLzma<LzmaModule>()
  const dictionarySize = Math.max(blockSize, SMALLEST_DICTIONARY)
  const outputSize = blockSize + (blockSize >> 10) + 1024
  const filters = placeFilters(module, PRESETS[spec.level ?? 6] ?? PRESET_6_TO_9, dictionarySize)
  const input = allocate(module, blockSize)
  const output = allocate(module, outputSize)
  const outputPosition = allocate(module, 4)

  const compress = (block: Uint8Array): Uint8Array => {
    module.HEAPU8.set(block, input)
    view(module).setUint32(outputPosition, 0, true)
    const status = module._lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, 0, input, block.length, output, outputPosition, outputSize)
    if (status !== 0) throw new Error(`liblzma refused a block of ${block.length} bytes with code ${status}`)
    return module.HEAPU8.subarray(output, output + view(module).getUint32(outputPosition, true))
  }

  // The layout of liblzma's structures is fixed by its ABI, but nothing but the result proves that it was understood.
  if (dictionarySizeOf(compress(new Uint8Array(64))) !== dictionarySize) {
    throw new ImageError('UNSUPPORTED', `xz: the installed node-liblzma ignores the dictionary size; run: npm install ${XZ_PACKAGE}`)
  }
  return { spec, blockSize, compress }
}

/** liblzma as WebAssembly, one a thread; `T` is what of it is used. Throws UNSUPPORTED where the package is missing. */
export async function loadLzma<T>(): Promise<T> {
  // Not a literal: the package is optional, also for the type checker.
  const specifier: string = 'node-liblzma/wasm'
  let imported: { initModule(): Promise<T> }
  try {
    imported = await import(specifier)
  } catch (cause) {
    throw new ImageError(
      'UNSUPPORTED',
      `xz needs the optional package node-liblzma, which cannot be loaded; run: npm install ${XZ_PACKAGE}`,
      {
        cause,
      },
    )
  }
  return imported.initModule()
}

/** Zeroed memory of the module, kept as long as the codec; 8-byte aligned. */
function allocate(module: LzmaModule, size: number): number {
  const address = module._malloc(size)
  if (address === 0) throw new Error(`liblzma has no ${size} bytes of memory left`)
  module.HEAPU8.fill(0, address, address + size)
  return address
}

/** The module's memory may have grown, and moved, since the last call. */
function view(module: LzmaModule): DataView {
  return new DataView(module.HEAPU8.buffer)
}

/** A chain of one `lzma_filter` {u64 id, pointer options} with its end mark, and its `lzma_options_lzma`; 32-bit pointers. */
function placeFilters(module: LzmaModule, preset: Preset, dictionarySize: number): number {
  const options = allocate(module, 256)
  const filters = allocate(module, 32)
  const memory = view(module)
  memory.setUint32(options, dictionarySize, true)
  memory.setUint32(options + 12, 3, true) // lc: literal context bits
  memory.setUint32(options + 16, 0, true) // lp: literal position bits
  memory.setUint32(options + 20, 2, true) // pb: position bits
  memory.setUint32(options + 24, preset.mode, true)
  memory.setUint32(options + 28, preset.niceLength, true)
  memory.setUint32(options + 32, preset.matchFinder, true)
  memory.setUint32(options + 36, preset.depth, true)
  memory.setBigUint64(filters, LZMA_FILTER_LZMA2, true)
  memory.setUint32(filters + 8, options, true)
  memory.setBigUint64(filters + 16, LZMA_VLI_UNKNOWN, true)
  return filters
}

/** The dictionary size that the first block header of a stream states, in bytes (sections 3.1 and 5.3.1), or 0. */
export function dictionarySizeOf(stream: Uint8Array): number {
  const streamHeaderSize = 12
  const flags = stream[streamHeaderSize + 1] ?? 0
  let at = streamHeaderSize + 2
  // Compressed and uncompressed size, if present: 7 bits a byte, the last byte below 0x80.
  for (const present of [flags & 0x40, flags & 0x80]) {
    if (present === 0) continue
    while ((stream[at] ?? 0) >= 0x80) at++
    at++
  }
  const [filterId, propertiesSize, bits = 0] = stream.subarray(at, at + 3)
  if (filterId !== Number(LZMA_FILTER_LZMA2) || propertiesSize !== 1 || bits >= 40) return 0
  return (2 | (bits & 1)) * 2 ** ((bits >> 1) + 11)
}
