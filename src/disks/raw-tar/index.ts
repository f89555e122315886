/**
 * What Google Compute Engine imports: a tar archive of one file, `disk.raw`, in GNU's format, compressed by gzip
 * (its documentation, "Requirements to build custom images").
 *
 * Not supported: reading it; `tar -xzf` gives the raw disk.
 */
import { tar } from '../../archives/tar/index.ts'
import { utf8 } from '../../bytes/text.ts'
import { compressedImage } from '../../codecs/stream/index.ts'
import type { GrowingImage, Image } from '../../io/image.ts'

export interface RawTarOptions {
  /** Of the file in the archive; seconds since 1970. */
  readonly timeSeconds?: number
  /** Of gzip, 1 to 9. */
  readonly level?: number
}

export const RAW_TAR_DEFAULTS = { timeSeconds: 0, level: 6 } as const

/** Throws what `tar` and `compressedImage` throw; packing throws WORKER_DIED, ABORTED, and what the image and the target throw. */
export function rawTar(disk: Image, options: RawTarOptions = {}): GrowingImage {
  const { timeSeconds, level } = { ...RAW_TAR_DEFAULTS, ...options }
  const owned = { uid: 0, gid: 0, mtimeSeconds: timeSeconds }
  const file = { kind: 'file', mode: 0o644, ...owned, size: disk.size, content: { kind: 'image', image: disk } } as const
  const folder = { kind: 'directory', mode: 0o755, ...owned, entries: [{ name: utf8('disk.raw'), node: file }] } as const
  return compressedImage(tar(folder, { format: 'gnu' }), { codec: { name: 'gzip', level }, isLastMember: true })
}
