/** A store path as a squashfs image, made in the thread that calls. */
import { squashfs } from '../../filesystems/squashfs/index.ts'
import { imageSha256 } from '../../io/digest.ts'
import { FileTarget, lentFile } from '../../io/file-target.ts'
import type { PieceSettings } from './key.ts'
import type { BuildTask, Built, TaskControl } from './protocol.ts'
import type { StorePathContent } from './store-path.ts'

type SquashfsSettings = PieceSettings & { readonly kind: 'squashfs' }

/** Throws what `squashfs` and its `pack` throw, and WRITE_FAILED. */
export async function buildSquashfs(
  { descriptor, label }: BuildTask,
  { codec, blockSize }: SquashfsSettings,
  { root, digest }: StorePathContent,
  { signal, onProgress }: TaskControl,
): Promise<Built> {
  const image = squashfs(root, { codec, blockSize, timeSeconds: 0, digests: digest ? [digest] : [] })
  const target = new FileTarget(lentFile(descriptor), label, false)
  const packed = await image.pack(target, 0, {
    jobs: 1,
    threads: 'none',
    signal,
    onProgress: (event) => event.kind === 'bytes' && onProgress(event.doneBytes),
  })
  await target.setSize(packed.size)
  // The first bytes of the image are written last, so it is read back.
  return { kind: 'built', size: packed.size, sha256: await imageSha256(packed, signal) }
}
