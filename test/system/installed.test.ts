import { chmodSync, lstatSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { unpackSmall } from '../../fixtures/unpack.ts'
import { nixDatabase } from '../../src/nix/store/database.ts'
import { type InstalledOptions, installedTree } from '../../src/system/installed.ts'
import { openSystem, type System } from '../../src/system/system.ts'
import type { DirectoryNode, TreeNode } from '../../src/tree/tree.ts'
import { writeTree } from '../images/write-tree.ts'
import { type NixTools, nixTools, skipNix } from '../nix/nix-tools.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'
import { runOk } from '../oracles/tools.ts'

const TIME = 315_532_800
const scratch = scratchFolder()
let system: System

function installed(options: Partial<InstalledOptions> = {}, of: Partial<System> = {}): DirectoryNode {
  return installedTree({ ...system, ...of }, { mtimeSeconds: TIME, ...options }).root
}

beforeAll(async () => {
  const small = await unpackSmall(scratch('small'))
  system = await openSystem({ closure: small.folder, root: small.root, verify: false })
})

const closureOf = () => system.store.closure

/** The node at `path`, or undefined. */
function at(tree: DirectoryNode, path: string): TreeNode | undefined {
  return path.split('/').reduce<TreeNode | undefined>((node, name) => {
    if (node?.kind !== 'directory') return undefined
    return node.entries.find((entry) => Buffer.from(entry.name).toString('latin1') === name)?.node
  }, tree)
}

/** One line a node outside of the store: mode, owner, path, and target or size. */
function listing(node: TreeNode, path = ''): string[] {
  const what = node.kind === 'symlink' ? ` -> ${Buffer.from(node.target)}` : node.kind === 'file' ? ` ${node.size}` : '/'
  const line = `${node.mode.toString(8).padStart(4, '0')} ${node.uid}:${node.gid} ${path}${what}`
  if (node.kind !== 'directory') return [line]
  const children = node.entries.filter(({ name }) => path !== '/nix/store' || Buffer.from(name).toString() === '.links')
  return [line, ...children.flatMap((entry) => listing(entry.node, `${path}/${Buffer.from(entry.name)}`))]
}

function times(node: TreeNode): number[] {
  return [node.mtimeSeconds, ...(node.kind === 'directory' ? node.entries.flatMap((entry) => times(entry.node)) : [])]
}

describe('installedTree', () => {
  it('has what nixos-install leaves, with modes and owners', () => {
    const { channel, size } = { channel: closureOf().paths[0]?.path ?? '', size: nixDatabase(closureOf()).length }
    const tree = installed({ configuration: '{ }\n', channel })
    expect(listing(tree).sort()).toEqual(
      [
        '0755 0:0 /',
        '0755 0:0 /boot/',
        '0755 0:0 /dev/',
        '0755 0:0 /etc/',
        '0644 0:0 /etc/NIXOS 0',
        '0755 0:0 /etc/nixos/',
        '0644 0:0 /etc/nixos/configuration.nix 4',
        '0755 0:0 /home/',
        '0755 0:0 /nix/',
        '1775 0:30000 /nix/store/',
        '0755 0:0 /nix/store/.links/',
        '0755 0:0 /nix/var/',
        '0755 0:0 /nix/var/nix/',
        '0755 0:0 /nix/var/nix/db/',
        `0644 0:0 /nix/var/nix/db/db.sqlite ${size}`,
        '0644 0:0 /nix/var/nix/db/schema 2',
        '0755 0:0 /nix/var/nix/gcroots/',
        '0755 0:0 /nix/var/nix/gcroots/per-user/',
        '0777 0:0 /nix/var/nix/gcroots/profiles -> /nix/var/nix/profiles',
        '0755 0:0 /nix/var/nix/profiles/',
        '0755 0:0 /nix/var/nix/profiles/per-user/',
        '0755 0:0 /nix/var/nix/profiles/per-user/root/',
        '0777 0:0 /nix/var/nix/profiles/per-user/root/channels -> channels-1-link',
        `0777 0:0 /nix/var/nix/profiles/per-user/root/channels-1-link -> ${channel}`,
        '0777 0:0 /nix/var/nix/profiles/system -> system-1-link',
        `0777 0:0 /nix/var/nix/profiles/system-1-link -> ${system.toplevel}`,
        '0755 0:0 /nix/var/nix/temproots/',
        '0755 0:0 /proc/',
        '0700 0:0 /root/',
        '0700 0:0 /root/.nix-defexpr/',
        '0777 0:0 /root/.nix-defexpr/channels -> /nix/var/nix/profiles/per-user/root/channels',
        '0755 0:0 /run/',
        '0755 0:0 /sys/',
        '1777 0:0 /tmp/',
        '0755 0:0 /var/',
      ].sort(),
    )
  })

  it('has the store of the closure, and one time beside it', () => {
    const tree = installed()
    const store = at(tree, 'nix/store') as DirectoryNode
    const names = store.entries.map(({ name }) => Buffer.from(name).toString())
    expect(names).not.toContain('nix-path-registration')
    expect(names.filter((name) => name !== '.links')).toEqual(closureOf().paths.map(({ baseName }) => baseName))
    const [first] = closureOf().paths
    expect(at(tree, `nix/store/${first?.baseName}`)).toBe(
      system.store.scanned.entries.find(({ name }) => Buffer.from(name).toString() === first?.baseName)?.node,
    )
    expect(new Set(times(tree))).toEqual(new Set([1, TIME]))
    expect(times({ ...tree, entries: tree.entries.filter(({ name }) => Buffer.from(name).toString() !== 'nix') })).not.toContain(1)
    expect(at(tree, 'etc/nixos')).toBeUndefined()
    expect(at(tree, 'root')).toMatchObject({ entries: [] })
  })

  it('takes files and folders with mode and owner', () => {
    mkdirSync(scratch('given/sub'), { recursive: true })
    writeFileSync(scratch('given/run'), '#!/bin/sh\n')
    chmodSync(scratch('given/run'), 0o750)
    chmodSync(scratch('given'), 0o711)
    writeFileSync(scratch('given/sub/key'), 'secret')
    chmodSync(scratch('given/sub/key'), 0o640)
    symlinkSync('run', scratch('given/link'))
    const tree = installed({
      add: [
        { target: '/var/lib/app', source: scratch('given'), uid: 1000, gid: 100 },
        { target: '/etc/app', source: scratch('given'), mode: 0o640 },
        { target: '/root/.ssh/id', source: scratch('given/link'), mode: 0o4400, uid: 4_294_967_294 },
      ],
    })
    const lines = listing(tree).filter((line) => /app|ssh|\/var/.test(line) && !line.includes('/nix'))
    expect(lines.sort()).toEqual(
      [
        '0755 0:0 /var/',
        '0755 0:0 /var/lib/',
        '0711 1000:100 /var/lib/app/',
        '0777 1000:100 /var/lib/app/link -> run',
        '0750 1000:100 /var/lib/app/run 10',
        '0755 1000:100 /var/lib/app/sub/',
        '0640 1000:100 /var/lib/app/sub/key 6',
        '0750 0:0 /etc/app/',
        '0777 0:0 /etc/app/link -> run',
        '0640 0:0 /etc/app/run 10',
        '0750 0:0 /etc/app/sub/',
        '0640 0:0 /etc/app/sub/key 6',
        '0755 0:0 /root/.ssh/',
        '4400 4294967294:0 /root/.ssh/id 10',
      ].sort(),
    )
    // Folders that are there keep what they have.
    expect(at(tree, 'root')).toMatchObject({ mode: 0o700 })
    expect(times(at(tree, 'var') as TreeNode).every((time) => time === TIME)).toBe(true)
  })

  it('says what is missing, taken or no mode', async () => {
    const missing = '/nix/store/00000000000000000000000000000000-nothing'
    const [first] = closureOf().paths
    const source = scratch('small/toplevel')
    const add = (addition: object) => () => installed({ add: [{ target: '/x', source, ...addition }] })
    await failure(() => installed({}, { toplevel: missing }), 'NOT_FOUND', /toplevel .*nothing is not in the closure/)
    await failure(() => installed({}, { toplevel: '/etc' }), 'BAD_INPUT', /toplevel: '\/etc' is not a path below/)
    await failure(() => installed({ channel: missing }), 'NOT_FOUND', /channel .* is not in the closure/)
    await failure(
      () => installed({}, { store: { ...system.store, scanned: { ...system.store.scanned, entries: [] } } }),
      'NOT_FOUND',
      new RegExp(`${first?.baseName}: is in the closure`),
    )
    await failure(add({ mode: 0o10000 }), 'USAGE', /\/x: mode 10000 is none/)
    await failure(add({ uid: -1 }), 'USAGE', /-1 is no user or group/)
    await failure(add({ gid: 4_294_967_295 }), 'USAGE', /from 0 to 4294967294/)
    await failure(add({ target: '/etc/NIXOS' }), 'USAGE', /\/etc\/NIXOS: is in the image already/)
    await failure(add({ target: '/nix/store' }), 'USAGE', /is in the image already/)
    await failure(add({ target: '/etc/../x' }), 'USAGE', /is no path in an image/)
    await failure(add({ source: scratch('none') }), 'NOT_FOUND', /is not there/)
  })
})

describe.skipIf(skipNix)('by the real Nix', () => {
  let nix: NixTools
  let root: string
  let channel: string

  beforeAll(() => {
    nix = nixTools(scratch('home'))
    channel = closureOf().paths.find(({ references, path }) => references.every((one) => one === path))?.path ?? ''
    root = scratch('root')
    writeTree(installed({ channel }), root)
  })

  it('is a whole store, in which nothing is dead, and a profile with one generation', () => {
    const before = readFileSync(join(root, 'nix/var/nix/db/db.sqlite'))
    nix.ok(root, 'nix-store', ['--verify', '--check-contents'])
    expect(nix.ok(root, 'nix-store', ['--gc', '--print-dead']).text).toBe('')
    expect(nix.ok(root, 'nix-store', ['--gc', '--print-live']).text.trim().split('\n').sort()).toEqual(
      closureOf().paths.map(({ path }) => path),
    )
    // Newer ones put the link in quotes.
    const roots = nix.ok(root, 'nix-store', ['--gc', '--print-roots']).text.replaceAll('"', '')
    expect(roots).toContain(`/nix/var/nix/profiles/system-1-link -> ${system.toplevel}`)
    expect(roots).toContain(`/per-user/root/channels-1-link -> ${channel}`)
    const generations = nix.ok(root, 'nix-env', ['--list-generations', '-p', join(root, 'nix/var/nix/profiles/system')])
    expect(generations.text).toMatch(/^\s+1\s+1980-01-01 00:00:00\s+\(current\)\s*$/)
    expect(Buffer.compare(readFileSync(join(root, 'nix/var/nix/db/db.sqlite')), before)).toBe(0)
  })

  it('has the owners and modes that NixOS wants', () => {
    const { mode, gid } = lstatSync(join(root, 'nix/store'))
    expect([mode & 0o7777, gid]).toEqual([0o1775, 30_000])
    expect(readlinkSync(join(root, 'nix/var/nix/profiles/system'))).toBe('system-1-link')
    expect(lstatSync(join(root, 'nix/var/nix/profiles/system-1-link')).mtimeMs).toBe(TIME * 1000)
  })

  it('loses what no profile needs any more', () => {
    runOk('rm', [join(root, 'nix/var/nix/profiles/system-1-link')])
    const dead = nix.ok(root, 'nix-store', ['--gc', '--print-dead']).text.trim().split('\n')
    expect(dead).toHaveLength(closureOf().paths.length - 1)
    expect(dead).not.toContain(channel)
    nix.ok(root, 'nix-store', ['--gc'])
    nix.ok(root, 'nix-store', ['--verify', '--check-contents'])
    expect(nix.run(root, 'nix-store', ['--check-validity', system.toplevel]).status).not.toBe(0)
    nix.ok(root, 'nix-store', ['--check-validity', channel])
  })
})
