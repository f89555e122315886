/** What is not as somebody may expect it, and is made all the same. */
import { ImageError } from '../errors.ts'
import type { StoreInput } from './input.ts'

/** Say `warnings`. Throws BAD_INPUT, with all of them, where they count as errors. */
export function warn(warnings: readonly string[], { strict = false, onProgress }: Pick<StoreInput, 'strict' | 'onProgress'>): void {
  if (strict && warnings.length > 0) throw new ImageError('BAD_INPUT', warnings.join('\n'))
  for (const message of warnings) onProgress?.({ kind: 'note', message })
}
