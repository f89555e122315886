/** Signals at any moment of a network boot: the whole folder or what was there before, and pieces that serve the next run. */
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PARTIAL_NAME } from '../../src/io/private-folder.ts'
import { digestsIn, expectWholePieces } from './netboot-support.ts'
import { type Ended, finish, kilnix, leftIn, randomNumbers, smallWork, start, type Work } from './support.ts'

const STATUS = { SIGINT: 130, SIGTERM: 143, SIGKILL: undefined } as const
type Name = keyof typeof STATUS
/** The first two come while an older result is there, the last to a place that is free. */
const NAMES: readonly Name[] = ['SIGTERM', 'SIGKILL', 'SIGINT']

const KEXEC = ['--kexec', '--kexec-compression', 'lz4'] as const

/** KILNIX_SEED repeats a run. */
const seed = Number(process.env.KILNIX_SEED ?? Date.now() % 1_000_000)

let work: Work
let output: string
let scratch: string
let result: string
const at = (name: string): string => join(work.folder, name)
beforeAll(async () => {
  work = await smallWork()
  output = at('output')
  scratch = at('scratch')
  result = join(output, 'netboot')
})
afterAll(() => work.remove())
beforeEach(() => {
  for (const folder of [output, scratch]) {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder)
  }
})

const begin = (args: readonly string[]) => start(['netboot', ...work.input, '--force', '-o', result, ...args], { env: { TMPDIR: scratch } })

/** What processes left that SIGKILL ended. */
const killed = new Set<string>()

/** Private folders of a run, for its output and for its pieces. */
const partialsOf = (folder: string): string[] => leftIn(folder).filter((name) => PARTIAL_NAME.test(name) && !killed.has(name))

/** What may be seen after a signal; returns what happened, for the log. */
function judge(name: Name, ended: Ended, pieces: string | undefined, right: object, wasThere: boolean): string {
  const { status, signal, stdout, stderr } = ended
  const isThere = existsSync(result)
  if (isThere) expect(digestsIn(result)).toEqual(right)
  if (pieces !== undefined && existsSync(pieces)) expectWholePieces(pieces)
  const left = [...partialsOf(output), ...leftIn(scratch), ...(pieces && existsSync(pieces) ? partialsOf(pieces) : [])]
  if (name === 'SIGKILL') {
    expect([status, signal]).toEqual(status === 0 ? [0, null] : [null, 'SIGKILL'])
    for (const name of left) killed.add(name)
    // Between two renames the older result has another name, until the next run.
    if (wasThere && !isThere) expect(left.filter((name) => existsSync(join(output, name, 'replaced-0-755/netboot')))).toHaveLength(1)
  } else {
    expect(left).toEqual([])
    if (wasThere) expect(isThere).toBe(true)
    // Node ends the process by the signal itself where no handler is there yet, or none any more.
    if (signal !== null) expect(signal).toBe(name)
    else expect([0, STATUS[name]]).toContain(status)
    if (status === STATUS[name]) expect(stderr).toContain(`kilnix: cancelled by ${name}\n`)
    expect(stderr).not.toContain('internal error')
  }
  expect(stdout.toString()).toBe(status === 0 || stdout.length > 0 ? `${result}\n` : '')
  if (status === 0) expect(isThere).toBe(true)
  return `${name}: ${status ?? signal}${isThere ? ', there' : ''}${left.length > 0 ? `, ${left.length} left` : ''}`
}

describe('signals', () => {
  it.each<[string, readonly string[], boolean]>([
    ['single', [], false],
    ['manifest', KEXEC, false],
    ['per-path', [], true],
  ])(`at random moments of %s %j, pieces %j (KILNIX_SEED=${seed})`, async (style, more, hasPieces) => {
    const random = randomNumbers(seed + style.length + 100 * more.length + (hasPieces ? 1000 : 0))
    const args = ['--style', style, ...more]
    const started = performance.now()
    expect(await finish(begin(args))).toMatchObject({ status: 0 })
    const milliseconds = performance.now() - started
    const right = digestsIn(result)
    const pieces = hasPieces ? at(`pieces ${style}`) : undefined
    const all = [...args, ...(pieces === undefined ? [] : ['--pieces', pieces])]
    const seen: string[] = []
    for (const name of NAMES) {
      if (name === 'SIGINT') rmSync(result, { recursive: true, force: true })
      const wasThere = existsSync(result)
      const delay = random() * milliseconds * 1.05
      const child = begin(all)
      const ended = finish(child)
      await Promise.race([setTimeout(delay), ended])
      child.kill(name)
      try {
        seen.push(judge(name, await ended, pieces, right, wasThere))
      } catch (error) {
        throw new Error(`seed ${seed}, ${name} after ${Math.round(delay)} ms`, { cause: error })
      }
      // A temporary folder of pieces is left by SIGKILL alone.
      for (const left of leftIn(scratch)) rmSync(join(scratch, left), { recursive: true })
    }
    console.log(`a run of ${Math.round(milliseconds)} ms:`, seen.join('; '))
    // What SIGKILL left is in nobody's way.
    expect(await kilnix(['netboot', ...work.input, '--force', '--quiet', '-o', result, ...all])).toMatchObject({ status: 0, stderr: '' })
    expect(digestsIn(result)).toEqual(right)
  })

  it.each(
    (['building pieces', 'writing the image'] as const).flatMap((stage, index) =>
      NAMES.map((name, turn) => [stage, name, (['manifest', 'per-path'] as const)[(index + turn) % 2] ?? 'manifest'] as const),
    ),
  )('at the words "%s": %s, in the style %s', async (stage, name, style) => {
    const child = begin(['--style', style, '--progress', 'plain'])
    let said = ''
    child.stderr?.on('data', (text) => {
      said += String(text)
      if (said.includes(stage)) child.kill(name)
    })
    const ended = await finish(child)
    expect(said).toContain(stage)
    const isThere = existsSync(result)
    judge(name, ended, undefined, isThere ? digestsIn(result) : {}, false)
  })
})
