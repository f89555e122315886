/** What the commands over NARs have in common. */
import { row } from './row.ts'
import { path } from './values.ts'

export const HOST_PATH = row({
  type: path('PATH'),
  group: 'Input',
  required: true,
  positional: true,
  configurable: false,
  about: 'File, folder or link of the host; - reads a NAR from standard input',
})

export const NAR_FILE = row({ ...HOST_PATH, type: path('FILE'), about: 'NAR file; - reads it from standard input' })

/** The name of an input in messages. */
export function shownName(input: string): string {
  return input === '-' ? '<stdin>' : input
}
