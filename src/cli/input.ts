/** What recipes take beside their options. */
import { CACHE_NIXOS_ORG_KEY } from '../nix/cache/signature.ts'
import { NIX_VARIABLES, type NixEnvironment } from '../nix/local/place.ts'
import { environmentHttp, nixConfKeys, userNarCache } from './cache-environment.ts'
import type { Context } from './command.ts'
import { standardInput } from './standard-input.ts'

export interface GivenInput {
  readonly closure?: string
  readonly cutoffs?: readonly string[]
  readonly from?: readonly string[]
  readonly trustedPublicKeys?: readonly string[]
  readonly narCache?: string
}

/** Of recipes that read a closure: who is told, what `-` is, and no path where the cut-off is `none`. */
export function storeInput({ closure, cutoffs, from, trustedPublicKeys, narCache }: GivenInput, { signal, onProgress, sources }: Context) {
  return {
    signal,
    onProgress,
    sources,
    environment: nixEnvironment(),
    // On the command line those of Nix are trusted as well.
    ...(from && {
      trustedPublicKeys: trustedPublicKeys ?? [CACHE_NIXOS_ORG_KEY, ...nixConfKeys()],
      narCache: narCache ?? userNarCache(),
      http: environmentHttp(),
    }),
    ...(closure === '-' && { stdin: standardInput(signal) }),
    ...(cutoffs && { cutoffs: cutoffs.filter((path) => path !== 'none') }),
  }
}

/** What the recipe takes for a configuration that lies in a file; nothing without one. */
export function configurationFile(path: string | undefined): { readonly configuration?: { readonly file: string } } {
  return path === undefined ? {} : { configuration: { file: path } }
}

/** What Nix heeds of the environment. */
export function nixEnvironment(): NixEnvironment {
  return Object.fromEntries(NIX_VARIABLES.map((name) => [name, process.env[name]]))
}
