import { describe, expect, it } from 'vitest'
import { chooseRange, matchHolds, noneMatchHolds, rangeHolds } from '../../src/server/conditions.ts'
import { cpuMilliseconds } from '../cpu-time.ts'
import { randomNumbers } from '../faults/support.ts'

const whole = { kind: 'whole' }
const unsatisfiable = { kind: 'unsatisfiable' }
const part = (start: number, end: number) => ({ kind: 'part', start, end })

describe('chooseRange', () => {
  it.each([
    ['bytes=0-0', part(0, 1)],
    ['bytes=0-99', part(0, 100)],
    ['bytes=0-', part(0, 100)],
    ['bytes=99-', part(99, 100)],
    ['bytes=10-19', part(10, 20)],
    ['bytes=50-1000', part(50, 100)],
    ['bytes=007-0008', part(7, 9)],
    ['bytes=0-99999999999999999999999999', part(0, 100)],
    ['bytes=-1', part(99, 100)],
    ['bytes=-100', part(0, 100)],
    ['bytes=-1000', part(0, 100)],
    ['BYTES=1-2', part(1, 3)],
    ['bytes= 1-2', part(1, 3)],
    ['bytes=,1-2,\t,', part(1, 3)],
    // 14.1.2: beyond the end.
    ['bytes=100-', unsatisfiable],
    ['bytes=100-200', unsatisfiable],
    ['bytes=99999999999999999999999999-', unsatisfiable],
    ['bytes=-0', unsatisfiable],
    // Several ranges; 14.2 allows to ignore them.
    ['bytes=0-1,4-5', whole],
    ['bytes=0-1,200-', whole],
    ['bytes=200-,300-', whole],
    // Malformed, or of another unit.
    ['bytes=2-1', whole],
    ['bytes=', whole],
    ['bytes=-', whole],
    ['bytes=,', whole],
    ['bytes=a-b', whole],
    ['bytes=1', whole],
    ['bytes=+1-2', whole],
    ['bytes=1.0-2', whole],
    ['bytes=0x1-2', whole],
    ['bytes=--1', whole],
    ['bytes=1--2', whole],
    ['bytes=1 - 2', whole],
    ['bytes =1-2', whole],
    ['bytes 1-2', whole],
    ['bytes:1-2', whole],
    ['lines=1-2', whole],
    ['1-2', whole],
    ['', whole],
    [undefined, whole],
  ])('%s of 100 bytes', (field, expected) => {
    expect(chooseRange(field, 100)).toEqual(expected)
  })

  it.each([
    ['bytes=0-', unsatisfiable],
    ['bytes=0-0', unsatisfiable],
    ['bytes=-0', unsatisfiable],
    ['bytes=-5', whole],
    [undefined, whole],
  ])('%s of nothing', (field, expected) => {
    expect(chooseRange(field, 0)).toEqual(expected)
  })

  it('is what the definition says, for all small ranges', () => {
    for (let size = 0; size <= 5; size++) {
      const bytes = Array.from({ length: size }, (_, index) => index)
      for (let first = 0; first <= 7; first++) {
        for (let last = 0; last <= 7; last++) {
          const choice = chooseRange(`bytes=${first}-${last}`, size)
          const selected = bytes.filter((index) => index >= first && index <= last)
          if (last < first) expect(choice).toEqual(whole)
          else if (selected.length === 0) expect(choice).toEqual(unsatisfiable)
          else expect(choice.kind === 'part' && bytes.slice(choice.start, choice.end)).toEqual(selected)
        }
      }
    }
  })

  it('stays within the file whatever is sent', () => {
    const random = randomNumbers(3)
    const alphabet = 'bytes=0123456789-,  \tW"*/xB.+'
    for (let round = 0; round < 20_000; round++) {
      const tail = Array.from({ length: Math.floor(random() * 12) }, () => alphabet[Math.floor(random() * alphabet.length)]).join('')
      const size = Math.floor(random() * 30)
      const choice = chooseRange(`bytes=${tail}`, size)
      if (choice.kind !== 'part') continue
      expect(Number.isSafeInteger(choice.start) && Number.isSafeInteger(choice.end)).toBe(true)
      expect(choice.start >= 0 && choice.start < choice.end && choice.end <= size).toBe(true)
    }
  })
})

describe('entity tags', () => {
  it.each([
    [undefined, true, true, true],
    ['"tag"', true, false, true],
    ['W/"tag"', false, false, false],
    ['*', true, false, false],
    ['"other"', false, true, false],
    ['"other", "tag"', true, false, false],
    ['"other",W/"tag" ,"third"', false, false, false],
    ['"a,b","tag"', true, false, false],
    ['tag', false, true, false],
    ['', false, true, false],
    ['"', false, true, false],
    ['"tag', false, true, false],
    ['"TAG"', false, true, false],
    ['w/"tag"', true, false, false],
    ['Sat, 21 Nov 2026 08:23:37 GMT', false, true, false],
  ])('%s', (field, match, noneMatch, range) => {
    expect([matchHolds(field, 'tag'), noneMatchHolds(field, 'tag'), rangeHolds(field, 'tag')]).toEqual([match, noneMatch, range])
  })

  it('are found in time that follows the length of the field', () => {
    for (const field of ['"'.repeat(16_001), 'W/'.repeat(8000), ' '.repeat(16_000), ',"'.repeat(8000)]) {
      const before = cpuMilliseconds()
      expect(matchHolds(field, 'tag')).toBe(false)
      expect(chooseRange(`bytes=${field}`, 10)).toEqual(whole)
      expect(cpuMilliseconds() - before).toBeLessThan(100)
    }
  })
})
