/**
 * JSON as `jq --sort-keys .` prints it (jq 1.6 to 1.8, `src/jv_print.c`): two blanks a level, keys in the order of their UTF-8
 * bytes, one newline at the end.
 *
 * Not supported: numbers that are not whole or not exact as a JavaScript number, which versions of jq print differently.
 */
import { compareBytes } from '../bytes/order.ts'
import { utf8 } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import { isObject } from './parse.ts'

/** jq itself reads no deeper (`src/jv_parse.c`, MAX_PARSING_DEPTH of jq 1.6). */
const NESTING_LIMIT = 256

/** `where` names the value in messages. Throws UNSUPPORTED (numbers), LIMIT (nesting), BAD_INPUT (what JSON does not have). */
export function sortedJson(value: unknown, where: string): string {
  return `${print(value, '', where, 0)}\n`
}

function print(value: unknown, indent: string, where: string, nesting: number): string {
  if (nesting > NESTING_LIMIT)
    throw new ImageError('LIMIT', `${where}: nests deeper than the ${NESTING_LIMIT} levels that jq reads`, { path: where })
  const inner = `${indent}  `
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]'
    const items = value.map((item: unknown, index) => `${inner}${print(item, inner, `${where}[${index}]`, nesting + 1)}`)
    return `[\n${items.join(',\n')}\n${indent}]`
  }
  if (isObject(value)) {
    const members = Object.entries(value)
      .map(([key, member]) => ({ key, bytes: utf8(key), member }))
      .sort((a, b) => compareBytes(a.bytes, b.bytes))
    if (members.length === 0) return '{}'
    const lines = members.map(
      ({ key, member }) => `${inner}${printText(key)}: ${print(member, inner, where === '' ? key : `${where}.${key}`, nesting + 1)}`,
    )
    return `{\n${lines.join(',\n')}\n${indent}}`
  }
  if (typeof value === 'string') return printText(value)
  if (typeof value === 'number') return printNumber(value, where)
  if (typeof value === 'boolean' || value === null) return String(value)
  throw new ImageError('BAD_INPUT', `${where}: JSON has no ${typeof value}`, { path: where })
}

/** JavaScript prints the same but for DEL, and for halves of surrogate pairs, which jq replaces. */
function printText(text: string): string {
  return JSON.stringify(text.toWellFormed()).replaceAll('\x7f', '\\u007f')
}

function printNumber(value: number, where: string): string {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) return String(value)
  throw new ImageError('UNSUPPORTED', `${where}: is ${value}; only whole numbers between -2^53 and 2^53 are supported, write it as text`, {
    path: where,
  })
}
