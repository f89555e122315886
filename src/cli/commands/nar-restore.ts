import { createReadStream } from 'node:fs'
import { ImageError, systemErrorCode } from '../../errors.ts'
import { runCommand } from '../command.ts'
import { NAR_FILE, shownName } from '../nar-rows.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { standardInput } from '../standard-input.ts'
import { path, usage } from '../values.ts'

export default runCommand({
  name: 'nar restore',
  help: {
    summary: 'Unpack a NAR with the modes and times of a store',
    usage: 'kilnix nar restore FILE DIR [options]',
    examples: [
      { about: 'From a file', line: 'kilnix nar restore result.nar ./result' },
      { about: 'From a pipe', line: 'xz -d < file.nar.xz | kilnix nar restore - ./result' },
    ],
  },
  rows: {
    input: NAR_FILE,
    folder: row({
      type: path('DIR'),
      group: 'Output',
      required: true,
      positional: true,
      configurable: false,
      about: 'File, folder or link to write, which appears whole or not at all',
    }),
    caseHack: row({
      ...rows.CASE_HACK,
      about: 'Write for a file system that ignores case, as Nix does on macOS: names that differ in case only get endings ~nix~case~hack~N',
    }),
    force: rows.FORCE_ANYTHING,
  },
  async run({ input, folder, force, caseHack }, { signal }) {
    if (folder === '-') throw usage('DIR is a path to write, not standard output')
    const { checkApart } = await import('../../io/apart.ts')
    const { restoreNar } = await import('../../nix/nar/restore.ts')
    if (input !== '-') checkApart(folder, [input])
    await restoreNar(narBytes(input, signal), folder, { name: shownName(input), signal, force, caseHack })
    return 0
  },
})

/** Bytes of a NAR file that are read at a time. */
const CHUNK_SIZE = 1 << 20

async function* narBytes(input: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if (input === '-') {
    yield* standardInput(signal)
    return
  }
  try {
    yield* createReadStream(input, { highWaterMark: CHUNK_SIZE })
  } catch (error) {
    if (error instanceof ImageError) throw error
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new ImageError('NOT_FOUND', `${input}: there is no such file`, { path: input, cause: error })
    throw new ImageError('UNREADABLE', `${input}: cannot be read (${code ?? String(error)})`, { path: input, cause: error })
  }
}
