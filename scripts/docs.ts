/**
 * Write docs/cli.md and docs/kilnix.schema.json from the rows of the commands: `node
 * scripts/docs.ts`. A test holds them up to date.
 */
import { writeFileSync } from 'node:fs'
import type { Command } from '../src/cli/command.ts'
import { ABOUT_NAMES, loadCommands } from '../src/cli/commands/index.ts'
import { groupsOf, rowNotes, synopsis } from '../src/cli/help.ts'
import type { NamedRow } from '../src/cli/row.ts'
import { configSchema, toplevelSchema } from '../src/cli/schema.ts'
import { ERROR_CODES } from '../src/errors.ts'

const COMMANDS = await loadCommands()
const ABOUT = await loadCommands(ABOUT_NAMES)

/** File below the project folder to its content. */
export function generatedDocs(): ReadonlyMap<string, string> {
  return new Map([
    ['docs/cli.md', cliPage()],
    ['docs/kilnix.schema.json', `${formattedJson(configSchema(COMMANDS))}\n`],
    ['docs/toplevel.schema.json', `${formattedJson(toplevelSchema())}\n`],
  ])
}

/** Of biome.json. */
const LINE_WIDTH = 140

/** JSON with short lists on one line, as the formatter wants it. */
function formattedJson(value: unknown): string {
  const text = JSON.stringify(value, null, 2)
  return text.replace(/^(.*)\[\n\s+(["\d][^[\]{}]*)\n\s+\](,?)$/gm, (list, head: string, items: string, end: string) => {
    const line = `${head}[${items.replace(/,\n\s+/g, ', ')}]${end}`
    return line.length <= LINE_WIDTH ? line : list
  })
}

function cliPage(): string {
  const lines = [
    '# The command',
    '',
    '<!-- Made by `node scripts/docs.ts` from src/cli/commands; do not edit. -->',
    '',
    ...[...COMMANDS, ...ABOUT].map(({ name, help }) => `- [\`kilnix ${name}\`](#kilnix-${name.replaceAll(' ', '-')}): ${help.summary}`),
    '- `kilnix --version`',
    '',
    'The schemas are [kilnix.schema.json](kilnix.schema.json) and [toplevel.schema.json](toplevel.schema.json) ([what specs mean](toplevel.md)).',
    '',
    'The path of a finished image or folder is printed on standard output, alone, by `kilnix serve` the address to boot',
    'from. Progress and the last line (path, size, ratio to the closure, seconds, sha256) go to standard error. With',
    '`-o -` standard output is the image.',
    '',
    ...[...COMMANDS, ...ABOUT].flatMap(commandSection),
    '## Config files',
    '',
    '`--config FILE` reads options from a JSON object. Names are those of the command line in camelCase:',
    '`--volume-id` is `volumeId`, `--no-verify` is `"verify": false`, and a repeatable option is a list. Unknown names',
    'are errors, and so is what the command has not: a file is of one command, as the definitions of',
    '[kilnix.schema.json](kilnix.schema.json) are. Relative paths count from the folder of the file. The command line',
    'wins over the file, the file over `SOURCE_DATE_EPOCH`.',
    '',
    '```json',
    formattedJson(EXAMPLE_CONFIG),
    '```',
    '',
    '## Exit status',
    '',
    ...table(
      ['status', 'meaning'],
      [
        ['0', 'the image is written, or what was asked for is printed'],
        [
          '1',
          'the build failed, and nothing stands at the output path that was not there before; or standard output could not be written, and the message says what stands; or `kilnix closure check` found a problem',
        ],
        ['2', 'usage: an option is unknown, malformed or missing, or Node is too old'],
        [
          '129 and more',
          'cancelled by a signal: 128 and its number (129 SIGHUP, 130 SIGINT, 131 SIGQUIT, 143 SIGTERM); what is not whole is removed',
        ],
        ['141', 'the reader of standard output went away'],
      ],
    ),
    '',
    'Names in what is printed may hold anything: control characters and marks that turn text around are shown as `\\xNN` or `\\uNNNN`.',
    'Images, NARs and the line with the path of a result are for programs, and as they are unless standard output is a terminal.',
    '',
    'A failed build says `kilnix: error [CODE]: message`. The codes are those of `ImageError` in the library:',
    '',
    ...table(
      ['code', 'meaning'],
      Object.entries(ERROR_CODES).map(([code, meaning]) => [`\`${code}\``, meaning]),
    ),
    '',
  ]
  return lines.join('\n')
}

export const EXAMPLE_CONFIG = {
  $schema: 'https://unpkg.com/kilnix/docs/kilnix.schema.json',
  closure: './closure-info',
  output: './nixos.iso',
  syslinux: '/usr/lib',
  compression: 'zstd:3',
  blockSize: '128K',
  kernelParam: ['console=ttyS0,115200n8'],
  timeout: null,
  add: ['/docs/README=./README.md'],
}

function commandSection(command: Command): string[] {
  const { summary, usage, examples } = command.help
  const lines = [`## kilnix ${command.name}`, '', `${summary}.`, '', '```', usage, '```', '']
  for (const [group, members] of groupsOf(command)) lines.push(`### ${group}`, '', ...members.map(item), '')
  lines.push('### Examples', '', '```sh')
  for (const { about, line } of examples) lines.push(`# ${about}`, line)
  return [...lines, '```', '']
}

function item(named: NamedRow): string {
  const { row } = named
  const notes = rowNotes(row)
  return `- \`${synopsis(named)}\`${notes === '' ? '' : ` (${notes})`}: ${(row.aboutNegated ?? row.about).replaceAll('*', '\\*')}.`
}

/** Cells are padded, as the formatter wants them. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[], fill = ' '): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0, fill)).join(' | ')} |`
  const rule = line(
    head.map(() => '---'),
    '-',
  )
  return [line(head), rule, ...rows.map((row) => line(row))]
}

if (import.meta.main) {
  for (const [file, content] of generatedDocs()) writeFileSync(new URL(`../${file}`, import.meta.url), content)
}
