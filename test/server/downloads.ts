/**
 * Downloads one address often at the same time, in a process of its own, and prints how often each SHA-256 came:
 * `node downloads.ts URL COUNT`. A download that breaks off counts as its error.
 */
import { createHash } from 'node:crypto'
import { get } from 'node:http'

const [url = '', count = '1'] = process.argv.slice(2)

function download(): Promise<string> {
  return new Promise((resolve) => {
    get(url, { agent: false }, (response) => {
      const hash = createHash('sha256')
      response.on('data', (chunk: Buffer) => hash.update(chunk))
      response.on('end', () => resolve(response.complete ? hash.digest('hex') : 'incomplete'))
      response.on('error', (error) => resolve(error.message))
    }).on('error', (error) => resolve(error.message))
  })
}

const results: Record<string, number> = {}
for (const result of await Promise.all(Array.from({ length: Number(count) }, download))) results[result] = (results[result] ?? 0) + 1
console.log(JSON.stringify(results))
