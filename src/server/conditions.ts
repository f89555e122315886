/** Which part of a file a request asks for, and under which conditions (RFC 9110, sections 13 and 14). Pure. */

/** The fields that count here, as Node gives them: several lines of one field are joined by commas. */
export interface ConditionFields {
  readonly range?: string | undefined
  readonly 'if-range'?: string | undefined
  readonly 'if-match'?: string | undefined
  readonly 'if-none-match'?: string | undefined
}

export type RangeChoice =
  | { readonly kind: 'whole' }
  /** Bytes `start` (inclusive) to `end` (exclusive). */
  | { readonly kind: 'part'; readonly start: number; readonly end: number }
  | { readonly kind: 'unsatisfiable' }

const WHOLE: RangeChoice = { kind: 'whole' }

/**
 * What a Range field selects of `size` bytes (RFC 9110, 14.1.2 and 14.2). A field that is malformed or has another
 * unit is ignored, and so are several ranges in one, which a server may do: no boot loader asks for them.
 */
export function chooseRange(field: string | undefined, size: number): RangeChoice {
  if (field === undefined || !/^bytes=/i.test(field)) return WHOLE
  const specs = field
    .slice('bytes='.length)
    .split(',')
    .map((spec) => spec.trim())
    .filter((spec) => spec !== '')
  const match = /^(\d*)-(\d*)$/.exec(specs[0] ?? '')
  if (specs.length !== 1 || match === null) return WHOLE
  const [, first = '', last = ''] = match
  if (first === '') return last === '' ? WHOLE : suffixOf(Number(last), size)
  const start = Number(first)
  if (last !== '' && Number(last) < start) return WHOLE
  if (start >= size) return { kind: 'unsatisfiable' }
  return { kind: 'part', start, end: last === '' ? size : Math.min(size, Number(last) + 1) }
}

/** The last `length` bytes. Of an empty file they are the whole, for which Content-Range has no form. */
function suffixOf(length: number, size: number): RangeChoice {
  if (length === 0) return { kind: 'unsatisfiable' }
  return size === 0 ? WHOLE : { kind: 'part', start: Math.max(0, size - length), end: size }
}

/** Whether the file with the strong tag `etag` may be answered in parts: If-Range compares strongly (RFC 9110, 13.1.5), and dates are never sent. */
export function rangeHolds(field: string | undefined, etag: string): boolean {
  return field === undefined || field.trim() === `"${etag}"`
}

/** If-Match: `*`, or a list with the strong tag `etag` (RFC 9110, 13.1.1). */
export function matchHolds(field: string | undefined, etag: string): boolean {
  return field === undefined || isListed(field, etag, 'strong')
}

/** If-None-Match: neither `*` nor a list with `etag`, weak or strong (RFC 9110, 13.1.2). */
export function noneMatchHolds(field: string | undefined, etag: string): boolean {
  return field === undefined || !isListed(field, etag, 'weak')
}

/** Entity tags are quoted and may hold commas (RFC 9110, 8.8.3); what stands between them does not count. */
function isListed(field: string, etag: string, comparison: 'weak' | 'strong'): boolean {
  if (field.trim() === '*') return true
  for (const [, weakness, tag] of field.matchAll(/(W\/)?"([^"]*)"/g)) {
    if (tag === etag && (weakness === undefined || comparison === 'weak')) return true
  }
  return false
}
