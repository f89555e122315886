/** A closure whose NARs are all unpacked into a store of their own. */
import { narFileTree } from '../nix/store/nar-file.ts'
import type { StoreInput } from './input.ts'
import { type LoadedClosure, loadClosure } from './store.ts'

/** All its paths count as made here, so that `saveStore` writes them. Throws what `loadClosure` throws. */
export async function fetchedStore(input: StoreInput): Promise<LoadedClosure> {
  const store = await loadClosure(input)
  return { ...store, overlay: new Map([...store.nars].map(([baseName, nar]) => [baseName, narFileTree(nar)])) }
}
