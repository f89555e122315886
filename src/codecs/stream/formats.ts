/** Which codec makes which stream. */
import type { CodecSpec } from '../codec.ts'
import { checkCodecSpec } from '../spec.ts'
import type { StreamFormat } from './format.ts'
import { gzipFormat } from './gzip.ts'
import { lz4Format } from './lz4.ts'
import { xzFormat } from './xz.ts'
import { zstdFormat } from './zstd.ts'

export interface FormatOptions {
  /** See `CompressedImageOptions.isLastMember`. */
  readonly isLastMember?: boolean
}

/** The format of a codec; undefined for `none`. Throws USAGE for a level that the codec does not have. */
export function streamFormat(codec: CodecSpec, options: FormatOptions = {}): StreamFormat | undefined {
  const spec = checkCodecSpec(codec)
  switch (spec.name) {
    case 'gzip':
      return gzipFormat(spec)
    case 'zstd':
      return zstdFormat(spec)
    case 'xz':
      return xzFormat(spec)
    case 'lz4':
      return lz4Format(spec, options.isLastMember === true)
    case 'none':
      return undefined
  }
}
