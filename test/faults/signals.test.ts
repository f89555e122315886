/** Signals at any moment: the whole image or nothing, and nothing hidden where the program could still clean up. */
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PARTIAL_NAME } from '../../src/io/private-folder.ts'
import { type Ended, finish, kilnix, leftIn, randomNumbers, sha256Of, smallWork, start, type Work } from './support.ts'

const STATUS = { SIGINT: 130, SIGTERM: 143, SIGKILL: undefined } as const
type Name = keyof typeof STATUS
const NAMES = Object.keys(STATUS) as Name[]
const MOMENTS = 9

/** KILNIX_SEED repeats a run. */
const seed = Number(process.env.KILNIX_SEED ?? Date.now() % 1_000_000)

let work: Work
let folder: string
let output: string
let rightDigest: string
let milliseconds: number
beforeAll(async () => {
  work = await smallWork()
  folder = join(work.folder, 'output')
  output = join(folder, 'image.iso')
  mkdirSync(folder)
  await expectBuilt()
  const started = performance.now()
  await expectBuilt()
  milliseconds = performance.now() - started
  rightDigest = sha256Of(output)
})
afterAll(() => work.remove())
/** Partials of processes that SIGKILL ended. */
const killed = new Set<string>()

beforeEach(() => {
  killed.clear()
  rmSync(folder, { recursive: true })
  mkdirSync(folder)
})

const ARGS = () => ['iso', ...work.input, '--force', '-o', output]

async function expectBuilt(): Promise<void> {
  expect(await kilnix(ARGS())).toMatchObject({ status: 0 })
}

/** What may be seen after a signal; returns what happened, for the log. */
function judge(name: Name, { status, signal, stderr }: Ended): string {
  const complete = existsSync(output)
  if (complete) expect(sha256Of(output)).toBe(rightDigest)
  // Those of processes that were killed before lie there as well.
  const partials = leftIn(folder).filter((file) => PARTIAL_NAME.test(file) && !killed.has(file))
  if (name === 'SIGKILL') {
    expect([status, signal]).toEqual(status === 0 ? [0, null] : [null, 'SIGKILL'])
    for (const partial of partials) killed.add(partial)
  } else {
    expect(partials).toEqual([])
    // Node ends the process by the signal itself where no handler is there yet, or none any more.
    if (signal !== null) expect(signal).toBe(name)
    else expect([0, STATUS[name]]).toContain(status)
    if (status === STATUS[name]) expect(stderr).toContain(`kilnix: cancelled by ${name}\n`)
    expect(stderr).not.toContain('internal error')
  }
  if (status === 0) expect(complete).toBe(true)
  return `${name}: ${status ?? signal}${complete ? ', complete' : ''}${partials.length > 0 ? ', partial' : ''}`
}

describe('a signal', () => {
  it(`at ${MOMENTS} random moments (KILNIX_SEED=${seed})`, { timeout: 180_000 }, async () => {
    const random = randomNumbers(seed)
    const seen = new Map<string, number>()
    for (let index = 0; index < MOMENTS; index++) {
      const name = NAMES[index % NAMES.length] ?? 'SIGKILL'
      const delay = random() * milliseconds * 1.05
      const child = start(ARGS())
      const ended = finish(child)
      await Promise.race([setTimeout(delay), ended])
      child.kill(name)
      let what: string
      try {
        what = judge(name, await ended)
      } catch (error) {
        throw new Error(`seed ${seed}, ${name} after ${Math.round(delay)} ms`, { cause: error })
      }
      seen.set(what, (seen.get(what) ?? 0) + 1)
      rmSync(output, { force: true })
    }
    console.log(`seed ${seed}, a build of ${Math.round(milliseconds)} ms:`, Object.fromEntries([...seen].sort()))
    // What SIGKILL left is in nobody's way, and there is nothing else.
    for (const file of leftIn(folder)) expect([...killed]).toContain(file)
    await expectBuilt()
    expect(sha256Of(output)).toBe(rightDigest)
  })

  it.each(
    ['reading the closure', 'writing the image', 'packing the store', 'syncing to disk'].flatMap((stage) =>
      NAMES.map((name) => [stage, name] as const),
    ),
  )('at the words "%s": %s', async (stage, name) => {
    const child = start([...ARGS(), '--progress', 'plain'])
    let said = ''
    child.stderr?.on('data', (text) => {
      said += String(text)
      if (said.includes(stage)) child.kill(name)
    })
    const ended = await finish(child)
    expect(said).toContain(stage)
    judge(name, ended)
  })

  it.each(NAMES)('%s leaves no scratch file of a stream', async (name) => {
    const scratch = join(work.folder, `scratch ${name}`)
    mkdirSync(scratch)
    const child = start(['iso', ...work.input, '-o', '-'], { env: { TMPDIR: scratch } })
    child.stderr?.on('data', (text) => {
      if (String(text).includes('packing')) child.kill(name)
    })
    const { status, signal } = await finish(child)
    expect(status ?? signal).toBe(STATUS[name] ?? 'SIGKILL')
    expect(leftIn(scratch)).toEqual([])
  })
})
