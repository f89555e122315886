/** Where the local Nix is: what `store` and the environment say (Nix manual, "Common Environment Variables" and "Store Types"). */
import { isAbsolute, join, resolve } from 'node:path'
import { quote } from '../../bytes/text.ts'
import { ImageError, type Wording } from '../../errors.ts'
import { STORE_DIRECTORY } from '../store/store-path.ts'

/** The variables of Nix that matter here. */
export const NIX_VARIABLES = ['NIX_REMOTE', 'NIX_DAEMON_SOCKET_PATH', 'NIX_STATE_DIR', 'NIX_STORE_DIR', 'XDG_DATA_HOME', 'HOME'] as const

export type NixEnvironment = { readonly [K in (typeof NIX_VARIABLES)[number]]?: string | undefined }

/** A way to ask Nix. */
export interface NixWay {
  readonly kind: 'daemon' | 'database'
  /** The socket, or the folder of the database. */
  readonly path: string
  /** The folder in which `nix/store` lies. */
  readonly root: string
}

const STATE_DIRECTORY = '/nix/var/nix'

/** Of a user who has no Nix of the system: a store in a folder (`openFromNonUri`). */
const USER_STORE = 'nix/root'

/**
 * The ways in the order in which they are tried. `store` is what `--store` of Nix takes: a folder, `auto`, `daemon`, `local`,
 * `unix://SOCKET` or `local?root=DIR`; default NIX_REMOTE, or `auto`. Throws USAGE and UNSUPPORTED for others.
 */
export function nixWays(store: string | undefined, environment: NixEnvironment): NixWay[] {
  const { NIX_STORE_DIR: storeDirectory, NIX_REMOTE: remote } = environment
  if (store === undefined && set(storeDirectory) && resolve(storeDirectory) !== STORE_DIRECTORY) {
    throw new ImageError('UNSUPPORTED', `NIX_STORE_DIR is ${quote(storeDirectory)}; images are made of stores at ${STORE_DIRECTORY}`)
  }
  const given = store ?? (set(remote) ? remote : 'auto')
  const name = store === undefined ? (): string => 'NIX_REMOTE' : (option: (name: string) => string): string => option('store')
  const state = set(environment.NIX_STATE_DIR) ? environment.NIX_STATE_DIR : STATE_DIRECTORY
  const socket = set(environment.NIX_DAEMON_SOCKET_PATH) ? environment.NIX_DAEMON_SOCKET_PATH : join(state, 'daemon-socket/socket')
  const daemon: NixWay = { kind: 'daemon', path: socket, root: '/' }
  const local: NixWay = { kind: 'database', path: join(state, 'db'), root: '/' }
  const [address = '', query = ''] = given.split(/\?(.*)/s)
  const parameters = (known: readonly string[]): Map<string, string> => parametersOf(query, given, known, name)
  switch (address) {
    case 'auto':
      parameters([])
      return [daemon, local, ...userStore(environment)]
    case 'daemon':
    case 'unix://':
      return [{ ...daemon, root: parameters(['root']).get('root') ?? '/' }]
    case 'local':
    case 'local://': {
      const values = parameters(['root', 'state', 'real', 'store'])
      if ((values.get('store') ?? STORE_DIRECTORY) !== STORE_DIRECTORY)
        throw unsupported(given, name, `images are made of stores at ${STORE_DIRECTORY}`)
      const root = values.get('root')
      const real = values.get('real')
      const files = real === undefined ? (root ?? '/') : rootOfStore(real, given, name)
      const states = values.get('state') ?? (root === undefined ? state : inRoot(root, STATE_DIRECTORY))
      return [{ kind: 'database', path: join(states, 'db'), root: files }]
    }
  }
  if (address.startsWith('unix://')) {
    return [{ kind: 'daemon', path: decoded(address.slice('unix://'.length)), root: parameters(['root']).get('root') ?? '/' }]
  }
  const folder = address.startsWith('local://') ? decoded(address.slice('local://'.length)) : given
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(folder)) {
    throw unsupported(
      given,
      name,
      'that is no store of this machine; list the closure there (nix path-info -r --json --store ... PATH), or name a binary cache as the source',
    )
  }
  // As Nix tells folders from names; what is given to this program may be a folder beside it.
  if (store === undefined && !given.includes('/'))
    throw unsupported(given, name, 'that is no kind of store; name a folder with a slash in it, or auto, daemon, local, unix://SOCKET')
  if (folder === '') throw new ImageError('USAGE', (option) => `${name(option)} is empty; give a folder that holds nix/store`)
  return [chroot(resolve(folder))]
}

function chroot(root: string): NixWay {
  return { kind: 'database', path: join(inRoot(root, STATE_DIRECTORY), 'db'), root }
}

function userStore({ XDG_DATA_HOME: data, HOME: home, NIX_STATE_DIR: state }: NixEnvironment): NixWay[] {
  if (set(state)) return []
  const folder = set(data) ? data : set(home) ? join(home, '.local/share') : undefined
  return folder === undefined || !isAbsolute(folder) ? [] : [chroot(join(folder, USER_STORE))]
}

function inRoot(root: string, path: string): string {
  return join(root, path)
}

/** Where `nix/store` lies in, of a store that has its files at `real`. */
function rootOfStore(real: string, given: string, name: (option: (name: string) => string) => string): string {
  if (real.replace(/\/+$/, '').endsWith(STORE_DIRECTORY)) return real.replace(/\/+$/, '').slice(0, -STORE_DIRECTORY.length) || '/'
  throw unsupported(given, name, `its files have to lie in a folder that ends in ${STORE_DIRECTORY}`)
}

function parametersOf(
  query: string,
  given: string,
  known: readonly string[],
  name: (option: (name: string) => string) => string,
): Map<string, string> {
  const values = new Map<string, string>()
  for (const part of query.split('&')) {
    if (part === '') continue
    const [key = '', value = ''] = part.split(/=(.*)/s)
    if (!known.includes(key))
      throw unsupported(
        given,
        name,
        `${quote(key)} is not known there${known.length > 0 ? `; ${known.join(', ')} ${known.length === 1 ? 'is' : 'are'}` : ''}`,
      )
    values.set(key, decoded(value))
  }
  return values
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function unsupported(given: string, name: (option: (name: string) => string) => string, why: string): ImageError {
  const wording: Wording = (option) => `${name(option)} is ${quote(withoutLogin(given))}: ${why}`
  return new ImageError('UNSUPPORTED', wording)
}

/** An address as it may be shown: without the name and the password of a user. */
export function withoutLogin(address: string): string {
  return address.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, '$1')
}

function set(text: string | undefined): text is string {
  return text !== undefined && text !== ''
}
