/** Runs the command as a user does, in a process of its own. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('../../bin/kilnix.js', import.meta.url))

/** Run `kilnix` with `args`; the error of a failing run shows its output. */
export async function kilnix(...args: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const status = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(signal ?? code))
  })
  if (status !== 0) throw new Error(`kilnix ${args.join(' ')}: ended with ${status}\n${output}`)
  return output
}

export interface Server {
  /** Of the iPXE script: the first line that the server prints. */
  readonly url: string
  /** Interrupts the server; it has to end well. */
  close(): Promise<void>
}

/** Start `kilnix serve` with `args`, on a free port, and wait until it listens. */
export async function kilnixServe(...args: readonly string[]): Promise<Server> {
  const child = spawn(process.execPath, [PROGRAM, 'serve', ...args, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] })
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  const ended = once(child, 'close').finally(() => process.removeListener('exit', kill))
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const firstLine = once(createInterface(child.stdout), 'line') as Promise<[string]>
  const [url] = await Promise.race([firstLine, ended.then(([status]) => [`ended with ${status}`])])
  if (!url?.startsWith('http://')) {
    kill()
    throw new Error(`kilnix serve: ${url}\n${errors}`)
  }
  const close = async (): Promise<void> => {
    child.kill('SIGTERM')
    const [status, signal] = (await ended) as [number | null, string | null]
    if (status !== 0) throw new Error(`kilnix serve: ended with ${signal ?? status}\n${errors}`)
  }
  return { url, close }
}

export async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
