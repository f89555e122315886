/**
 * The closures that the end-to-end tests build images of. Outside CI a closure that nobody has generated skips its tests and
 * says which command makes it; in CI it has to be there.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CLOSURES = fileURLToPath(new URL('../../.cache/closures', import.meta.url))

export interface Closure {
  /** For `--closure`. */
  readonly folder: string
  /** For `--root`. */
  readonly root: string
  /** The store's files. */
  readonly store: string
  readonly skip: boolean
  readonly reason: string
}

/** Closures and the commands that make them. */
const GENERATORS = {
  traps: 'fixtures/traps/make.sh',
  live: 'fixtures/live/make.sh',
  'live-zfs': 'fixtures/live/make.sh --zfs',
} as const

/** The closure that a generator of `fixtures` writes. */
export function generatedClosure(name: keyof typeof GENERATORS): Closure {
  const folder = join(CLOSURES, name)
  const skip = !existsSync(join(folder, '.complete')) && process.env.CI !== 'true'
  const reason = skip ? `skipped: ${folder} is not there; ${GENERATORS[name]} makes it (as root, with Nix)` : ''
  if (skip) console.warn(reason)
  return { folder, root: join(folder, 'root'), store: join(folder, 'root/nix/store'), skip, reason }
}

export function storePaths(folder: string): string[] {
  return readFileSync(join(folder, 'store-paths'), 'utf8').trim().split('\n')
}

/** The store path whose name is `name`, without its hash. */
export function storePathNamed(folder: string, name: string): string {
  const found = storePaths(folder).find((path) => path.slice('/nix/store/'.length + 33) === name)
  if (found === undefined) throw new Error(`${folder}: no store path ${name}`)
  return found
}

export function toplevelOf(folder: string): string {
  return readFileSync(join(folder, 'toplevel'), 'utf8').trim()
}
