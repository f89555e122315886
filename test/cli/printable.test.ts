/** Names that would have a terminal do something, or lie about what is in a line, wherever a command shows them. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createProgress } from '../../src/cli/progress.ts'
import { BIN, finish, kilnix, smallWork, start, type Work } from '../faults/support.ts'

/** Sets a title, turns colours and text around, and ends lines in ways that a terminal knows. */
const EVIL = '\x1b]0;owned\x07\x1b[31m\u009b2J\u202eexe.txt\u2066\u2028\r\nkilnix: done\x7f\b'
const SHOWN = '\\x1b]0;owned\\x07\\x1b[31m\\u009b2J\\u202eexe.txt\\u2066\\u2028\\x0d\\x0akilnix: done\\x7f\\x08'
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const OBEYED = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/

const PATH = '/nix/store/0c1aqs2xfkjb3xzbm7kbq4yrqk5wvz0a-evil'
const OTHER = '/nix/store/1d1aqs2xfkjb3xzbm7kbq4yrqk5wvz0b-other'

let folder = ''
let work: Work
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kilnix-printable-'))
  mkdirSync(join(folder, PATH, EVIL), { recursive: true })
  mkdirSync(join(folder, OTHER))
  writeFileSync(join(folder, PATH, EVIL, `${EVIL}2`), OTHER)
  symlinkSync(`${OTHER}/${EVIL}`, join(folder, PATH, 'link'))
  writeFileSync(join(folder, 'list'), `${PATH}\n${OTHER}\n`)
  writeFileSync(join(folder, 'evil.nar'), (await kilnix(['nar', 'dump', join(folder, PATH)])).stdout)
  work = await smallWork()
})
afterAll(async () => {
  rmSync(folder, { recursive: true })
  await work.remove()
})

/** Status, and all that was printed, which a terminal does not obey. */
async function shown(args: readonly string[], more: Parameters<typeof kilnix>[1] = {}) {
  const { status, stdout, stderr } = await kilnix(args, { cwd: folder, ...more })
  const text = stdout.toString()
  expect(text + stderr).not.toMatch(OBEYED)
  return { status, text, stderr }
}

const listing = (): string[] => ['list', '--root', folder]

describe('names that a terminal would obey', { timeout: 60_000 }, () => {
  it('in a NAR', async () => {
    const listed = await shown(['nar', 'ls', '-R', '--long', 'evil.nar'])
    expect(listed).toMatchObject({ status: 0, stderr: '' })
    expect(listed.text.split('\n')).toEqual([
      `dr-xr-xr-x                    0 ./${SHOWN}`,
      `-r--r--r--                   ${String(OTHER.length)} ./${SHOWN}/${SHOWN}2`,
      `lrwxrwxrwx                    0 ./link -> ${OTHER}/${SHOWN}`,
      '',
    ])
    const { text } = await shown(['nar', 'ls', '--json', '-R', 'evil.nar'])
    expect(Object.keys(JSON.parse(text).entries[EVIL].entries)).toEqual([`${EVIL}2`])
    // A single file is listed by the name that the command line gives it.
    expect((await shown(['nar', 'ls', 'evil.nar', `${EVIL}/${EVIL}2`])).text).toBe(`${SHOWN}2\n`)
    expect((await shown(['nar', 'ls', 'evil.nar', `${EVIL}3`])).stderr).toContain('\\x1b]0;owned\\x07')
  })

  it('in a closure', async () => {
    const { text } = await shown(['closure', 'why', 'list', 'evil', 'other', '--precise', '--root', folder])
    expect(text).toContain(SHOWN)
    expect((await shown(['closure', 'show', ...listing()])).status).toBe(0)
    expect((await shown(['closure', 'show', EVIL])).stderr).toContain('\\x1b]0;owned')
    expect((await shown(['closure', 'why', 'list', EVIL, 'other', '--root', folder])).status).toBe(1)
    writeFileSync(join(folder, 'evil.list'), `${PATH}${EVIL}\n`)
    expect((await shown(['closure', 'show', 'evil.list', '--root', folder])).status).toBe(1)
    writeFileSync(join(folder, 'evil.json'), JSON.stringify({ [`${PATH}${EVIL}`]: { [EVIL]: EVIL } }))
    expect((await shown(['closure', 'check', 'evil.json', '--root', folder])).status).toBe(1)
  })

  it('in errors, usage, plans and results', async () => {
    const output = join(folder, `out${EVIL}`.replaceAll('/', ' '))
    for (const args of [
      [EVIL],
      ['iso', EVIL, '-o', output],
      ['help', EVIL],
      ['squashfs', '--closure', EVIL, '-o', output],
      ['squashfs', '--closure', 'list', '--root', EVIL, '-o', output],
      ['squashfs', '--closure', 'list', `--${EVIL}`, '-o', output],
      ['squashfs', '--config', EVIL],
      ['squashfs', '--closure', 'list', '--root', folder, '--block-size', EVIL, '-o', output],
      ['initrd', '--add', `a=${EVIL}`, '-o', output],
      ['convert', EVIL, '-o', output],
      ['nar', 'dump', EVIL],
      ['nar', 'restore', EVIL, output],
    ]) {
      const { status, stderr } = await shown(args)
      expect(status, JSON.stringify(args)).toBeGreaterThan(0)
      expect(stderr).toContain('\\x1b')
    }
    const add = ['initrd', '--add', `${EVIL}=list`, '-o', output]
    expect((await shown([...add, '--dry-run'])).status).toBe(0)
    expect((await shown([...add, '--dry-run', '--json'])).status).toBe(0)
    // For programs the result has the name that it has.
    const { status, stdout, stderr } = await kilnix(add, { cwd: folder })
    expect(stdout.toString()).toBe(`${output}\n`)
    expect(stderr).not.toMatch(OBEYED)
    expect(stderr).toContain(SHOWN)
    expect(status).toBe(0)
    // A terminal gets it printable.
    const command = [process.execPath, BIN, ...add, '--force', '--quiet'].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
    const terminal = spawnSync('script', ['-qec', command, '/dev/null'], { cwd: folder })
    expect(terminal.stdout.toString()).toBe(`${output.replace(EVIL, SHOWN)}\r\n`)
    expect(terminal.status).toBe(0)
  })

  it('in progress', () => {
    const written: string[] = []
    const { listener } = createProgress('plain', { write: (text) => written.push(text) }, () => 0)
    listener({ kind: 'note', message: EVIL })
    expect(written).toEqual([`${SHOWN}\n`])
  })

  it('in what a client asks a server for', async () => {
    const { folder: closure, root } = work.closure
    const args = ['--closure', closure, '--root', root, '--compression', 'none', '--style', 'per-path', '--listen', '127.0.0.1:0']
    const child = start(['serve', ...args, '--pieces', join(folder, EVIL.replaceAll('/', ' '))])
    let url = ''
    child.stdout?.on('data', (text) => {
      url += String(text)
      if (!url.endsWith('\n')) return
      const { hostname, port } = new URL(url)
      const socket = connect({ host: hostname, port: Number(port) })
      socket.on('close', () => child.kill('SIGTERM')).resume()
      socket.end(`GET /${EVIL.replaceAll(/[\r\n ]/g, '')} HTTP/1.1\r\nhost: ${hostname}\r\nconnection: close\r\n\r\n`)
    })
    const { status, stderr } = await finish(child)
    expect(stderr).not.toMatch(OBEYED)
    expect(stderr).toContain('127.0.0.1')
    expect(status).toBe(0)
  })

  it('in a file that no image can hold', async () => {
    const pipe = join(folder, OTHER, EVIL)
    expect(spawnSync('mkfifo', [pipe]).status).toBe(0)
    for (const command of ['squashfs', 'disk', 'zfs', 'initrd']) {
      const { status, stderr } = await shown([command, '--closure', 'list', '--root', folder, '-o', 'never'])
      expect(stderr).toContain(`${OTHER}/${SHOWN}`)
      expect(status).toBe(1)
    }
    expect((await shown(['nar', 'hash', join(folder, OTHER)])).stderr).toContain(SHOWN)
    rmSync(pipe)
  })
})
