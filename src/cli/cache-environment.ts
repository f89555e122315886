/** What the environment says of binary caches: proxies, passwords, where files are kept, and whom Nix trusts. */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { CacheHttp } from '../nix/cache/http.ts'
import { type Logins, parseNetrc } from '../nix/cache/netrc.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Proxies as curl takes them from variables, and the first netrc file of `NETRC`, `~/.netrc` and `/etc/nix/netrc`. */
export function environmentHttp(env: Environment = process.env): Pick<CacheHttp, 'proxies' | 'logins'> {
  const value = (name: string): string | undefined => env[name] || env[name.toUpperCase()] || undefined
  const all = value('all_proxy')
  // A web server is given the header Proxy as HTTP_PROXY; so only the small letters count, as for curl.
  const [http, https, no] = [env.http_proxy || all, value('https_proxy') ?? all, value('no_proxy')]
  const logins = netrcOf(env)
  return {
    proxies: { ...(http && { http }), ...(https && { https }), ...(no && { no }) },
    ...(logins && { logins }),
  }
}

function netrcOf(env: Environment): Logins | undefined {
  for (const file of [env.NETRC, join(env.HOME || homedir(), '.netrc'), '/etc/nix/netrc']) {
    const text = file && textOf(file)
    if (text) return parseNetrc(text)
  }
  return undefined
}

/** `kilnix/nars` in the folder that the system has for caches. */
export function userNarCache(env: Environment = process.env): string {
  const home = env.HOME || homedir()
  const folders: Readonly<Partial<Record<NodeJS.Platform, string>>> = {
    win32: env.LOCALAPPDATA ?? join(home, 'AppData', 'Local'),
    darwin: join(home, 'Library', 'Caches'),
  }
  return join(env.XDG_CACHE_HOME || folders[process.platform] || join(home, '.cache'), 'kilnix', 'nars')
}

/** The keys that the configuration of Nix trusts: `trusted-public-keys` and `extra-trusted-public-keys`, of the system and of the user. */
export function nixConfKeys(env: Environment = process.env): string[] {
  const user = join(env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config'), 'nix', 'nix.conf')
  const files = [join(env.NIX_CONF_DIR || '/etc/nix', 'nix.conf'), ...(env.NIX_USER_CONF_FILES?.split(':') ?? [user])]
  const keys = files.flatMap((file) => [
    ...(textOf(file) ?? '').matchAll(/^[ \t]*(?:extra-)?trusted-(?:public|binary-cache-public)-keys[ \t]*=([^\n#]*)/gm),
  ])
  return [...new Set(keys.flatMap(([, list = '']) => list.split(/\s+/).filter((key) => key !== '')))]
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
