/** What the environment says of binary caches. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { environmentHttp, nixConfKeys, userNarCache } from '../../src/cli/cache-environment.ts'
import { parseNetrc } from '../../src/nix/cache/netrc.ts'
import { proxyFor } from '../../src/nix/cache/proxies.ts'
import { scratchFolder } from '../nix/scratch.ts'

const at = scratchFolder()

describe('netrc', () => {
  it.each([
    ['one line', 'machine a.example login me password secret', { 'a.example': ['me', 'secret'] }],
    ['many lines, and a host in capitals', 'machine A.example\n\tlogin me\n\tpassword secret\n', { 'a.example': ['me', 'secret'] }],
    ['the first of a host', 'machine a password 1\nmachine a password 2', { a: ['', '1'] }],
    ['what is for all others', 'machine a password 1 default login x password y', { a: ['', '1'], '': ['x', 'y'] }],
    ['quotes', 'machine a login me password "a \\"b\\" c"', { a: ['me', 'a "b" c'] }],
    [
      'comments, accounts and macros',
      '# machine x password y\nmachine a account z password 1\nmacdef init\nmachine m password n\n\n',
      { a: ['', '1'] },
    ],
    ['no password', 'machine a login me', {}],
    ['nothing behind a word', 'machine', {}],
  ])('%s', (_about, text, logins) => {
    const found = [...parseNetrc(text)].map(([host, { login, password }]) => [host, [login, password]])
    expect(Object.fromEntries(found)).toEqual(logins)
  })

  it('is the file that NETRC names, else that of the home', () => {
    writeFileSync(at('netrc'), 'machine a password 1')
    writeFileSync(at('.netrc'), 'machine b password 2')
    expect([...(environmentHttp({ NETRC: at('netrc'), HOME: at() }).logins?.keys() ?? [])]).toEqual(['a'])
    expect([...(environmentHttp({ HOME: at() }).logins?.keys() ?? [])]).toEqual(['b'])
  })
})

describe('nix.conf', () => {
  it('has keys in the file of the system and those of the user', () => {
    mkdirSync(at('etc'))
    writeFileSync(
      at('etc/nix.conf'),
      'sandbox = true\ntrusted-public-keys = a-1:AAAA  b-1:BBBB # old: c-1:CCCC\n#trusted-public-keys = d-1:DDDD\n',
    )
    writeFileSync(at('user.conf'), '  extra-trusted-public-keys=e-1:EEEE a-1:AAAA\nextra-trusted-public-keysx = f-1:FFFF\n')
    const env = { NIX_CONF_DIR: at('etc'), NIX_USER_CONF_FILES: `${at('user.conf')}:${at('none.conf')}` }
    expect(nixConfKeys(env)).toEqual(['a-1:AAAA', 'b-1:BBBB', 'e-1:EEEE'])
    expect(nixConfKeys({ NIX_CONF_DIR: at('none'), HOME: at('none') })).toEqual([])
  })
})

describe('proxies', () => {
  const route = (url: string, env: Record<string, string>): string | undefined => {
    const proxy = proxyFor(new URL(url), environmentHttp({ HOME: at('none'), ...env }).proxies ?? {})
    return proxy && `${proxy.isTls ? 'https' : 'http'} ${proxy.login?.login ?? ''} ${proxy.host} ${proxy.port}`
  }
  it.each([
    ['https://c.example', { https_proxy: 'http://p:3128' }, 'http  p 3128'],
    ['https://c.example', { HTTPS_PROXY: 'https://me:s@p' }, 'https me p 443'],
    ['http://c.example', { HTTP_PROXY: 'http://p' }, undefined],
    ['http://c.example', { http_proxy: 'p:8080' }, 'http  p 8080'],
    ['http://c.example', { all_proxy: 'p' }, 'http  p 80'],
    ['https://a.c.example', { https_proxy: 'p', no_proxy: 'x, .c.example' }, undefined],
    ['https://c.example', { https_proxy: 'p', NO_PROXY: 'c.example:8443' }, 'http  p 80'],
    ['https://notc.example', { https_proxy: 'p', no_proxy: 'c.example' }, 'http  p 80'],
    ['https://c.example', { https_proxy: 'p', no_proxy: '*' }, undefined],
  ])('%s with %o', (url, env, expected) => {
    expect(route(url, env)).toBe(expected)
  })

  it('of other kinds are errors, without their passwords', () => {
    expect(() => route('https://c', { https_proxy: 'socks5://me:s3cret@p' })).toThrow(/^(?!.*s3cret).*proxies are supported/)
  })
})

it('the folder of NARs is in the folder of caches', () => {
  expect(userNarCache({ XDG_CACHE_HOME: '/c', HOME: '/h' })).toBe('/c/kilnix/nars')
})
