/** How codecs and their levels are named, and written as text. */
export type { CodecName, CodecSpec } from '../codecs/codec.ts'
export { formatCodecSpec, parseCodecSpec } from '../codecs/spec.ts'
