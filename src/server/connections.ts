/**
 * All connections: how many there may be, in whole and from one client, and which one goes when there is no room for
 * another. Whoever comes with a request is let in before whoever holds a place and says nothing, so that a thousand
 * silent connections keep nobody out.
 */
import type { Socket } from 'node:net'
import { Connection } from './connection.ts'

export interface ConnectionLimits {
  readonly maximumConnections: number
  /** Of one client, which may be a whole network behind one address. */
  readonly maximumPerClient: number
  /** A client that takes longer over a portion of an answer is slow, and may have to go. */
  readonly slowMilliseconds: number
}

/** The connections of one client. */
interface Group {
  size: number
  /** They have asked for nothing, or for nothing more: longest first. */
  readonly waiting: Set<Connection>
  /** They take next to nothing: longest first. */
  readonly slow: Set<Connection>
}

export class ConnectionTable {
  readonly #limits: ConnectionLimits
  readonly #onEvict: (connection: Connection, wasAnswered: boolean) => void
  readonly #bySocket = new Map<Socket, Connection>()
  readonly #groups = new Map<string, Group>()
  /** Connections beyond the limits, longest first. They are told so and closed. */
  readonly #surplus = new Set<Connection>()

  /** `onEvict` is told of each connection that has to make room, before it is closed. */
  constructor(limits: ConnectionLimits, onEvict: (connection: Connection, wasAnswered: boolean) => void) {
    this.#limits = limits
    this.#onEvict = onEvict
  }

  get(socket: Socket): Connection | undefined {
    return this.#bySocket.get(socket)
  }

  all(): Iterable<Connection> {
    return this.#bySocket.values()
  }

  /** The connection of a new socket, which is surplus when no other makes room. */
  admit(socket: Socket): Connection {
    const key = clientOf(socket.remoteAddress)
    const group = this.#groups.get(key) ?? { size: 0, waiting: new Set(), slow: new Set() }
    const isSurplus = !this.#hasRoom(group)
    if (isSurplus && this.#surplus.size >= this.#limits.maximumConnections) {
      const [oldest] = this.#surplus
      if (oldest !== undefined) this.#evict(oldest)
    }
    const connection = new Connection(socket, isSurplus, this.#limits.slowMilliseconds)
    this.#bySocket.set(socket, connection)
    if (isSurplus) this.#surplus.add(connection)
    else this.#count(key, group, connection)
    socket.once('close', () => {
      this.#bySocket.delete(socket)
      this.#surplus.delete(connection)
    })
    return connection
  }

  #count(key: string, group: Group, connection: Connection): void {
    this.#groups.set(key, group)
    group.size++
    group.waiting.add(connection)
    connection.onState = (state) => {
      group.waiting.delete(connection)
      group.slow.delete(connection)
      if (state === 'waiting') group.waiting.add(connection)
      else if (state === 'slow') group.slow.add(connection)
      else if (state === 'closed' && --group.size === 0) this.#groups.delete(key)
    }
  }

  #hasRoom(group: Group): boolean {
    const { maximumConnections, maximumPerClient } = this.#limits
    if (group.size > 0 && group.size >= Math.min(maximumPerClient, maximumConnections)) return this.#makeRoom([group])
    return this.#bySocket.size - this.#surplus.size < maximumConnections || this.#makeRoom([...this.#groups.values()])
  }

  /** Of the client that has most of them: the one that waits longest, else the one that is slow longest. False when there is none. */
  #makeRoom(groups: readonly Group[]): boolean {
    const idlest = groups.reduce((most, group) => (group.waiting.size > most.waiting.size ? group : most))
    const slowest = groups.reduce((most, group) => (group.slow.size > most.slow.size ? group : most))
    const [connection] = idlest.waiting.size > 0 ? idlest.waiting : slowest.slow
    if (connection === undefined) return false
    this.#evict(connection)
    return true
  }

  #evict(connection: Connection): void {
    this.#onEvict(connection, connection.state === 'slow')
    this.#bySocket.delete(connection.socket)
    this.#surplus.delete(connection)
    connection.cut('stalled')
  }
}

/** Who is at the other end: an IPv4 address, or the 64 bits of an IPv6 address that say which network (RFC 4291, 2.5.4). */
export function clientOf(address = ''): string {
  const mapped = /^::ffff:([0-9.]+)$/i.exec(address)?.[1]
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address
  const [head = '', tail] = address.replace(/%.*$/, '').split('::')
  const groups = head === '' ? [] : head.split(':')
  const rest = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : 8 - groups.length - rest.length
  return [...groups, ...Array<string>(Math.max(0, zeros)).fill('0'), ...rest].slice(0, 4).join(':')
}
