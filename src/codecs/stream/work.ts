/** What is done with the blocks of a stream, in whatever thread: they are encoded one after another. */
import type { WorkModule } from '../../threads/work.ts'
import { streamFormat } from './formats.ts'
import type { BlockTask, StreamSetup } from './protocol.ts'

export const work: WorkModule<StreamSetup, BlockTask, Uint8Array<ArrayBuffer>> = {
  module: import.meta.url,
  async open({ codec, encoder: setup, slots }) {
    const content = new Uint8Array(slots)
    const encoder = await streamFormat(codec)?.openEncoder(setup)
    if (encoder === undefined) throw new RangeError(`${codec.name} makes no stream`)
    return {
      run: ({ start, length, historyLength, isLast }) =>
        new Uint8Array(encoder.encode(content.subarray(start, start + length), content.subarray(start - historyLength, start), isLast)),
      moved: ({ buffer }) => [buffer],
      close: () => encoder.close(),
    }
  },
}
