/** More connections than there is room for: whoever asks for something is let in, whoever holds a place and takes nothing goes. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { bytesImage } from '../../src/io/image.ts'
import { clientOf } from '../../src/server/connections.ts'
import type { ServerEvent } from '../../src/server/index.ts'
import { MEBIBYTE, sampleImage, served } from './sample.ts'
import { SAMPLE_MEBIBYTES } from './serving-report.ts'
import { eventually, headAndBody, rawAnswer, rawSocket, serverFolder, sha256, startServer, startServing, untilClosed } from './support.ts'

const folder = serverFolder()

const small = served('/small', bytesImage(Buffer.from('content\n')))
const large = served('/large', { size: 64 * MEBIBYTE, extents: [] })
const getAndClose = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`

/** Holds a place with a part of an answer, and takes no more. */
async function holding(port: number): Promise<Socket> {
  const socket = (await rawSocket(port)).pause()
  socket.write(getAndClose('/large'))
  await once(socket, 'readable')
  return socket
}

describe('2,000 slow connections', () => {
  it('of all kinds keep nobody out', async () => {
    const expected = sha256(sampleImage(SAMPLE_MEBIBYTES, folder).bytes)
    const sent = [
      '',
      'GET /sample HTTP/1.1\r\nX: ',
      'POST /sample HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n',
      'HEAD /sample HTTP/1.1\r\nHost: localhost\r\n\r\n',
    ]
    const { addresses, end } = startServing(folder)
    const { port } = await addresses()
    const slow: Socket[] = []
    const drip = setInterval(() => {
      for (let index = 1; index < slow.length; index += sent.length) slow[index]?.write('y')
    }, 100)
    while (slow.length < 2000) {
      const some = await Promise.all(Array.from({ length: 100 }, () => rawSocket(port)))
      for (const [index, socket] of some.entries()) socket.resume().write(sent[index % sent.length] ?? '')
      slow.push(...some)
      // In the middle of it, and at its end.
      if (slow.length % 1000 !== 0) continue
      expect(sha256(headAndBody(await rawAnswer(port, getAndClose('/sample'))).body)).toBe(expected)
    }
    clearInterval(drip)
    expect(slow.filter((socket) => !socket.destroyed).length).toBeGreaterThan(100)
    for (const socket of slow) socket.destroy()
    expect(await end()).toMatchObject({ openFiles: 0 })
  })

  it('that take next to nothing have to go for others', async () => {
    const { port, events } = await startServer([large, small], { maximumConnections: 20, idleMilliseconds: 2000 })
    // Three quarters of the places are all that one client has.
    const slow = await Promise.all(Array.from({ length: 15 }, () => holding(port)))
    const drip = setInterval(() => {
      for (const socket of slow) socket.read(1000)
    }, 20)
    expect(await eventually(async () => (await rawAnswer(port, getAndClose('/small'))).toString().endsWith('content\n'))).toBe(true)
    expect(await eventually(() => events.some(({ kind }) => kind === 'drop'))).toBe(true)
    clearInterval(drip)
    const stalled = events.filter((event): event is ServerEvent & { kind: 'drop' } => event.kind === 'drop')
    expect(new Set(stalled.map(({ reason }) => reason))).toEqual(new Set(['stalled']))
    for (const socket of slow) socket.destroy()
  })
})

describe('places', () => {
  it('are not all for one client', async () => {
    const { port } = await startServer([large, small], { host: '0.0.0.0', maximumConnections: 8, maximumPerClient: 3 })
    const held = await Promise.all(Array.from({ length: 3 }, () => holding(port)))
    const from = async (localAddress: string) => untilClosed((await rawSocket(port, localAddress)).end(getAndClose('/small')))
    expect((await from('127.0.0.1')).toString()).toMatch(/^HTTP\/1\.1 503 /)
    expect((await from('127.0.0.2')).toString()).toMatch(/content\n$/)
    for (const socket of held) socket.destroy()
  })

  it('are taken from the client that has most of them in vain', async () => {
    const { port, events } = await startServer([small], { host: '0.0.0.0', maximumConnections: 8, maximumPerClient: 7 })
    const modest = await rawSocket(port, '127.0.0.2')
    const greedy: Socket[] = []
    for (let count = 0; count < 7; count++) greedy.push(await rawSocket(port))
    const other = await rawSocket(port, '127.0.0.3')
    expect(await eventually(() => greedy[0]?.closed === true)).toBe(true)
    for (const socket of [modest, other]) expect((await untilClosed(socket.end(getAndClose('/small')))).toString()).toMatch(/content\n$/)
    expect(events.filter(({ kind }) => kind === 'refuse')).toHaveLength(1)
    for (const socket of greedy) socket.destroy()
  })

  it('come back when connections end, whatever they were', async () => {
    const { port } = await startServer([large, small], { maximumConnections: 4, maximumPerClient: 4 })
    for (let round = 0; round < 5; round++) {
      const held = await Promise.all(Array.from({ length: 4 }, () => holding(port)))
      expect((await rawAnswer(port, getAndClose('/small'))).toString()).toMatch(/^HTTP\/1\.1 503 /)
      for (const socket of held) socket.resetAndDestroy()
      const isFree = async () => (await rawAnswer(port, getAndClose('/small'))).toString().endsWith('content\n')
      expect(await eventually(isFree)).toBe(true)
      const silent = await Promise.all(Array.from({ length: 4 }, () => rawSocket(port)))
      for (const socket of silent) socket.destroy()
    }
  })
})

describe('a client', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::6', '2001:db8:1:2'],
    ['2001:db8::6', '2001:db8:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['::1', '0:0:0:0'],
    ['::', '0:0:0:0'],
  ])('at %s counts as %s', (address, expected) => {
    expect(clientOf(address)).toBe(expected)
  })
})
