/** netrc files: names and passwords by host (curl's manual, "netrc"; `.netrc` of ftp(1)). */
import type { Login } from './address.ts'

/** By host in lower case; that of `default` under the empty name. */
export type Logins = ReadonlyMap<string, Login>

/** Macros are passed over, and entries without a password. The first entry of a host counts. */
export function parseNetrc(text: string): Logins {
  const logins = new Map<string, Login>()
  const lines = text.replace(/^\s*macdef[^\n]*\n(?:[^\n]+\n)*/gm, '').replace(/^\s*#.*$/gm, '')
  const words = [...lines.matchAll(/"((?:\\.|[^"\\])*)"|(\S+)/g)].map(([, quoted, bare]) =>
    quoted === undefined ? (bare ?? '') : quoted.replace(/\\(.)/g, '$1'),
  )
  let host: string | undefined
  let login = ''
  let password: string | undefined
  const finish = (): void => {
    if (host !== undefined && password !== undefined && !logins.has(host)) logins.set(host, { login, password })
    login = ''
    password = undefined
  }
  for (let at = 0; at < words.length; at++) {
    switch (words[at]) {
      case 'machine':
        finish()
        host = (words[++at] ?? '').toLowerCase()
        break
      case 'default':
        finish()
        host = ''
        break
      case 'login':
        login = words[++at] ?? ''
        break
      case 'password':
        password = words[++at] ?? ''
        break
      case 'account':
        at++
    }
  }
  finish()
  return logins
}
