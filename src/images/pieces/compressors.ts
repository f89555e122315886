/** The stream compressors of one thread: opening one costs more than a small piece, so they are kept. */
import type { CodecSpec } from '../../codecs/codec.ts'
import { formatCodecSpec } from '../../codecs/spec.ts'
import { openStreamCompressor, type StreamCompressor } from '../../codecs/stream/index.ts'

export class Compressors {
  readonly #open = new Map<string, StreamCompressor>()

  /** For one stream at a time. Throws what `openStreamCompressor` throws. */
  async open(codec: CodecSpec): Promise<StreamCompressor> {
    const name = formatCodecSpec(codec)
    const compressor = this.#open.get(name) ?? (await openStreamCompressor(codec))
    this.#open.set(name, compressor)
    return compressor
  }

  close(): void {
    for (const compressor of this.#open.values()) compressor.close()
    this.#open.clear()
  }
}
