/**
 * The command: arguments in, an exit status out. Commands are loaded when they are run, so that help
 * is there at once.
 */
import { readFileSync } from 'node:fs'
import { ImageError, systemErrorCode } from '../errors.ts'
import type { Command } from './command.ts'
import { loadCommand, loadCommands } from './commands/index.ts'
import { commandOf, HELP_WORDS, isFamily, unknownCommand, VERSION_WORDS } from './commands.ts'
import { keepIgnoringHangUp } from './hang-up.ts'
import { commandHelp } from './help.ts'
import { helpOf } from './help-topics.ts'
import { listenOnce } from './listeners.ts'
import { flagOf } from './row.ts'
import { readSettings } from './settings.ts'
import { say } from './stderr.ts'
import { printLines } from './stdout.ts'
import { usage } from './values.ts'
import { leaveRemovedFolder } from './working-folder.ts'

/** Exit status of a program that SIGPIPE ends, as a shell reports it. */
const BROKEN_PIPE_STATUS = 141

/** What was asked for last, of which an error may be that no promise leads to. */
let asked: readonly string[] = []

/** The command that runs, which spells the options in messages. */
let running: Command | undefined

/** Run the command; resolves to the exit status and never rejects. */
export async function main(args: readonly string[]): Promise<number> {
  keepIgnoringHangUp(process.env)
  leaveRemovedFolder()
  asked = args
  running = undefined
  // Errors that no promise leads to here, and that leave nobody to clean up: `exit` does.
  listenOnce('uncaughtException', exitWithReport)
  try {
    return await dispatch(args)
  } catch (error) {
    return report(error, args)
  }
}

function exitWithReport(error: unknown): void {
  process.exit(report(error, asked))
}

async function dispatch(args: readonly string[]): Promise<number> {
  const found = commandOf(args)
  if (found) {
    running = await loadCommand(found.name)
    const given = readSettings(running, found.rest, process.env)
    if (!given) return show(commandHelp(running))
    const { run } = await import('./run.ts')
    return run(running, given, { commands: loadCommands, help: helpOf })
  }
  const [name, second, ...more] = args
  if (name === undefined) throw usage('no command is given')
  if (isFamily(name) && (second === undefined || (HELP_WORDS.includes(second) && more.length === 0))) return show(await helpOf([name]))
  if (HELP_WORDS.includes(name)) return show(await helpOf(args.slice(1)))
  if (!VERSION_WORDS.includes(name)) throw unknownCommand(args)
  if (second !== undefined) throw usage(`'${second}' is not expected`)
  return show(`${version()}\n`)
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
    // Help of what there is not is the list of what there is.
    const name = running?.name === 'help' ? undefined : (running?.name ?? (isFamily(args[0]) ? args[0] : undefined))
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
