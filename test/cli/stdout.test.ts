/** Standard output that is full, closed, or left: whatever a command has to say, its status tells that nobody got it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, globSync, mkdirSync, openSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ABOUT_NAMES, COMMAND_NAMES, type CommandName, loadCommands } from '../../src/cli/commands/index.ts'
import { type Commands, everyCommand } from '../faults/commands.ts'
import { BIN, type Ended, errorLine, finish, kilnix, leftIn, NO_MOUNT, start, withDisk } from '../faults/support.ts'

const SOURCE = join(import.meta.dirname, '../../src')

/** What prints without a closure. */
const TEXTS: readonly (readonly string[])[] = [
  ['--help'],
  ['help'],
  ['help', 'closure'],
  ['nar'],
  ['disk', '--help'],
  ['--version'],
  ['presets'],
  ['presets', '--json'],
  ['schema'],
  ['schema', 'toplevel'],
]

const COMMANDS = await loadCommands()
const having = (key: string): readonly CommandName[] => COMMANDS.filter(({ rows }) => key in rows).map(({ name }) => name)
const DRY = having('dryRun')
const JSON_TOO = having('json').filter((name) => !DRY.includes(name))

let all: Commands
beforeAll(async () => {
  all = await everyCommand()
})
afterAll(() => all.work.remove())
afterEach(() => {
  for (const name of leftIn(all.output)) rmSync(join(all.output, name), { recursive: true })
})

/** Run with standard output opened as `flags` say. */
async function into(file: string, flags: string, args: readonly string[]): Promise<Ended> {
  const descriptor = openSync(file, flags)
  try {
    return await kilnix(args, { stdio: ['ignore', descriptor, 'pipe'] })
  } finally {
    closeSync(descriptor)
  }
}

const FULL = errorLine('WRITE_FAILED', 'standard output: cannot be written (ENOSPC): the file system is full')

describe('a full standard output is an error', { timeout: 120_000 }, () => {
  it('knows every command', () => {
    expect(Object.keys(all.runs).sort()).toEqual([...COMMAND_NAMES].sort())
    expect(TEXTS.map(([first]) => first)).toEqual(expect.arrayContaining([...ABOUT_NAMES, '--help', '--version']))
  })

  it.each(TEXTS.map((args) => [args]))('of %j', async (args) => {
    const { status, stderr } = await into('/dev/full', 'w', args)
    expect(stderr).toMatch(FULL)
    expect(status).toBe(1)
  })

  it.each(COMMAND_NAMES)('of kilnix %s, which says what stands all the same', async (name) => {
    const { args, output } = all.runs[name]
    const { status, stderr } = await into('/dev/full', 'w', args)
    // The folder is named by the command line already.
    if (name === 'nar restore') expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    else {
      expect(stderr).toMatch(FULL)
      expect(status).toBe(1)
    }
    expect(leftIn(all.output)).toHaveLength(output === undefined ? 0 : 1)
    if (output === undefined || name === 'nar restore') return
    expect(stderr).toContain(`; ${output} is written and whole, only its name could not be printed\n`)
    expect(statSync(output).size).toBeGreaterThan(0)
  })

  it.each([
    ...DRY.map((name, index) => [name, index % 2 === 0 ? ['--dry-run'] : ['--dry-run', '--json']] as const),
    ...JSON_TOO.map((name) => [name, ['--json']] as const),
  ])('of kilnix %s %j', async (name, more) => {
    const { status, stderr } = await into('/dev/full', 'w', [...all.runs[name].args, ...more])
    expect(stderr).toMatch(FULL)
    expect(status).toBe(1)
    expect(leftIn(all.output)).toEqual([])
  })

  it('of an image', async () => {
    const { status, stderr } = await into('/dev/full', 'w', [...all.runs.iso.args, '-o', '-'])
    expect(stderr).toMatch(FULL)
    expect(status).toBe(1)
  })

  it.skipIf(NO_MOUNT)('that takes a part: a text and an image', async () => {
    const disk = join(all.work.folder, 'disk')
    mkdirSync(disk)
    await withDisk(disk, 16 << 10, async () => {
      for (const args of [['schema'], [...all.runs.squashfs.args, '-o', '-']]) {
        const { status, stderr } = await into(join(disk, 'file'), 'w', args)
        expect(stderr).toMatch(FULL)
        expect(status).toBe(1)
        expect(statSync(join(disk, 'file')).size).toBe(16 << 10)
      }
    })
  })
})

describe('another standard output', { timeout: 120_000 }, () => {
  it('that is open for reading only is an error', async () => {
    const { status, stderr } = await into('/dev/null', 'r', ['schema'])
    expect(stderr).toMatch(errorLine('WRITE_FAILED', 'standard output: cannot be written (EBADF)'))
    expect(status).toBe(1)
  })

  it('that is closed is none, and no file takes its place', async () => {
    const closed = (descriptors: string, args: readonly string[]): Promise<Ended> =>
      finish(spawn('sh', ['-c', `exec "$@" ${descriptors}`, 'sh', process.execPath, BIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] }))
    expect(await closed('>&-', ['schema'])).toMatchObject({ status: 0, stderr: '' })
    const { args, output = '' } = all.runs.squashfs
    expect(await closed('>&-', args)).toMatchObject({ status: 0, stderr: '' })
    const right = readFileSync(output)
    expect(await closed('<&- >&- 2>&-', [...args, '--force'])).toMatchObject({ status: 0 })
    expect(readFileSync(output).equals(right)).toBe(true)
  })

  it.each([[['schema']], [['presets', '--json']], [['help']]])('whose reader has left ends %j quietly with status 141', async (args) => {
    const child = start(args)
    child.stdout?.destroy()
    expect(await finish(child)).toMatchObject({ status: 141, stderr: '' })
  })

  it.each(['squashfs', 'nar dump', 'nar ls', 'closure show'] as const)('whose reader has left ends kilnix %s likewise', async (name) => {
    const child = start(all.runs[name].args)
    child.stdout?.destroy()
    expect(await finish(child)).toMatchObject({ status: 141, stderr: '' })
  })

  it('that is a file gets the image whole', async () => {
    const file = join(all.output, 'streamed')
    expect(await into(file, 'w', [...all.runs.squashfs.args, '-o', '-'])).toMatchObject({ status: 0, stderr: '' })
    const { args, output = '' } = all.runs.squashfs
    expect(await kilnix(args)).toMatchObject({ status: 0 })
    expect(readFileSync(file).equals(readFileSync(output))).toBe(true)
  })
})

describe('standard error that fails', { timeout: 60_000 }, () => {
  const talkative = (name: 'squashfs' | 'closure check'): string[] => all.runs[name].args.filter((word) => word !== '--quiet')

  it.each([
    ['is full', '2> /dev/full'],
    ['is closed', '2>&-'],
    ['is open for reading only', '2< /dev/null'],
  ])('as it %s changes nothing', async (_, redirection) => {
    const script = `exec "$@" ${redirection}`
    const child = spawn('sh', ['-c', script, 'sh', process.execPath, BIN, ...talkative('squashfs')], { stdio: ['ignore', 'pipe', 'pipe'] })
    const { status, stdout } = await finish(child)
    expect(stdout.toString()).toBe(`${all.runs.squashfs.output}\n`)
    expect(status).toBe(0)
  })

  it('as its reader has left changes nothing', async () => {
    const child = start(talkative('closure check'))
    child.stderr?.destroy()
    const { status, stdout } = await finish(child)
    expect(stdout.toString()).toMatch(/no problem\n$/)
    expect(status).toBe(0)
    // An error has its status, though nobody hears of it.
    const wrong = start(['closure', 'show', '/does/not/exist'])
    wrong.stderr?.destroy()
    expect((await finish(wrong)).status).toBe(1)
  })
})

it('standard error that nobody reads is left out beyond a megabyte, and said to be', async () => {
  const code = `
    import { writeSync } from 'node:fs'
    const { say } = await import(process.argv[1])
    for (let line = 0; line < 40_000; line++) say('x'.repeat(99))
    process.stderr.once('drain', () => say('last'))
    writeSync(1, String(process.stderr.writableLength))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code, join(SOURCE, 'cli/stderr.ts')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const waiting = Number(String((await once(child.stdout, 'data'))[0]))
  expect(waiting).toBeGreaterThan(1 << 20)
  expect(waiting).toBeLessThan((1 << 20) + 200)
  const lines = (await finish(child)).stderr.trimEnd().split('\n')
  const [, leftOut] = /^kilnix: (\d+) lines are left out here/.exec(lines.at(-2) ?? '') ?? []
  expect(lines.slice(0, -2).length + Number(leftOut)).toBe(40_000)
  expect(lines.at(-1)).toBe('last')
})

it('nothing is printed but by src/cli/stdout.ts and stderr.ts', () => {
  const direct = /\bconsole\.|process\.stdout|process\.stderr\.write|stderr\.write/
  const files = globSync('**/*.ts', { cwd: SOURCE }).filter((file) => {
    const code = readFileSync(join(SOURCE, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    return direct.test(code)
  })
  expect(files).toEqual(['cli/stderr.ts'])
  expect(direct.test('process.stdout.write(text)')).toBe(true)
})
