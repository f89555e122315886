/** Help texts, made from the option table. */
import { COMMAND_FAMILIES, COMMAND_NAMES, COMMANDS, type CommandFamily, familyMembers } from './commands.ts'
import { type CommandName, GROUPS, type Option, type OptionRow, optionList, writtenName } from './options.ts'
import { formatSize } from './values.ts'

const WIDTH = 100
const INDENT = 28

export function generalHelp(): string {
  const commands = COMMAND_NAMES.map((name) => `  kilnix ${name.padEnd(16)} ${COMMANDS[name].summary}`)
  return `kilnix turns a Nix store closure into bootable NixOS images: no host tools, no root, no KVM

Usage:
${commands.join('\n')}
  kilnix presets          List the presets of kilnix disk and zfs; with --json for programs
  kilnix schema           Print the JSON Schema of config files; schema toplevel: of specs
  kilnix help [COMMAND]   Print this help, or that of a command
  kilnix --version        Print the version

Exit status: 0 done, 1 failed, 2 usage, 128 and the number of a signal that cancelled it: 130 for ctrl-c.
`
}

/** Of the commands that begin with the same word. */
export function familyHelp(family: CommandFamily): string {
  const members = familyMembers(family).map((name) => `  kilnix ${name.padEnd(16)} ${COMMANDS[name].summary}`)
  return `${COMMAND_FAMILIES[family]}\n\nUsage:\n${members.join('\n')}\n\n'kilnix help ${family} COMMAND' prints the help of one of them.\n`
}

export function commandHelp(command: CommandName): string {
  const { summary, usage, examples } = COMMANDS[command]
  const lines = [summary, '', `Usage: ${usage}`]
  const all = optionList(command)
  for (const group of GROUPS) {
    const members = all.filter(({ option }) => option.group === group)
    if (members.length === 0) continue
    lines.push('', `${group}:`)
    for (const row of members) lines.push(...optionLines(row))
  }
  lines.push('', 'Examples:')
  for (const { about, line } of examples) lines.push(`  # ${about}`, `  ${line}`)
  return `${lines.join('\n')}\n`
}

function optionLines(row: OptionRow): string[] {
  const { name, option } = row
  const left = `  ${synopsis(name, option)}`
  const notes = optionNotes(row)
  const about = wrap(`${option.aboutNegated ?? option.about}${notes === '' ? '' : ` (${notes})`}`, WIDTH - INDENT)
  const head = left.length < INDENT - 1 ? [`${left.padEnd(INDENT)}${about.shift() ?? ''}`] : [left]
  return [...head, ...about.map((line) => ' '.repeat(INDENT) + line)]
}

/** `-o, --output FILE` */
export function synopsis(name: string, option: Option): string {
  const { placeholder } = option.type
  if (option.positional) return placeholder
  return `${option.short ? `-${option.short}, ` : ''}${writtenName(name, option)}${placeholder === '' ? '' : ` ${placeholder}`}`
}

/** `required; repeatable; default: 1M`, as far as they are so. */
export function optionNotes({ option, isRequired }: OptionRow): string {
  return [isRequired && 'required', option.repeatable && 'repeatable', defaultText(option)].filter(Boolean).join('; ')
}

/** `default: 1M`, or an empty text where none is worth saying. */
function defaultText(option: Option): string {
  if (option.defaultText !== undefined) return `default: ${option.defaultText}`
  const value = option.default
  if (value === undefined || value === '' || typeof value === 'boolean' || Array.isArray(value)) return ''
  if (option.type.placeholder === 'SIZE') return `default: ${formatSize(Number(value))}`
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
