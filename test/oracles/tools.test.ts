import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { oracle, PACKAGES, run, runOk } from './tools.ts'

describe('the oracles', () => {
  afterEach(() => {
    vi.unstubAllEnvs()
    vi.restoreAllMocks()
  })

  it('are all installed in CI', () => {
    const script = readFileSync(new URL('../../.ci/run', import.meta.url), 'utf8')
    const installed = new Set([...script.matchAll(/^\w+=\((.*)\)$/gm)].flatMap(([, names = '']) => names.split(' ')))
    expect([...new Set(Object.values(PACKAGES))].filter((name) => !installed.has(name))).toEqual([])
  })

  it('skip with a reason outside CI, and never in CI', () => {
    vi.spyOn(console, 'warn').mockReturnValue(undefined)
    vi.stubEnv('CI', '')
    expect(oracle('sh', 'no-such-tool')).toEqual({ skip: true, reason: expect.stringContaining('no-such-tool is not installed') })
    expect(oracle('sh')).toEqual({ skip: false, reason: '' })
    vi.stubEnv('CI', 'true')
    expect(oracle('no-such-tool').skip).toBe(false)
  })

  it('fail a run with the output of the tool', () => {
    expect(run('sh', ['-c', 'exit 3']).status).toBe(3)
    expect(() => runOk('sh', ['-c', 'echo why >&2; exit 3'])).toThrow(/exit status 3\s+why/)
  })
})
