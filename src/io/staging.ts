/**
 * What is written appears at its path whole or not at all. It is made in a private folder beside the path, brought to stable
 * storage, and moved to the path in one step:
 *
 * - A file or link is linked to the path, which fails where something is (`link(2)`), or with `force` replaces what is there
 *   (`rename(2)`). File systems without hard links have no such exclusive step for files: there a file that came up in the
 *   last moment is replaced.
 * - A folder is moved (`rename(2)`), which replaces nothing but an empty folder. With `force` what is there is moved aside
 *   before: exchanging both in one step takes renameat2(2), which Node lacks. A run that is killed between the two leaves
 *   nothing at the path; the next one puts back what was there (`recover`).
 */
import { basename, dirname, resolve } from 'node:path'
import { ImageError, systemErrorCode } from '../errors.ts'
import { Appearance, CONTENT } from './appearance.ts'
import { HeldFolder, type Status } from './held-folder.ts'
import { mountWithin } from './mounts.ts'
import { PrivateFolder } from './private-folder.ts'
import type { ProgressListener } from './progress.ts'
import { recover } from './recover.ts'
import { existsError, writeError } from './write-error.ts'

export interface StageOptions {
  /** Replace what is at the path, whatever it is. Default: that is EXISTS. */
  readonly force?: boolean
  /** Is called with what went wrong behind an output that stands. */
  readonly onProgress?: ProgressListener | undefined
}

/**
 * `build` makes one file, folder or link at `place`, a path where nothing is and that no other user can reach, and brings all
 * that is in it to stable storage; a folder itself is synced here. It appears at `path` when `build` returns, and is removed
 * when `build` throws. Throws EXISTS, WRITE_FAILED, and what `build` throws; then what is at `path` is what was there before.
 */
export async function stage<T>(path: string, options: StageOptions, build: (place: string) => Promise<T>): Promise<T> {
  const destination = guarded(path, () => resolve(path))
  const partial = guarded(path, () => PrivateFolder.create(dirname(destination)))
  try {
    const result = await build(partial.folder.at(CONTENT))
    await new Appearance(partial, basename(destination), path, options.force === true).run()
    return result
  } catch (error) {
    throw systemErrorCode(error) === undefined ? error : writeError(path, error)
  } finally {
    removePartial(partial, options.onProgress)
  }
}

/** What stands at the path is whole, or the error is under way: that something is left is no error of its own. */
function removePartial(partial: PrivateFolder, onProgress: ProgressListener | undefined): void {
  try {
    partial.remove()
  } catch (error) {
    const why = systemErrorCode(error) ?? String(error)
    onProgress?.({ kind: 'note', message: `${partial.name}: what was replaced, or not finished, cannot be removed as a whole (${why})` })
  }
}

/**
 * For a check before the work begins: throws EXISTS where something is at `path` and `force` is not given, and WRITE_FAILED
 * for what may not be replaced, because something is mounted in it.
 */
export function checkReplaceable(path: string, { force = false, onProgress }: StageOptions): void {
  recover(path, onProgress)
  const status = statusAt(path)
  if (status === undefined) return
  if (!force) throw existsError(path)
  const mounted = status.isDirectory() ? mountWithin(path) : undefined
  if (mounted === undefined) return
  throw new ImageError(
    'WRITE_FAILED',
    `${path}: is not replaced, because something is mounted at ${mounted}; unmount it, or choose another output`,
    {
      path,
    },
  )
}

/** What is at `path` itself, not behind a link. Throws WRITE_FAILED. */
export function statusAt(path: string): Status | undefined {
  return guarded(path, () => {
    const destination = resolve(path)
    const parent = HeldFolder.open(dirname(destination))
    try {
      return parent.status(basename(destination))
    } finally {
      parent.close()
    }
  })
}

function guarded<T>(label: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw writeError(label, error)
  }
}
