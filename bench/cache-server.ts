/** A binary cache on loopback for `bench/cache.ts`, in a process of its own, since a contest blocks that one: prints its URL. */
import { createReadStream, statSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, normalize } from 'node:path'

const folder = process.argv[2] ?? ''
const server = createServer((request, response) => {
  const path = join(folder, normalize(request.url ?? '/'))
  const size = statSync(path, { throwIfNoEntry: false })?.size
  if (size === undefined) response.writeHead(404).end()
  else createReadStream(path).pipe(response.writeHead(200, { 'content-length': size }))
})
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
