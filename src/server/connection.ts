/** The connection of a client: its requests one after the other, and how it ends. */
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { DropReason } from './events.ts'
import { textPlan } from './response-plan.ts'

/** More requests than this without waiting for an answer are no client's habit. */
const MAXIMUM_PIPELINED = 100

/** For how long what a client still sends is read after the last answer; else the system resets the connection, and the answer may be lost (RFC 9112, 9.6). */
const LINGER_MILLISECONDS = 1000

/**
 * - `waiting`: there is no request to answer, and perhaps a part of one
 * - `answering`: the client gets an answer
 * - `slow`: it does, and takes next to nothing
 */
export type ConnectionState = 'waiting' | 'answering' | 'slow' | 'closed'

export class Connection {
  readonly client: string
  /** There are more connections than allowed: it is told so and closed. */
  readonly isSurplus: boolean
  readonly socket: Socket
  /** Told of each change of `state`. */
  onState: (state: ConnectionState) => void = () => undefined
  readonly #slowMilliseconds: number
  #state: ConnectionState = 'waiting'
  #slowTimer: NodeJS.Timeout | undefined
  #turn: Promise<void> = Promise.resolve()
  #pending = 0
  #isEnding = false
  #cutReason: DropReason | undefined
  #refusal: number | undefined
  #isRefused = false

  /** A client is slow that takes longer than `slowMilliseconds` over a portion of an answer. */
  constructor(socket: Socket, isSurplus: boolean, slowMilliseconds: number) {
    this.socket = socket
    this.isSurplus = isSurplus
    this.#slowMilliseconds = slowMilliseconds
    const { remoteAddress = 'unknown', remotePort = 0, remoteFamily } = socket
    this.client = `${remoteFamily === 'IPv6' ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`
    socket.once('close', () => {
      clearTimeout(this.#slowTimer)
      this.#become('closed')
    })
  }

  get state(): ConnectionState {
    return this.#state
  }

  /** Why the connection was ended by `cut`; undefined when it was not. */
  get cutReason(): DropReason | undefined {
    return this.#cutReason
  }

  /**
   * Run `answer` when the answers before it are done. Node hands out all requests that have arrived, but only the
   * first has the connection: nothing is opened or read for the others before it is theirs. `answer` does not throw.
   * Returns when it is done, or undefined when there are too many.
   */
  take(answer: () => Promise<void>): Promise<void> | undefined {
    if (this.#pending >= MAXIMUM_PIPELINED) {
      this.socket.destroy()
      return undefined
    }
    this.#pending++
    this.#become('answering')
    this.#turn = this.#turn.then(async () => {
      if (!this.socket.destroyed) await answer()
      this.#pending--
      if (this.#pending === 0) this.#rest()
    })
    return this.#turn
  }

  /** Answer `status` after what is under way, and close. False when that was said already. */
  refuse(status: number): boolean {
    if (this.#refusal !== undefined) return false
    this.#refusal = status
    if (this.#pending === 0) this.#rest()
    return true
  }

  /** Close after what is under way. */
  end(): void {
    this.#isEnding = true
    if (this.#pending === 0) this.#rest()
  }

  /** Close now, whatever is under way. */
  cut(reason: DropReason): void {
    this.#cutReason = reason
    this.socket.destroy()
    this.#become('closed')
  }

  /** The client has a portion of an answer to take, or has taken it. */
  gives(isUnderWay: boolean): void {
    clearTimeout(this.#slowTimer)
    if (isUnderWay) this.#slowTimer = setTimeout(() => this.#become('slow'), this.#slowMilliseconds)
    else if (this.#state === 'slow') this.#become('answering')
  }

  #become(state: ConnectionState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    this.onState(state)
  }

  #rest(): void {
    this.#become('waiting')
    if (this.#refusal !== undefined && !this.#isRefused) this.#sayAndClose(this.#refusal)
    else if (this.#isEnding) this.socket.destroySoon()
  }

  /** Without Node's help, which has no request to answer to. */
  #sayAndClose(status: number): void {
    this.#isRefused = true
    const socket = this.socket
    if (!socket.writable) {
      socket.destroy()
      return
    }
    const { fields } = textPlan(status)
    const reason = STATUS_CODES[status] ?? ''
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.end(`HTTP/1.1 ${status} ${reason}\r\n${lines.join('')}Connection: close\r\n\r\n${status} ${reason}\n`)
    socket.resume()
    const timer = setTimeout(() => socket.destroy(), LINGER_MILLISECONDS)
    socket.once('end', () => socket.destroy())
    socket.once('close', () => clearTimeout(timer))
  }
}
