/**
 * Whether others than this user and root could have written what is kept by its content. A name says which content that is, and anybody can give
 * any content a name that fits, so content is believed only where nobody else can put any.
 *
 * Not supported: systems without numbers of users (Windows), where nothing is compared.
 */
import type { Stats } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ImageError, systemErrorCode } from '../errors.ts'

/** Write bits of group and others; an access control list that lets others write shows in the group's. */
const OTHERS_WRITE = 0o022

/** In such a folder nobody can replace what belongs to another. */
const STICKY = 0o1000

/** As whom the kernel shows owners that have no number in a user namespace: what holds a container's mounts. */
const UNMAPPED_USER = 65_534

/** Why a file or folder may be somebody else's work; undefined where it can be nobody's but this user's and root's. */
export function foreignHand({ uid, mode }: Pick<Stats, 'uid' | 'mode'>): string | undefined {
  const user = process.geteuid?.()
  if (user === undefined) return undefined
  if (uid !== user && uid !== 0) return `belongs to another user (${uid})`
  return (mode & OTHERS_WRITE) === 0 ? undefined : `may be written to by others than its owner (mode ${modeText(mode)})`
}

/**
 * Throws UNTRUSTED for a folder to which others may write, or that they could exchange for another. `label` is the folder as
 * the user knows it. One that is not there is not looked at.
 */
export async function requireOwnFolder(folder: string, label: string, what = 'folder of pieces'): Promise<void> {
  const user = process.geteuid?.()
  if (user === undefined) return
  try {
    const real = await realpath(folder)
    const stats = await stat(real)
    const hand = foreignHand(stats)
    if (hand !== undefined) {
      const isOwn = stats.uid === user || stats.uid === 0
      const remedy = isOwn ? `chmod go-w ${label}, delete what others may have put there` : 'name a folder of your own'
      throw untrusted(label, `the ${what} ${hand}, who could put other content there`, remedy)
    }
    for (let above = dirname(real); ; above = dirname(above)) {
      const { uid, mode } = await stat(above)
      const isOpen = (mode & OTHERS_WRITE) !== 0 && (mode & STICKY) === 0
      if (isOpen || ![user, 0, UNMAPPED_USER].includes(uid)) {
        const who = isOpen ? `others may write to (mode ${modeText(mode)})` : `belongs to another user (${uid})`
        throw untrusted(label, `lies in ${above}, which ${who}, so that it could be exchanged for another`, 'name a folder of your own')
      }
      if (above === dirname(above)) return
    }
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ENOTDIR') return
    if (error instanceof ImageError) throw error
    const code = systemErrorCode(error) ?? String(error)
    throw new ImageError('UNREADABLE', `${label}: the ${what} cannot be looked at (${code})`, { path: label, cause: error })
  }
}

function untrusted(label: string, what: string, remedy: string): ImageError {
  return new ImageError('UNTRUSTED', `${label}: ${what}: ${remedy}`, { path: label })
}

function modeText(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0')
}
