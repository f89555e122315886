/**
 * How fast are finished images served? MB/s on the loopback with 1, 20 and 200 clients, what it costs the server in CPU
 * time, and the most that it had resident; beside Python's server and nginx, where there are those. The client is curl,
 * which takes a core for itself.
 *
 *     node bench/serve.ts
 *     NGINX=/path/to/nginx node bench/serve.ts
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { serveFiles } from '../src/server/index.ts'
import { hostFileImage } from '../src/tree/host-image.ts'

const MEBIBYTE = 1 << 20
const FILE_SIZE = 32 * MEBIBYTE

/** Clients at once, and how many files each takes. */
const LOADS = [
  { clients: 1, filesEach: 64 },
  { clients: 20, filesEach: 4 },
  { clients: 200, filesEach: 1 },
] as const

interface Contestant {
  readonly name: string
  /** Serves `/file` of the folder; the command stays in the foreground as one process. */
  command(folder: string, port: number): readonly [string, ...string[]]
}

const NGINX = process.env['NGINX'] ?? 'nginx'

const contestants: readonly Contestant[] = [
  { name: 'kilnix', command: (folder, port) => [process.execPath, fileURLToPath(import.meta.url), folder, String(port)] },
  { name: 'nginx, one worker', command: (folder, port) => nginx(folder, port, 'off') },
  { name: 'nginx, one worker, sendfile', command: (folder, port) => nginx(folder, port, 'on') },
  {
    name: 'python3 -m http.server',
    command: (folder, port) => [
      'python3',
      '-m',
      'http.server',
      String(port),
      '--bind',
      '127.0.0.1',
      '--directory',
      folder,
      '--protocol',
      'HTTP/1.1',
    ],
  },
]

function nginx(folder: string, port: number, sendfile: 'on' | 'off'): readonly [string, ...string[]] {
  const config = join(folder, `nginx-${port}.conf`)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')
  writeFileSync(
    config,
    `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
     events { worker_connections 1024; }
     http { access_log off; sendfile ${sendfile}; ${temporary} server { listen 127.0.0.1:${port}; root ${folder}; } }`,
  )
  return [NGINX, '-e', join(folder, 'error.log'), '-c', config]
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const isOpen = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  return isOpen
}

/** User and system time of a process so far (proc(5), stat), in seconds. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** The most that a process had resident, in MiB. */
function peakMebibytes(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024
}

/** Seconds for `count` downloads by `clients` at a time; undefined when one fails. */
function download(url: string, clients: number, count: number): number | undefined {
  const config = Array.from({ length: count }, () => `url = "${url}"\noutput = "/dev/null"\n`).join('')
  const args = ['--no-progress-meter', '--fail', '--max-time', '60', '--noproxy', '*', '--config', '-']
  if (clients > 1) args.push('--parallel', '--parallel-immediate', '--parallel-max', String(clients))
  const before = performance.now()
  const { status, error } = spawnSync('curl', args, { input: config, stdio: ['pipe', 'ignore', 'ignore'] })
  if (error) throw error
  return status === 0 ? (performance.now() - before) / 1000 : undefined
}

/** The server's process once it listens, or undefined where its program is missing. */
async function started(contestant: Contestant, folder: string, port: number): Promise<ChildProcess | undefined> {
  const [program, ...args] = contestant.command(folder, port)
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'ignore'] })
  let isGone = false
  child.on('error', () => {
    isGone = true
  })
  child.on('exit', () => {
    isGone = true
  })
  for (let wait = 0; wait < 100 && !isGone; wait++) {
    if (await isListening(port)) return child
    await sleep(50)
  }
  child.kill()
  return undefined
}

async function measure(contestant: Contestant, folder: string): Promise<void> {
  const port = await freePort()
  const child = await started(contestant, folder, port)
  if (child?.pid === undefined) {
    console.log(`  ${contestant.name.padEnd(28)} is missing or does not start`)
    return
  }
  try {
    for (const { clients, filesEach } of LOADS) {
      const cpuBefore = cpuSeconds(child.pid)
      const count = clients * filesEach
      const seconds = download(`http://127.0.0.1:${port}/file`, clients, count)
      const name = `${contestant.name.padEnd(28)} ${String(clients).padStart(3)} clients`
      if (seconds === undefined) {
        console.log(`  ${name}  downloads fail`)
        continue
      }
      const megabytes = (count * FILE_SIZE) / 1e6
      const cpu = (cpuSeconds(child.pid) - cpuBefore) / (megabytes / 1000)
      console.log(
        `  ${name}  ${(megabytes / seconds).toFixed(0).padStart(5)} MB/s` +
          `  CPU ${cpu.toFixed(2)} s a GB  ${peakMebibytes(child.pid).toFixed(0).padStart(4)} MiB resident`,
      )
    }
  } finally {
    child.kill()
    await once(child, 'exit')
  }
}

async function compare(): Promise<void> {
  const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'kilnix-bench-'))
  try {
    writeFileSync(join(folder, 'file'), Buffer.alloc(FILE_SIZE, 'not only zeros '))
    console.log(`\nserving a file of ${FILE_SIZE / MEBIBYTE} MiB`)
    for (const contestant of contestants) await measure(contestant, folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const [folder, port] = process.argv.slice(2)
if (folder === undefined) await compare()
else {
  const image = hostFileImage(join(folder, 'file'), FILE_SIZE)
  await serveFiles([{ path: '/file', image, etag: 'file', contentType: 'application/octet-stream' }], {
    host: '127.0.0.1',
    port: Number(port),
  })
}
