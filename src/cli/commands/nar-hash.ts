import type { HashSpelling } from '../../nix/store/hash.ts'
import { runCommand } from '../command.ts'
import { HOST_PATH, shownName } from '../nar-rows.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { standardInput } from '../standard-input.ts'
import { printLines } from '../stdout.ts'
import { choice, flag, usage } from '../values.ts'

export default runCommand({
  name: 'nar hash',
  help: {
    summary: 'Print the NAR hash of a file, folder or link',
    usage: 'kilnix nar hash PATH [options]',
    examples: [
      { about: 'As nix hash path does', line: 'kilnix nar hash ./result' },
      { about: 'Of an archive, which is checked by every rule of the format', line: 'kilnix nar hash --base32 - < result.nar' },
    ],
  },
  rows: {
    input: HOST_PATH,
    type: row({
      type: choice(['sha256', 'sha512', 'sha1', 'md5']),
      group: 'Output',
      configurable: false,
      default: 'sha256',
      about: 'Hash algorithm',
    }),
    base16: row({ type: flag(), group: 'Output', configurable: false, default: false, about: 'Print hexadecimal digits' }),
    base32: row({ type: flag(), group: 'Output', configurable: false, default: false, about: "Print digits of Nix's base 32" }),
    base64: row({ type: flag(), group: 'Output', configurable: false, default: false, about: 'Print base 64' }),
    caseHack: rows.CASE_HACK,
  },
  async run({ input, type: algorithm, caseHack, ...given }, { signal }) {
    const spellings = (['base16', 'base32', 'base64'] as const).filter((one) => given[one])
    const [spelling = 'sri', second]: HashSpelling[] = spellings
    if (second !== undefined) throw usage(`--${spelling} does not go with --${second}`)
    const { formatHash } = await import('../../nix/store/hash.ts')
    const hashed = async (): Promise<{ readonly hash: Uint8Array }> => {
      if (input === '-') {
        const { hashNarStream } = await import('../../nix/nar/read.ts')
        return hashNarStream(standardInput(signal), { name: shownName(input), algorithm, signal })
      }
      const { hashNar } = await import('../../nix/nar/digest.ts')
      const { storePolicy } = await import('../../nix/store/store-policy.ts')
      const { scanHost } = await import('../../tree/scan.ts')
      return hashNar(scanHost(input, storePolicy(1, caseHack)), input, { algorithm, signal })
    }
    const { hash } = await hashed()
    await printLines([formatHash(algorithm, hash, spelling)], signal)
    return 0
  },
})
