/** `kilnix serve` with inputs, places and clients that fail, and its end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { sectionContent } from '../readers/pe-reader.ts'
import { flipByte, removed } from './harm.ts'
import { type Fixture, LARGEST_INPUT, netbootFixture, STYLES, type Style } from './netboot-support.ts'
import { type Ended, errorLine, finish, kilnix, leftIn, NO_MOUNT, start, withDisk } from './support.ts'

const MEBIBYTE = 1 << 20

let f: Fixture
let input: readonly string[]
const running = new Set<ChildProcess>()
beforeAll(async () => {
  f = await netbootFixture()
  const { folder, root } = f.work.closure
  input = ['--closure', folder, '--root', root, '--compression', 'lz4', '--block-size', '128K', '--jobs', '2', '--listen', '127.0.0.1:0']
})
afterAll(() => f.work.remove())
afterEach(() => {
  for (const child of running) child.kill('SIGKILL')
  running.clear()
  expect({ output: leftIn(f.output), scratch: leftIn(f.scratch) }).toEqual({ output: [], scratch: [] })
})

interface Serving {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Without the name of a file. */
  readonly url: string
  readonly port: number
  readonly stdout: () => string
  readonly stderr: () => string
}

/** A server that listens. */
async function serve(args: readonly string[] = [], node?: readonly string[]): Promise<Serving> {
  const child = start(['serve', ...input, ...args], { ...(node && { node }), stdio: ['ignore', 'pipe', 'pipe', 'pipe'] })
  running.add(child)
  let stdout = ''
  let stderr = ''
  child.stderr?.on('data', (text) => {
    stderr += String(text)
  })
  const ended = finish(child).finally(() => running.delete(child))
  const line = new Promise<string>((resolve, reject) => {
    child.stdout?.on('data', (text) => {
      stdout += String(text)
      if (stdout.includes('\n')) resolve(stdout.trim())
    })
    void ended.then(({ status }) => reject(new Error(`the server ended with status ${status}: ${stderr}`)))
  })
  const [first = ''] = (await line).split('\n')
  const url = new URL('.', first).href.replace(/\/$/, '')
  return { child, ended, url, port: Number(new URL(url).port), stdout: () => stdout, stderr: () => stderr }
}

async function stopped({ child, ended }: Serving, signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
  child.kill(signal)
  return ended
}

interface Download {
  readonly status: number | undefined
  readonly sha256: string
  readonly isWhole: boolean
}

function download(url: string, headers: Record<string, string> = {}): Promise<Download> {
  return new Promise((resolve, reject) => {
    const get = request(url, { agent: false, headers }, (response) => {
      const hash = createHash('sha256')
      response.on('data', (chunk: Buffer) => hash.update(chunk))
      response.on('error', () => undefined)
      response.on('close', () => resolve({ status: response.statusCode, sha256: hash.digest('hex'), isWhole: response.complete }))
    })
    get.on('error', reject).end()
  })
}

interface Body {
  readonly status: number | undefined
  readonly etag: string | undefined
  readonly bytes: Buffer
  readonly isWhole: boolean
}

function body(url: string, headers: Record<string, string> = {}): Promise<Body> {
  return new Promise((resolve, reject) => {
    const get = request(url, { agent: false, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', () => undefined)
      response.on('close', () =>
        resolve({ status: response.statusCode, etag: response.headers.etag, bytes: Buffer.concat(chunks), isWhole: response.complete }),
      )
    })
    get.on('error', reject).end()
  })
}

/** A client that asks for a file and takes the beginning of it only. */
async function stalledClient(port: number, path: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  await once(socket, 'readable')
  return socket
}

describe('what is served', () => {
  it.each(STYLES.flatMap((style) => [false, true].map((kept) => [style, kept] as const)))(
    'in the style %s is what netboot writes, pieces kept: %s',
    async (style, kept) => {
      const program = style === 'single' ? ['--uki'] : []
      const server = await serve(['--style', style, ...(kept ? ['--pieces', f.pieces] : []), ...program])
      const found: Record<string, string> = {}
      for (const name of Object.keys(f.right[style])) {
        const { status, sha256, isWhole } = await download(`${server.url}/${name}`)
        expect({ status, isWhole }).toEqual({ status: 200, isWhole: true })
        found[name] = sha256
      }
      expect(found).toEqual(f.right[style])
      if (program.length > 0) {
        // What UEFI's own HTTP boot fetches: it asks for the size first, and takes the type for what it is.
        const { headers } = await fetch(`${server.url}/netboot.efi`, { method: 'HEAD' })
        const { bytes } = await body(`${server.url}/netboot.efi`)
        expect([headers.get('content-type'), Number(headers.get('content-length'))]).toEqual(['application/efi', bytes.length])
        const initrd = createHash('sha256').update(sectionContent(bytes, '.initrd') ?? '')
        expect(initrd.digest('hex')).toBe(found.initrd)
      }
      const ended = await stopped(server)
      expect(ended).toMatchObject({ status: 0, signal: null })
      const names = ['netboot.ipxe', ...(program.length > 0 ? ['netboot.efi'] : [])]
      expect(server.stdout()).toBe(names.map((name) => `${server.url}/${name}\n`).join(''))
      expect(server.stderr()).not.toContain('error')
    },
  )
})

describe('a server that cannot begin', () => {
  const refuse = async (args: readonly string[]) => {
    const { status, stdout, stderr } = await kilnix(['serve', ...input, '--quiet', ...args])
    expect(stdout.toString()).toBe('')
    return { status, stderr }
  }

  it('says so of an address that is taken, unknown or wrong', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const cases: [string, number, string][] = [
      [`127.0.0.1:${port}`, 1, `[LISTEN_FAILED]: 127.0.0.1:${port}: cannot be listened on (EADDRINUSE): another program listens there`],
      ['203.0.113.1:0', 1, '[LISTEN_FAILED]: 203.0.113.1:0: cannot be listened on (EADDRNOTAVAIL)'],
      ['127.0.0.1', 2, "--listen is '127.0.0.1', it must be ADDRESS:PORT"],
      ['127.0.0.1:65536', 2, 'a port up to 65535'],
      [':8080', 2, 'it must be ADDRESS:PORT'],
      ['::1:8080', 2, 'it must be ADDRESS:PORT'],
    ]
    for (const [address, status, message] of cases) {
      expect(await refuse(['--listen', address]), address).toEqual({ status, stderr: expect.stringContaining(message) })
    }
    taken.close()
  })

  it('takes no output and no plan', async () => {
    for (const args of [['-o', 'x'], ['--output', 'x'], ['--force'], ['--dry-run'], ['--kexec']]) {
      expect(await refuse(args), args[0]).toEqual({ status: 2, stderr: expect.stringContaining('there is no option') })
    }
  })

  it.each(STYLES)('with a store that is damaged, in the style %s', async (style) => {
    const file = join(f.store.named('contents'), 'text-70000')
    const damaged = await f.store.whileHarmed(file, flipByte, () => refuse(['--style', style]))
    expect(damaged).toEqual({ status: 1, stderr: expect.stringMatching(errorLine('HASH_MISMATCH', '-contents: its files hash to')) })
    const missing = await f.store.whileHarmed(f.store.named('etc'), removed, () => refuse(['--style', style, '--pieces', f.pieces]))
    expect(missing).toEqual({ status: 1, stderr: expect.stringMatching(errorLine('NOT_FOUND', '-etc')) })
  })

  it.skipIf(NO_MOUNT)('because the scratch folder is full', async () => {
    const labels: Record<Style, string> = { single: 'scratch file', manifest: 'temporary folder', 'per-path': 'temporary folder' }
    for (const style of STYLES) {
      await withDisk(f.scratch, 4 * MEBIBYTE, async () => {
        const { status, stderr } = await refuse(['--style', style])
        expect(stderr).toMatch(errorLine('WRITE_FAILED', `${labels[style]} in ${f.scratch} (TMPDIR chooses the `))
        expect({ status, left: leftIn(f.scratch) }).toEqual({ status: 1, left: [] })
      })
    }
  })

  it('is cancelled while it builds', async () => {
    for (const [signal, status] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const child = start(['serve', ...input, '--style', 'manifest', '--compression', 'zstd:19', '--progress', 'plain'])
      running.add(child)
      child.stderr?.on('data', (text) => String(text).includes('building pieces') && child.kill(signal))
      const ended = await finish(child)
      expect(ended).toMatchObject({ status, stderr: expect.stringContaining(`kilnix: cancelled by ${signal}\n`) })
      expect(ended.stdout.toString()).toBe('')
      running.delete(child)
    }
  })
})

describe('the end of a server', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('by %s, idle or with connections that wait, is in order', async (signal) => {
    const server = await serve(['--style', 'manifest'])
    const idle = connect(server.port, '127.0.0.1')
    await once(idle, 'connect')
    const closed = once(idle, 'close')
    expect(await stopped(server, signal)).toMatchObject({ status: 0, signal: null })
    await closed
    expect(server.stderr()).not.toMatch(/error|cancelled/)
  })

  it('comes when transfers are done, or by force: the grace, or a second signal', async () => {
    const [patient, impatient] = await Promise.all([serve(['--style', 'per-path', '--pieces', f.pieces]), serve(['--style', 'per-path'])])
    // The one reads on after the signal, the other never does.
    const [reader, stalled] = await Promise.all([stalledClient(patient.port, '/initrd'), stalledClient(patient.port, '/initrd')])
    const body = new Promise<Buffer>((resolve) => {
      patient.child.kill('SIGTERM')
      const chunks: Buffer[] = []
      reader.on('data', (chunk: Buffer) => chunks.push(chunk)).on('close', () => resolve(Buffer.concat(chunks)))
    })
    const other = await stalledClient(impatient.port, '/initrd')
    impatient.child.kill('SIGTERM')
    // The port is closed when the first signal has been heard.
    while (await canConnect(impatient.port)) await setTimeout(10)
    expect(await stopped(impatient, 'SIGTERM')).toMatchObject({ status: null, signal: 'SIGTERM' })
    // Ended so, it could not remove its pieces.
    for (const name of leftIn(f.scratch)) rmSync(join(f.scratch, name), { recursive: true })
    const answer = await body
    const content = answer.subarray(answer.indexOf('\r\n\r\n') + 4)
    expect(createHash('sha256').update(content).digest('hex')).toBe(f.right['per-path'].initrd)
    expect(await patient.ended).toMatchObject({ status: 0, signal: null })
    expect(patient.stderr()).toMatch(/GET \/initrd 200 .*, ended early: shutdown\n/)
    for (const socket of [stalled, other]) socket.destroy()
  })

  const canConnect = (port: number): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })

  it('does not come when nobody reads its words', async () => {
    const child = start(['serve', ...input, '--style', 'manifest', '--pieces', f.pieces, '--listen', `127.0.0.1:${await freePort()}`])
    running.add(child)
    const port = Number(child.spawnargs.at(-1)?.split(':')[1])
    child.stdout?.destroy()
    child.stderr?.destroy()
    const exit = once(child, 'exit')
    // The port is tried before the build, so that a connection alone says nothing.
    const url = `http://127.0.0.1:${port}`
    const answers = (): Promise<boolean> =>
      download(`${url}/netboot.ipxe`).then(
        () => true,
        () => false,
      )
    while (!(await answers()) && child.exitCode === null) await setTimeout(10)
    for (const name of ['netboot.ipxe', 'nothing', 'nix-store']) {
      const { status } = await download(`${url}/${name}`)
      expect(status).toBe(name === 'nothing' ? 404 : 200)
    }
    child.kill('SIGTERM')
    expect(await exit).toEqual([0, null])
    running.delete(child)
  })

  async function freePort(): Promise<number> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    return port
  }
})

describe('while it serves', () => {
  it('a piece that is gone or cut gives a short answer, and the rest goes on', async () => {
    const pieces = f.at('served pieces')
    mkdirSync(pieces)
    const server = await serve(['--style', 'manifest', '--pieces', pieces])
    const name = leftIn(pieces).find((file) => file.includes('-busybox-static')) ?? ''
    const piece = join(pieces, name)
    const content = readFileSync(piece)
    const becomePipe = async (): Promise<void> => {
      rmSync(piece)
      await once(spawn('mkfifo', [piece]), 'exit')
    }
    const fromPipe = (): void => {
      rmSync(piece)
      writeFileSync(piece, content)
    }
    const harms: [what: string, harm: () => unknown, undo: () => void][] = [
      ['gone', () => renameSync(piece, f.at('moved')), () => renameSync(f.at('moved'), piece)],
      ['cut', () => truncateSync(piece, 1000), () => writeFileSync(piece, content)],
      ['longer', () => truncateSync(piece, content.length + 1), () => writeFileSync(piece, content)],
      ['a pipe', becomePipe, fromPipe],
    ]
    for (const [what, harm, undo] of harms) {
      await harm()
      const { status, isWhole } = await download(`${server.url}/nix-store`)
      // 500 where nothing was sent before it was noticed.
      expect(status === 500 || !isWhole, what).toBe(true)
      expect(await download(`${server.url}/manifest`)).toMatchObject({ status: 200, isWhole: true, sha256: f.right.manifest.manifest })
      undo()
      expect(await download(`${server.url}/nix-store`)).toMatchObject({ isWhole: true, sha256: f.right.manifest['nix-store'] })
    }
    expect(server.stderr().match(/\/nix-store cannot be read: /g)).toHaveLength(harms.length)
    expect(await stopped(server)).toMatchObject({ status: 0 })
  })

  it('other bytes than those of the tag are never sent, and what only looks changed is', async () => {
    const pieces = f.at('swapped pieces')
    const prepended = f.at('prepended.img')
    writeFileSync(prepended, Buffer.concat([Buffer.from('070701'), Buffer.alloc(200_000, 'microcode')]))
    const server = await serve(['--style', 'manifest', '--pieces', pieces, '--prepend', prepended])
    const store = join(f.work.closure.root, 'nix/store')
    const piece = join(pieces, leftIn(pieces).find((file) => file.includes('-busybox-static')) ?? '')
    const files: [path: string, served: string][] = [
      [piece, 'nix-store'],
      [join(store, f.kernel), 'bzImage'],
      [join(store, f.ownInitrd), 'initrd'],
      [prepended, 'initrd'],
    ]
    for (const [path, served] of files) {
      const url = `${server.url}/${served}`
      const right = await body(url)
      expect([right.status, right.isWhole]).toEqual([200, true])
      const expectRight = async (): Promise<void> => {
        const { status, etag, isWhole, bytes } = await body(url)
        expect([status, etag, isWhole, bytes.equals(right.bytes)]).toEqual([200, right.etag, true, true])
      }
      const content = readFileSync(path)
      const { atime, mtime, mode } = statSync(path)
      const folderMode = statSync(dirname(path)).mode & 0o7777
      const put = (bytes: Uint8Array): void => {
        writeFileSync(`${path}.new`, bytes, { mode: 0o644 })
        utimesSync(`${path}.new`, atime, mtime)
        renameSync(`${path}.new`, path)
      }
      const bad = Buffer.from(content)
      for (const at of [10, content.length >> 1, content.length - 1]) bad[at] = (bad[at] ?? 0) ^ 1
      chmodSync(dirname(path), 0o755)
      const inPlace = (): void => {
        writeFileSync(path, bad)
        utimesSync(path, atime, mtime)
      }
      for (const harm of [() => put(bad), inPlace]) {
        harm()
        for (const headers of [{}, { range: 'bytes=5-' }] as Record<string, string>[]) {
          const got = await body(url, headers)
          const start = headers['range'] === undefined ? 0 : 5
          // An error, or the beginning of what the tag is of.
          const isBeginning = right.bytes.subarray(start, start + got.bytes.length).equals(got.bytes)
          expect(got.status === 500 || (!got.isWhole && isBeginning), path).toBe(true)
        }
        put(content)
        await expectRight()
      }
      // As other runs do that use the same pieces.
      utimesSync(path, 1, 1)
      chmodSync(path, 0o400)
      await expectRight()
      chmodSync(path, mode & 0o7777)
      chmodSync(dirname(path), folderMode)
    }
    expect(await stopped(server)).toMatchObject({ status: 0 })
  }, 60_000)

  it('a kernel that changes gives no whole answer', async () => {
    const server = await serve(['--pieces', f.pieces])
    await f.store.whileHarmed(
      f.kernel,
      (path) => rmSync(path),
      async () => {
        expect(await download(`${server.url}/bzImage`)).toMatchObject({ status: 500 })
        expect(await download(`${server.url}/netboot.ipxe`)).toMatchObject({ status: 200, isWhole: true })
      },
    )
    expect(await download(`${server.url}/bzImage`)).toMatchObject({ status: 200, sha256: f.right.single.bzImage })
    expect(await stopped(server)).toMatchObject({ status: 0 })
  })

  it('clients that leave leave nothing', async () => {
    const server = await serve(['--style', 'per-path'])
    const clients = await Promise.all(Array.from({ length: 20 }, () => stalledClient(server.port, '/initrd')))
    for (const [index, socket] of clients.entries()) {
      if (index % 2 === 0) socket.destroy()
      else socket.resetAndDestroy()
    }
    const drops = (): number => server.stderr().match(/ended early: disconnected\n/g)?.length ?? 0
    for (let wait = 0; wait < 1000 && drops() < clients.length; wait++) await setTimeout(10)
    expect(drops()).toBe(clients.length)
    expect(await download(`${server.url}/initrd`)).toMatchObject({ status: 200, sha256: f.right['per-path'].initrd })
    expect(await stopped(server)).toMatchObject({ status: 0 })
  })

  it('a target with control characters does not reach the terminal', async () => {
    const server = await serve(['--pieces', f.pieces])
    const socket = connect(server.port, '127.0.0.1')
    socket.end(`GET /\u009b2J\u0085${'x'.repeat(5000)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`, 'latin1')
    socket.resume()
    await once(socket, 'close')
    expect(await stopped(server)).toMatchObject({ status: 0 })
    const said = server.stderr()
    expect(said).not.toMatch(/[^\n\x20-\x7e]/)
    expect(Math.max(...said.split('\n').map((line) => line.length))).toBeLessThan(400)
  })
})

describe.skipIf(LARGEST_INPUT === undefined)('peak memory', () => {
  const PEAK_MEMORY = new URL('./peak-memory.ts', import.meta.url).href
  const CLIENTS = 50

  it(`is below 512 MiB for ${CLIENTS} clients of the largest closure`, { timeout: 300_000 }, async () => {
    const args = [...(LARGEST_INPUT ?? []), '--compression', 'zstd:1', '--style', 'per-path', '--quiet']
    const server = await serve(args, ['--import', PEAK_MEMORY])
    const report: Buffer[] = []
    server.child.stdio[3]?.on('data', (chunk: Buffer) => report.push(chunk))
    const from = (index: number): number => (index % 12) * 5 * MEBIBYTE
    const range = (index: number) => ({ Range: `bytes=${from(index)}-${from(index) + 8 * MEBIBYTE - 1}` })
    const all = await Promise.all(Array.from({ length: CLIENTS }, (_, index) => download(`${server.url}/initrd`, range(index))))
    for (const { status, isWhole } of all) expect({ status, isWhole }).toEqual({ status: 206, isWhole: true })
    expect(await stopped(server)).toMatchObject({ status: 0 })
    const peakBytes = Number(Buffer.concat(report).toString()) * 1024
    console.log(`serve to ${CLIENTS} clients: peak ${Math.round(peakBytes / MEBIBYTE)} MiB`)
    expect(peakBytes).toBeGreaterThan(0)
    expect(peakBytes).toBeLessThan(512 * MEBIBYTE)
  })
})
