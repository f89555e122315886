/** Extended regular expressions as text (POSIX.1-2017, XBD 9.4 and 9.3.5; what `grep -E` adds is named where it stands). */

import { quote } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'

export type Assertion = 'start' | 'end' | 'wordEdge' | 'notWordEdge' | 'wordStart' | 'wordEnd'

export type Expression =
  | { readonly kind: 'empty' }
  /** One flag an ASCII character: is it matched? */
  | { readonly kind: 'set'; readonly members: Uint8Array }
  | { readonly kind: 'assertion'; readonly assertion: Assertion }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly Expression[] }
  /** `maximum` may be Infinity. */
  | { readonly kind: 'repeat'; readonly part: Expression; readonly minimum: number; readonly maximum: number }

/** Characters of an expression; those in use have some tens. */
const LENGTH_LIMIT = 4096
/** Open groups at a time. */
const NESTING_LIMIT = 200
/** RE_DUP_MAX of POSIX (`limits.h`); glibc allows more, and nobody needs it. */
const REPEAT_LIMIT = 255

/** What stands for itself only behind a backslash (XBD 9.4.3), and what may stand behind one without need. */
const PUNCTUATION = /[!-/:-@[-`{-~]/

/** Character classes of the POSIX locale (XBD 7.3.1). */
const CLASSES: Readonly<Record<string, RegExp>> = {
  alnum: /[0-9A-Za-z]/,
  alpha: /[A-Za-z]/,
  blank: /[ \t]/,
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the class of control characters
  cntrl: /[\x00-\x1f\x7f]/,
  digit: /[0-9]/,
  graph: /[!-~]/,
  lower: /[a-z]/,
  print: /[ -~]/,
  punct: PUNCTUATION,
  space: /[ \t\n\v\f\r]/,
  upper: /[A-Z]/,
  xdigit: /[0-9A-Fa-f]/,
}

/** Behind a backslash, as GNU has them. */
const GNU_SETS: Readonly<Record<string, RegExp>> = {
  w: /[0-9A-Za-z_]/,
  W: /[^0-9A-Za-z_]/,
  s: /[ \t\n\v\f\r]/,
  S: /[^ \t\n\v\f\r]/,
}
const GNU_ASSERTIONS: Readonly<Record<string, Assertion>> = {
  b: 'wordEdge',
  B: 'notWordEdge',
  '<': 'wordStart',
  '>': 'wordEnd',
  '`': 'start',
  "'": 'end',
}

/** Throws BAD_INPUT where the expression is none or means nothing in POSIX, UNSUPPORTED for back-references, LIMIT. */
export function parseExpression(source: string, where: string): Expression {
  const fault = (what: string): ImageError => new ImageError('BAD_INPUT', `${where}: ${quote(source)}: ${what}`, { path: where })
  const limit = (what: string): ImageError => new ImageError('LIMIT', `${where}: ${quote(source)}: ${what}`, { path: where })
  if (source.length > LENGTH_LIMIT) throw limit(`has ${source.length} characters, the limit is ${LENGTH_LIMIT}`)
  let at = 0
  let open = 0

  const choice = (): Expression => {
    const parts = [sequence()]
    while (source[at] === '|') {
      at++
      parts.push(sequence())
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: 'choice', parts }
  }
  const sequence = (): Expression => {
    const parts: Expression[] = []
    while (at < source.length && source[at] !== '|' && source[at] !== ')') parts.push(repeated(atom()))
    if (source[at] === ')' && open === 0) throw fault(`the ) at ${at + 1} closes no group; write \\) for the character`)
    return parts.length === 0 ? { kind: 'empty' } : { kind: 'sequence', parts }
  }
  const atom = (): Expression => {
    const character = source[at++] ?? ''
    switch (character) {
      case '(':
        return group()
      case '[':
        return { kind: 'set', members: bracket() }
      case '.':
        return { kind: 'set', members: membersOf(() => true) }
      case '^':
        return { kind: 'assertion', assertion: 'start' }
      case '$':
        return { kind: 'assertion', assertion: 'end' }
      case '\\':
        return escaped()
      case '*':
      case '+':
      case '?':
      case '{':
        throw fault(`the ${character} at ${at} has nothing to repeat; write \\${character} for the character`)
      default:
        return literal(character)
    }
  }
  const group = (): Expression => {
    if (++open > NESTING_LIMIT) throw limit(`groups nest more than ${NESTING_LIMIT} deep`)
    const inner = choice()
    if (source[at++] !== ')') throw fault('a ( is not closed; write \\( for the character')
    open--
    return inner
  }
  const escaped = (): Expression => {
    const character = source[at++]
    if (character === undefined) throw fault('ends in a backslash; write \\\\ for the character')
    const assertion = GNU_ASSERTIONS[character]
    if (assertion !== undefined) return { kind: 'assertion', assertion }
    const set = GNU_SETS[character]
    if (set !== undefined) return { kind: 'set', members: membersOf((one) => set.test(one)) }
    if (/[1-9]/.test(character))
      throw new ImageError('UNSUPPORTED', `${where}: ${quote(source)}: back-references such as \\${character} are not supported`, {
        path: where,
      })
    if (!PUNCTUATION.test(character)) throw fault(`\\${character} has no meaning; leave out the backslash`)
    return literal(character)
  }
  const repeated = (part: Expression): Expression => {
    const [minimum, maximum] = repetition()
    if (minimum === 1 && maximum === 1) return part
    if (part.kind === 'assertion') throw fault(`repeats a place, not a character, before ${at}`)
    return repeated({ kind: 'repeat', part, minimum, maximum })
  }
  const repetition = (): [minimum: number, maximum: number] => {
    switch (source[at]) {
      case '*':
        at++
        return [0, Number.POSITIVE_INFINITY]
      case '+':
        at++
        return [1, Number.POSITIVE_INFINITY]
      case '?':
        at++
        return [0, 1]
      case '{':
        return interval()
      default:
        return [1, 1]
    }
  }
  const interval = (): [minimum: number, maximum: number] => {
    const found = /^\{([0-9]*)(?:(,)([0-9]*))?\}/.exec(source.slice(at))
    const [all = '', from = '', comma, to = ''] = found ?? []
    if (found === null || (from === '' && comma === undefined))
      throw fault(`the { at ${at + 1} begins no interval such as {2}, {2,} or {2,5}; write \\{ for it`)
    const minimum = Number(from)
    const maximum = comma === undefined ? minimum : to === '' ? Number.POSITIVE_INFINITY : Number(to)
    if (maximum < minimum) throw fault(`the interval ${all} ends before it begins`)
    if (minimum > REPEAT_LIMIT || (maximum > REPEAT_LIMIT && maximum !== Number.POSITIVE_INFINITY))
      throw limit(`the interval ${all} repeats more than ${REPEAT_LIMIT} times`)
    at += all.length
    // {1} repeats nothing, but it is an interval: what follows may repeat again.
    return minimum === 1 && maximum === 1 ? repetition() : [minimum, maximum]
  }
  const bracket = (): Uint8Array => {
    const begin = at
    const negated = source[at] === '^'
    if (negated) at++
    const members = new Uint8Array(128)
    // A ] that comes first is a member (XBD 9.3.5, 1).
    for (let first = true; first || source[at] !== ']'; first = false) {
      if (at >= source.length) throw fault(`the [ at ${begin} is not closed; write \\[ for the character`)
      addItem(members)
    }
    at++
    if (source[begin] === ':' && source[at - 2] === ':' && at - begin > 2)
      throw fault(`a class stands in a bracket of its own: [${source.slice(begin - 1, at)}]`)
    return negated ? members.map((flag) => 1 - flag) : members
  }
  const addItem = (members: Uint8Array): void => {
    if (source.startsWith('[:', at)) {
      const name = delimited(':')
      const set = Object.hasOwn(CLASSES, name) ? CLASSES[name] : undefined
      if (set === undefined) throw fault(`there is no class [:${name}:]; known are ${Object.keys(CLASSES).join(', ')}`)
      for (let code = 0; code < 128; code++) if (set.test(String.fromCharCode(code))) members[code] = 1
      if (source[at] === '-' && source[at + 1] !== ']') throw fault('a range begins with a class')
      return
    }
    const from = element()
    let to = from
    if (source[at] === '-' && source[at + 1] !== ']' && at + 1 < source.length) {
      at++
      if (source.startsWith('[:', at)) throw fault('a range ends with a class')
      to = element()
      if (to < from) throw fault(`the range ${quote(String.fromCharCode(from, 0x2d, to))} ends before it begins`)
      if (source[at] === '-' && source[at + 1] !== ']') throw fault('a range ends where another begins')
    }
    for (let code = from; code <= Math.min(to, 127); code++) members[code] = 1
  }
  const element = (): number => {
    const delimiter = ['.', '='].find((one) => source.startsWith(`[${one}`, at))
    if (delimiter === undefined) return source.charCodeAt(at++)
    const name = delimited(delimiter)
    if (name.length !== 1) throw fault(`[${delimiter}${name}${delimiter}] is no single character of the POSIX locale`)
    return name.charCodeAt(0)
  }
  const delimited = (delimiter: string): string => {
    const end = source.indexOf(`${delimiter}]`, at + 2)
    if (end === -1) throw fault(`the [${delimiter} at ${at + 1} is not closed`)
    const name = source.slice(at + 2, end)
    at = end + 2
    return name
  }

  const whole = choice()
  return whole
}

function literal(character: string): Expression {
  return { kind: 'set', members: membersOf((one) => one === character) }
}

function membersOf(test: (character: string) => boolean): Uint8Array {
  return Uint8Array.from({ length: 128 }, (_, code) => (test(String.fromCharCode(code)) ? 1 : 0))
}
