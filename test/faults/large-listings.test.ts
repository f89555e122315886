/** Listings and other inputs that are large, deep or endless: refused at once, or worked through with an ear for signals. */
import { closeSync, ftruncateSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { largeRegistration, numberedPath, recordOf } from '../nix/inspect/large-listings.ts'
import { errorLine, finish, kilnix, kilnixMeasured, start } from './support.ts'

let work = ''
const at = (name: string): string => join(work, name)
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'kilnix-large-'))
})
afterAll(() => rm(work, { recursive: true }))

/** More than Node itself takes, and less than a copy of what is given here. */
const MEMORY_LIMIT = 250e6

describe('inputs without sense', { timeout: 120_000 }, () => {
  it.each([
    ['100 MB of brackets', '[', 'LIMIT', 'at position 256 arrays and objects nest deeper than 256 levels, the limit for JSON'],
    ['objects in objects', '{"a":', 'LIMIT', 'nest deeper than 256 levels'],
    ['blanks', ' ', 'LIMIT', ':1: the line is longer than 65536 bytes; this is no closure listing'],
    ['a text without end', '["', 'BAD_INPUT', "stands where ',' or the end of the array or object should be"],
  ])('%s, as a file and on standard input', async (_what, piece, code, message) => {
    const bytes = Buffer.alloc(100e6, piece)
    writeFileSync(at('bomb'), bytes)
    for (const args of [
      ['closure', 'show', at('bomb')],
      ['closure', 'check', '--no-contents', '-'],
      ['squashfs', '--closure', '-', '--dry-run'],
    ]) {
      const { status, stderr, stdout, peakBytes } = await kilnixMeasured(args, (child) => {
        child.stdin?.on('error', () => undefined)
        child.stdin?.end(args.includes('-') ? bytes : '')
      })
      expect(stderr).toMatch(errorLine(code, message))
      expect({ status, size: stdout.length }).toEqual({ status: 1, size: 0 })
      expect(peakBytes).toBeLessThan(MEMORY_LIMIT)
    }
  })

  it('a line of 4 GiB behind a good one', async () => {
    const file = openSync(at('line'), 'w')
    writeSync(file, `${numberedPath(1)}\n`)
    ftruncateSync(file, 4 * 1024 ** 3)
    closeSync(file)
    const { stderr, peakBytes } = await kilnixMeasured(['closure', 'show', at('line')])
    expect(stderr).toMatch(errorLine('LIMIT', 'line:2: the line is longer than 65536 bytes'))
    expect(peakBytes).toBeLessThan(MEMORY_LIMIT)
  })

  it.each([
    ['that nests', () => '['.repeat(100_000), 1, errorLine('LIMIT', 'config: at position 256 arrays and objects nest deeper')],
    [
      'that is too large',
      () => `{"closure": "${'x'.repeat(1 << 20)}"}`,
      1,
      errorLine('LIMIT', 'larger than 1048576 bytes, the limit for a config file'),
    ],
    ['with an option twice', () => '{"closure": "a",\n"closure": "b"}', 2, /config:2: 'closure' stands twice in the same object\n/],
  ])('a config file %s', async (_what, text, code, message) => {
    writeFileSync(at('config'), text())
    const { status, stderr } = await kilnix(['squashfs', '--config', at('config'), '-o', at('never')])
    expect(stderr).toMatch(message)
    expect(status).toBe(code)
  })

  it('a config file, a spec and a configuration without end', async () => {
    for (const args of [
      ['squashfs', '--closure', at('c'), '--config', '/dev/zero', '-o', at('never')],
      ['disk', '--closure', at('c'), '--configuration', '/dev/zero', '-o', at('never.img')],
      ['toplevel', '/dev/zero', '--closure', at('c'), '--quiet', '-o', at('never')],
    ]) {
      writeFileSync(at('c'), recordOf(0, []))
      const { status, stderr } = await kilnix(args)
      expect(stderr).toMatch(errorLine('LIMIT', '/dev/zero: larger than'))
      expect(status).toBe(1)
    }
  })
})

describe('chains of thousands of references', { timeout: 60_000 }, () => {
  it('are shown as text and as data', async () => {
    // Two paths a level, each of which refers to both of the next.
    const levels = 4000
    const records: string[] = []
    for (let index = 0; index < 2 * levels; index++) {
      const next = 2 * Math.floor(index / 2) + 2
      records.push(recordOf(index, next < 2 * levels ? [next, next + 1] : []))
    }
    writeFileSync(at('ladder'), records.join(''))
    const args = ['closure', 'why', at('ladder'), numberedPath(0), numberedPath(2 * levels - 1), '--all']
    const { status, stdout, stderr } = await kilnix(args)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const lines = stdout.toString().trimEnd().split('\n')
    expect(lines.slice(0, 3)).toEqual([numberedPath(0), `├───${numberedPath(2)}`, `│   ├───${numberedPath(4)}`])
    expect(lines[1000]).toBe(`level 1000  ├───${numberedPath(2000)}`)
    expect(lines.slice(-2)).toEqual([`    ├───${numberedPath(4)} (see above)`, `    └───${numberedPath(5)} (see above)`])
    const { chain, references } = JSON.parse((await kilnix([...args, '--json'])).stdout.toString())
    expect(chain).toHaveLength(levels)
    expect(references).toHaveLength(2 * levels - 2)
  })
})

describe('SIGINT', { timeout: 120_000 }, () => {
  const cancelled = { status: 130, stdout: Buffer.alloc(0), stderr: 'kilnix: cancelled by SIGINT\n' }

  it.each([
    ['closure show', ['closure', 'show', '-']],
    ['closure why', ['closure', 'why', '-', 'p1', 'p2']],
    ['closure diff', ['closure', 'diff', '-', 'other']],
    ['closure check', ['closure', 'check', '--no-contents', '--quiet', '-']],
    ['replace', ['replace', '--dry-run', '--closure', '-', '--replace', `${numberedPath(1)}=${numberedPath(2)}`]],
  ])('ends the reading of a listing that goes on and on: %s', async (_name, args) => {
    const piece = Buffer.from(largeRegistration(2000))
    const child = start(args, { cwd: work, stdio: ['pipe', 'pipe', 'pipe'] })
    const ended = finish(child)
    let sent = 0
    child.stdin?.on('error', () => undefined)
    const send = (): void => {
      // Much has been read when the signal comes.
      if (++sent === 20) child.kill('SIGINT')
      child.stdin?.write(piece, (error) => error || send())
    }
    send()
    expect(await ended).toMatchObject(cancelled)
  })

  it('ends a sum that would take long', async () => {
    // Each of many paths refers to two of some that have large closures in common in part.
    const [leaves, middles, tops] = [20_000, 40, 100_000]
    const records: string[] = []
    for (let index = 0; index < leaves; index++) records.push(recordOf(index, []))
    for (let index = 0; index < middles; index++) {
      const own = Array.from({ length: leaves }, (_, leaf) => leaf).filter((leaf) => ((leaf * 7919 + index * 104_729) >> 3) % 2 === 0)
      records.push(recordOf(leaves + index, own))
    }
    for (let index = 0; index < tops; index++) {
      records.push(
        recordOf(
          leaves + middles + index,
          [leaves + (index % middles), leaves + ((index * 7 + 1) % middles)].filter((to, place, all) => all.indexOf(to) === place),
        ),
      )
    }
    const child = start(['closure', 'show', '-'], { stdio: ['pipe', 'pipe', 'pipe'] })
    const ended = finish(child)
    child.stdin?.end(records.join(''), () => child.kill('SIGINT'))
    expect(await ended).toMatchObject(cancelled)
  })
})
