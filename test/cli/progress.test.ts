import { describe, expect, test } from 'vitest'
import { planTable } from '../../src/cli/plan-table.ts'
import { createProgress, type ProgressMode } from '../../src/cli/progress.ts'
import { formatBytes, formatDuration } from '../../src/cli/units.ts'

const MiB = 1024 ** 2

/** A terminal that remembers all that was written, and what its bottom line shows. */
function terminal(mode: ProgressMode, columns = 80) {
  const writes: string[] = []
  let time = 0
  const output = { write: (text: string) => writes.push(text), columns }
  const progress = createProgress(mode, output, () => time)
  const line = () =>
    writes
      .join('')
      .split(/[\r\n]/)
      .at(-1)
      ?.replace('\x1b[K', '') ?? ''
  return { writes, progress, listener: progress.listener, line, pass: (milliseconds: number) => (time += milliseconds) }
}

describe('bar', () => {
  test('stage, percent, bytes, rate, time left; the bar keeps its width', () => {
    const { listener, line, pass } = terminal('bar', 100)
    listener({ kind: 'stage', stage: 'squashfs', totalBytes: 200 * MiB })
    expect(line()).toBe('packing  [..............................]    0%  0 B of 200.0 MiB')
    pass(1000)
    listener({ kind: 'bytes', stage: 'squashfs', doneBytes: 50 * MiB })
    expect(line()).toBe('packing  [########......................]   25%  50.0 MiB of 200.0 MiB  50.0 MiB/s  0:03 left')
    pass(3000)
    listener({ kind: 'bytes', stage: 'squashfs', doneBytes: 200 * MiB })
    expect(line()).toBe('packing  [##############################]  100%  200.0 MiB of 200.0 MiB  50.0 MiB/s')
  })

  test('redraws at most ten times a second, and is cleared', () => {
    const { writes, progress, listener, pass } = terminal('bar')
    listener({ kind: 'stage', stage: 'write', totalBytes: 1000 })
    for (let i = 1; i <= 1000; i++) {
      pass(1)
      listener({ kind: 'bytes', stage: 'write', doneBytes: i })
    }
    expect(writes.length).toBe(11)
    progress.clear()
    expect(writes.at(-1)).toBe('\r\x1b[K')
    progress.clear()
    expect(writes.length).toBe(12)
  })

  test.each([10, 20, 40, 60, 80, 200])('fits a terminal of %d columns', (columns) => {
    const { writes, listener, pass } = terminal('bar', columns)
    listener({ kind: 'stage', stage: 'squashfs', totalBytes: 200 * MiB })
    pass(1000)
    listener({ kind: 'bytes', stage: 'squashfs', doneBytes: 123 * MiB })
    for (const text of writes) expect(text.replace('\r', '').replace('\x1b[K', '').length).toBeLessThan(columns)
  })

  test('a total that is not known, or nothing', () => {
    const { listener, line, pass } = terminal('bar')
    listener({ kind: 'stage', stage: 'scan' })
    expect(line()).toBe('reading')
    pass(200)
    listener({ kind: 'bytes', stage: 'scan', doneBytes: 2048 })
    expect(line()).toBe('reading  2.0 KiB  10.0 KiB/s')
    listener({ kind: 'stage', stage: 'write', totalBytes: 0 })
    expect(line()).toContain('100%')
  })

  test('a note takes a line of its own above the bar', () => {
    const { writes, listener, pass, line } = terminal('bar')
    listener({ kind: 'stage', stage: 'scan' })
    listener({ kind: 'note', message: 'something' })
    expect(writes.slice(-2)).toEqual(['\r\x1b[K', 'something\n'])
    pass(1)
    listener({ kind: 'bytes', stage: 'scan', doneBytes: 1 })
    expect(line()).toContain('reading')
  })
})

describe('plain', () => {
  test('announces a stage once, also when it goes on after another', () => {
    const { writes, listener } = terminal('plain')
    for (const stage of ['write', 'squashfs', 'write'] as const) listener({ kind: 'stage', stage, totalBytes: MiB })
    expect(writes.join('')).toBe('writing the image: 1.0 MiB\npacking the store: 1.0 MiB\n')
  })

  test('a line a stage, and one every ten seconds', () => {
    const { writes, listener, pass } = terminal('plain')
    listener({ kind: 'stage', stage: 'scan' })
    listener({ kind: 'stage', stage: 'squashfs', totalBytes: 100 * MiB })
    for (let second = 1; second <= 25; second++) {
      pass(1000)
      listener({ kind: 'bytes', stage: 'squashfs', doneBytes: second * MiB })
    }
    listener({ kind: 'note', message: 'a note' })
    expect(writes).toEqual([
      'reading the closure\n',
      'packing the store: 100.0 MiB\n',
      'packing the store:  10%  10.0 MiB of 100.0 MiB  1.0 MiB/s  1:30 left\n',
      'packing the store:  20%  20.0 MiB of 100.0 MiB  1.0 MiB/s  1:20 left\n',
      'a note\n',
    ])
  })

  test('clearing writes nothing', () => {
    const { writes, progress, listener } = terminal('plain')
    listener({ kind: 'stage', stage: 'sync' })
    progress.clear()
    expect(writes).toEqual(['syncing to disk\n'])
  })
})

test('none writes nothing at all', () => {
  const { writes, progress, listener } = terminal('none')
  listener({ kind: 'stage', stage: 'scan' })
  listener({ kind: 'note', message: 'x' })
  progress.clear()
  expect(writes).toEqual([])
})

test('notes are all that is written where nothing else is to be', () => {
  const { writes, progress, listener } = terminal('notes')
  listener({ kind: 'stage', stage: 'scan' })
  listener({ kind: 'bytes', stage: 'scan', doneBytes: 5 })
  listener({ kind: 'note', message: 'x' })
  progress.clear()
  expect(writes).toEqual(['x\n'])
})

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1023 * 1024, '1.0 MiB'],
  [150 * MiB, '150.0 MiB'],
  [5 * 1024 ** 3, '5.0 GiB'],
])('%d bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text)
})

test.each([
  [0, '0:00'],
  [59.6, '1:00'],
  [3599, '59:59'],
  [3723, '1:02:03'],
])('%d seconds are %s', (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text)
})

test('a plan as a table', () => {
  const plan = {
    kind: 'iso',
    size: 1234,
    nothing: undefined,
    store: { codec: 'zstd:19', paths: 3 },
    files: [
      { path: '/boot/x', bytes: 10 },
      { path: '/y', bytes: 2000, note: 'n' },
    ],
    tags: ['a', 'b'],
    empty: [],
  }
  expect(planTable(plan).join('\n')).toBe(`kind  iso
size  1234
store
  codec  zstd:19
  paths  3
files
  path     bytes  note
  /boot/x     10  -
  /y        2000  n
tags
  a
  b
empty  none`)
})
