/** A Nix daemon in this process, which speaks any version of the worker protocol, and misbehaves where it is told to. */
import { createServer, type Server, type Socket } from 'node:net'

export interface FakePath {
  readonly narHash: string
  readonly narSize: number
  readonly references: readonly string[]
  readonly deriver?: string
  readonly ca?: string
}

export interface FakeDaemon {
  /** Of the protocol, such as 0x123. */
  readonly version: number
  /** By full path. */
  readonly paths: ReadonlyMap<string, FakePath>
  /** Bytes before each answer: messages. */
  readonly messages?: readonly Buffer[]
  /** What is sent in place of the answer to question `count`, from 1 on; undefined for the right one. */
  readonly instead?: (count: number, socket: Socket) => Buffer | 'nothing' | undefined
  /** In place of the whole greeting. */
  readonly greeting?: Buffer | 'nothing'
  /** Milliseconds between pieces of an answer, which then come byte by byte. */
  readonly drips?: boolean
  /** Refuse clients of lower versions, as Lix does. */
  readonly lowestClient?: number
}

export const word = (value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

export const text = (value: string): Buffer => {
  const bytes = Buffer.from(value)
  return Buffer.concat([word(bytes.length), bytes, Buffer.alloc(-bytes.length & 7)])
}

const texts = (values: readonly string[]): Buffer => Buffer.concat([word(values.length), ...values.map(text)])

export const LAST = word(0x616c7473)

/** An error as the version has it. */
export function errorFrame(version: number, message: string): Buffer {
  const head = word(0x63787470)
  if (version < 0x11a) return Buffer.concat([head, text(message), word(1)])
  return Buffer.concat([head, text('Error'), word(0), text('Error'), text(message), word(0), word(0)])
}

/** One of each kind that may come before an answer. */
export const MESSAGES: readonly Buffer[] = [
  Buffer.concat([word(0x6f6c6d67), text('warning: something\n')]),
  Buffer.concat([word(0x53545254), word(7), word(3), word(101), text('querying'), word(2), word(0), word(5), word(1), text('x'), word(0)]),
  Buffer.concat([word(0x52534c54), word(7), word(105), word(1), word(0), word(9)]),
  Buffer.concat([word(0x53544f50), word(7)]),
]

/** Listens at `path`; the result has what clients asked for. */
export async function fakeDaemon(path: string, daemon: FakeDaemon): Promise<{ readonly server: Server; readonly asked: string[] }> {
  const asked: string[] = []
  const server = createServer((socket) => {
    socket.on('error', () => {})
    serve(socket, daemon, asked).catch(() => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return { server, asked }
}

async function serve(socket: Socket, daemon: FakeDaemon, asked: string[]): Promise<void> {
  const { version, paths, messages = [], instead, greeting, drips = false, lowestClient = 0 } = daemon
  const input = words(socket)
  const send = async (...parts: readonly Buffer[]): Promise<void> => {
    if (!drips) return void socket.write(Buffer.concat(parts))
    for (const byte of Buffer.concat(parts)) {
      socket.write(Buffer.of(byte))
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  if ((await input.number()) !== 0x6e697863) throw new Error('no client')
  if (greeting === 'nothing') return
  if (greeting !== undefined) return void socket.write(greeting)
  await send(word(0x6478696f), word(version))
  const client = await input.number()
  if (client < lowestClient) throw new Error('too old')
  const common = Math.min(client, version)
  // No affinity, no space to reserve.
  if ((await input.number()) !== 0 || (await input.number()) !== 0) throw new Error('unknown client')
  if (common >= 0x121) await send(text('2.fake'))
  if (common >= 0x123) await send(word(1))
  await send(...messages, LAST)
  for (let count = 1; ; count++) {
    const operation = await input.number()
    if (operation !== 26) throw new Error(`operation ${operation}`)
    const path = await input.text()
    asked.push(path)
    const other = instead?.(count, socket)
    if (other === 'nothing') return
    if (other !== undefined) {
      await send(other)
      continue
    }
    const info = paths.get(path)
    if (info === undefined) await send(...messages, LAST, word(0))
    else {
      const { deriver = '', narHash, references, narSize, ca = '' } = info
      await send(...messages, LAST, word(1), text(deriver), text(narHash), texts(references), word(1), word(narSize), word(0))
      await send(texts(['key:signature']), text(ca))
    }
  }
}

function words(socket: Socket): { number(): Promise<number>; text(): Promise<string> } {
  const chunks = socket.iterator({ destroyOnReturn: false })
  let bytes = Buffer.alloc(0)
  const take = async (count: number): Promise<Buffer> => {
    while (bytes.length < count) {
      const step = await chunks.next()
      if (step.done === true) throw new Error('closed')
      bytes = Buffer.concat([bytes, step.value as Buffer])
    }
    const taken = bytes.subarray(0, count)
    bytes = bytes.subarray(count)
    return taken
  }
  const number = async (): Promise<number> => Number((await take(8)).readBigUInt64LE())
  return {
    number,
    text: async () => {
      const length = await number()
      return (await take(Math.ceil(length / 8) * 8)).toString('utf8', 0, length)
    },
  }
}
