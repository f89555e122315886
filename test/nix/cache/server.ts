/** Binary caches made by hand, and a server on loopback that has faults on demand. */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib'
import type { Closure } from '../../../src/nix/listing/closure.ts'
import { narChunks } from '../../../src/nix/nar/dump.ts'
import { formatNix32, formatSha256 } from '../../../src/nix/store/hash.ts'
import { closureFrom, type Sample } from '../store-samples.ts'

export interface Key {
  readonly name: string
  readonly secret: KeyObject
  /** `name:base64` */
  readonly text: string
}

export function newKey(name: string): Key {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const bytes = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)
  return { name, secret: privateKey, text: `${name}:${bytes.toString('base64')}` }
}

/** Files by name. */
export type Files = Map<string, Buffer>

const PACKERS: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  none: (bytes) => bytes,
  zstd: (bytes) => zstdCompressSync(bytes),
  gzip: (bytes) => gzipSync(bytes),
  br: (bytes) => brotliCompressSync(bytes),
}

export interface CacheChoice {
  readonly compression?: string
  readonly key?: Key
  readonly priority?: number
}

export async function cacheOf(samples: Readonly<Record<string, Sample>>, choice: CacheChoice): Promise<{ files: Files; closure: Closure }> {
  const closure = await closureFrom(samples)
  const narOf = async (baseName: string): Promise<Buffer> => {
    const chunks: Buffer[] = []
    for await (const chunk of narChunks((samples[baseName] as Sample).tree, baseName)) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks)
  }
  return { files: await cacheFiles(closure, narOf, choice), closure }
}

/** The binary cache of a closure, each of whose NARs `narOf` gives by base name. */
export async function cacheFiles(closure: Closure, narOf: (baseName: string) => Promise<Buffer>, choice: CacheChoice): Promise<Files> {
  const { compression = 'zstd', key, priority } = choice
  const files: Files = new Map()
  files.set('nix-cache-info', Buffer.from(`StoreDir: /nix/store\n${priority === undefined ? '' : `Priority: ${priority}\n`}`))
  for (const { baseName, path, narHash, narSize, references } of closure.paths) {
    const packed = (PACKERS[compression] ?? PACKERS.none)?.(await narOf(baseName)) as Buffer
    const fileHash = createHash('sha256').update(packed).digest()
    const url = `nar/${formatNix32(fileHash)}.nar`
    const lines = [
      `StorePath: ${path}`,
      `URL: ${url}`,
      `Compression: ${compression}`,
      `FileHash: ${formatSha256(fileHash)}`,
      `FileSize: ${packed.length}`,
      `NarHash: ${formatSha256(narHash as Uint8Array)}`,
      `NarSize: ${narSize}`,
      `References: ${references.map((reference) => reference.slice(11)).join(' ')}`,
    ]
    const fingerprint = `1;${path};${formatSha256(narHash as Uint8Array)};${narSize};${references.join(',')}`
    if (key !== undefined) lines.push(`Sig: ${key.name}:${sign(null, Buffer.from(fingerprint), key.secret).toString('base64')}`)
    files.set(url, packed)
    files.set(`${baseName.slice(0, 32)}.narinfo`, Buffer.from(`${lines.join('\n')}\n`))
  }
  return files
}

/** Answers itself, and says true; else the file is sent. */
export type Fault = (name: string, request: IncomingMessage, response: ServerResponse, count: number) => boolean

export class CacheServer {
  readonly #server: Server
  readonly requests: string[] = []
  files: Files = new Map()
  fault: Fault | undefined

  constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response))
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  use(files: Files, fault?: Fault): void {
    this.files = files
    this.fault = fault
    this.requests.length = 0
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const name = (request.url ?? '').slice(1)
    const count = this.requests.filter((one) => one === name).length
    this.requests.push(name)
    if (this.fault?.(name, request, response, count) === true) return
    const bytes = this.files.get(name)
    if (bytes === undefined) {
      response.writeHead(404).end()
      return
    }
    const [, start] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? []
    if (start === undefined) response.writeHead(200, { 'content-length': bytes.length, etag: '"1"' }).end(bytes)
    else {
      const rest = bytes.subarray(Number(start))
      const range = `bytes ${start}-${bytes.length - 1}/${bytes.length}`
      response.writeHead(206, { 'content-length': rest.length, 'content-range': range, etag: '"1"' }).end(rest)
    }
  }
}
