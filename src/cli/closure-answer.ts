/** What the commands over closures have in common: a listing in, an answer out. */
import type { Closure } from '../nix/listing/closure.ts'
import { loadClosure } from '../system/store.ts'
import type { Run } from './command.ts'
import { jsonPieces } from './json-pieces.ts'
import { standardInput } from './standard-input.ts'
import { printLines, printPieces } from './stdout.ts'

export interface StorePlace {
  readonly root: string
  readonly caseHack: boolean
}

/** With sizes and references, which are found in the store where the listing has none. Throws what reading throws. */
export async function load(listing: string, { root, caseHack }: StorePlace, { signal, progress }: Run): Promise<Closure> {
  const stdin = listing === '-' ? { stdin: standardInput(signal) } : {}
  const { closure } = await loadClosure({ closure: listing, root, caseHack, signal, onProgress: progress.listener, ...stdin })
  return closure
}

/** As data for programs, else as text. */
export async function print(answer: object, lines: () => Iterable<string>, isJson: boolean, { signal, progress }: Run): Promise<void> {
  progress.clear()
  if (isJson) await printPieces(jsonPieces(answer), signal)
  else await printLines(lines(), signal)
}
