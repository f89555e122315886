import { runCommand } from '../command.ts'
import { NAR_FILE, shownName } from '../nar-rows.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { standardInput } from '../standard-input.ts'
import { printJson, printLines } from '../stdout.ts'
import { flag, text } from '../values.ts'

export default runCommand({
  name: 'nar ls',
  help: {
    summary: 'List what is in a NAR',
    usage: 'kilnix nar ls FILE [MEMBER] [options]',
    examples: [
      { about: 'All of it', line: 'kilnix nar ls -R -l result.nar' },
      { about: 'With the places of the contents, as nix nar ls has them', line: 'kilnix nar ls --json -R result.nar /bin' },
    ],
  },
  rows: {
    input: NAR_FILE,
    member: row({
      type: text('MEMBER'),
      group: 'Input',
      positional: true,
      configurable: false,
      defaultText: 'all of it',
      about: 'Path within the archive, such as /bin/hello',
    }),
    recursive: row({
      type: flag(),
      group: 'Output',
      short: 'R',
      configurable: false,
      default: false,
      about: 'List folders with all that is below them',
    }),
    long: row({
      type: flag(),
      group: 'Output',
      short: 'l',
      configurable: false,
      default: false,
      about: 'Print kinds, sizes and link targets as well',
    }),
    json: rows.PRINT_JSON,
  },
  async run({ input, member = '', recursive, long, json }, { signal }) {
    const { FileSource } = await import('../../io/source.ts')
    const { listingMember, narListing, narListingJson, narListingLines } = await import('../../nix/nar/list.ts')
    const { readNar } = await import('../../nix/nar/read.ts')
    const { readNarFile } = await import('../../nix/nar/tree.ts')
    const name = shownName(input)
    const source = input === '-' ? undefined : await FileSource.open(input)
    try {
      const events = source === undefined ? readNar(standardInput(signal), { name, signal }) : readNarFile(source, { name, signal })
      const listing = listingMember(await narListing(events), member, name)
      const own = member.split('/').findLast((part) => part !== '') ?? '.'
      if (json) await printJson(narListingJson(listing, { recursive }), undefined, signal)
      else await printLines(narListingLines(listing, own, { recursive, long }), signal)
    } finally {
      await source?.close()
    }
    return 0
  },
})
