import { runCommand } from '../command.ts'
import * as rows from '../rows.ts'

export default runCommand({
  name: 'presets',
  help: {
    summary: 'List the presets of kilnix disk and zfs',
    usage: 'kilnix presets [--json]',
    examples: [{ about: 'With their formats, layouts and sizes, for programs', line: 'kilnix presets --json' }],
  },
  rows: { json: rows.PRINT_JSON },
  async run({ json }, { signal }) {
    const { printJson, printLines } = await import('../stdout.ts')
    const { DISK_PRESETS } = await import('../../images/disk/presets.ts')
    const { ZFS_PRESETS } = await import('../../images/zfs/presets.ts')
    const all = [
      ...DISK_PRESETS.map((preset) => ({ command: 'disk', ...preset })),
      ...ZFS_PRESETS.map((preset) => ({ command: 'zfs', ...preset })),
    ]
    const width = Math.max(...all.map(({ name }) => name.length))
    if (json) await printJson(all, 2, signal)
    else
      await printLines(
        all.map(({ command, name, about }) => `${command.padEnd(4)}  ${name.padEnd(width)}  ${about}`),
        signal,
      )
    return 0
  },
})
