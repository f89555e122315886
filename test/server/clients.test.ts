/** Clients that stall, leave, dawdle or talk nonsense, and files that cannot be read: none of it harms the others. */
import { once } from 'node:events'
import { copyFileSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { bytesImage, type Extent, type Image } from '../../src/io/image.ts'
import type { ServerEvent } from '../../src/server/index.ts'
import { hostFileImage } from '../../src/tree/host-image.ts'
import { randomNumbers } from '../faults/support.ts'
import { MEBIBYTE, randomBytes, served } from './sample.ts'
import { eventually, headAndBody, openFiles, rawAnswer, rawSocket, serverFolder, startServer, untilClosed } from './support.ts'

const folder = serverFolder()

const unhandled: unknown[] = []
process.on('unhandledRejection', (error) => unhandled.push(error))
afterAll(() => expect(unhandled).toEqual([]))

const text = bytesImage(Buffer.from('content\n'))
const small = served('/small', text)
const get = (path: string, fields = ''): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${fields}\r\n`
const getAndClose = (path: string): string => get(path, 'Connection: close\r\n')

/** More than the system holds for a connection. */
const LARGE = 24 * MEBIBYTE

const file = join(folder, 'large')
writeFileSync(file, randomBytes(MEBIBYTE, 9))
truncateSync(file, LARGE)
const large = served('/large', hostFileImage(file, LARGE))

const isDrop = (event: ServerEvent): boolean => event.kind === 'drop'

async function stillServes(port: number): Promise<void> {
  expect(headAndBody(await rawAnswer(port, getAndClose('/small'))).body.toString()).toBe('content\n')
}

describe('a client that stalls', () => {
  it('is dropped after the idle time, and its file is closed', async () => {
    const before = openFiles()
    const { port, event, close } = await startServer([large, small], { idleMilliseconds: 300 })
    const socket = await rawSocket(port)
    socket.pause()
    socket.write(get('/large'))
    const drop = await event(isDrop)
    expect(drop).toMatchObject({ kind: 'drop', status: 200, reason: 'stalled', request: { target: '/large' } })
    await stillServes(port)
    expect((await untilClosed(socket.resume())).length).toBeLessThan(LARGE)
    await close()
    expect(await eventually(() => openFiles() === before)).toBe(true)
  })

  it('is one that takes nothing, not one that is slow', async () => {
    const { port, events } = await startServer([large, small], { idleMilliseconds: 1500 })
    const socket = await rawSocket(port)
    socket.write(getAndClose('/large'))
    let taken = 0
    socket.on('data', (chunk: Buffer) => {
      taken += chunk.length
      if (taken > 6 * MEBIBYTE) return
      socket.pause()
      setTimeout(() => socket.resume(), 20)
    })
    const before = performance.now()
    await once(socket, 'close')
    expect(performance.now() - before).toBeGreaterThan(1800)
    expect(taken).toBeGreaterThan(LARGE)
    expect(events.map(({ kind }) => kind)).toEqual(['start', 'finish'])
  })

  it('is not one that waits for a slow disk', async () => {
    const slow: Image = {
      size: 3,
      extents: [
        {
          start: 0,
          length: 3,
          async *read() {
            await sleep(400)
            yield Buffer.from('s')
            await sleep(400)
            yield Buffer.from('ow')
          },
        },
      ],
    }
    const { port } = await startServer([served('/slow', slow)], { idleMilliseconds: 150 })
    expect(headAndBody(await rawAnswer(port, getAndClose('/slow'))).body.toString()).toBe('sow')
  })

  it.each([
    ['says nothing', ''],
    ['sends half a request', 'GET /small HTTP/1.1\r\nHo'],
    ['sends half of the content', 'POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc'],
  ])('is told so when it %s', async (_name, sent) => {
    const { port } = await startServer([small], { idleMilliseconds: 200 })
    const socket = await rawSocket(port)
    if (sent !== '') socket.write(sent)
    expect((await untilClosed(socket)).toString()).toMatch(/HTTP\/1\.1 408 Request Timeout\r\n[\s\S]*408 Request Timeout\n$/)
    await stillServes(port)
  })
})

describe('a head that comes byte by byte', () => {
  it('has to be there in the time for the whole of it', async () => {
    const { port, events } = await startServer([small], { idleMilliseconds: 600 })
    const socket = await rawSocket(port)
    const answer = untilClosed(socket)
    socket.write('GET /small HTTP/1.1\r\nX: ')
    const drip = setInterval(() => socket.writable && socket.write('y'), 50)
    expect((await answer).toString()).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/)
    clearInterval(drip)
    expect(events).toMatchObject([{ kind: 'refuse', status: 408 }])
  })
})

describe('a client that leaves', () => {
  it('closes its file, in the middle of an answer or before it', async () => {
    const before = openFiles()
    const { port, events, close } = await startServer([large, small])
    const random = randomNumbers(4)
    for (let round = 0; round < 40; round++) {
      const socket = await rawSocket(port)
      socket.write(get('/large'))
      const enough = Math.floor(random() * 4) * MEBIBYTE
      let taken = 0
      if (enough > 0) {
        socket.on('data', (chunk: Buffer) => {
          taken += chunk.length
        })
        await eventually(() => taken >= enough)
      }
      if (random() < 0.5) socket.destroy()
      else socket.resetAndDestroy()
    }
    const count = (kind: string): number => events.filter((event) => event.kind === kind).length
    expect(await eventually(() => count('start') === count('drop'))).toBe(true)
    expect(events.every((event) => event.kind !== 'drop' || event.reason === 'disconnected')).toBe(true)
    await stillServes(port)
    await close()
    expect(await eventually(() => openFiles() === before)).toBe(true)
  })
})

/** A host file, and what happens to it between the second and the third chunk of the first read. */
function damagedWhileRead(name: string, damage: (path: string) => void): Image {
  const path = join(folder, name)
  copyFileSync(file, path)
  const [whole] = hostFileImage(path, LARGE).extents
  const extent: Extent = {
    start: 0,
    length: LARGE,
    async *read() {
      let chunks = 0
      for await (const chunk of whole?.read() ?? []) {
        if (chunks++ === 2) damage(path)
        yield chunk
      }
    },
  }
  return { size: LARGE, extents: [extent] }
}

describe('a file that cannot be read', () => {
  it('is answered with 500 when nothing was sent yet', async () => {
    const missing = served('/missing', hostFileImage(join(folder, 'missing'), 1000))
    const { port, events } = await startServer([missing, small])
    const answer = headAndBody(await rawAnswer(port, getAndClose('/missing')))
    expect(answer.head).toMatch(/^HTTP\/1\.1 500 Internal Server Error\r\n/)
    expect(answer.head).not.toMatch(/etag|accept-ranges/i)
    expect(answer.body.toString()).toBe('500 Internal Server Error\n')
    expect(events).toMatchObject([
      { kind: 'start' },
      { kind: 'readError', error: { code: 'CHANGED', path: join(folder, 'missing') } },
      { kind: 'finish', status: 500, bytes: 26 },
    ])
    expect((await rawAnswer(port, 'HEAD /missing HTTP/1.0\r\n\r\n')).toString()).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    await stillServes(port)
  })

  it.each([
    ['is cut off', (path: string) => truncateSync(path, MEBIBYTE)],
    ['is removed and cut off', (path: string) => [truncateSync(path, 0), unlinkSync(path)]],
    ['grows', (path: string) => truncateSync(path, LARGE + 1)],
  ])('ends the connection short when it %s meanwhile', async (name, damage) => {
    const { port, event } = await startServer([served('/damaged', damagedWhileRead(name, damage)), small])
    const answer = headAndBody(await rawAnswer(port, get('/damaged')))
    expect(answer.head).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*Content-Length: 25165824\r\n/)
    expect(answer.body.length).toBeLessThan(LARGE)
    const drop = await event(isDrop)
    expect(drop).toMatchObject({ kind: 'drop', reason: 'unreadable' })
    expect(await event(({ kind }) => kind === 'readError')).toMatchObject({ error: { code: 'CHANGED' } })
    await stillServes(port)
  })

  it('is whatever an image throws', async () => {
    const thrown = (read: Extent['read']): Image => ({ size: 4, extents: [{ start: 0, length: 4, read }] })
    const files = [
      thrown(() => {
        throw new Error('at once')
      }),
      thrown(async function* () {
        yield Buffer.from('to')
      }),
      thrown(async function* () {
        yield Buffer.from('too much')
      }),
      thrown(async function* () {
        yield* []
        throw undefined
      }),
    ]
    const { port, events } = await startServer([small, ...files.map((image, index) => served(`/${index}`, image))])
    for (const index of files.keys()) {
      expect(headAndBody(await rawAnswer(port, getAndClose(`/${index}`))).head).toMatch(/^HTTP\/1\.1 500 /)
    }
    expect(events.filter(({ kind }) => kind === 'readError')).toHaveLength(4)
    await stillServes(port)
  })
})

describe('pipelined requests', () => {
  it('are answered in turn, and only the first holds a file', async () => {
    const before = openFiles()
    const { port } = await startServer([large, small])
    const socket = await rawSocket(port)
    socket.pause()
    socket.write(get('/large') + get('/large').repeat(30) + get('/small') + getAndClose('/large'))
    await sleep(200)
    // Two ends of the connection, the file, and the listening socket.
    expect(openFiles() - before).toBeLessThanOrEqual(4)
    const seen: number[] = []
    let length = 0
    socket.on('data', (chunk: Buffer) => {
      length += chunk.length
      seen.push(chunk.length)
    })
    socket.resume()
    await eventually(() => length > 3 * LARGE)
    socket.destroy()
    expect(length).toBeGreaterThan(3 * LARGE)
  })

  it('come in the right order', async () => {
    const files = Array.from({ length: 20 }, (_, index) => served(`/${index}`, bytesImage(Buffer.from(`<${index}>`))))
    const { port } = await startServer(files)
    const order = [3, 1, 19, 0, 7, 7, 12]
    const answer = await rawAnswer(port, order.map((index) => get(`/${index}`)).join('') + getAndClose('/5'))
    expect(answer.toString().match(/<\d+>/g)).toEqual([...order, 5].map((index) => `<${index}>`))
  })

  it('are refused when there are too many', async () => {
    const { port, events } = await startServer([large, small])
    await rawAnswer(port, get('/large').repeat(101))
    expect(events.filter(({ kind }) => kind === 'refuse')).toMatchObject([{ status: undefined, reason: 'too many requests at once' }])
    await stillServes(port)
  })
})

describe('garbage', () => {
  const words = [
    'CONNECT ',
    'GET ',
    'HEAD ',
    'POST ',
    '/small',
    '/large',
    ' HTTP/1.1\r\n',
    ' HTTP/1.0\r\n',
    'Host: localhost\r\n',
    '\r\n',
    '\r\n\r\n',
    'Range: bytes=',
    '0-5',
    ',',
  ]
  words.push(
    'Content-Length: 5\r\n',
    'Transfer-Encoding: chunked\r\n',
    '5\r\n',
    'Connection: close\r\n',
    'If-None-Match: "',
    ':',
    '\n',
    '\0',
    '%00',
    '..',
    '\x80\xff',
  )

  it('of any kind leaves the server as it was', async () => {
    const before = openFiles()
    const { port, close } = await startServer([large, small], { idleMilliseconds: 5000 })
    const random = randomNumbers(77)
    const pick = (): string => words[Math.floor(random() * words.length)] ?? ''
    const clients: Promise<unknown>[] = []
    for (let round = 0; round < 400; round++) {
      const socket = await rawSocket(port)
      const kind = random()
      const noise = randomBytes(1 + Math.floor(random() * 3000), round)
      if (kind < 0.3) socket.write(noise)
      else if (kind < 0.9) socket.write(Buffer.from(Array.from({ length: 1 + Math.floor(random() * 30) }, pick).join(''), 'latin1'))
      else socket.write(Buffer.concat([Buffer.from(get('/small')), noise]))
      if (random() < 0.5) socket.end()
      socket.resume()
      clients.push(sleep(30).then(() => socket.destroy()))
      if (round % 100 === 99) await stillServes(port)
    }
    await Promise.all(clients)
    await stillServes(port)
    await close()
    expect(await eventually(() => openFiles() === before)).toBe(true)
  })

  it('in a head without end is cut off', async () => {
    const { port } = await startServer([small])
    const socket = await rawSocket(port)
    socket.write('GET / HTTP/1.1\r\n')
    const answer = untilClosed(socket)
    for (let line = 0; line < 4000 && !socket.destroyed; line++) socket.write(`X-${line}: ${'y'.repeat(50)}\r\n`)
    expect((await answer).toString()).toMatch(/^HTTP\/1\.1 431 Request Header Fields Too Large\r\n/)
    await stillServes(port)
  })

  it('after the answer is read for a while, so that the answer arrives', async () => {
    const { port } = await startServer([small])
    const socket = await rawSocket(port)
    const answer = untilClosed(socket)
    const flood = setInterval(() => socket.writable && socket.write(Buffer.alloc(100_000, 1)), 1)
    expect((await answer).toString()).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
    clearInterval(flood)
    await stillServes(port)
  })
})
