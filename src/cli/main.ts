/**
 * The command: arguments in, an exit status out. Commands are loaded when they are run, so that help
 * is there at once.
 */
import { readFileSync } from 'node:fs'
import { nearest } from '../bytes/nearest.ts'
import { ImageError, systemErrorCode } from '../errors.ts'
import type { Command } from './command.ts'
import { COMMAND_NAMES, loadCommand, loadCommands } from './commands/index.ts'
import { COMMAND_FAMILIES, type CommandFamily, commandOf, familyMembers, isFamily } from './commands.ts'
import { keepIgnoringHangUp } from './hang-up.ts'
import { commandHelp, familyHelp, generalHelp } from './help.ts'
import { flagOf } from './row.ts'
import { readSettings } from './settings.ts'
import { say } from './stderr.ts'
import { printJson, printLines } from './stdout.ts'
import { usage } from './values.ts'
import { leaveRemovedFolder } from './working-folder.ts'

/** Exit status of a program that SIGPIPE ends, as a shell reports it. */
const BROKEN_PIPE_STATUS = 141

/** What can stand in place of a command. */
export const OTHER_COMMANDS = ['presets', 'schema', 'help', '--help', '-h', '--version', '-V']

/** The command that runs, which spells the options in messages. */
let running: Command | undefined

/** Run the command; resolves to the exit status and never rejects. */
export async function main(args: readonly string[]): Promise<number> {
  keepIgnoringHangUp(process.env)
  leaveRemovedFolder()
  // Errors that no promise leads to here, and that leave nobody to clean up: `exit` does.
  process.on('uncaughtException', (error) => process.exit(report(error, args)))
  try {
    return await dispatch(args)
  } catch (error) {
    return report(error, args)
  }
}

async function dispatch(args: readonly string[]): Promise<number> {
  const found = commandOf(args)
  if (found) {
    running = await loadCommand(found.name)
    const given = readSettings(running, found.rest, process.env)
    if (!given) return show(commandHelp(running))
    const { run } = await import('./run.ts')
    return run(running, given)
  }
  const [name, ...rest] = args
  if (isFamily(name) && (rest[0] === undefined || ['--help', '-h'].includes(rest[0]))) {
    return showFamily(name)
  }
  switch (name) {
    case undefined:
      throw usage('no command is given')
    case 'help':
    case '--help':
    case '-h':
      return help(rest)
    case '--version':
    case '-V':
      noMore(rest)
      return show(`${version()}\n`)
    case 'presets':
      return presets(rest)
    case 'schema': {
      const [topic, ...more] = rest
      if (['--help', '-h'].includes(topic ?? '')) return showAll()
      noMore(topic === 'toplevel' ? more : rest)
      const { configSchema, toplevelSchema } = await import('./schema.ts')
      await printJson(topic === 'toplevel' ? toplevelSchema() : configSchema(await loadCommands()), 2)
      return 0
    }
    default:
      throw unknownCommand(args)
  }
}

/** Of a family that is known, the second word is wrong. */
function unknownCommand([first = '', second]: readonly string[]): Error {
  const words = isFamily(first) && second !== undefined ? `${first} ${second}` : first
  const near = nearest(words, [...COMMAND_NAMES, ...Object.keys(COMMAND_FAMILIES), ...OTHER_COMMANDS])
  return usage(`there is no command '${words}'${near === undefined ? '' : `; did you mean ${near}?`}`)
}

async function presets(rest: readonly string[]): Promise<number> {
  const [option, ...more] = rest
  if (option === '--help' || option === '-h') return showAll()
  if (option !== undefined && option !== '--json') throw usage(`'${option}' is not expected; --json is`)
  noMore(more)
  const { DISK_PRESETS } = await import('../images/disk/presets.ts')
  const { ZFS_PRESETS } = await import('../images/zfs/presets.ts')
  const all = [
    ...DISK_PRESETS.map((preset) => ({ command: 'disk', ...preset })),
    ...ZFS_PRESETS.map((preset) => ({ command: 'zfs', ...preset })),
  ]
  if (option === '--json') {
    await printJson(all, 2)
    return 0
  }
  const width = Math.max(...all.map(({ name }) => name.length))
  await printLines(all.map(({ command, name, about }) => `${command.padEnd(4)}  ${name.padEnd(width)}  ${about}`))
  return 0
}

async function help(rest: readonly string[]): Promise<number> {
  const [topic] = rest
  if (topic === undefined || OTHER_COMMANDS.includes(topic)) return showAll()
  const found = commandOf(rest)
  if (found) {
    noMore(found.rest)
    return show(commandHelp(await loadCommand(found.name)))
  }
  if (isFamily(topic) && rest.length === 1) return showFamily(topic)
  throw unknownCommand(rest)
}

function noMore(rest: readonly string[]): void {
  if (rest[0] !== undefined) throw usage(`'${rest[0]}' is not expected`)
}

async function showAll(): Promise<number> {
  return show(generalHelp(await loadCommands()))
}

async function showFamily(family: CommandFamily): Promise<number> {
  return show(familyHelp(family, await loadCommands(familyMembers(family))))
}

/** A text that ends in a line feed. */
async function show(text: string): Promise<number> {
  await printLines(text.slice(0, -1).split('\n'))
  return 0
}

/** Both `src/cli` and `dist/cli` lie two folders below package.json. */
function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** Options in messages are spelled as this command line has them. */
function report(error: unknown, args: readonly string[]): number {
  const message = error instanceof ImageError ? error.messageWith((key) => `--${flagOf(key, running?.rows[key])}`) : ''
  if (error instanceof ImageError && error.code === 'USAGE') {
    const name = running?.name ?? (isFamily(args[0]) ? args[0] : undefined)
    say(`kilnix: ${message}`)
    say(`Try 'kilnix ${name ? `${name} ` : ''}--help'.`)
    return 2
  }
  if (systemErrorCode(error) === 'EPIPE') return BROKEN_PIPE_STATUS
  if (error instanceof ImageError) {
    // Further lines are lists; indented, none can pass for a message of its own.
    const [first, ...rest] = message.split('\n')
    say(`kilnix: error [${error.code}]: ${first}`)
    for (const line of rest) say(`  ${line.trim()}`)
    return 1
  }
  say('kilnix: internal error; please report it with the lines below')
  say(...String(error instanceof Error ? error.stack : error).split('\n'))
  return 1
}
