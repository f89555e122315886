/** Input made to do harm, through the whole command: one of each kind (test/nix has the rest). Errors are one line and come soon. */
import { Buffer } from 'node:buffer'
import { chmodSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { errorLine, kilnix, kilnixMeasured, leftIn, smallWork, type Work } from './support.ts'

const MEBIBYTE = 1 << 20

let work: Work
let folder: string
beforeAll(async () => {
  work = await smallWork()
  folder = join(work.folder, 'output')
  mkdirSync(folder)
})
afterAll(() => work.remove())
afterEach(() => expect(leftIn(folder)).toEqual([]))

const HASH = 'sha256:0000000000000000000000000000000000000000000000000000'
const NAME = '0123456789abcdfghijklmnpqrsvwxyz'
const A = `/nix/store/${NAME}-a`
const B = `/nix/store/${NAME}-b`

/** One record of a registration. */
const record = (path: string, references: readonly string[] = [], hash = HASH): string =>
  `${[path, hash, '96', '', references.length, ...references].join('\n')}\n`

describe('a listing', () => {
  it.each<[string, string | Buffer, string, RegExp]>([
    ['a name with a slash', record(`${A}/../../../etc`), 'BAD_INPUT', /1: /],
    ['a name that leads up', record(`/nix/store/${NAME}-..`).replace(`${NAME}-..`, '..'), 'BAD_INPUT', /1: /],
    ['a path out of the store', record('/etc/passwd'), 'BAD_INPUT', /not a path below \/nix\/store/],
    ['NUL in a name', record(`${A}\0b`), 'BAD_INPUT', /1: byte 46 is 0x00/],
    ['an escape sequence', record(`${A}\x1b]0;owned\x07`), 'BAD_INPUT', /byte 46 is 0x1b/],
    ['a cycle', record(A, [B]) + record(B, [A]), 'BAD_INPUT', /cycle: .*-a -> .*-b/],
    ['a path twice', record(A) + record(B) + record(A), 'BAD_INPUT', /-a is listed twice, first at/],
    ['a size beyond reason', record(A).replace('\n96\n', '\n9007199254740992\n'), 'BAD_INPUT', /9007199254740992/],
    ['a count beyond the file', record(A).replace('\n0\n', '\n4000000000\n'), 'BAD_INPUT', /ends/],
    ['an ELF program', readFileSync(process.execPath).subarray(0, 100_000), 'BAD_INPUT', /it is a program/],
    ['a squashfs', Buffer.from('hsqs\x01\x02'), 'BAD_INPUT', /it is a squashfs image/],
    ['HTML', '<!DOCTYPE html>\n<title>404</title>\n', 'BAD_INPUT', /1: /],
    ['JSON of another kind', '{"hello": ["world"]}', 'BAD_INPUT', /./],
    ['JSON that nests', `${'['.repeat(200_000)}`, 'LIMIT', /nest deeper than 256 levels/],
    ['JSON with a prototype', `{"__proto__": {"narHash": "${HASH}"}}`, 'BAD_INPUT', /./],
    ['nothing', '', 'BAD_INPUT', /empty/],
  ])('with %s', async (_, text, code, message) => {
    const listing = join(work.folder, 'listing')
    writeFileSync(listing, text)
    const { status, stdout, stderr } = await kilnix([
      'squashfs',
      '--closure',
      listing,
      '--root',
      work.closure.root,
      '--quiet',
      '-o',
      join(folder, 'x'),
    ])
    expect(stderr).toMatch(errorLine(code, message))
    expect({ status, stdout: stdout.length }).toEqual({ status: 1, stdout: 0 })
  })

  it('in one line without end, from a pipe, is refused in bounded memory', async () => {
    let sent = 0
    const { status, stderr, peakBytes } = await kilnixMeasured(
      ['squashfs', '--closure', '-', '--quiet', '-o', join(folder, 'x')],
      ({ stdin }) => {
        const chunk = Buffer.alloc(MEBIBYTE, '/nix/store/')
        const more = (): void => {
          while (stdin?.writable && sent < 4096 * MEBIBYTE) {
            sent += chunk.length
            if (!stdin.write(chunk)) break
          }
        }
        stdin?.on('drain', more).on('error', () => undefined)
        more()
      },
    )
    console.log(`a line without end: refused after ${sent} bytes were sent, peak ${Math.round(peakBytes / MEBIBYTE)} MiB`)
    expect(stderr).toMatch(errorLine('LIMIT', /<stdin>:1: the line is longer than 65536 bytes/))
    expect(status).toBe(1)
    expect(sent).toBeLessThan(64 * MEBIBYTE)
    expect(peakBytes).toBeLessThan(160 * MEBIBYTE)
  })

  it('of 6 GiB is refused without reading it', async () => {
    const listing = join(work.folder, 'huge')
    writeFileSync(listing, '/')
    truncateSync(listing, 6 * 1024 ** 3)
    const { status, stderr } = await kilnix(['squashfs', '--closure', listing, '--quiet', '-o', join(folder, 'x')])
    rmSync(listing)
    expect(stderr).toMatch(errorLine('LIMIT', /huge:1: the line is longer/))
    expect(status).toBe(1)
  })
})

/** The command's error for a system whose boot.json was changed; a plain list of paths, so that no hash tells. */
async function errorOfBootFile(change: (boot: Bootspec) => unknown): Promise<string> {
  const file = join(work.closure.root, work.closure.toplevel, 'boot.json')
  const before = readFileSync(file, 'utf8')
  const replace = (text: string): void => {
    chmodSync(file, 0o644)
    writeFileSync(file, text)
    chmodSync(file, 0o444)
  }
  const list = ['--closure', join(work.closure.folder, 'qR.txt'), '--root', work.closure.root, '--toplevel', work.closure.toplevel]
  const boot = JSON.parse(before) as Bootspec
  replace(JSON.stringify(change(boot)))
  const { status, stderr } = await kilnix(['iso', ...list, '--compression', 'lz4', '--quiet', '-o', join(folder, 'x.iso')])
  replace(before)
  expect(status).toBe(1)
  return stderr
}

const SPEC = 'org.nixos.bootspec.v1'
interface Bootspec {
  [SPEC]: { kernel: string; initrd: string; init: string; label: string; kernelParams: string[]; toplevel: string }
  'org.nixos.specialisation.v1': Record<string, unknown>
}

describe('a boot.json', () => {
  it.each<[string, (boot: Bootspec) => unknown, string, RegExp]>([
    [
      'whose kernel is a file of the host',
      ({ [SPEC]: spec }) => ({ [SPEC]: { ...spec, kernel: '/etc/passwd' } }),
      'BAD_INPUT',
      /"kernel" is .*\/etc\/passwd/,
    ],
    [
      'whose kernel leads up',
      ({ [SPEC]: spec }) => ({ [SPEC]: { ...spec, kernel: `${spec.kernel}/../../../../etc/passwd` } }),
      'BAD_INPUT',
      /not a plain path/,
    ],
    [
      'whose initrd is in no listed path',
      ({ [SPEC]: spec }) => ({ [SPEC]: { ...spec, initrd: `${A}/initrd` } }),
      'NOT_FOUND',
      /-a, which is not in the listing/,
    ],
    [
      'whose kernel is a folder',
      ({ [SPEC]: spec }) => ({ [SPEC]: { ...spec, kernel: spec.toplevel } }),
      'BAD_INPUT',
      /is a folder, a file is needed/,
    ],
    [
      'with a line feed in its label',
      ({ [SPEC]: spec }) => ({ [SPEC]: { ...spec, label: 'NixOS\ninitrd /evil' } }),
      'BAD_INPUT',
      /control characters/,
    ],
    [
      'with an escape sequence in a parameter',
      ({ [SPEC]: spec }) => ({ [SPEC]: { ...spec, kernelParams: ['a\x1b[2J'] } }),
      'BAD_INPUT',
      /control characters/,
    ],
    [
      'with 10,000 parameters',
      ({ [SPEC]: spec }) => ({ [SPEC]: { ...spec, kernelParams: Array(10_000).fill('quiet') } }),
      'LIMIT',
      /the kernel takes 2047/,
    ],
    [
      'with a specialisation that leads up',
      (boot) => ({ ...boot, 'org.nixos.specialisation.v1': { '../x': boot } }),
      'BAD_INPUT',
      /\.\.\/x.* cannot be the name/,
    ],
    ['of another system', ({ [SPEC]: spec }) => ({ [SPEC]: { ...spec, toplevel: B } }), 'BAD_INPUT', /says that its toplevel is/],
    ['that is a list', () => [], 'BAD_INPUT', /no JSON object/],
  ])('%s', async (_, change, code, message) => {
    expect(await errorOfBootFile(change)).toMatch(errorLine(code, message))
  })
})

describe('sizes without sense', () => {
  /** `nix-hash --type sha256 --base32` of a file of SIZE zeros, which 32 bits cannot count. */
  const NAR_HASH = '12xs5xnvx6y3dqaxmrjpymw74qy5xmj7v13qxs7i4pyz2ckd8jwl'
  const SIZE = 4 * 1024 ** 3 + MEBIBYTE

  it('a file of more than 4 GiB that is one hole is hashed, and stored as nothing', async () => {
    const root = join(work.folder, 'sparse')
    mkdirSync(join(root, 'nix/store'), { recursive: true })
    writeFileSync(join(root, A), '')
    truncateSync(join(root, A), SIZE)
    chmodSync(join(root, A), 0o444)
    writeFileSync(join(root, 'listing'), record(A, [], `sha256:${NAR_HASH}`).replace('\n96\n', `\n${SIZE + 112}\n`))
    const output = join(folder, 'x')
    const args = [
      'squashfs',
      '--closure',
      join(root, 'listing'),
      '--root',
      root,
      '--compression',
      'lz4',
      '--jobs',
      '2',
      '--quiet',
      '-o',
      output,
    ]
    const { status, stderr, peakBytes } = await kilnixMeasured(args)
    console.log(`${SIZE} zeros: peak ${Math.round(peakBytes / MEBIBYTE)} MiB, image ${readFileSync(output).length} bytes`)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(readFileSync(output).length).toBeLessThan(40_000)
    expect(peakBytes).toBeLessThan(256 * MEBIBYTE)
    rmSync(output)
  })
})
