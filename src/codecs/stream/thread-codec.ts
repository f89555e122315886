/**
 * Block codecs whose memory is worth keeping: liblzma's is given back with its thread only, and LZ4's is large. So a thread has
 * one of each, whatever number of streams it makes.
 */
import type { Codec, CodecSpec } from '../codec.ts'
import { formatCodecSpec, openCodec } from '../open.ts'

const opened = new Map<string, Promise<Codec>>()

/** This thread's codec. Its results are gone with the next block of any stream. */
export async function threadCodec(spec: CodecSpec, blockSize: number): Promise<Codec> {
  const key = `${formatCodecSpec(spec)} ${blockSize}`
  const codec = opened.get(key) ?? openCodec(spec, blockSize)
  opened.set(key, codec)
  try {
    return await codec
  } catch (error) {
    opened.delete(key)
    throw error
  }
}
