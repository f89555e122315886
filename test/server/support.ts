/** A server in this process, raw clients, and what the system knows of this process. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach } from 'vitest'
import { type RunningServer, type ServedFile, type ServeOptions, type ServerEvent, serveFiles } from '../../src/server/index.ts'
import type { ServingReport } from './serving-report.ts'

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

const running = new Set<RunningServer>()

/** A folder for the tests of the file that calls this, whose servers are closed after each test. */
export function serverFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kilnix-server-'))
  afterEach(async () => {
    await Promise.all([...running].map((server) => server.close()))
    running.clear()
  })
  afterAll(() => rmSync(folder, { recursive: true }))
  return folder
}

export interface Served extends RunningServer {
  readonly events: ServerEvent[]
  /** Resolves with the first event that `isIt`, past or to come. */
  event(isIt: (event: ServerEvent) => boolean): Promise<ServerEvent>
}

/** A server on a free port of the loopback, which is closed after the test. */
export async function startServer(files: readonly ServedFile[], options: Partial<ServeOptions> = {}): Promise<Served> {
  const events: ServerEvent[] = []
  const waiting = new Set<(event: ServerEvent) => void>()
  const server = await serveFiles(files, {
    host: '127.0.0.1',
    port: 0,
    graceMilliseconds: 100,
    onEvent: (event) => {
      events.push(event)
      for (const tell of [...waiting]) tell(event)
    },
    ...options,
  })
  running.add(server)
  const event = (isIt: (event: ServerEvent) => boolean): Promise<ServerEvent> =>
    new Promise((resolve) => {
      const past = events.find(isIt)
      if (past !== undefined) return resolve(past)
      const tell = (next: ServerEvent): void => {
        if (!isIt(next)) return
        waiting.delete(tell)
        resolve(next)
      }
      waiting.add(tell)
    })
  return { ...server, events, event }
}

/** A server in a process of its own, and what it says at its end. */
export function startServing(folder: string) {
  const child = spawn(process.execPath, ['--expose-gc', join(import.meta.dirname, 'serving.ts'), folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async (): Promise<unknown> => JSON.parse((await lines.next()).value ?? 'null')
  return {
    async addresses(): Promise<{ url: string; port: number }> {
      return (await next()) as { url: string; port: number }
    },
    async end(): Promise<ServingReport> {
      child.stdin.end()
      return (await next()) as ServingReport
    },
  }
}

export async function rawSocket(port: number, localAddress?: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', ...(localAddress !== undefined && { localAddress }) })
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return socket
}

/** All that the server says until it closes the connection. */
export async function untilClosed(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  if (!socket.closed) await once(socket, 'close')
  return Buffer.concat(chunks)
}

/** What the server answers to `text` until it closes; `Connection: close` is the caller's. */
export async function rawAnswer(port: number, text: string | Uint8Array, options: { end?: boolean } = {}): Promise<Buffer> {
  const socket = await rawSocket(port)
  if (options.end) socket.end(text)
  else socket.write(text)
  return untilClosed(socket)
}

/** Splits an answer at the end of its head. */
export function headAndBody(answer: Buffer): { readonly head: string; readonly body: Buffer } {
  const end = answer.indexOf('\r\n\r\n')
  return { head: answer.subarray(0, end).toString('latin1'), body: answer.subarray(end + 4) }
}

/** File descriptors of this process. */
export function openFiles(): number {
  return readdirSync('/proc/self/fd').length
}

/** Waits until `isSo`, for ten seconds at most. */
export async function eventually(isSo: () => boolean | Promise<boolean>): Promise<boolean> {
  for (let wait = 0; wait < 1000; wait++) {
    if (await isSo()) return true
    await sleep(10)
  }
  return isSo()
}
