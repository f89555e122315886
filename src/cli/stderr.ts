/** Lines for people, on standard error. That nobody reads them is no failure: they are left out, and the work goes on. */
import { printableText } from '../bytes/text.ts'
import type { ProgressOutput } from './progress.ts'

/** Bytes that wait for a reader who has stopped; a server may have lines for days. */
const WAITING_LIMIT = 1 << 20

let leftOut = 0

/** Each text is a line. Names in it may hold anything, and a terminal obeys control characters. */
export function say(...lines: readonly string[]): void {
  for (const line of lines) write(`${printableText(line)}\n`)
}

/** For `createProgress`, whose own texts need control characters. */
export const standardError: ProgressOutput = {
  write,
  get columns() {
    return process.stderr.columns
  },
}

function write(text: string): void {
  const { stderr } = process
  if (stderr.listenerCount('error') === 0) stderr.on('error', () => undefined)
  if (stderr.writableLength > WAITING_LIMIT) {
    leftOut++
    return
  }
  if (leftOut > 0) stderr.write(`kilnix: ${leftOut} lines are left out here, which nobody read in time\n`)
  leftOut = 0
  stderr.write(text)
}
