/** What the commands over closures have in common: a listing in, an answer out. */
import type { Closure } from '../nix/listing/closure.ts'
import type { StoreInput } from '../system/input.ts'
import { isStorePath } from '../system/recognise.ts'
import { type LoadedClosure, loadClosure } from '../system/store.ts'
import type { Run } from './command.ts'
import { jsonPieces } from './json-pieces.ts'
import { standardInput } from './standard-input.ts'
import { printLines, printPieces } from './stdout.ts'

export interface StorePlace {
  readonly root: string
  readonly caseHack: boolean
}

/** With sizes and references, which are found in the store where the listing has none. Throws what reading throws. */
export async function load(given: string, place: StorePlace, run: Run): Promise<Closure> {
  return (await loadPlaced(given, place, run)).closure
}

/** The same with where its files are. */
export async function loadPlaced(given: string, { root, caseHack }: StorePlace, run: Run): Promise<LoadedClosure> {
  return loadClosure({ ...(await sourceInput(given, run)), root, caseHack })
}

/** For what is given without a name: a listing, or a store path. */
export async function sourceInput(given: string, { signal, progress, sources }: Run): Promise<StoreInput> {
  const stdin = given === '-' ? { stdin: standardInput(signal) } : {}
  const named = (await isStorePath(given)) ? { paths: [given] } : { closure: given }
  return { ...named, ...stdin, signal, onProgress: progress.listener, sources }
}

/** As data for programs, else as text. */
export async function print(answer: object, lines: () => Iterable<string>, isJson: boolean, { signal, progress }: Run): Promise<void> {
  progress.clear()
  if (isJson) await printPieces(jsonPieces(answer), signal)
  else await printLines(lines(), signal)
}
