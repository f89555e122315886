/** A working directory that was removed: paths that count from it are errors, and nothing else needs it. */

import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chdir } from 'node:process'
import { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { COMMAND_NAMES } from '../../src/cli/commands/index.ts'
import { threadError } from '../../src/threads/errors.ts'
import { type Commands, everyCommand } from '../faults/commands.ts'
import { BIN, type Ended, finish, leftIn } from '../faults/support.ts'

let all: Commands
beforeAll(async () => {
  all = await everyCommand()
})
afterAll(() => all.work.remove())
afterEach(() => {
  for (const name of leftIn(all.output)) rmSync(join(all.output, name), { recursive: true })
})

/** Run in a folder that is not there any more. */
function homeless(args: readonly string[]): Promise<Ended> {
  const script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
  return finish(spawn('sh', ['-c', script, 'sh', process.execPath, BIN, ...args], { cwd: all.scratch, stdio: ['ignore', 'pipe', 'pipe'] }))
}

describe('in a working directory that was removed', { timeout: 60_000 }, () => {
  it.each(COMMAND_NAMES)('kilnix %s takes no relative path', async (name) => {
    const { args } = all.runs[name]
    const index = args.findIndex((word) => word.startsWith(all.work.folder))
    expect(index).toBeGreaterThan(0)
    const { status, stderr } = await homeless(args.with(index, 'some/where'))
    expect(stderr).toMatch(
      /^kilnix: \S+ is the relative path some\/where, but the working directory was removed; change to another, or give an absolute path\nTry/,
    )
    expect(status).toBe(2)
  })

  it('the source of --add is a path, too', async () => {
    expect((await homeless(['initrd', '--add', 'a=b', '-o', join(all.output, 'x')])).stderr).toContain('--add is the relative path b, but')
  })

  // All that have threads.
  it.each([
    ['squashfs', ['--compression', 'zstd:1']],
    ['initrd', ['--compression', 'zstd:1']],
    ['netboot', ['--style', 'per-path']],
    ['zfs', []],
    ['closure check', []],
  ] as const)('kilnix %s %j takes absolute ones', async (name, more) => {
    const { args, output } = all.runs[name]
    const { status, stderr } = await homeless([...args, ...more])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    if (output !== undefined) expect(existsSync(output)).toBe(true)
  })

  it('a config file says where its relative paths count from', async () => {
    const config = join(all.output, 'config.json')
    writeFileSync(config, JSON.stringify({ output: 'store.squashfs', compression: 'none' }))
    expect(await homeless([...all.runs.squashfs.args.slice(0, -2), '--config', config])).toMatchObject({ status: 0, stderr: '' })
    expect(existsSync(join(all.output, 'store.squashfs'))).toBe(true)
  })

  it('help and standard input need none', async () => {
    expect(await homeless(['help'])).toMatchObject({ status: 0, stderr: '' })
    expect((await homeless(['nar', 'hash', '-'])).stderr).toContain('<stdin>')
  })
})

it('a thread that finds no working directory says so, with the remedy', async () => {
  const before = process.cwd()
  const gone = join(all.output, 'gone')
  mkdirSync(gone)
  chdir(gone)
  rmdirSync(gone)
  try {
    const cause = await new Promise((resolve) => new Worker('', { eval: true, execArgv: [] }).once('error', resolve))
    const { code, message } = threadError(2, 'died', cause)
    expect(code).toBe('WORKER_DIED')
    expect(message).toMatch(/^worker thread 2 died: ENOENT.*; change to a working directory that is there$/)
  } finally {
    chdir(before)
  }
  expect(threadError(1, 'died', new Error('x')).message).toBe('worker thread 1 died: x; try fewer jobs or more memory')
  expect(threadError(1, 'cannot be started', 'y').message).toBe('worker thread 1 cannot be started: y; try fewer jobs')
})
