/** The closure from a daemon: versions of the protocol, messages, and daemons that are broken or hostile. */
import { mkdirSync, symlinkSync } from 'node:fs'
import type { Server, Socket } from 'node:net'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Closure } from '../../../src/nix/listing/closure.ts'
import { type LocalClosureOptions, localClosure } from '../../../src/nix/local/index.ts'
import { formatHex } from '../../../src/nix/store/hash.ts'
import { failure, scratchFolder } from '../scratch.ts'
import { base, closureFrom, file } from '../store-samples.ts'
import { errorFrame, type FakeDaemon, type FakePath, fakeDaemon, LAST, MESSAGES, text, word } from './fake-daemon.ts'

const scratch = scratchFolder()
const at = (name: string): string => `/nix/store/${base(name)}`
const APP = at('app')

let closure: Closure
const paths = new Map<string, FakePath>()
let servers: Server[] = []
let count = 0

beforeAll(async () => {
  closure = await closureFrom({
    [base('app')]: { tree: file('app'), references: ['app', 'lib', 'data'].map(base) },
    [base('lib')]: { tree: file('lib'), references: [base('base')] },
    [base('data')]: { tree: file('data'), references: [base('base')] },
    [base('base')]: { tree: file('base'), references: [] },
  })
  mkdirSync(scratch('root/nix/store'), { recursive: true })
  for (const { path, baseName, narHash, narSize, references } of closure.paths) {
    mkdirSync(scratch('root/nix/store', baseName))
    paths.set(path, { narHash: formatHex(narHash ?? new Uint8Array()), narSize: narSize ?? 0, references })
  }
  symlinkSync(APP, scratch('result'))
})

afterEach(() => {
  for (const server of servers) server.close()
  servers = []
})

async function listen(daemon: Partial<FakeDaemon>): Promise<{ readonly store: string; readonly socket: string; readonly asked: string[] }> {
  const socket = scratch(`s${++count}`)
  const { server, asked } = await fakeDaemon(socket, { version: 0x123, paths, ...daemon })
  servers.push(server)
  return { store: `unix://${socket}?root=${scratch('root')}`, socket, asked }
}

const ask = async (daemon: Partial<FakeDaemon>, options: LocalClosureOptions = {}) => {
  const { store, asked } = await listen(daemon)
  return { ...(await localClosure([APP], { store, ...options })), asked }
}

const failing = async (daemon: Partial<FakeDaemon>, message: RegExp): Promise<void> => {
  const { store } = await listen(daemon)
  await failure(() => localClosure([APP], { store, timeoutMilliseconds: 100 }), 'UNREADABLE', message)
}

/** Send that, and close. */
const endWith =
  (bytes: Uint8Array = new Uint8Array()) =>
  (_: number, socket: Socket): 'nothing' => {
    socket.end(bytes)
    return 'nothing'
  }

/** What the protocol tells of a closure. */
const told = ({ paths: all }: Closure) => all.map(({ path, narHash, narSize, references }) => ({ path, narHash, narSize, references }))

describe('the closure from the daemon', () => {
  it.each([0x115, 0x119, 0x11a, 0x120, 0x121, 0x122, 0x123, 0x126, 0x12a])(
    'is the same with version %i of the protocol',
    async (version) => {
      const found = await ask({ version, messages: MESSAGES })
      expect(told(found.closure)).toEqual(told(closure))
      expect(found.closure).toMatchObject({ kind: 'nix-daemon', hashesKnown: true, referencesKnown: true })
      expect(found).toMatchObject({ roots: [APP], root: scratch('root'), inputs: [] })
    },
  )

  it('is read from one that takes no older clients, as Lix does, and byte by byte', async () => {
    const found = await ask({ lowestClient: 0x123, drips: true, messages: MESSAGES })
    expect(told(found.closure)).toEqual(told(closure))
  })

  it('asks for each path once, and for the roots that links lead to', async () => {
    const { store, asked } = await listen({})
    const found = await localClosure([scratch('result'), APP, at('lib')], { store })
    expect(found.roots).toEqual([APP, at('lib')])
    expect(asked.toSorted()).toEqual([...paths.keys()].toSorted())
  })

  it('has thousands of paths in one connection', async () => {
    const many = new Map<string, FakePath>()
    const names = Array.from({ length: 3000 }, (_, index) => at(`n${index}`))
    for (const path of names) many.set(path, { narHash: '11'.repeat(32), narSize: 96, references: [] })
    many.set(APP, { narHash: '11'.repeat(32), narSize: 96, references: names })
    const { store, asked } = await listen({ paths: many })
    await failure(
      () => localClosure([APP], { store }),
      'NOT_FOUND',
      /3000 of 3001 paths are valid for Nix, but their files are not below .*[\s\S]*and 2990 more/,
    )
    expect(asked).toHaveLength(3001)
  })

  it('keeps content addresses and derivers, and knows no hash of zeros', async () => {
    const odd = new Map([
      [APP, { narHash: '00'.repeat(32), narSize: 0, references: [at('lib'), at('data')], deriver: at('app.drv') }],
      [at('lib'), { narHash: '22'.repeat(32), narSize: 0, references: [] }],
      [at('data'), { narHash: '22'.repeat(32), narSize: 112, references: [], ca: `text:sha256:${'0'.repeat(52)}` }],
    ])
    const found = await ask({ paths: odd })
    expect(found.closure.hashesKnown).toBe(false)
    const byPath = new Map(found.closure.paths.map((path) => [path.path, path]))
    expect(byPath.get(APP)).toMatchObject({ deriver: at('app.drv') })
    expect(byPath.get(APP)?.narHash).toBeUndefined()
    expect(byPath.get(at('lib'))?.narHash).toBeUndefined()
    expect(byPath.get(at('data'))).toMatchObject({ ca: `text:sha256:${'0'.repeat(52)}`, narSize: 112 })
  })

  it('names a path that is not valid, and who refers to it', async () => {
    const { store } = await listen({ paths: new Map([[APP, { narHash: '', narSize: 0, references: [at('gone')] }]]) })
    await failure(
      () => localClosure([at('none')], { store }),
      'NOT_FOUND',
      /-none is not valid in the store of the Nix daemon at .*nix-store --realise/,
    )
    await failure(() => localClosure([APP], { store }), 'NOT_FOUND', /-gone, to which .*-app refers, is not valid/)
  })

  it.each<[string, Partial<FakeDaemon>, RegExp]>([
    ['an error', { instead: () => errorFrame(0x123, '\u001b[31mdisk\u001b[0m I/O\nerror') }, /it says: disk I\/O\\x0aerror/],
    ['an error of old', { version: 0x119, instead: () => errorFrame(0x119, 'no') }, /it says: no/],
    ['an error of the greeting', { messages: [errorFrame(0x123, 'you are not allowed')] }, /it says: you are not allowed/],
    ['silence', { instead: () => 'nothing' }, /there was no answer for 0\.1 seconds/],
    ['silence at first', { greeting: 'nothing' }, /there was no answer/],
    ['the end', { instead: endWith() }, /ended in the middle of an answer/],
    ['the end in a word', { instead: endWith(LAST.subarray(0, 5)) }, /ended in the middle/],
    ['another protocol', { greeting: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') }, /is no Nix daemon|which cannot be/],
    ['a later major version', { version: 0x200 }, /speaks version 2\.0 of the protocol/],
    ['Nix before 2.3', { version: 0x114 }, /speaks version 1\.20 of the protocol; 1\.21 \(Nix 2\.3\) and later/],
    ['a message of no kind', { instead: () => word(42) }, /sent 0x2a, which is no message/],
    ['a wish for data', { instead: () => word(0x64617461) }, /asks for data/],
    ['a field of no type', { instead: () => Buffer.concat([word(0x52534c54), word(1), word(1), word(1), word(5)]) }, /type 5/],
    ['a text without end', { instead: () => Buffer.concat([LAST, word(1), word(2 ** 40)]) }, /is 1099511627776 bytes long/],
    ['a number beyond 2^53', { instead: () => Buffer.concat([LAST, word(1), Buffer.alloc(8, 0xff)]) }, /which cannot be/],
    ['no zeros behind a text', { instead: () => Buffer.concat([LAST, word(1), word(1), Buffer.alloc(8, 1)]) }, /not padded/],
    [
      'references without end',
      { instead: () => Buffer.concat([LAST, word(1), text(''), text(''), word(2 ** 40)]) },
      /references, which cannot be/,
    ],
  ])('says what it got instead: %s', async (_, daemon, message) => {
    await failing(daemon, message)
  })

  it('ends with one that only ever says something', async () => {
    const flood = Buffer.concat(Array.from({ length: 100_001 }, () => MESSAGES[3] as Buffer))
    await failing({ instead: () => flood }, /sent 100000 messages and no answer/)
  })

  it.each<[string, Partial<FakePath>, RegExp]>([
    ['no hash', { narHash: 'xyz' }, /is no SHA-256/],
    ['no size', { narSize: 97 }, /97 cannot be the size of a NAR/],
    ['a reference out of the store', { references: ['/etc/passwd'] }, /'\/etc\/passwd' is not a path below/],
    ['a reference that is not in the store', { references: ['/nix/store/../../etc'] }, /is no store path/],
  ])('refuses what contradicts itself: %s', async (_, odd, message) => {
    const right = paths.get(at('base')) as FakePath
    const { store } = await listen({ paths: new Map([[APP, { ...right, ...odd }]]) })
    await failure(() => localClosure([APP], { store }), 'BAD_INPUT', message)
  })

  it('can be cancelled', async () => {
    const { store } = await listen({ greeting: 'nothing' })
    const asking = localClosure([APP], { store, signal: AbortSignal.timeout(50) })
    await failure(() => asking, 'ABORTED', /cancelled/)
  })

  it('is not needed where there is a database, and missed where it does not work', async () => {
    const notes: string[] = []
    const { socket } = await listen({ greeting: 'nothing' })
    const environment = { NIX_DAEMON_SOCKET_PATH: socket, NIX_STATE_DIR: scratch('state') }
    const options = { environment, timeoutMilliseconds: 50, onNote: (note: string) => notes.push(note) }
    await failure(
      () => localClosure([APP], options),
      'UNREADABLE',
      /cannot be asked: tried the Nix daemon at .* \(there was no answer for 0\.05 seconds\), the Nix database .*db\.sqlite \(no such file\)/,
    )
    expect(notes).toEqual([])
  })
})
