/**
 * Under which names a server answers. A page of another site can have its own name resolve to this machine (DNS
 * rebinding), and its scripts then read what is served here as if it were their own; the browser sends that name as Host.
 * So a request has to name the server by an address, which nobody else can have resolved, or by a name that was given.
 *
 * HTTP/1.0 needs no Host, and iPXE and busybox of old send none. It is answered: browsers send Host with every request,
 * whatever its version, and no script can leave it out (Fetch standard, forbidden request-headers).
 */
import { isIP } from 'node:net'
import { ImageError } from '../errors.ts'

/** What a request says of whom it is for. */
export interface AskedHost {
  /** As in the first line, such as `1.1`. */
  readonly version: string
  readonly target: string
  /** The values of all Host fields. */
  readonly hosts: readonly string[]
}

export interface HostProblem {
  readonly status: 400 | 421
  readonly why: string
}

/** RFC 9110, 4.2.3: they are compared without regard to case. */
export type HostNames = ReadonlySet<string>

/** Names of letters, digits, `-` and `_` between dots; underscores are no host names by the letter, but there are such. */
const NAME = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/
/** Of a name with its dots (RFC 1035, 2.3.4). */
const NAME_MAXIMUM = 253
/** RFC 9110, 7.2: a host and perhaps a port. */
const HOST = /^(\[[^\]]*\]|[^:[\]]*)(?::[0-9]*)?$/
/** RFC 9112, 3.2.2: a target that names the server, which counts before Host; after the name of a user, if there is one. */
const AUTHORITY = /^https?:\/\/(?:[^/?#@]*@)?([^/?#]*)/i

/** Whether `--host` and the library take it. */
export function isHostName(text: string): boolean {
  return NAME.test(text) && text.length <= NAME_MAXIMUM
}

/** `localhost`, the name that is listened on, and those that were given. Throws USAGE. */
export function hostNames(listened: string, given: readonly string[]): HostNames {
  for (const name of given) {
    if (isHostName(name)) continue
    throw new ImageError('USAGE', `'${name}' is no name of a host; give one such as boot.example.org, without a port`)
  }
  return new Set(['localhost', ...(isIP(listened) === 0 ? [listened] : []), ...given].map((name) => name.toLowerCase()))
}

/** Why a request is not for this server; undefined when it is. */
export function hostProblem(names: HostNames, { version, target, hosts }: AskedHost): HostProblem | undefined {
  const authority = AUTHORITY.exec(target)?.[1]
  // RFC 9112, 3.2: one field, which HTTP/1.0 may leave out.
  if (hosts.length > 1) return { status: 400, why: 'it has several Host fields' }
  if (hosts.length === 0 && version !== '1.0') return { status: 400, why: 'it has no Host field' }
  for (const asked of authority === undefined ? hosts : [...hosts, authority]) {
    const match = HOST.exec(asked.trim())
    if (match === null) return { status: 400, why: 'its Host is none' }
    if (!isKnown(names, match[1] ?? '')) return { status: 421, why: MISDIRECTED }
  }
  return undefined
}

/** Read by whoever has a name for this machine that the server was not told. */
const MISDIRECTED = 'the server does not go by the name that was asked for: use its address, or start it with --host NAME'

/** A name may end with the dot of the root; a link-local address may have a zone (RFC 6874). */
function isKnown(names: HostNames, host: string): boolean {
  if (!host.startsWith('[')) return isIP(host) === 4 || names.has(host.toLowerCase().replace(/\.$/, ''))
  return isIP(host.slice(1, -1).replace(/%.*$/, '')) === 6
}
