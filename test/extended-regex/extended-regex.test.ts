/** Extended regular expressions: what POSIX says, and `grep -E` as the judge of random ones. */
import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { extendedRegex } from '../../src/extended-regex/index.ts'
import { cpuMilliseconds } from '../cpu-time.ts'
import { oracle } from '../oracles/tools.ts'

const GLIBC = '/nix/store/0i1iyxzw07dws2jlvl51523lsq3zaslp-glibc-2.40-66-dev'
const test = (source: string, line: string): boolean => extendedRegex(source, 'spec').test(line)

describe('extended regular expressions', () => {
  it.each([
    ['-dev$', GLIBC, true],
    ['-dev$', `${GLIBC}-x`, false],
    ['^/nix/store/[[:alnum:]]{32}-glibc', GLIBC, true],
    ['^/nix/store/[[:alnum:]]{31}-glibc', GLIBC, false],
    ['(gcc|glibc)-[0-9.]+', GLIBC, true],
    ['[]a]', ']', true],
    ['[^]a]', ']', false],
    ['[a-]', '-', true],
    ['[[.-.]]', '-', true],
    ['a{2,3}b', 'aab', true],
    ['^a{2}$', 'aaa', false],
    ['x{0}y', 'y', true],
    ['^(a|b)*c$', 'ababc', true],
    ['a^b', 'a^b', false],
    ['\\.', 'a', false],
    ['\\<glibc\\>', GLIBC, true],
    ['\\bib', GLIBC, false],
    ['()', '', true],
    ['é', GLIBC, false],
  ])('%s in %s: %s', (source, line, found) => {
    expect(test(source, line)).toBe(found)
  })

  it.each([
    ['*a', /nothing to repeat/],
    ['a|*', /nothing to repeat/],
    ['(a', /is not closed/],
    ['a)', /closes no group/],
    ['[a', /is not closed/],
    ['[z-a]', /ends before it begins/],
    ['[[:foo:]]', /no class \[:foo:\]; known are alnum/],
    ['[:alpha:]', /bracket of its own: \[\[:alpha:\]\]/],
    ['a{2', /begins no interval/],
    ['a{3,2}', /ends before it begins/],
    ['^*', /repeats a place/],
    ['a\\', /ends in a backslash/],
    ['\\d', /has no meaning/],
    ['[[.ab.]]', /no single character/],
    ['[[:digit:]-z]', /begins with a class/],
  ])('refuses %s', (source, message) => {
    expect(() => extendedRegex(source, 'spec.json: forbidden[0]')).toThrow(message)
    expect(() => extendedRegex(source, 'spec.json: forbidden[0]')).toThrow(/^spec\.json: forbidden\[0\]: /)
  })

  it('refuses what it does not support or would be too large', () => {
    expect(() => extendedRegex('(a)\\1', 'spec')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
    expect(() => extendedRegex('((a{200}){200}){200}', 'spec')).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    expect(() => extendedRegex('a{256}', 'spec')).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    expect(() => extendedRegex('('.repeat(4000), 'spec')).toThrow(expect.objectContaining({ code: 'LIMIT' }))
    expect(() => extendedRegex('a'.repeat(5000), 'spec')).toThrow(expect.objectContaining({ code: 'LIMIT' }))
  })

  it('takes no longer for expressions that make backtracking explode', () => {
    const begin = cpuMilliseconds()
    for (const source of ['^(a+)+$', '^(a|aa)*$', '^((a*)*)*b$', '(a?){100}a{100}b'])
      expect(test(source, `${'a'.repeat(255)}!`), source).toBe(false)
    expect(cpuMilliseconds() - begin).toBeLessThan(2000)
  })

  it.skipIf(oracle('grep').skip)('agrees with grep -E on random expressions and lines', () => {
    const random = generator(6)
    const lines = Array.from({ length: 60 }, () => Array.from({ length: random(9) }, () => 'ab-.1A_'[random(7)]).join(''))
    let matched = 0
    for (let round = 0; round < 120; round++) {
      const source = expression(random, 3)
      const ours = lines.filter((line) => test(source, line))
      const grep = spawnSync('grep', ['-E', '--', source], { input: lines.map((line) => `${line}\n`).join(''), env: { LC_ALL: 'C' } })
      expect(grep.status, `${source}: ${grep.stderr}`).toBeLessThan(2)
      expect(ours, source).toEqual(grep.stdout.toString().split('\n').slice(0, -1))
      matched += ours.length
    }
    // Neither all nor nothing, or the comparison would say little.
    expect(matched).toBeGreaterThan(1000)
    expect(matched).toBeLessThan(6500)
  })
})

/** A linear congruential generator (Numerical Recipes): numbers below a limit, the same at each run. */
function generator(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

const ATOMS = ['a', 'b', '-', '\\.', '.', '1', 'A', '[ab]', '[^a]', '[a-z]', '[[:digit:]]', '[^[:alpha:]_]', '[]b-]', '\\w', '\\W', '\\S']
const PLACES = ['^', '$', '\\<', '\\>', '\\b', '\\B']
const REPETITIONS = ['', '', '', '*', '+', '?', '{2}', '{0,2}', '{1,}', '{,1}']

function expression(random: (limit: number) => number, depth: number): string {
  const branches = Array.from({ length: 1 + random(2) }, () =>
    Array.from({ length: 1 + random(3) }, () => {
      if (random(8) === 0) return PLACES[random(PLACES.length)]
      const atom = depth > 0 && random(4) === 0 ? `(${expression(random, depth - 1)})` : ATOMS[random(ATOMS.length)]
      return `${atom}${REPETITIONS[random(REPETITIONS.length)]}`
    }).join(''),
  )
  return branches.join('|')
}
