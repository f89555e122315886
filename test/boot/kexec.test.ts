import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type KexecScript, kexecScript } from '../../src/boot/index.ts'
import { failure, scratchFolder } from '../nix/scratch.ts'
import { oracle, run, type ToolResult } from '../oracles/tools.ts'

const scratch = scratchFolder()
// biome-ignore lint/suspicious/noTemplateCurlyInString: of the shell.
const NASTY = 'init=/nix/store/x/init live.note="two words" a=\'b\' $HOME `id` $(id) "${x}" \\ ; & | * ~ ! # é'
/** busybox's shell takes its own `id` whatever stands in PATH, so that we have to be root there. */
const SHELLS = [
  { name: 'dash', command: ['dash'], ownId: false },
  { name: 'bash', command: ['bash', '--posix'], ownId: false },
  { name: 'busybox', command: ['busybox', 'sh'], ownId: true },
].filter(({ name, ownId }) => !oracle(name).skip && (!ownId || process.getuid?.() === 0))

interface Call {
  readonly folder?: string
  readonly script?: Partial<KexecScript>
  readonly args?: readonly string[]
  /** By what path it is called, from the folder above. */
  readonly path?: string
  readonly cwd?: string
  readonly user?: number
  readonly failing?: string
  readonly prepare?: (folder: string) => void
}

let count = 0

/**
 * Run the script in a folder of its own, with a `kexec` that notes its arguments, and an `id` that says who we are. There
 * is nothing else in PATH, so that no real kexec can be reached.
 */
function call(shell: readonly string[], options: Call = {}): ToolResult & { readonly folder: string; readonly calls: string[][] } {
  const above = scratch(`run-${count++}`)
  const folder = join(above, options.folder ?? 'a folder')
  const tools = join(above, 'tools')
  for (const path of [above, folder, tools]) mkdirSync(path)
  const names = { kernel: 'bzImage', initrd: 'initrd', parameters: 'init=/init', ...options.script }
  for (const name of [names.kernel, names.initrd]) writeFileSync(join(folder, name), '')
  program(join(folder, 'kexec-boot'), kexecScript(names))
  // A line for each argument, and one for the end of a call.
  const log = join(above, 'log')
  program(join(tools, 'kexec'), `#!/bin/sh\nprintf '%s\\n' "$@" END >> '${log}'\n[ "$1" != '${options.failing ?? ''}' ]\n`)
  program(join(tools, 'id'), `#!/bin/sh\necho ${options.user ?? 0}\n`)
  symlinkSync(which('readlink'), join(tools, 'readlink'))
  options.prepare?.(above)
  const [program_ = '', ...rest] = shell
  const path = options.path ?? 'a folder/kexec-boot'
  const result = run('env', [`PATH=${tools}`, which(program_), ...rest, path.replace('ABOVE', above), ...(options.args ?? [])], {
    cwd: join(above, options.cwd ?? '.'),
  })
  return { ...result, folder, calls: calls(log) }
}

function program(path: string, text: string): void {
  writeFileSync(path, text)
  chmodSync(path, 0o755)
}

function which(name: string): string {
  return run('sh', ['-c', `command -v ${name}`]).text.trim()
}

function calls(log: string): string[][] {
  let text = ''
  try {
    text = readFileSync(log, 'utf8')
  } catch {}
  return text
    .split('END\n')
    .slice(0, -1)
    .map((lines) => lines.split('\n').slice(0, -1))
}

describe.each(SHELLS)('kexec-boot by $name', ({ command, ownId }) => {
  it('is POSIX to the parser', () => {
    const path = scratch(`parse-${command[0]}`)
    writeFileSync(path, kexecScript({ kernel: 'bzImage', initrd: 'initrd', parameters: NASTY }))
    expect(run(command[0] ?? '', [...command.slice(1), '-n', path])).toMatchObject({ status: 0, stderr: '' })
    writeFileSync(path, `${readFileSync(path, 'utf8')}\nif`)
    expect(run(command[0] ?? '', [...command.slice(1), '-n', path]).status).not.toBe(0)
  })

  it('loads from its own folder and starts', () => {
    const { status, stderr, calls } = call(command)
    expect([status, stderr]).toEqual([0, ''])
    expect(calls).toEqual([['--load', './a folder/bzImage', '--initrd=./a folder/initrd', '--command-line=init=/init'], ['--exec']])
  })

  it('hands parameters over as they are', () => {
    expect(call(command, { script: { parameters: NASTY } }).calls[0]?.at(-1)).toBe(`--command-line=${NASTY}`)
  })

  it('appends its arguments', () => {
    const { calls } = call(command, { args: ['console=ttyS0', 'live.note="two words"', '*', "it's"] })
    expect(calls[0]?.at(-1)).toBe(`--command-line=init=/init console=ttyS0 live.note="two words" * it's`)
  })

  it.each([
    ['kexec-boot', 'a folder', './bzImage'],
    ['./kexec-boot', 'a folder', '././bzImage'],
    ['ABOVE/a folder/kexec-boot', '.', 'ABOVE/a folder/bzImage'],
    ['link', '.', './a folder/bzImage'],
    ['ABOVE/tools/../link', '.', 'ABOVE/tools/../a folder/bzImage'],
    ['second', '.', 'ABOVE/a folder/bzImage'],
    ['../third', 'tools', 'ABOVE/a folder/bzImage'],
  ])('called as %s in %s', (path, cwd, kernel) => {
    const { status, stderr, calls, folder } = call(command, {
      path,
      cwd,
      prepare(above) {
        symlinkSync('a folder/kexec-boot', join(above, 'link'))
        symlinkSync(join(above, 'link'), join(above, 'second'))
        symlinkSync('./second', join(above, 'third'))
      },
    })
    expect([status, stderr]).toEqual([0, ''])
    const above = folder.slice(0, -'/a folder'.length)
    const found = calls[0]?.[1] ?? ''
    expect(found.replace(above, 'ABOVE')).toBe(kernel)
  })

  it('finds a folder and files of odd names', () => {
    const folder = "-it's $HOME\n"
    const script = { kernel: "-ker'nel $x", initrd: 'in "itrd' }
    const { calls, stderr } = call(command, { folder, script, path: `./${folder}/kexec-boot`, cwd: '.' })
    expect(stderr).toBe('')
    expect(calls[0]?.join('\n')).toContain(`././${folder}/-ker'nel $x\n--initrd=././${folder}/in "itrd`)
  })

  it.each([
    [
      'no kexec',
      { prepare: (above: string) => rmSync(join(above, 'tools/kexec')) },
      /^kexec-boot: there is no kexec program; install kexec-tools\n$/,
    ],
    [
      'no initrd',
      { prepare: (above: string) => rmSync(join(above, 'a folder/initrd')) },
      /^kexec-boot: .\/a folder\/initrd is missing; .*\n$/,
    ],
    [
      'no kernel',
      { prepare: (above: string) => rmSync(join(above, 'a folder/bzImage')) },
      /^kexec-boot: .\/a folder\/bzImage is missing; .*\n$/,
    ],
  ] as [string, Call, RegExp][])('says so in one line: %s', (_, options, message) => {
    const { status, stderr, calls } = call(command, options)
    expect(stderr).toMatch(message)
    expect([status, calls]).toEqual([1, []])
  })

  const asAnother = ownId ? [] : [1000]
  it.each(asAnother)('says so in one line: user %i', (user) => {
    const { status, stderr, calls } = call(command, { user })
    expect([status, stderr, calls]).toEqual([1, 'kexec-boot: only root can load another kernel; run this as root\n', []])
  })

  it('does not start what could not be loaded, and says what failed', () => {
    const load = call(command, { failing: '--load' })
    expect([load.status, load.stderr, load.calls.length]).toEqual([1, 'kexec-boot: the kernel could not be loaded\n', 1])
    const exec = call(command, { failing: '--exec' })
    expect([exec.status, exec.stderr, exec.calls.length]).toEqual([1, 'kexec-boot: the loaded kernel could not be started\n', 2])
  })
})

describe('kexec-boot', () => {
  it.each([
    ['a line break', { parameters: 'a\nb' }, 'BAD_INPUT', /control character 0x0a/],
    ['a quote that stays open', { parameters: 'a="b' }, 'BAD_INPUT', /not closed/],
    ['too many parameters', { parameters: 'x'.repeat(2048) }, 'LIMIT', /kexec: .* 2048 bytes, the kernel takes 2047/],
    ['a path', { kernel: '../bzImage' }, 'USAGE', /'..\/bzImage' cannot be/],
    ['no name', { initrd: '' }, 'USAGE', /'' cannot be/],
  ] as const)('refuses %s', async (_, changes, code, message) => {
    await failure(() => kexecScript({ kernel: 'bzImage', initrd: 'initrd', parameters: 'init=/init', ...changes }), code, message)
  })
})
