/** What the commands over closures have in common: a listing in, an answer out. */
import type { StoreInput } from '../system/input.ts'
import { isListing, isStorePath } from '../system/recognise.ts'
import { type LoadedClosure, loadClosure } from '../system/store.ts'
import type { Run } from './command.ts'
import { storeInput } from './input.ts'
import { jsonPieces } from './json-pieces.ts'
import { type Given, type Row, rowList, writtenName } from './row.ts'
import { type LOOKED_UP, PLACES } from './source-rows.ts'
import { printLines, printPieces } from './stdout.ts'
import { usage } from './values.ts'

/** What commands over closures are given beside the closure. */
export type LookUp = Given<typeof LOOKED_UP> & { readonly caseHack: boolean }

/** With sizes and references, which are found in the store where the listing has none. Throws what reading throws. */
export async function load(given: string, lookUp: LookUp, run: Run): Promise<LoadedClosure> {
  return loadClosure(await sourceInput(given, lookUp, run))
}

/** For what is given without a name: a listing, or a store path. Throws USAGE where a listing is to be looked up. */
export async function sourceInput(given: string, lookUp: LookUp, run: Run): Promise<StoreInput> {
  const [input] = await sourceInputs([given], lookUp, run)
  return input as StoreInput
}

/** The same for several, of which some may be listings and others store paths that are looked up. */
export async function sourceInputs(given: readonly string[], lookUp: LookUp, run: Run): Promise<StoreInput[]> {
  const { root, caseHack, store, from } = lookUp
  const places = Object.keys(PLACES) as (keyof typeof PLACES)[]
  // What is as it is by itself says nothing.
  const stated = places.filter((key) => lookUp[key] !== undefined && lookUp[key] !== (PLACES[key] as Row).default)
  const said = Object.fromEntries(stated.map((key) => [key, lookUp[key]])) as Pick<StoreInput, keyof typeof PLACES>
  const isSomewhere = store !== undefined || from !== undefined
  const arePaths = await Promise.all(
    given.map(async (one) => (await isStorePath(one)) || (isSomewhere && one !== '-' && !(await isListing(one)))),
  )
  const [first] = rowList(PLACES).filter(({ key }) => key in said)
  if (first !== undefined && !arePaths.includes(true))
    throw usage(
      `${writtenName(first)} is of store paths, and ${given.join(' and ')} ${given.length === 1 ? 'is a listing' : 'are listings'}`,
    )
  const context = { signal: run.signal, onProgress: run.progress.listener, sources: run.sources }
  return given.map((one, index) => {
    const named = arePaths[index] ? { ...said, paths: [one] } : { closure: one }
    return { root, caseHack, ...named, ...storeInput(named, context) }
  })
}

/** As data for programs, else as text. */
export async function print(answer: object, lines: () => Iterable<string>, isJson: boolean, { signal, progress }: Run): Promise<void> {
  progress.clear()
  if (isJson) await printPieces(jsonPieces(answer), signal)
  else await printLines(lines(), signal)
}
