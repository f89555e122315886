/** Which Nix is meant, by what is given and by the environment; and which store path, by links. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { followToStore } from '../../../src/nix/local/follow.ts'
import { localClosure } from '../../../src/nix/local/index.ts'
import { type NixEnvironment, nixWays } from '../../../src/nix/local/place.ts'
import { failure, scratchFolder } from '../scratch.ts'
import { base } from '../store-samples.ts'

const SOCKET = '/nix/var/nix/daemon-socket/socket'
const ways = (store: string | undefined, environment: NixEnvironment = {}) =>
  nixWays(store, environment).map(({ kind, path, root }) => `${kind} ${path} ${root}`)

describe('the ways to the local Nix', () => {
  it.each<[string | undefined, NixEnvironment, string[]]>([
    [undefined, {}, [`daemon ${SOCKET} /`, 'database /nix/var/nix/db /']],
    ['auto', { NIX_REMOTE: 'daemon' }, [`daemon ${SOCKET} /`, 'database /nix/var/nix/db /']],
    [undefined, { NIX_REMOTE: '', NIX_STORE_DIR: '', HOME: '' }, [`daemon ${SOCKET} /`, 'database /nix/var/nix/db /']],
    [
      undefined,
      { HOME: '/home/me' },
      [
        `daemon ${SOCKET} /`,
        'database /nix/var/nix/db /',
        'database /home/me/.local/share/nix/root/nix/var/nix/db /home/me/.local/share/nix/root',
      ],
    ],
    [undefined, { NIX_REMOTE: 'daemon' }, [`daemon ${SOCKET} /`]],
    [undefined, { NIX_REMOTE: 'daemon', NIX_DAEMON_SOCKET_PATH: '/run/s' }, ['daemon /run/s /']],
    [undefined, { NIX_STATE_DIR: '/state', HOME: '/h' }, ['daemon /state/daemon-socket/socket /', 'database /state/db /']],
    [undefined, { NIX_REMOTE: 'local', NIX_STORE_DIR: '/nix/store/' }, ['database /nix/var/nix/db /']],
    [undefined, { NIX_REMOTE: '/mnt' }, ['database /mnt/nix/var/nix/db /mnt']],
    ['/mnt/', { NIX_STORE_DIR: '/other' }, ['database /mnt/nix/var/nix/db /mnt']],
    ['unix:///run/a%20b?root=/mnt', {}, ['daemon /run/a b /mnt']],
    ['local?root=/mnt', {}, ['database /mnt/nix/var/nix/db /mnt']],
    ['local?root=/mnt&state=/state', {}, ['database /state/db /mnt']],
    ['local?real=/mnt/nix/store', {}, ['database /nix/var/nix/db /mnt']],
    ['local:///mnt', {}, ['database /mnt/nix/var/nix/db /mnt']],
  ])('for %j with %j', (store, environment, expected) => {
    expect(ways(store, environment)).toEqual(expected)
  })

  it.each<[string | undefined, NixEnvironment, RegExp]>([
    ['ssh://host', {}, /store is .*ssh:\/\/host.*: that is no store of this machine/],
    [undefined, { NIX_REMOTE: 'ssh-ng://host' }, /NIX_REMOTE is .*no store of this machine/],
    [undefined, { NIX_REMOTE: 'nonsense' }, /NIX_REMOTE is 'nonsense': that is no kind of store; name a folder with a slash/],
    ['https://me:secret@host/x', {}, /store is 'https:\/\/host\/x'/],
    [undefined, { NIX_REMOTE: 'ssh://me:s@cret@host' }, /NIX_REMOTE is 'ssh:\/\/host'/],
    [undefined, { NIX_STORE_DIR: '/gnu/store' }, /NIX_STORE_DIR is .*\/gnu\/store/],
    ['local?store=/gnu/store', {}, /images are made of stores at \/nix\/store/],
    ['local?real=/mnt/store', {}, /ends in \/nix\/store/],
    ['daemon?max-connections=3', {}, /max-connections.* is not known there; root is/],
  ])('refuses %j with %j', async (store, environment, message) => {
    await failure(() => nixWays(store, environment), 'UNSUPPORTED', message)
  })

  it('says what was tried where there is none', async () => {
    const nowhere = { NIX_STATE_DIR: '/nowhere', NIX_REMOTE: 'auto' }
    await failure(
      () => localClosure(['/nix/store/x'], { environment: nowhere }),
      'NOT_FOUND',
      /^no Nix here: tried the Nix daemon at \/nowhere\/daemon-socket\/socket \(no such socket\), the Nix database \/nowhere\/db\/db\.sqlite \(no such file\); name a store with store, or give a listing of the closure with closure$/,
    )
    await failure(() => localClosure([]), 'USAGE', /no store path/)
  })
})

describe('links to store paths', () => {
  const scratch = scratchFolder()
  const [app, sw, lone] = [base('app'), base('sw'), base('link')] as const
  const root = (): string => scratch('root')
  beforeAll(() => {
    const inStore = (...parts: string[]): string => scratch('root/nix/store', ...parts)
    mkdirSync(inStore(app, 'bin'), { recursive: true })
    mkdirSync(inStore(sw))
    mkdirSync(scratch('root/nix/var/nix/profiles'), { recursive: true })
    writeFileSync(inStore(app, 'bin/tool'), '')
    symlinkSync(`/nix/store/${sw}`, inStore(app, 'sw'))
    symlinkSync('/nowhere', inStore(lone))
    symlinkSync(`/nix/store/${app}`, scratch('result'))
    symlinkSync('result', scratch('result-2'))
    symlinkSync('system-1-link', scratch('root/nix/var/nix/profiles/system'))
    symlinkSync(`/nix/store/${app}`, scratch('root/nix/var/nix/profiles/system-1-link'))
    symlinkSync(scratch('root'), scratch('other-root'))
    symlinkSync('circle', scratch('circle'))
    symlinkSync('nowhere', scratch('dangling'))
    symlinkSync(`/nix/store/${app}/bin/tool`, scratch('tool'))
  })

  it.each<[string, () => string, string]>([
    ['itself', () => `/nix/store/${app}`, app],
    ['itself, with dots and slashes', () => `/nix//store/./${app}/bin/../`, app],
    ['where it lies', () => scratch('root/nix/store', app), app],
    ['where it lies, by a link', () => scratch('other-root/nix/store', app), app],
    ['a link', () => scratch('result'), app],
    ['a link to a link', () => scratch('result-2/'), app],
    ['a profile', () => scratch('root/nix/var/nix/profiles/system'), app],
    ['a store path that is a link itself', () => `/nix/store/${lone}`, lone],
    ['a link within a store path to another one', () => scratch('result/sw'), sw],
    ['one that is not there', () => `/nix/store/${base('none')}`, base('none')],
  ])('%s', (_, given, expected) => {
    expect(followToStore(given(), root())).toBe(`/nix/store/${expected}`)
    expect(followToStore(given(), scratch('other-root'))).toBe(`/nix/store/${expected}`)
  })

  it.each<[string, () => string, 'NOT_FOUND' | 'BAD_INPUT', RegExp]>([
    [
      'a file in a store path',
      () => scratch('result/bin/tool'),
      'BAD_INPUT',
      /lies within \/nix\/store\/.*-app, and images have whole store paths; give that one/,
    ],
    ['a link to a file in one', () => scratch('tool'), 'BAD_INPUT', /lies within \/nix\/store\/.*-app/],
    ['nothing in a store path', () => scratch('result/none'), 'NOT_FOUND', /none, where nothing is/],
    ['nothing', () => scratch('none'), 'NOT_FOUND', /none: no such file/],
    ['nothing by a relative path', () => './none/x', 'NOT_FOUND', /^\.\/none\/x: no such file$/],
    ['a link to nothing', () => scratch('dangling'), 'NOT_FOUND', /dangling: leads to .*nowhere, where nothing is/],
    ['a circle', () => scratch('circle'), 'BAD_INPUT', /circle: more than 40 symbolic links/],
    ['a folder', () => scratch(), 'NOT_FOUND', /is not in \/nix\/store, and no link to a path in it/],
    ['the store', () => '/nix/store/', 'NOT_FOUND', /is the store itself/],
    ['no name', () => '/nix/store/.links', 'BAD_INPUT', /is no store path/],
  ])('not %s', async (_, given, code, message) => {
    await failure(() => followToStore(given(), root()), code, message)
  })
})
