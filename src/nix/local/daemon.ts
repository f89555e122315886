/**
 * The Nix daemon by its socket: the worker protocol (Nix manual, "Nix Daemon Protocol"; `libstore/worker-protocol.hh`, `daemon.cc`,
 * `remote-store.cc`) from version 1.21 of Nix 2.3 on. We speak up to 1.35, which is what Lix has and what every later Nix takes.
 *
 * Only what reads is used: QueryPathInfo. Not supported: features (1.38), and stores on other machines.
 */
import { connect, type Socket } from 'node:net'
import { printableText } from '../../bytes/text.ts'
import { systemErrorCode, throwIfAborted } from '../../errors.ts'
import { NoWayError, type PathQuery, REFERENCES_LIMIT, type RegisteredPath } from './source.ts'
import { Wire } from './wire.ts'

const CLIENT_MAGIC = 0x6e697863
const DAEMON_MAGIC = 0x6478696f

/** Major in the high byte, minor in the low one. */
const OUR_VERSION = 0x123
/** Nix 2.3. */
const OLDEST_VERSION = 0x115
/** The daemon says which Nix it is. */
const VERSION_WITH_NIX_VERSION = 0x121
/** The daemon says whether it trusts the client. */
const VERSION_WITH_TRUST = 0x123
/** Errors have a structure. */
const VERSION_WITH_ERRORS = 0x11a

const QUERY_PATH_INFO = 26

/** What comes before an answer (`libstore/worker-protocol.hh`, `STDERR_*`). */
const STDERR = {
  next: 0x6f6c6d67,
  read: 0x64617461,
  write: 0x64617416,
  last: 0x616c7473,
  error: 0x63787470,
  startActivity: 0x53545254,
  stopActivity: 0x53544f50,
  result: 0x52534c54,
} as const

/** Messages before one answer; a daemon that only ever says something gives none. */
const MESSAGES_LIMIT = 100_000

/** Questions that are under way at once. */
const BATCH = 256

export interface DaemonOptions {
  /** How long to wait for the next byte. */
  readonly timeoutMilliseconds: number
  readonly signal?: AbortSignal | undefined
}

/** What the daemon said of itself. */
export interface DaemonGreeting {
  /** Of the protocol, such as `1.35`: the lower of its own and ours. */
  readonly protocol: string
  /** As it calls itself, where it does. */
  readonly nixVersion: string | undefined
  /** Undefined where it does not say. */
  readonly isTrusted: boolean | undefined
}

/**
 * Connects, and calls `use` with what asks the daemon. Throws NoWayError where there is no daemon, where it speaks otherwise or answers
 * with an error; ABORTED; what `use` throws.
 */
export async function withDaemon<T>(
  socketPath: string,
  use: (query: PathQuery, greeting: DaemonGreeting) => Promise<T>,
  { timeoutMilliseconds, signal }: DaemonOptions,
): Promise<T> {
  throwIfAborted(signal)
  const socket = await connected(socketPath, timeoutMilliseconds)
  const end = (): void => void socket.destroy()
  signal?.addEventListener('abort', end)
  try {
    const wire = new Wire(socket, timeoutMilliseconds)
    const { version, ...greeting } = await greet(wire)
    return await use((paths) => queryAll(wire, version, paths), greeting)
  } catch (error) {
    throwIfAborted(signal, 'cancelled while the Nix daemon was asked')
    throw error
  } finally {
    signal?.removeEventListener('abort', end)
    socket.destroy()
  }
}

function connected(path: string, timeoutMilliseconds: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path })
    const fail = (message: string, error?: unknown): void => {
      clearTimeout(timer)
      socket.destroy()
      const isAbsent = ['ENOENT', 'ECONNREFUSED', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')
      reject(new NoWayError(message, { isAbsent, cause: error }))
    }
    const timer = setTimeout(() => fail(`it was not there within ${timeoutMilliseconds / 1000} seconds`), timeoutMilliseconds)
    const onError = (error: Error): void => fail(reason(systemErrorCode(error) ?? String(error)), error)
    socket.once('error', onError)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.off('error', onError)
      resolve(socket)
    })
  })
}

function reason(code: string): string {
  switch (code) {
    case 'ENOENT':
      return 'no such socket'
    case 'ECONNREFUSED':
      return 'nobody listens there'
    case 'EACCES':
    case 'EPERM':
      return 'this user may not connect'
    default:
      return code
  }
}

async function greet(wire: Wire): Promise<DaemonGreeting & { readonly version: number }> {
  wire.send([CLIENT_MAGIC])
  const magic = await wire.number('the greeting')
  if (magic !== DAEMON_MAGIC) throw new NoWayError('what listens there is no Nix daemon')
  const theirs = await wire.number('the version')
  if (theirs >> 8 !== OUR_VERSION >> 8 || theirs < OLDEST_VERSION) {
    throw new NoWayError(
      `it speaks version ${versionText(theirs)} of the protocol; ${versionText(OLDEST_VERSION)} (Nix 2.3) and later 1.x are known`,
    )
  }
  const version = Math.min(theirs, OUR_VERSION)
  // The version, no CPU affinity (since 1.14), no space to reserve (since 1.11).
  wire.send([OUR_VERSION, 0, 0])
  const nixVersion = version >= VERSION_WITH_NIX_VERSION ? printableText(await wire.text('the version of Nix')) : undefined
  const trust = version >= VERSION_WITH_TRUST ? await wire.number('the trust') : 0
  await untilAnswer(wire, version)
  return { version, protocol: versionText(version), nixVersion, isTrusted: trust === 0 ? undefined : trust === 1 }
}

function versionText(version: number): string {
  return `${version >> 8}.${version & 0xff}`
}

async function queryAll(wire: Wire, version: number, paths: readonly string[]): Promise<(RegisteredPath | undefined)[]> {
  const found: (RegisteredPath | undefined)[] = []
  for (let start = 0; start < paths.length; start += BATCH) {
    const batch = paths.slice(start, start + BATCH)
    // It answers one after the other, so it need not wait for the next question.
    wire.send(batch.flatMap((path) => [QUERY_PATH_INFO, path]))
    for (const path of batch) {
      await untilAnswer(wire, version)
      found.push((await wire.number('validity')) === 0 ? undefined : await pathInfo(wire, path))
    }
  }
  return found
}

async function pathInfo(wire: Wire, path: string): Promise<RegisteredPath> {
  const deriver = await wire.text('a deriver')
  const narHash = await wire.text('a NAR hash')
  const references = await wire.texts('references', REFERENCES_LIMIT)
  await wire.number('a registration time')
  const narSize = await wire.number('a NAR size')
  await wire.number('ultimate')
  await wire.texts('signatures', REFERENCES_LIMIT)
  const ca = await wire.text('a content address')
  return { path, narHash, narSize, references, deriver: deriver === '' ? undefined : deriver, ca: ca === '' ? undefined : ca }
}

/** Reads what the daemon says before its answer. Throws NoWayError with its message for an error. */
async function untilAnswer(wire: Wire, version: number): Promise<void> {
  for (let count = 0; count < MESSAGES_LIMIT; count++) {
    const kind = await wire.number('a message')
    switch (kind) {
      case STDERR.last:
        return
      case STDERR.next:
      case STDERR.write:
        await wire.text('a message')
        break
      case STDERR.error:
        throw new NoWayError(`it says: ${shown(await errorText(wire, version))}`)
      case STDERR.startActivity:
        for (const field of ['activity', 'level', 'type']) await wire.number(field)
        await wire.text('an activity')
        await skipFields(wire)
        await wire.number('a parent')
        break
      case STDERR.stopActivity:
        await wire.number('an activity')
        break
      case STDERR.result:
        for (const field of ['activity', 'type']) await wire.number(field)
        await skipFields(wire)
        break
      default:
        throw new NoWayError(
          kind === STDERR.read
            ? 'it asks for data, which was not offered'
            : `it sent 0x${kind.toString(16)}, which is no message of the protocol`,
        )
    }
  }
  throw new NoWayError(`it sent ${MESSAGES_LIMIT} messages and no answer`)
}

async function skipFields(wire: Wire): Promise<void> {
  const count = await wire.number('fields')
  if (count > MESSAGES_LIMIT) throw new NoWayError(`a message has ${count} fields, which cannot be`)
  for (let index = 0; index < count; index++) {
    const type = await wire.number('a type')
    if (type === 0) await wire.number('a field')
    else if (type === 1) await wire.text('a field')
    else throw new NoWayError(`a field of a message is of type ${type}, which is not known`)
  }
}

async function errorText(wire: Wire, version: number): Promise<string> {
  if (version < VERSION_WITH_ERRORS) {
    const text = await wire.text('an error')
    await wire.number('a status')
    return text
  }
  await wire.text('a type')
  await wire.number('a level')
  await wire.text('a name')
  const text = await wire.text('an error')
  return text
}

/** Colours are for terminals. */
function shown(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one.
  return printableText(text.replace(/\u001b\[[0-9;]*m/g, '').slice(0, 1000))
}
