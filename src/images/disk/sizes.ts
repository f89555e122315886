/** Sizes that those who take a disk insist on. */
import type { Container } from '../../disks/container.ts'
import type { ProgressListener } from '../../io/progress.ts'

/** Says so where a disk of `size` bytes is none that the container's takers accept. */
export function noteSize(
  size: number,
  { name, sizeUnit = 1 }: Pick<Container, 'name' | 'sizeUnit'>,
  onProgress: ProgressListener | undefined,
): void {
  if (size % sizeUnit === 0) return
  const message = `the disk has ${size} bytes, and ${name} is for disks of whole multiples of ${sizeUnit}: its importer may refuse it`
  onProgress?.({ kind: 'note', message })
}
