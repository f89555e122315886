import { runCommand } from '../command.ts'
import { HOST_PATH } from '../nar-rows.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { text, usage } from '../values.ts'

export default runCommand({
  name: 'nar dump',
  help: {
    summary: 'Write the NAR of a file, folder or link to standard output',
    usage: 'kilnix nar dump PATH [MEMBER] [options]',
    examples: [
      { about: 'As nix-store --dump does', line: 'kilnix nar dump ./result > result.nar' },
      { about: 'The archive of one folder of a NAR', line: 'kilnix nar dump result.nar /share/doc > doc.nar' },
    ],
  },
  rows: {
    input: row({ ...HOST_PATH, about: 'File, folder or link of the host to dump; with MEMBER a NAR file' }),
    member: row({
      type: text('MEMBER'),
      group: 'Input',
      positional: true,
      configurable: false,
      defaultText: 'PATH itself is dumped',
      about: 'Path within PATH, which then is a NAR file: its archive is cut out of that one',
    }),
    caseHack: rows.CASE_HACK,
  },
  async run({ input, member, caseHack }, { signal }) {
    const { stdoutIsTerminal } = await import('../stdout.ts')
    if (input === '-') throw usage('nar dump does not read standard input; name a file, folder or link')
    if (stdoutIsTerminal()) throw usage('a NAR is not written to a terminal; redirect standard output')
    const { narImage } = await import('../../nix/nar/dump.ts')
    const { streamToStdout } = await import('../image-stdout.ts')
    if (member === undefined) {
      const { storePolicy } = await import('../../nix/store/store-policy.ts')
      const { scanHost } = await import('../../tree/scan.ts')
      await streamToStdout(narImage(scanHost(input, storePolicy(1, caseHack)), input), { signal })
      return 0
    }
    const { FileSource } = await import('../../io/source.ts')
    const { narTree, treeMember } = await import('../../nix/nar/tree.ts')
    const source = await FileSource.open(input)
    try {
      const node = treeMember(await narTree(source, { name: input, signal }), member, input)
      await streamToStdout(narImage(node, input), { signal })
    } finally {
      await source.close()
    }
    return 0
  },
})
