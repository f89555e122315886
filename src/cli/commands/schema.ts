import { runCommand } from '../command.ts'
import { row } from '../row.ts'
import { choice } from '../values.ts'

export default runCommand({
  name: 'schema',
  help: {
    summary: 'Print the JSON Schema of config files, or of the specs of kilnix toplevel',
    usage: 'kilnix schema [toplevel]',
    examples: [
      { about: 'For an editor that completes config files', line: 'kilnix schema > kilnix.schema.json' },
      { about: 'Of specs', line: 'kilnix schema toplevel' },
    ],
  },
  rows: {
    topic: row({
      type: choice(['toplevel']),
      group: 'Input',
      positional: true,
      configurable: false,
      defaultText: 'config files',
      about: 'What the schema is of',
    }),
  },
  async run({ topic }, { signal, catalogue }) {
    const { configSchema, toplevelSchema } = await import('../schema.ts')
    const { printJson } = await import('../stdout.ts')
    await printJson(topic === 'toplevel' ? toplevelSchema() : configSchema(await catalogue.commands()), 2, signal)
    return 0
  },
})
