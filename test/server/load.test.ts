/** Many clients at once: each byte right, memory bounded, and an orderly end. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { bytesImage } from '../../src/io/image.ts'
import type { ServerEvent } from '../../src/server/index.ts'
import { hostFileImage } from '../../src/tree/host-image.ts'
import { MEBIBYTE, sampleImage, served } from './sample.ts'
import { SAMPLE_MEBIBYTES } from './serving-report.ts'
import { eventually, headAndBody, openFiles, rawSocket, serverFolder, sha256, startServer, startServing, untilClosed } from './support.ts'

const folder = serverFolder()

const CLIENTS = 200

async function downloads(url: string, count: number): Promise<Record<string, number>> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(import.meta.dirname, 'downloads.ts'), url, String(count)])
  return JSON.parse(stdout) as Record<string, number>
}

const LARGE = 64 * MEBIBYTE
const sparse = join(folder, 'sparse')
writeFileSync(sparse, '')
truncateSync(sparse, LARGE)
const large = served('/large', hostFileImage(sparse, LARGE))
const small = served('/small', bytesImage(Buffer.from('content\n')))
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`

describe(`${CLIENTS} clients`, () => {
  const sample = sampleImage(SAMPLE_MEBIBYTES, folder)

  it('download at the same time, each byte right, in bounded memory', async () => {
    const { addresses, end } = startServing(folder)
    const { url } = await addresses()
    expect(await downloads(`${url}/sample`, CLIENTS)).toEqual({ [sha256(sample.bytes)]: CLIENTS })
    const { residentBytes, openFiles, finished, dropped } = await end()
    console.log(`${CLIENTS} downloads of ${sample.image.size} bytes: ${Math.round(residentBytes / MEBIBYTE)} MiB more resident`)
    expect({ openFiles, finished, dropped }).toEqual({ openFiles: 0, finished: CLIENTS, dropped: 0 })
    expect(residentBytes).toBeLessThan(100 * MEBIBYTE)
  })

  it('that take nothing cost little memory', async () => {
    const { addresses, end } = startServing(folder)
    const { port } = await addresses()
    const sockets = await Promise.all(Array.from({ length: CLIENTS }, () => rawSocket(port)))
    for (const socket of sockets) socket.write(get('/sample'))
    // That there is something to read, and nobody reads it.
    await Promise.all(sockets.map((socket) => once(socket, 'readable')))
    await sleep(500)
    for (const socket of sockets) socket.destroy()
    const { residentBytes, openFiles, finished, dropped } = await end()
    console.log(`${CLIENTS} clients that take nothing: ${Math.round(residentBytes / MEBIBYTE)} MiB more resident`)
    expect({ openFiles, finished, dropped }).toEqual({ openFiles: 0, finished: 0, dropped: CLIENTS })
    expect(residentBytes).toBeLessThan(100 * MEBIBYTE)
  })

  it('see a byte that is wrong', async () => {
    const bytes = Buffer.from(sample.bytes)
    bytes[bytes.length - 1] = 1
    const { url } = await startServer([served('/initrd', bytesImage(bytes))])
    expect(await downloads(`${url}/initrd`, 1)).not.toHaveProperty(sha256(sample.bytes))
  })
})

describe('close', () => {
  it('is done at once when nothing is under way, and may be called again', async () => {
    const { port, close, closed, url } = await startServer([small], { graceMilliseconds: 60_000 })
    const idle = [await rawSocket(port), await rawSocket(port), await rawSocket(port)]
    idle[0]?.write(get('/small'))
    idle[1]?.write('GET /small HT')
    for (const socket of idle) socket.resume()
    await sleep(50)
    const before = performance.now()
    await Promise.all([close(), close(), closed])
    await close()
    expect(performance.now() - before).toBeLessThan(1000)
    await expect(fetch(url)).rejects.toThrow()
    expect(await eventually(() => idle.every((socket) => socket.closed))).toBe(true)
  })

  it('ends connections that were just refused', async () => {
    const { port, close, event } = await startServer([small], { graceMilliseconds: 60_000 })
    const socket = await rawSocket(port)
    socket.write('garbage\r\n\r\n')
    const answer = untilClosed(socket)
    await event(({ kind }) => kind === 'refuse')
    const before = performance.now()
    await close()
    expect(performance.now() - before).toBeLessThan(500)
    expect((await answer).toString()).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
  })

  it('lets answers finish that can within the grace, and takes no more requests', async () => {
    const { port, close, event } = await startServer([large, small], { graceMilliseconds: 60_000 })
    const socket = await rawSocket(port)
    socket.pause().write(get('/large'))
    await event(({ kind }) => kind === 'start')
    await sleep(100)
    const closing = close()
    socket.write(get('/small'))
    await sleep(100)
    const { head, body } = headAndBody(await untilClosed(socket.resume()))
    expect(head).toMatch(/^HTTP\/1\.1 200 OK/)
    expect(body.length).toBeGreaterThan(LARGE)
    expect(body.subarray(LARGE).toString()).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/)
    await closing
  })

  it('cuts off what takes longer', async () => {
    const before = openFiles()
    const { port, close, events } = await startServer([large, small], { graceMilliseconds: 200 })
    const sockets = await Promise.all(Array.from({ length: 50 }, () => rawSocket(port)))
    for (const [index, socket] of sockets.entries()) {
      if (index % 2 === 0) socket.pause()
      else socket.resume()
      socket.write(get('/large'))
    }
    await eventually(() => events.length === sockets.length)
    const start = performance.now()
    await close()
    expect(performance.now() - start).toBeLessThan(3000)
    const drops = events.filter((event): event is ServerEvent & { kind: 'drop' } => event.kind === 'drop')
    expect(drops.length).toBeGreaterThanOrEqual(25)
    expect(new Set(drops.map(({ reason }) => reason))).toEqual(new Set(['shutdown']))
    for (const socket of sockets) socket.destroy()
    expect(await eventually(() => openFiles() === before)).toBe(true)
  })
})
