/** Serves the sample at `/sample` until its input ends: `node serving.ts FOLDER`. Prints its address and at the end a report. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { serveFiles } from '../../src/server/index.ts'
import { sampleImage, served } from './sample.ts'
import { SAMPLE_MEBIBYTES, type ServingReport } from './serving-report.ts'

const [folder = ''] = process.argv.slice(2)
const counts = { finish: 0, drop: 0 }
const { image } = sampleImage(SAMPLE_MEBIBYTES, folder)
const openBefore = readdirSync('/proc/self/fd').length
const server = await serveFiles([served('/sample', image)], {
  host: '127.0.0.1',
  port: 0,
  onEvent: ({ kind }) => {
    if (kind === 'finish' || kind === 'drop') counts[kind]++
  },
})
globalThis.gc?.()
// VmHWM begins anew (proc(5), clear_refs).
writeFileSync('/proc/self/clear_refs', '5')
const residentBefore = process.memoryUsage.rss()
console.log(JSON.stringify({ url: server.url, port: server.port }))

process.stdin.resume().on('end', async () => {
  await server.close()
  const report: ServingReport = {
    residentBytes: Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]) * 1024 - residentBefore,
    openFiles: readdirSync('/proc/self/fd').length - openBefore,
    finished: counts.finish,
    dropped: counts.drop,
  }
  console.log(JSON.stringify(report))
})
