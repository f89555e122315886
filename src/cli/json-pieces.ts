/** JSON of any length, piece by piece. */
import { printableJson } from '../bytes/text.ts'

/** What `printableJson(value, 2)` gives and a newline, where the items of the longest lists come one by one. */
export function* jsonPieces(value: object): Generator<string> {
  let head = '{'
  for (const [key, member] of Object.entries(value)) {
    if (member === undefined) continue
    const name = `${head}\n  ${printableJson(key)}: `
    head = ','
    if (!Array.isArray(member) || member.length === 0) {
      yield `${name}${indented(member, '  ')}`
      continue
    }
    yield `${name}[`
    for (const [index, item] of member.entries()) yield `${index === 0 ? '' : ','}\n    ${indented(item, '    ')}`
    yield '\n  ]'
  }
  yield head === '{' ? '{}\n' : '\n}\n'
}

/** A newline never stands in a text of JSON. */
function indented(value: unknown, indent: string): string {
  return printableJson(value, 2).replaceAll('\n', `\n${indent}`)
}
