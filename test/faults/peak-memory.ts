/**
 * Preloaded into the command: writes the most KiB that were resident to descriptor 3 at its end. On Linux that is VmHWM of
 * proc(5), because getrusage(2) counts the parent's memory, too.
 */
import { readFileSync, writeSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'

if (isMainThread) {
  process.on('exit', () => {
    const linux = process.platform === 'linux' ? /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1')) : null
    writeSync(3, linux?.[1] ?? String(process.resourceUsage().maxRSS))
  })
}
