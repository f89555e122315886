/** Help texts, made from the rows of the commands. */
import type { Command } from './command.ts'
import { COMMAND_FAMILIES, type CommandFamily } from './commands.ts'
import { GROUPS, type NamedRow, type Row, rowList, writtenName } from './row.ts'
import { HELP } from './rows.ts'
import { formatSize } from './values.ts'

const WIDTH = 100
const INDENT = 28

export function generalHelp(commands: readonly Command[]): string {
  return `kilnix turns a Nix store closure into bootable NixOS images: no host tools, no root, no KVM

Usage:
${commands.map(summaryLine).join('\n')}
  kilnix --version        Print the version

Exit status: 0 done, 1 failed, 2 usage, 128 and the number of a signal that cancelled it: 130 for ctrl-c.
`
}

/** Of the commands that begin with the same word. */
export function familyHelp(family: CommandFamily, members: readonly Command[]): string {
  const lines = members.map(summaryLine)
  return `${COMMAND_FAMILIES[family]}\n\nUsage:\n${lines.join('\n')}\n\n'kilnix help ${family} COMMAND' prints the help of one of them.\n`
}

function summaryLine({ name, help }: Command): string {
  return `  kilnix ${name.padEnd(16)} ${help.summary}`
}

export function commandHelp(command: Command): string {
  const { summary, usage, examples } = command.help
  const lines = [summary, '', `Usage: ${usage}`]
  for (const [group, members] of groupsOf(command)) lines.push('', `${group}:`, ...members.flatMap(rowLines))
  lines.push('', 'Examples:')
  for (const { about, line } of examples) lines.push(`  # ${about}`, `  ${line}`)
  return `${lines.join('\n')}\n`
}

/** The rows of a command by groups, and --help. */
export function groupsOf({ rows }: Command): (readonly [group: string, members: readonly NamedRow[]])[] {
  const all = rowList({ ...rows, help: HELP })
  return GROUPS.map((group) => [group, all.filter(({ row }) => row.group === group)] as const).filter(([, members]) => members.length > 0)
}

function rowLines(named: NamedRow): string[] {
  const { row } = named
  const left = `  ${synopsis(named)}`
  const notes = rowNotes(row)
  const about = wrap(`${row.aboutNegated ?? row.about}${notes === '' ? '' : ` (${notes})`}`, WIDTH - INDENT)
  const head = left.length < INDENT - 1 ? [`${left.padEnd(INDENT)}${about.shift() ?? ''}`] : [left]
  return [...head, ...about.map((line) => ' '.repeat(INDENT) + line)]
}

/** `-o, --output FILE` */
export function synopsis(named: NamedRow): string {
  const { short, positional, type } = named.row
  if (positional) return type.placeholder
  return `${short ? `-${short}, ` : ''}${writtenName(named)}${type.placeholder === '' ? '' : ` ${type.placeholder}`}`
}

/** `required; repeatable; default: 1M`, as far as they are so. */
export function rowNotes(row: Row): string {
  return [row.required && 'required', row.repeatable && 'repeatable', defaultText(row)].filter(Boolean).join('; ')
}

/** `default: 1M`, or an empty text where none is worth saying. */
function defaultText(row: Row): string {
  if (row.defaultText !== undefined) return `default: ${row.defaultText}`
  const value = row.default
  if (value === undefined || value === '' || typeof value === 'boolean') return ''
  if (row.type.placeholder === 'SIZE') return `default: ${formatSize(Number(value))}`
  const bare = typeof value === 'string' && /^\S+$/.test(value) ? value : JSON.stringify(value)
  return `default: ${bare}`
}

/** Lines of at most `width` columns. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line]
}
