/**
 * The command: arguments in, an exit status out. Commands are loaded when they are run, so that help
 * is there at once.
 */
import { readFileSync } from 'node:fs'
import { nearest } from '../bytes/nearest.ts'
import { ImageError, systemErrorCode } from '../errors.ts'
import { COMMAND_FAMILIES, COMMAND_NAMES, commandOf, isFamily } from './commands.ts'
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
    const given = readSettings(found.command, found.rest, process.env)
    if (!given) return show(commandHelp(found.command))
    const { run } = await import('./run.ts')
    return run(found.command, given)
  }
  const [name, ...rest] = args
  if (isFamily(name) && (rest[0] === undefined || ['--help', '-h'].includes(rest[0]))) {
    return show(familyHelp(name))
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
      if (['--help', '-h'].includes(topic ?? '')) return show(generalHelp())
      noMore(topic === 'toplevel' ? more : rest)
      const { configSchema, toplevelSchema } = await import('./schema.ts')
      await printJson(topic === 'toplevel' ? toplevelSchema() : configSchema(), 2)
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
  if (option === '--help' || option === '-h') return show(generalHelp())
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
  if (topic === undefined || OTHER_COMMANDS.includes(topic)) return show(generalHelp())
  const found = commandOf(rest)
  if (found) {
    noMore(found.rest)
    return show(commandHelp(found.command))
  }
  if (isFamily(topic) && rest.length === 1) return show(familyHelp(topic))
  throw unknownCommand(rest)
}

function noMore(rest: readonly string[]): void {
  if (rest[0] !== undefined) throw usage(`'${rest[0]}' is not expected`)
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
  const command = commandOf(args)?.command
  const message = error instanceof ImageError ? error.messageWith((key) => `--${flagOf(key, command?.rows[key])}`) : ''
  if (error instanceof ImageError && error.code === 'USAGE') {
    const name = command?.name ?? (isFamily(args[0]) ? args[0] : undefined)
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
