/** `kilnix nar` and `kilnix closure` as processes: what they print, and their exit status. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, type SmallClosure, unpackSmall } from '../../fixtures/unpack.ts'
import { readClosure } from '../../src/nix/listing/read.ts'
import { DATABASE_SCHEMA, nixDatabase } from '../../src/nix/store/database.ts'
import { errorLine, finish, start } from '../faults/support.ts'

let work = ''
let small: SmallClosure
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'kilnix-inspect-cli-'))
  small = await unpackSmall(join(work, 'small'))
  mkdirSync(join(work, 'tree/sub'), { recursive: true })
  writeFileSync(join(work, 'tree/file'), 'text\n')
  writeFileSync(join(work, 'tree/sub/run'), '#!', { mode: 0o755 })
})
afterAll(() => removeStore(work))

async function kilnix(args: readonly string[], input: Uint8Array = new Uint8Array(0)) {
  const child = start(args, { cwd: work, stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin?.on('error', () => undefined)
  child.stdin?.end(input)
  const { status, stdout, stderr } = await finish(child)
  return { status, stdout, text: stdout.toString(), stderr }
}

describe('kilnix nar', { timeout: 30_000 }, () => {
  it('dump, hash, ls and restore, through files and pipes', async () => {
    const dumped = await kilnix(['nar', 'dump', 'tree'])
    expect(dumped).toMatchObject({ status: 0, stderr: '' })
    writeFileSync(join(work, 'tree.nar'), dumped.stdout)

    const sri = await kilnix(['nar', 'hash', 'tree'])
    expect(sri).toMatchObject({ status: 0, stderr: '' })
    expect(sri.text).toMatch(/^sha256-[A-Za-z0-9+/]{43}=\n$/)
    expect((await kilnix(['nar', 'hash', '-'], dumped.stdout)).text).toBe(sri.text)
    const hex = Buffer.from(sri.text.slice(7), 'base64').toString('hex')
    expect((await kilnix(['nar', 'hash', '--base16', '--type', 'sha256', 'tree'])).text).toBe(`${hex}\n`)

    const listed = await kilnix(['nar', 'ls', '-R', '--long', 'tree.nar'])
    expect(listed.text).toBe(
      [
        '-r--r--r--                    5 ./file',
        'dr-xr-xr-x                    0 ./sub',
        '-r-xr-xr-x                    2 ./sub/run',
        '',
      ].join('\n'),
    )
    const json = await kilnix(['nar', 'ls', '--json', '-', '/sub/run'], dumped.stdout)
    expect(JSON.parse(json.text)).toEqual({ type: 'regular', size: 2, executable: true, narOffset: dumped.stdout.indexOf('#!') })

    expect(await kilnix(['nar', 'restore', '-', 'out'], dumped.stdout)).toMatchObject({ status: 0, text: '', stderr: '' })
    expect((await kilnix(['nar', 'dump', 'out'])).stdout.equals(dumped.stdout)).toBe(true)
    const again = await kilnix(['nar', 'restore', 'tree.nar', 'out'])
    expect(again.status).toBe(1)
    expect(again.stderr).toMatch(errorLine('EXISTS', 'out: exists already; use --force to replace it'))
    expect((await kilnix(['nar', 'restore', '--force', 'tree.nar', 'out'])).status).toBe(0)

    const member = await kilnix(['nar', 'dump', 'tree.nar', 'sub'])
    expect((await kilnix(['nar', 'hash', '-'], member.stdout)).text).toBe((await kilnix(['nar', 'hash', 'tree/sub'])).text)
  })

  it('what is no NAR is an error with its place, and nothing is left', async () => {
    const nar = (await kilnix(['nar', 'dump', 'tree'])).stdout
    const before = readdirSync(work)
    for (const args of [
      ['hash', '-'],
      ['ls', '-'],
      ['restore', '-', 'never'],
    ]) {
      const { status, text, stderr } = await kilnix(['nar', ...args], nar.subarray(0, 400))
      expect({ status, text }).toEqual({ status: 1, text: '' })
      expect(stderr).toMatch(errorLine('BAD_INPUT', '<stdin>: no valid NAR: at byte 400, in /: it ends here, too early; it is cut short'))
    }
    expect(readdirSync(work)).toEqual(before)
  })

  it.each([
    [['nar'], 0, /^Nix archives\n\nUsage:\n {2}kilnix nar dump {9}Write the NAR/, /^$/],
    [['nar', '--help'], 0, /^Nix archives/, /^$/],
    [['help', 'closure'], 0, /^Closures: /, /^$/],
    [['help', 'nar', 'ls'], 0, /^List what is in a NAR\n\nUsage: kilnix nar ls FILE \[MEMBER\]/, /^$/],
    [['nar', 'restore', '-h'], 0, /^Unpack a NAR/, /^$/],
    [['nar', 'hsh'], 2, /^$/, /^kilnix: there is no command 'nar hsh'; did you mean nar hash\?\nTry 'kilnix nar --help'\.\n$/],
    [['nar', 'restore', 'x'], 2, /^$/, /^kilnix: DIR is missing\nTry 'kilnix nar restore --help'/],
    [['nar', 'hash'], 2, /^$/, /^kilnix: PATH is missing/],
    [['nar', 'hash', 'a', 'b'], 2, /^$/, /^kilnix: 'b' is not expected/],
    [['nar', 'hash', '--base16', '--base32', 'tree'], 2, /^$/, /--base16 does not go with --base32/],
    [['nar', 'dump', '-'], 2, /^$/, /does not read standard input/],
    [['nar', 'dump', 'nowhere'], 1, /^$/, /\[NOT_FOUND\]: nowhere: is not there/],
    [['nar', 'ls', 'nowhere'], 1, /^$/, /\[NOT_FOUND\]: nowhere: does not exist/],
    [['nar', 'restore', 'nowhere', 'never'], 1, /^$/, /\[NOT_FOUND\]: nowhere: there is no such file/],
    [['nar', 'ls', 'tree'], 1, /^$/, /\[UNSUPPORTED\]: tree: is not a regular file/],
    [['closure', 'why', 'x'], 2, /^$/, /FROM is missing/],
    [['closure', 'diff', '-', '-'], 2, /^$/, /only one of OLD and NEW can be standard input/],
  ])('%j', async (args, status, stdout, stderr) => {
    const ended = await kilnix(args)
    expect(ended.stderr).toMatch(stderr)
    expect(ended.text).toMatch(stdout)
    expect(ended.status).toBe(status)
  })
})

describe('kilnix closure', { timeout: 30_000 }, () => {
  const total = (): number => Number(readFileSync(join(work, 'small/total-nar-size'), 'utf8'))

  it('show: a table, or JSON; by place or by name; from a list of paths and the store as well', async () => {
    const { text, status, stderr } = await kilnix(['closure', 'show', 'small', '--top', '2'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(text).toMatch(
      /^ +own {2}with closure {2}added by it {2}path\n7\.8 MiB .*-linux-6\.1\.176\n.*\n2 of 14 paths, 13\.1 MiB in all\n$/,
    )
    const json = async (...args: string[]) => JSON.parse((await kilnix(['closure', 'show', '--json', ...args])).text)
    const whole = await json('--closure', 'small', '--sort', 'name')
    expect(whole).toMatchObject({ pathCount: 14, narSize: total() })
    expect(whole.paths.map(({ path }: { path: string }) => path)).toEqual([...small.storePaths].sort())
    expect(await json('small/qR.txt', '--root', 'small/root', '--sort', 'name')).toEqual(whole)
    const bySize = [...whole.paths].sort((a, b) => b.addedSize - a.addedSize)
    expect((await json('small', '--sort', 'added', '--top', '1')).paths[0].addedSize).toBe(bySize[0].addedSize)
  })

  it('a store path that a store in a folder has, by --store', async () => {
    mkdirSync(join(small.root, 'nix/var/nix/db'), { recursive: true })
    writeFileSync(join(small.root, 'nix/var/nix/db/db.sqlite'), nixDatabase(await readClosure(small.folder)))
    writeFileSync(join(small.root, 'nix/var/nix/db/schema'), DATABASE_SCHEMA)
    const store = ['--store', 'small/root'] as const
    const shown = await kilnix(['closure', 'show', '--json', small.toplevel, ...store])
    expect(shown).toMatchObject({ status: 0, stderr: '' })
    expect(JSON.parse(shown.text)).toMatchObject({ pathCount: 14, narSize: total() })
    const checked = await kilnix(['closure', 'check', small.toplevel, '--quiet', ...store])
    expect(checked).toMatchObject({ status: 0, text: '14 paths, 13.1 MiB read: no problem\n', stderr: '' })
    const { text } = await kilnix(['closure', 'diff', 'small', small.toplevel, ...store])
    expect(text).toBe('paths: 14 → 14 (0 added, 0 removed)\nsize: 13.1 MiB → 13.1 MiB (+0 B)\n')
    const listing = await kilnix(['closure', 'why', 'small', 'a', 'b', ...store])
    expect(listing).toMatchObject({ status: 2, text: '' })
    expect(listing.stderr).toMatch(/^kilnix: --store is of store paths, and small is a listing\n/)
  })

  it('why: a chain, all of them, and the files that hold them', async () => {
    const [from, to] = ['nixos-system-small-26.05', 'program'] as const
    const { text, status } = await kilnix(['closure', 'why', 'small', from, to, '--precise', '--root', 'small/root'])
    expect(status).toBe(0)
    const lines = text.trimEnd().split('\n')
    expect(lines[0]).toBe(small.toplevel)
    expect(lines.filter((line) => line.includes('/nix/store/')).at(-1)).toMatch(/└───\/nix\/store\/[0-9a-z]{32}-program$/)
    expect(text).toMatch(/\n {4}by .+, (at byte [0-9]+|a link|its name)\n/)
    const json = JSON.parse((await kilnix(['closure', 'why', 'small', from, to, '--all', '--json'])).text)
    expect(json.chain[0]).toBe(small.toplevel)
    expect(json.references.length).toBeGreaterThanOrEqual(json.chain.length)
    const none = await kilnix(['closure', 'why', 'small', 'program', 'systemd'])
    expect(none.status).toBe(1)
    expect(none.stderr).toMatch(/\[NOT_FOUND\]: .*-program does not refer to .*-systemd-252\.39/)
  })

  it('diff: nothing between two listings of one closure, and what is less in another', async () => {
    const same = await kilnix(['closure', 'diff', 'small', '-'], readFileSync(join(work, 'small/path-info.json')))
    expect(same.text).toBe('paths: 14 → 14 (0 added, 0 removed)\nsize: 13.1 MiB → 13.1 MiB (+0 B)\n')
    const less = small.storePaths.filter((path) => path.includes('busybox'))
    const { text } = await kilnix(['closure', 'diff', 'small', '-', '--root', 'small/root'], Buffer.from(`${less.join('\n')}\n`))
    expect(text).toMatch(/^linux: 6\.1\.176 → ∅, -7\.8 MiB\n/m)
    expect(text).toMatch(/paths: 14 → 1 \(0 added, 13 removed\)\n/)
  })

  it('check: status 0, or 1 with each problem', async () => {
    const right = await kilnix(['closure', 'check', 'small', '--root', 'small/root', '--jobs', '2'])
    expect(right).toMatchObject({ status: 0, text: '14 paths, 13.1 MiB read: no problem\n', stderr: 'hashing the store: 13.1 MiB\n' })
    const wrong = readFileSync(join(work, 'small/registration'), 'utf8').replace(/^sha256:.{52}$/m, `sha256:${'1'.repeat(52)}`)
    const ended = await kilnix(['closure', 'check', '-', '--root', 'small/root', '--quiet'], Buffer.from(wrong))
    expect(ended).toMatchObject({ status: 1, stderr: '' })
    expect(ended.text).toMatch(
      /^\/nix\/store\/\S+: hash: its NAR has sha256:[0-9a-z]{52}, the listing has sha256:1{52}\n14 paths, .*: 1 problem\n$/,
    )
    const json = await kilnix(['closure', 'check', '-', '--root', 'small/root', '--quiet', '--json'], Buffer.from(wrong))
    expect(JSON.parse(json.text)).toMatchObject({ pathCount: 14, hashedBytes: total(), problems: [{ kind: 'hash' }], notes: [] })
    expect(json.status).toBe(1)
    const listing = await kilnix(['closure', 'check', 'small', '--no-contents', '--root', 'nowhere'])
    expect(listing).toMatchObject({ status: 0, text: '14 paths: no problem\n' })
  })
})
