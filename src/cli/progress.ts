/**
 * Progress for people: one line that is redrawn on a terminal, plain lines elsewhere. The clock and the
 * stream come from the caller.
 */
import { printableText } from '../bytes/text.ts'
import type { ProgressEvent, ProgressListener, Stage } from '../io/progress.ts'
import { formatBytes, formatDuration } from './units.ts'

/** `notes`: what is ignored, guessed or odd is said all the same; `none`: not even that. */
export type ProgressMode = 'bar' | 'plain' | 'notes' | 'none'

export interface ProgressOutput {
  write(text: string): unknown
  /** Width of the terminal, where it is one. */
  readonly columns?: number | undefined
}

export interface Progress {
  readonly listener: ProgressListener
  /** Take the bar away, so that other lines can be written; it comes back with the next event. */
  clear(): void
}

const REDRAW_MILLISECONDS = 100
const LINE_MILLISECONDS = 10_000
/** The rate is that of about this time, so that it follows changes but does not jump. */
const RATE_MILLISECONDS = 5000

/** Short for the bar, longer for lines. */
const NAMES: Readonly<Record<Stage, { readonly short: string; readonly long: string }>> = {
  scan: { short: 'reading', long: 'reading the closure' },
  fetch: { short: 'fetching', long: 'fetching from binary caches' },
  open: { short: 'reading', long: 'reading the disk' },
  replace: { short: 'replacing', long: 'rewriting store paths' },
  squashfs: { short: 'packing', long: 'packing the store' },
  pieces: { short: 'building', long: 'building pieces' },
  hash: { short: 'hashing', long: 'hashing the store' },
  sum: { short: 'adding up', long: 'adding up sizes' },
  write: { short: 'writing', long: 'writing the image' },
  compress: { short: 'compressing', long: 'compressing the image' },
  compare: { short: 'comparing', long: 'reading back and comparing' },
  sync: { short: 'syncing', long: 'syncing to disk' },
}

/** Columns that figures take at most, so that the bar does not change its width with them. */
const FIGURES_WIDTH = 52

interface StageState {
  readonly stage: Stage
  readonly totalBytes: number | undefined
  doneBytes: number
  /** Bytes a millisecond; undefined until there is something to measure. */
  rate: number | undefined
  lastBytes: number
  lastTime: number
  nextLine: number
}

/** `now` gives milliseconds of a clock that only goes forward. */
export function createProgress(mode: ProgressMode, output: ProgressOutput, now: () => number): Progress {
  let state: StageState | undefined
  let drawn = 0
  let nextDraw = 0
  const announced = new Set<Stage>()

  const clear = (): void => {
    if (drawn > 0) output.write('\r\x1b[K')
    drawn = 0
    nextDraw = 0
  }
  const draw = (time: number): void => {
    if (!state || time < nextDraw) return
    nextDraw = time + REDRAW_MILLISECONDS
    const line = barLine(state, output.columns ?? 80)
    output.write(`\r${line}\x1b[K`)
    drawn = line.length
  }
  const begin = (event: ProgressEvent & { kind: 'stage' }): void => {
    const time = now()
    const first = { doneBytes: 0, rate: undefined, lastBytes: 0, lastTime: time, nextLine: time + LINE_MILLISECONDS }
    state = { stage: event.stage, totalBytes: event.totalBytes, ...first }
    // A stage may go on after another; it is announced once.
    if (mode === 'plain' && !announced.has(event.stage))
      output.write(`${NAMES[event.stage].long}${event.totalBytes === undefined ? '' : `: ${formatBytes(event.totalBytes)}`}\n`)
    announced.add(event.stage)
    nextDraw = 0
    if (mode === 'bar') draw(time)
  }
  const advance = (event: ProgressEvent & { kind: 'bytes' }): void => {
    if (!state || state.stage !== event.stage) begin({ kind: 'stage', stage: event.stage })
    const current = state as StageState
    const time = now()
    measure(current, event.doneBytes, time)
    if (mode === 'bar') draw(time)
    if (mode === 'plain' && time >= current.nextLine) {
      current.nextLine = time + LINE_MILLISECONDS
      output.write(`${NAMES[current.stage].long}: ${figures(current)}\n`)
    }
  }
  const listener: ProgressListener = (event) => {
    switch (event.kind) {
      case 'stage':
        begin(event)
        return
      case 'bytes':
        advance(event)
        return
      case 'note':
        clear()
        output.write(`${printableText(event.message)}\n`)
        return
    }
  }
  switch (mode) {
    case 'none':
      return { listener: () => undefined, clear }
    case 'notes':
      return { listener: (event) => (event.kind === 'note' ? listener(event) : undefined), clear }
    case 'bar':
    case 'plain':
      return { listener, clear }
  }
}

function measure(state: StageState, doneBytes: number, time: number): void {
  state.doneBytes = doneBytes
  const elapsed = time - state.lastTime
  if (elapsed < REDRAW_MILLISECONDS) return
  const rate = (doneBytes - state.lastBytes) / elapsed
  const weight = Math.min(1, elapsed / RATE_MILLISECONDS)
  state.rate = state.rate === undefined ? rate : state.rate + (rate - state.rate) * weight
  state.lastBytes = doneBytes
  state.lastTime = time
}

/** `45%  123.4 MiB of 300.0 MiB  12.3 MiB/s  0:14 left`, as far as it is known. */
function figures(state: StageState): string {
  const { totalBytes, doneBytes, rate } = state
  const parts: string[] = []
  if (totalBytes !== undefined) parts.push(`${percent(state)}%`.padStart(4))
  parts.push(totalBytes === undefined ? formatBytes(doneBytes) : `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`)
  if (rate !== undefined && rate > 0) {
    parts.push(`${formatBytes(Math.round(rate * 1000))}/s`)
    if (totalBytes !== undefined && doneBytes < totalBytes) parts.push(`${formatDuration((totalBytes - doneBytes) / rate / 1000)} left`)
  }
  return parts.join('  ')
}

function percent(state: StageState): number {
  const { totalBytes = 0, doneBytes } = state
  return totalBytes === 0 ? 100 : Math.min(100, Math.floor((doneBytes / totalBytes) * 100))
}

/** A line of less than `columns` characters: a full line would make some terminals wrap. */
function barLine(state: StageState, columns: number): string {
  const room = Math.max(0, columns - 1)
  const name = NAMES[state.stage].short
  const numbers = state.totalBytes === undefined && state.doneBytes === 0 ? '' : figures(state)
  const barWidth = Math.min(30, room - name.length - 6 - FIGURES_WIDTH)
  if (state.totalBytes === undefined || barWidth < 6) return `${name}  ${numbers}`.trimEnd().slice(0, room)
  const filled = Math.round((percent(state) / 100) * barWidth)
  return `${name}  [${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}]  ${numbers}`.slice(0, room)
}
