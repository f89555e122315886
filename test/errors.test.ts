import { spawnSync } from 'node:child_process'
import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'
import { describe, expect, it } from 'vitest'
import { badInput, ImageError, systemErrorCode } from '../src/errors.ts'
import { writeError } from '../src/io/write-error.ts'

/** As Node makes it of a number that libuv has no name for. */
function unknownError(number: number): Error {
  const code = `Unknown system error ${-number}`
  return Object.assign(new Error(`${code}: ${code}, write`), { errno: -number, code, syscall: 'write' })
}

describe('the code of a system error', () => {
  it('is the name that the platform has for a number that libuv does not know', () => {
    const python = spawnSync('python3', ['-c', 'import errno, json; print(json.dumps(errno.errorcode))'])
    const names = JSON.parse(python.stdout.toString()) as Record<string, string>
    const known = getSystemErrorMap()
    const unknown = Object.keys(names)
      .map(Number)
      .filter((number) => !known.has(-number))
    expect(unknown.length).toBeGreaterThan(40)
    // Two names of one number.
    const other: Record<string, string> = { EDEADLOCK: 'EDEADLK' }
    for (const number of unknown) expect(systemErrorCode(unknownError(number))).toBe(other[names[number] ?? ''] ?? names[number])
  })

  it('is what Node says where nobody has a name, and undefined for other errors', () => {
    expect(systemErrorCode(unknownError(4000))).toBe('Unknown system error -4000')
    expect(systemErrorCode(Object.assign(new Error('x'), { code: 'UNKNOWN' }))).toBe('UNKNOWN')
    expect(systemErrorCode(Object.assign(new Error('x'), { code: 'ENOSPC', errno: -28 }))).toBe('ENOSPC')
    expect(systemErrorCode(new Error('x'))).toBeUndefined()
    expect(systemErrorCode('ENOSPC')).toBeUndefined()
  })

  it('brings the remedy for a quota with it', () => {
    const { message } = writeError('image.iso', unknownError(constants.errno.EDQUOT))
    expect(message).toBe('image.iso: cannot be written (EDQUOT): the disk quota is used up; free space there or choose another output')
  })
})

describe('a message that speaks of options', () => {
  const error = new ImageError('LIMIT', (option) => `/espSize/size: ${option('espSize')} is 1; give more, or ${option('size')} auto`, {
    path: '/espSize',
  })

  it('has the names of the library, and says which they are', () => {
    expect(error.message).toBe('/espSize/size: espSize is 1; give more, or size auto')
    expect(error.options).toEqual(['espSize', 'size'])
    expect(new ImageError('ABORTED', 'cancelled').options).toEqual([])
  })

  it('has them as its reader writes them, and nothing else changes', () => {
    expect(error.messageWith((name) => `--${name.toUpperCase()}`)).toBe('/espSize/size: --ESPSIZE is 1; give more, or --SIZE auto')
    expect(new ImageError('ABORTED', 'cancelled').messageWith(() => 'x')).toBe('cancelled')
  })

  it('keeps them behind a place', () => {
    const bad = badInput('file:1', (option) => `leave it alone with ${option('cutoffs')}`)
    expect(bad).toMatchObject({ message: 'file:1: leave it alone with cutoffs', path: 'file:1', options: ['cutoffs'] })
    expect(bad.messageWith(() => '--cutoff')).toBe('file:1: leave it alone with --cutoff')
  })
})
