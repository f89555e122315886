// Preloaded by bench/scaling.ts: says at the end what the main thread and the whole process took, in microseconds of CPU.
import { writeFileSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'

const { SHARE_FILE } = process.env
if (isMainThread && SHARE_FILE) {
  process.on('exit', () => {
    const [main, all] = [process.threadCpuUsage(), process.cpuUsage()]
    writeFileSync(SHARE_FILE, JSON.stringify({ main: main.user + main.system, all: all.user + all.system }))
  })
}
