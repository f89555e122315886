/** A closure opened as a system: its store, and the store path that is the system. */
import type { Bootspec } from './bootspec.ts'
import type { StoreInput } from './input.ts'
import { type LoadedClosure, type LoadedStore, loadStore, newPathOf } from './store.ts'
import { textInStore } from './store-files.ts'
import { findToplevel, loadBootspec } from './toplevel.ts'

export interface SystemInput extends StoreInput {
  /** Store path of the system; default: the first of `paths`, else the one path that carries boot.json and to which no other refers (see `findToplevel`). */
  readonly toplevel?: string
}

/** What `openSystem` gives. A system of which only single files are needed has a `LoadedClosure` for its store. */
export interface System<Store extends LoadedClosure = LoadedStore> {
  /** The closure and its files; `checkedStore` gives them as a tree whose NAR hashes are checked. */
  readonly store: Store
  /** Full store path. */
  readonly toplevel: string
  readonly bootspec: Bootspec
}

/**
 * Read the listing, scan the files and find the system. Throws what `loadStore`, `findToplevel` and `loadBootspec` throw.
 */
export async function openSystem(input: SystemInput): Promise<System> {
  const store = await loadStore(input)
  try {
    return await systemOf(store, input)
  } catch (error) {
    await store.close()
    throw error
  }
}

/** The system of a store that is loaded. `toplevel` is a path as the listing has it, before anything was replaced. */
export async function systemOf<Store extends LoadedClosure>(
  store: Store,
  { toplevel: given, onProgress }: Pick<SystemInput, 'toplevel' | 'onProgress'>,
): Promise<System<Store>> {
  // What is assembled is what was asked for, whatever it is assembled from.
  const asked = given ?? (store.assembled === undefined ? store.roots[0] : undefined)
  const toplevel = await findToplevel(store.trees, newPathOf(asked, store))
  const onNone = (): void => {
    const message = `${toplevel} has no boot.json, as systems from before NixOS 23.05: its boot entries are made from its kernel, initrd, kernel-params and init`
    onProgress?.({ kind: 'note', message })
  }
  return { store, toplevel, bootspec: await loadBootspec(toplevel, store.trees, onNone) }
}

/** The text of a small file of the system, such as `etc/fstab`, or undefined where there is none. */
export function systemText({ store, toplevel }: System<LoadedClosure>, name: string): Promise<string | undefined> {
  return textInStore(`${toplevel}/${name}`, store)
}
