/**
 * Extended regular expressions (POSIX.1-2017, XBD 9.4) over ASCII lines, in time that grows with the product of expression
 * and line, whatever the expression: an automaton in all its states at once (K. Thompson, CACM 11, 1968), no backtracking.
 *
 * Not supported: back-references; collating elements of other locales than POSIX; what POSIX leaves undefined and programs
 * read differently, such as a repetition of nothing.
 */

import { quote } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import { type Assertion, type Expression, parseExpression } from './parse.ts'

export interface ExtendedRegex {
  readonly source: string
  /** Is there a match anywhere in `line`? It holds no newline; characters beyond ASCII match nothing. */
  test(line: string): boolean
}

/** A state of the automaton. `next` and `other` are states; a step leads on without taking a character. */
type State =
  | { readonly kind: 'set'; readonly members: Uint8Array; next: number }
  | { readonly kind: 'assertion'; readonly assertion: Assertion; next: number }
  | { readonly kind: 'step'; next: number; other: number }
  | { readonly kind: 'match' }

/** {255} within {255} would be 65,025 copies. */
const STATE_LIMIT = 20_000

/** No further state. */
const NONE = -1

/** Throws BAD_INPUT, UNSUPPORTED, LIMIT; `where` begins the message. */
export function extendedRegex(source: string, where: string): ExtendedRegex {
  const { states, start } = compile(parseExpression(source, where), source, where)
  return { source, test: (line) => matches(states, start, line) }
}

function compile(expression: Expression, source: string, where: string): { states: readonly State[]; start: number } {
  const states: State[] = [{ kind: 'match' }]
  const add = (state: State): number => {
    if (states.length === STATE_LIMIT)
      throw new ImageError('LIMIT', `${where}: ${quote(source)}: its repetitions make more than ${STATE_LIMIT} states; use * or +`, {
        path: where,
      })
    return states.push(state) - 1
  }
  /** States for `part` that lead to `next`; the first of them. */
  const build = (part: Expression, next: number): number => {
    switch (part.kind) {
      case 'empty':
        return next
      case 'set':
        return add({ kind: 'set', members: part.members, next })
      case 'assertion':
        return add({ kind: 'assertion', assertion: part.assertion, next })
      case 'sequence':
        return part.parts.reduceRight((after, one) => build(one, after), next)
      case 'choice':
        return part.parts.map((one) => build(one, next)).reduce((first, second) => add({ kind: 'step', next: first, other: second }))
      case 'repeat':
        return buildRepeat(part, next)
    }
  }
  const buildRepeat = ({ part, minimum, maximum }: Expression & { kind: 'repeat' }, next: number): number => {
    let first = next
    if (maximum === Number.POSITIVE_INFINITY) {
      const loop: State & { kind: 'step' } = { kind: 'step', next: NONE, other: next }
      first = add(loop)
      loop.next = build(part, first)
    } else {
      for (let count = minimum; count < maximum; count++) first = add({ kind: 'step', next: build(part, first), other: next })
    }
    for (let count = 0; count < minimum; count++) first = build(part, first)
    return first
  }
  const start = build(expression, 0)
  return { states, start }
}

function matches(states: readonly State[], start: number, line: string): boolean {
  /** The position at which a state was last entered, so that it is entered once. */
  const entered = new Int32Array(states.length).fill(NONE)
  let current: (State & { kind: 'set' })[] = []
  for (let position = 0; position <= line.length; position++) {
    const reached: (State & { kind: 'set' })[] = []
    const enter = (first: number): boolean => {
      const waiting = [first]
      for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
        const state = states[index]
        if (state === undefined || entered[index] === position) continue
        entered[index] = position
        if (state.kind === 'match') return true
        if (state.kind === 'set') reached.push(state)
        else if (state.kind === 'step') waiting.push(state.next, state.other)
        else if (holds(state.assertion, line, position)) waiting.push(state.next)
      }
      return false
    }
    const before = line.charCodeAt(position - 1)
    for (const { members, next } of current) if (members[before] === 1 && enter(next)) return true
    if (enter(start)) return true
    current = reached
  }
  return false
}

function holds(assertion: Assertion, line: string, position: number): boolean {
  const before = isWord(line, position - 1)
  const after = isWord(line, position)
  switch (assertion) {
    case 'start':
      return position === 0
    case 'end':
      return position === line.length
    case 'wordEdge':
      return before !== after
    case 'notWordEdge':
      return before === after
    case 'wordStart':
      return !before && after
    case 'wordEnd':
      return before && !after
  }
}

function isWord(line: string, position: number): boolean {
  return /^\w$/.test(line.charAt(position))
}
