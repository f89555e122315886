/**
 * A folder of finished pieces: images of single store paths, and others, which later builds use again. Several processes
 * may share a folder; what is in it but not named as a piece is left alone.
 *
 * Not supported: pieces in a store that is not local, such as S3; a promise that a piece which another process uses is
 * not pruned.
 */
import { tmpdir } from 'node:os'
import { resolve } from 'node:path'
import { ImageError } from '../../errors.ts'
import { type BuildContext, checkJobs, type GrowingImage, type Image } from '../../io/image.ts'
import { PrivateFolder } from '../../io/private-folder.ts'
import { requireOwnFolder } from '../../io/trust.ts'
import { writeError } from '../../io/write-error.ts'
import { buildPieces } from './build.ts'
import { PieceFiles } from './files.ts'
import { keepPiece } from './keep.ts'
import type { OtherPieceKey, PieceInput, PieceSettings } from './key.ts'
import type { Piece } from './piece.ts'

export type { PieceSettings } from './key.ts'
export type { Piece } from './piece.ts'

/** What `openPieces` would refuse, before anything is made. Throws UNTRUSTED. */
export async function checkPieceFolder(folder: string | undefined): Promise<void> {
  if (folder !== undefined) await requireOwnFolder(resolve(folder), folder)
}

export interface PieceFolder {
  /**
   * A piece a path, in the order of the closure. Throws NOT_FOUND for all missing paths at once, HASH_MISMATCH, CHANGED,
   * UNREADABLE, LIMIT, UNSUPPORTED, USAGE, WRITE_FAILED, WORKER_DIED, ABORTED; pieces that were finished before stay.
   */
  build(input: PieceInput, settings: PieceSettings, context: BuildContext): Promise<readonly Piece[]>
  /** Any other image as a piece. `make` is called when there is no sound piece; throws what it and the image throw, and WRITE_FAILED. */
  keep(key: OtherPieceKey, make: () => Promise<Image | GrowingImage>, context: BuildContext): Promise<Piece>
  /** Remove the pieces that were used longest ago until all together have at most `limitBytes`; those in `inUse` stay. */
  prune(limitBytes: number, inUse: readonly Piece[]): Promise<void>
  /** To be called when no build runs and no piece is read any more: a temporary folder is removed. */
  close(): Promise<void>
}

/**
 * Open a folder, which is created if missing; `undefined` means a temporary one, which `close` removes. Throws
 * WRITE_FAILED, or USAGE for what is no folder.
 */
export async function openPieces(folder: string | undefined): Promise<PieceFolder> {
  const temporary = folder === undefined ? temporaryFolder() : undefined
  const files = temporary ? new PieceFiles(temporary.folder.at('.'), TEMPORARY_LABEL) : new PieceFiles(resolve(folder ?? ''), folder ?? '')
  if (temporary === undefined) await files.create()
  return {
    build(input, settings, context) {
      checkJobs(context.jobs)
      return buildPieces(files, input, settings, context)
    },
    keep(key, make, context) {
      checkJobs(context.jobs)
      return keepPiece(files, key, make, context)
    },
    async prune(limitBytes, inUse) {
      if (!(limitBytes >= 0)) throw new ImageError('USAGE', `the limit of the pieces is ${limitBytes}; give a number of bytes`)
      await files.prune(limitBytes, new Set(inUse.map(({ file }) => file)))
    },
    async close() {
      temporary?.remove()
    },
  }
}

const TEMPORARY_LABEL = `temporary folder in ${tmpdir()} (TMPDIR chooses the place)`

function temporaryFolder(): PrivateFolder {
  try {
    return PrivateFolder.create(tmpdir())
  } catch (error) {
    throw writeError(TEMPORARY_LABEL, error)
  }
}
