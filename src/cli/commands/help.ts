import { runCommand } from '../command.ts'
import { row } from '../row.ts'
import { text } from '../values.ts'

export default runCommand({
  name: 'help',
  help: {
    summary: 'Print the list of commands, or the help of one',
    usage: 'kilnix help [COMMAND [SUBCOMMAND]]',
    examples: [
      { about: 'All options of a command', line: 'kilnix help iso' },
      { about: 'Of one of two words', line: 'kilnix help closure why' },
    ],
  },
  rows: {
    command: row({
      type: text('COMMAND'),
      group: 'Input',
      positional: true,
      configurable: false,
      defaultText: 'the list of all',
      about: 'A command, or the first word of several',
    }),
    subcommand: row({
      type: text('SUBCOMMAND'),
      group: 'Input',
      positional: true,
      configurable: false,
      defaultText: 'the list of those that begin with COMMAND',
      about: 'Its second word',
    }),
  },
  async run({ command, subcommand }, { signal, catalogue }) {
    const { printLines } = await import('../stdout.ts')
    const words = [command, subcommand].filter((word) => word !== undefined)
    await printLines((await catalogue.help(words)).slice(0, -1).split('\n'), signal)
    return 0
  },
})
