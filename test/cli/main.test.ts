import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PARTIAL_NAME } from '../../src/io/private-folder.ts'

const BIN = fileURLToPath(new URL('../../bin/kilnix.js', import.meta.url))

const folder = mkdtempSync(join(tmpdir(), 'kilnix-cli-'))
afterAll(() => rmSync(folder, { recursive: true }))

const SMALL = '/nix/store/0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-small'
const LARGE = '/nix/store/1d1aqs2xfkjb3xzbm7kbq4yrqk5wvz0b-large'

beforeAll(() => {
  mkdirSync(join(folder, SMALL), { recursive: true })
  writeFileSync(join(folder, SMALL, 'hello'), 'hello\n')
  mkdirSync(join(folder, LARGE))
  // Compresses a little, so that a build at a high level takes its time.
  writeFileSync(join(folder, LARGE, 'noise'), randomBytes(36 << 20).toString('base64'))
  writeFileSync(join(folder, 'small.list'), `${SMALL}\n`)
  writeFileSync(join(folder, 'large.list'), `${LARGE}\n`)
})

function start(args: string[], stdio: 'pipe' | 'ignore' = 'ignore', environment: Record<string, string> = {}): ChildProcess {
  const env = { ...process.env, SOURCE_DATE_EPOCH: '', ...environment }
  return spawn(process.execPath, [BIN, ...args], { cwd: folder, env, stdio: [stdio, 'pipe', 'pipe'] })
}

interface Result {
  readonly status: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

async function finish(child: ChildProcess): Promise<Result> {
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }
}

const kilnix = (args: string[], environment: Record<string, string> = {}): Promise<Result> => finish(start(args, 'ignore', environment))
const squashfs = (list: string, ...args: string[]): string[] => ['squashfs', '--closure', list, '--root', folder, ...args]

/** Resolves when the child's stderr holds `text`. */
async function said(child: ChildProcess, text: string): Promise<void> {
  let seen = ''
  for await (const chunk of child.stderr ?? []) {
    seen += String(chunk)
    if (seen.includes(text)) return
  }
  throw new Error(`'${text}' was not said, but: ${seen}`)
}

const partials = (): string[] => readdirSync(folder).filter((name) => PARTIAL_NAME.test(name))

describe('texts', () => {
  test.each([[['--help']], [['help']], [['-h']]])('%j is the general help', async (args) => {
    const { status, stdout, stderr } = await kilnix(args)
    expect(status).toBe(0)
    expect(stdout.toString()).toMatch(/^kilnix turns a Nix store closure/)
    expect(stderr).toBe('')
  })

  test.each([[['help', 'iso']], [['iso', '--closure', 'x', '-h']]])('%j is the help of iso', async (args) => {
    const { status, stdout } = await kilnix(args)
    expect(status).toBe(0)
    expect(stdout.toString()).toMatch(/^Write a bootable ISO image/)
  })

  test('the version is that of package.json', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
    expect((await kilnix(['--version'])).stdout.toString()).toBe(`${version}\n`)
  })

  test('the schema is the published one', async () => {
    const published = readFileSync(new URL('../../docs/kilnix.schema.json', import.meta.url), 'utf8')
    expect(JSON.parse((await kilnix(['schema'])).stdout.toString())).toEqual(JSON.parse(published))
  })
})

describe('usage errors: a line, a hint, status 2', () => {
  test.each([
    [[], 'no command is given', ''],
    [['izo'], "there is no command 'izo'; did you mean iso?", ''],
    [['schema', 'x'], "toplevel is 'x', it must be one of toplevel", 'schema '],
    [['help', 'iso', 'x'], "'x' is not expected", ''],
    [['--version', 'x'], "'x' is not expected", ''],
    [['presets', '--jsn'], 'there is no option --jsn; did you mean --json?', 'presets '],
    [['help', 'x'], "there is no command 'x'", ''],
    [['iso'], 'PATH or --closure is missing', 'iso '],
    [['iso', '--closure', 'x'], '--output is missing', 'iso '],
    [['squashfs', '--clsure', 'x'], 'there is no option --clsure; did you mean --closure?', 'squashfs '],
    [
      ['squashfs', '--closure', 'a\x1b[31m\n', '-o', 'x', 'b\x1b\n'],
      "'b\\x1b\\x0a' is not expected, since --closure is given; give one of them",
      'squashfs ',
    ],
  ])('%j', async (args, message, command) => {
    const { status, stdout, stderr } = await kilnix(args)
    expect(stderr).toBe(`kilnix: ${message}\nTry 'kilnix ${command}--help'.\n`)
    expect(stdout.length).toBe(0)
    expect(status).toBe(2)
  })
})

describe('a build', () => {
  test('prints the path alone; the last line says size, ratio, seconds and digest', async () => {
    const { status, stdout, stderr } = await kilnix(squashfs('small.list', '-o', 'a.squashfs'))
    expect(stderr).toMatch(/^reading the closure\npacking the store: 123 B\n/)
    expect(stdout.toString()).toBe('a.squashfs\n')
    expect(status).toBe(0)
    const bytes = readFileSync(join(folder, 'a.squashfs'))
    const digest = createHash('sha256').update(bytes).digest('hex')
    const last = stderr.trimEnd().split('\n').at(-1)
    expect(last).toMatch(new RegExp(`^a\\.squashfs: 4\\.0 KiB, 14\\.2 times the closure, [0-9.]+ s, sha256 ${digest}$`))
  })

  test('streams the same bytes, and nothing else, to standard output', async () => {
    const file = await kilnix(squashfs('small.list', '-o', 'b.squashfs', '--quiet'))
    expect(file).toMatchObject({ status: 0, stderr: '' })
    expect(file.stdout.toString()).toBe('b.squashfs\n')
    const stream = await kilnix(squashfs('small.list', '-o', '-'))
    expect(stream.status).toBe(0)
    expect(stream.stdout.equals(readFileSync(join(folder, 'b.squashfs')))).toBe(true)
    expect(stream.stderr).toMatch(/\n-: 4\.0 KiB, .* sha256 [0-9a-f]{64}\n$/)
  })

  test('takes the listing from standard input, and the rest from a config file', async () => {
    writeFileSync(
      join(folder, 'config.json'),
      JSON.stringify({ closure: '-', root: '.', output: 'c.squashfs', compression: 'gzip', quiet: true }),
    )
    const child = start(['squashfs', '--config', 'config.json'], 'pipe')
    child.stdin?.end(`${SMALL}\n`)
    const { status, stderr } = await finish(child)
    expect(stderr).toBe('')
    expect(status).toBe(0)
    // The codec field of the superblock; 1 is gzip.
    expect(readFileSync(join(folder, 'c.squashfs')).readUInt16LE(20)).toBe(1)
  })

  test('SOURCE_DATE_EPOCH is the time of the image', async () => {
    expect((await kilnix(squashfs('small.list', '-o', 'd.squashfs', '-h'))).status).toBe(0)
    await kilnix(squashfs('small.list', '-o', 'd.squashfs'), { SOURCE_DATE_EPOCH: '1234567' })
    expect(readFileSync(join(folder, 'd.squashfs')).readUInt32LE(8)).toBe(1234567)
  })

  test('an output that exists is kept, but with --force', async () => {
    writeFileSync(join(folder, 'e'), 'mine')
    const kept = await kilnix(squashfs('small.list', '-o', 'e'))
    expect(kept).toMatchObject({ status: 1, stderr: expect.stringMatching(/^kilnix: error \[EXISTS\]: e: .*--force/) })
    expect(kept.stdout.length).toBe(0)
    expect(readFileSync(join(folder, 'e'), 'utf8')).toBe('mine')
    expect((await kilnix(squashfs('small.list', '-o', 'e', '--force'))).status).toBe(0)
    expect(readFileSync(join(folder, 'e')).toString('latin1', 0, 4)).toBe('hsqs')
  })

  test('a dry run prints the plan and writes nothing', async () => {
    const before = readdirSync(folder)
    const json = await kilnix(squashfs('small.list', '--dry-run', '--json'))
    expect(json).toMatchObject({ status: 0, stderr: '' })
    expect(JSON.parse(json.stdout.toString())).toMatchObject({ pathCount: 1, blockSize: 1048576 })
    const table = await kilnix(squashfs('small.list', '--dry-run', '-o', 'z'))
    expect(table.stdout.toString()).toMatch(/^pathCount +1$/m)
    expect(readdirSync(folder)).toEqual(before)
  })

  test('an error has its code, and leaves nothing', async () => {
    writeFileSync(join(folder, 'missing.list'), '/nix/store/2f1aqs2xfkjb3xzbm7kbq4yrqk5wvz0c-missing\n')
    const { status, stderr } = await kilnix(squashfs('missing.list', '-o', 'f', '--quiet'))
    expect(stderr).toMatch(/^kilnix: error \[NOT_FOUND\]: 1 of 1 listed paths are not below .*:\n {2}\/nix\/store\/[^\n]*-missing\n$/)
    expect(status).toBe(1)
    expect(readdirSync(folder)).not.toContain('f')
  })
})

describe('cancelling', () => {
  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s ends a build with %d and removes what it wrote', async (signal, expected) => {
    const child = start(squashfs('large.list', '-o', 'never', '--no-verify'))
    await said(child, 'packing the store')
    expect(partials()).toHaveLength(1)
    child.kill(signal)
    const { status } = await finish(child)
    expect(status).toBe(expected)
    expect(partials()).toEqual([])
    expect(readdirSync(folder)).not.toContain('never')
  })

  test('a listing that does not come, and a reader that does not read', async () => {
    const waiting = start(['squashfs', '--closure', '-', '-o', 'never'], 'pipe')
    await said(waiting, 'reading the closure')
    waiting.kill('SIGINT')
    expect((await finish(waiting)).status).toBe(130)
    const stuck = start(squashfs('large.list', '-o', '-', '--compression', 'none', '--no-verify'))
    await said(stuck, 'writing the image')
    stuck.kill('SIGINT')
    // Only now is the pipe looked at, so that the child's exit can be seen.
    expect((await finish(stuck)).status).toBe(130)
  })

  test('a reader that goes away ends the build without a word', async () => {
    const child = start(squashfs('large.list', '-o', '-', '--compression', 'none', '--no-verify', '--quiet'))
    child.stdout?.once('data', () => child.stdout?.destroy())
    const { status, stderr } = await finish(child)
    expect(stderr).toBe('')
    expect(status).toBe(141)
    const help = start(['iso', '--help'])
    help.stdout?.destroy()
    expect(await finish(help)).toMatchObject({ status: 141, stderr: '' })
  })

  test('a full disk under standard output is an error', async () => {
    const full = openSync('/dev/full', 'w')
    const child = spawn(process.execPath, [BIN, ...squashfs('small.list', '-o', '-', '--quiet')], {
      cwd: folder,
      stdio: ['ignore', full, 'pipe'],
    })
    const { status, stderr } = await finish(child)
    closeSync(full)
    expect(stderr).toMatch(/^kilnix: error \[WRITE_FAILED\]: standard output: cannot be written \(ENOSPC\): the file system is full/)
    expect(status).toBe(1)
  })
})
