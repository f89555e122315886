/** Work that is to go on when its terminal goes away. */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { listenOnce } from './listeners.ts'

/** SIGHUP is signal 1, the first bit of the mask. */
const HANG_UP_IGNORED = /^SigIgn:\t[0-9a-f]*[13579bdf]$/m

/**
 * Do nothing at SIGHUP where the command was started so, by nohup or from what ignores it. Node itself forgets how it was
 * started: it has the system treat every signal as if nobody had asked for anything.
 */
export function keepIgnoringHangUp(environment: Readonly<Record<string, string | undefined>>): void {
  // A shell names there the command that it starts.
  const isNohup = basename(environment._ ?? '') === 'nohup'
  if (isNohup || HANG_UP_IGNORED.test(statusOf(process.ppid))) listenOnce('SIGHUP', nothing)
}

function nothing(): void {}

/** Linux has it; elsewhere it is empty. */
function statusOf(processId: number): string {
  try {
    return readFileSync(`/proc/${processId}/status`, 'latin1')
  } catch {
    return ''
  }
}
