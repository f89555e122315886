/** Plain data, such as a plan, as text for people. */

/** Lines: nested objects are indented, lists of alike objects become columns. */
export function planTable(plan: Readonly<Record<string, unknown>>): string[] {
  return objectLines(plan, '')
}

type Row = Readonly<Record<string, unknown>>

function objectLines(value: Row, indent: string): string[] {
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  const width = Math.max(0, ...entries.filter(([, item]) => !isNested(item)).map(([key]) => key.length))
  return entries.flatMap(([key, item]) => {
    if (!isNested(item)) return [`${indent}${key.padEnd(width)}  ${cell(item)}`.trimEnd()]
    if (!Array.isArray(item)) return [`${indent}${key}`, ...objectLines(item as Row, `${indent}  `)]
    if (item.length === 0) return [`${indent}${key}  none`]
    return [`${indent}${key}`, ...listLines(item, `${indent}  `)]
  })
}

function listLines(items: readonly unknown[], indent: string): string[] {
  if (!items.every(isRow)) return items.map((item) => `${indent}${isRow(item) ? JSON.stringify(item) : cell(item)}`)
  const columns = [...new Set(items.flatMap((item) => Object.keys(item)))]
  const rows = [columns, ...items.map((item) => columns.map((column) => cell(item[column])))]
  const widths = columns.map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0)))
  const isNumber = columns.map((column) => items.every((item) => typeof item[column] === 'number'))
  return rows.map((row) => {
    const cells = row.map((text, index) => (isNumber[index] ? text.padStart(widths[index] ?? 0) : text.padEnd(widths[index] ?? 0)))
    return `${indent}${cells.join('  ')}`.trimEnd()
  })
}

function isNested(value: unknown): boolean {
  return typeof value === 'object' && value !== null
}

function isRow(value: unknown): value is Row {
  return isNested(value) && !Array.isArray(value)
}

function cell(value: unknown): string {
  if (value === undefined || value === null) return '-'
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
