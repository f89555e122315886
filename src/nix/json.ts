/** JSON as input that may be hostile: no key twice in an object, syntax errors with their place. */
import { badInput } from './listing.ts'
import { quote } from './store-path.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/** Parse UTF-8 JSON; throws BAD_INPUT. `name` names the file in messages. */
export function parseJson(bytes: Uint8Array, name: string): unknown {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw badInput(name, 'the JSON is not valid UTF-8')
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw badInput(name, `the JSON cannot be parsed: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`)
  }
  // JSON.parse keeps the last of several members with one name, and would hide a path that is listed twice.
  const duplicate = findDuplicateKey(text)
  if (duplicate !== undefined) throw badInput(`${name}:${duplicate.line}`, `${quote(duplicate.key)} stands twice in the same object`)
  return value
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The first key that stands twice in one object of `text`, which is valid JSON. */
function findDuplicateKey(text: string): { key: string; line: number } | undefined {
  // One set of keys an open object, undefined for an open array.
  const open: (Set<string> | undefined)[] = []
  const token = /["{}[\]]/g
  const colon = /\s*:/y
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    if (match[0] === '{') open.push(new Set())
    else if (match[0] === '[') open.push(undefined)
    else if (match[0] !== '"') open.pop()
    else {
      const end = endOfString(text, match.index)
      token.lastIndex = end
      const keys = open.at(-1)
      colon.lastIndex = end
      if (keys === undefined || !colon.test(text)) continue
      const key: string = JSON.parse(text.slice(match.index, end))
      if (keys.has(key)) return { key, line: text.slice(0, match.index).split('\n').length }
      keys.add(key)
    }
  }
  return undefined
}

/** The index after the closing quote of the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  for (;;) {
    let backslashes = 0
    while (text[end - 1 - backslashes] === '\\') backslashes++
    if (backslashes % 2 === 0) return end + 1
    end = text.indexOf('"', end + 1)
  }
}
