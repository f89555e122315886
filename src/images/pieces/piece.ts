/** Finished pieces, as they lie in their folder. */
import type { BuildContext, Image } from '../../io/image.ts'
import { Proof } from '../../io/proven.ts'
import { hostFileImage } from '../../tree/host-image.ts'
import { checkPiece } from './check.ts'
import type { FoundPiece, PieceFiles } from './files.ts'
import type { CheckTask, TaskAnswer } from './protocol.ts'

export interface Piece {
  /** The base name of the store path, or the name that was given. */
  readonly name: string
  readonly file: string
  /** Bytes. */
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
  /** It was there and sound. */
  readonly reused: boolean
  /** The file's bytes, by any number of readers at once; each opens the file for itself, and gets what the checksum is of. */
  readonly image: Image
}

export function pieceOf(name: string, { file, sha256 }: FoundPiece, size: number, reused: boolean): Piece {
  return {
    name,
    file,
    size,
    sha256,
    reused,
    image: hostFileImage(file, size, { proof: new Proof(Buffer.from(sha256, 'hex'), size) }),
  }
}

type RunCheck = (task: CheckTask) => Promise<TaskAnswer>

/** In the calling thread. Throws ABORTED. */
export function checkHere(signal: AbortSignal | undefined): RunCheck {
  return (task) => checkPiece(task, { isStopped: () => signal?.aborted === true })
}

/** The first sound one of `candidates`, with its size; damaged ones are told of and removed. */
export async function firstSound(
  files: PieceFiles,
  candidates: readonly FoundPiece[],
  runCheck: RunCheck,
  { onProgress }: BuildContext,
): Promise<{ readonly found: FoundPiece; readonly size: number } | undefined> {
  for (const found of candidates) {
    const result = await runCheck({ kind: 'check', ...found })
    if (result.kind === 'sound') return { found, size: result.size }
    if (result.kind !== 'damaged') continue
    onProgress?.({ kind: 'note', message: `${found.file}: the piece ${result.why}; it is built anew` })
    await files.removeDamaged(found, result.inode)
  }
  return undefined
}
