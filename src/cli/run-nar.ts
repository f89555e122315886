/** Running `kilnix nar`: archives of files, folders and links. */
import { createReadStream } from 'node:fs'
import { ImageError, systemErrorCode } from '../errors.ts'
import { checkApart } from '../io/apart.ts'
import { FileSource } from '../io/source.ts'
import { hashNar } from '../nix/nar/digest.ts'
import { narImage } from '../nix/nar/dump.ts'
import { listingMember, narListing, narListingJson, narListingLines } from '../nix/nar/list.ts'
import { hashNarStream, readNar } from '../nix/nar/read.ts'
import { restoreNar } from '../nix/nar/restore.ts'
import { narTree, readNarFile, treeMember } from '../nix/nar/tree.ts'
import { formatHash, type HashSpelling } from '../nix/store/hash.ts'
import { storePolicy } from '../nix/store/store-tree.ts'
import { scanHost } from '../tree/scan.ts'
import { streamToStdout } from './image-stdout.ts'
import type { NarCommand, Settings } from './options.ts'
import { withSignals } from './signals.ts'
import { standardInput } from './standard-input.ts'
import { printJson, printLines, stdoutIsTerminal } from './stdout.ts'
import { usage } from './values.ts'

/** Bytes of a NAR file that are read at a time. */
const CHUNK_SIZE = 1 << 20

/** Resolves to the exit status. Throws what reading and writing throw. */
export function runNar(command: NarCommand, settings: Settings): Promise<number> {
  return withSignals(async (signal) => {
    switch (command) {
      case 'nar dump':
        await dump(settings, signal)
        break
      case 'nar hash':
        await printLines([await hash(settings, signal)], signal)
        break
      case 'nar restore':
        await restore(settings, signal)
        break
      case 'nar ls':
        await list(settings, signal)
    }
    return 0
  })
}

async function dump({ input = '', member, caseHack }: Settings, signal: AbortSignal): Promise<void> {
  if (input === '-') throw usage('nar dump does not read standard input; name a file, folder or link')
  if (stdoutIsTerminal()) throw usage('a NAR is not written to a terminal; redirect standard output')
  if (member === undefined) {
    await streamToStdout(narImage(scanHost(input, storePolicy(1, caseHack)), input), { signal })
    return
  }
  const source = await FileSource.open(input)
  try {
    const node = treeMember(await narTree(source, { name: input, signal }), member, input)
    await streamToStdout(narImage(node, input), { signal })
  } finally {
    await source.close()
  }
}

async function hash({ input = '', type, caseHack, ...settings }: Settings, signal: AbortSignal): Promise<string> {
  const spellings = (['base16', 'base32', 'base64'] as const).filter((one) => settings[one])
  const [spelling = 'sri', second]: HashSpelling[] = spellings
  if (second !== undefined) throw usage(`--${spelling} does not go with --${second}`)
  const result =
    input === '-'
      ? await hashNarStream(standardInput(signal), { name: '<stdin>', algorithm: type, signal })
      : await hashNar(scanHost(input, storePolicy(1, caseHack)), input, { algorithm: type, signal })
  return formatHash(type, result.hash, spelling)
}

async function restore({ input = '', folder = '', force, caseHack }: Settings, signal: AbortSignal): Promise<void> {
  if (folder === '-') throw usage('DIR is a path to write, not standard output')
  if (input !== '-') checkApart(folder, [input])
  await restoreNar(narBytes(input, signal), folder, { name: shownName(input), signal, force, caseHack })
}

async function list({ input = '', member = '', recursive, long, json }: Settings, signal: AbortSignal): Promise<void> {
  const name = shownName(input)
  const source = input === '-' ? undefined : await FileSource.open(input)
  try {
    const events = source === undefined ? readNar(standardInput(signal), { name, signal }) : readNarFile(source, { name, signal })
    const listing = listingMember(await narListing(events), member, name)
    if (json) {
      await printJson(narListingJson(listing, { recursive }), undefined, signal)
      return
    }
    const own = member.split('/').findLast((part) => part !== '') ?? '.'
    await printLines(narListingLines(listing, own, { recursive, long }), signal)
  } finally {
    await source?.close()
  }
}

function shownName(input: string): string {
  return input === '-' ? '<stdin>' : input
}

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
