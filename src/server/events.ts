/** What a server tells while it runs; it never prints, and it has no clock: whoever listens can look at theirs. */

/** The same object in all events of a request. */
export interface ServedRequest {
  /** Address and port, such as `127.0.0.1:40312` or `[::1]:40312`. */
  readonly client: string
  readonly method: string
  /** As it was sent. Not yet fit for a terminal: it may hold any character above 0x20. */
  readonly target: string
  /** The Host field as it was sent, as unfit for a terminal; undefined where there was none. */
  readonly host: string | undefined
}

/**
 * - `disconnected`: the client went away
 * - `stalled`: it took nothing for too long, or next to nothing when others needed its place
 * - `unreadable`: a file could not be read to its end; a `readError` came before
 * - `shutdown`: the grace at the end was over
 */
export type DropReason = 'disconnected' | 'stalled' | 'unreadable' | 'shutdown'

export type ServerEvent =
  | { readonly kind: 'start'; readonly request: ServedRequest }
  /** A whole answer is on its way. `bytes` are those of its content. */
  | { readonly kind: 'finish'; readonly request: ServedRequest; readonly status: number; readonly bytes: number }
  /** The connection ended before the answer did; not more than `bytes` of its content arrived, but for the last 128 KiB. */
  | {
      readonly kind: 'drop'
      readonly request: ServedRequest
      readonly status: number
      readonly bytes: number
      readonly reason: DropReason
    }
  /** A file cannot be read. The client gets 500, or, when it has bytes already, a short answer. */
  | { readonly kind: 'readError'; readonly request: ServedRequest; readonly error: unknown }
  /** A client sent what is no request, or there are too many; `status` is undefined where it got no answer. So does one that had to make room. */
  | { readonly kind: 'refuse'; readonly client: string; readonly status: number | undefined; readonly reason: string }
  /** A connection could not be taken, for want of file descriptors, say. The server goes on. */
  | { readonly kind: 'acceptError'; readonly error: unknown }
