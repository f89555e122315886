/** A closure with the toplevel that a spec file describes, none of which is written anywhere. */
import { dirname, resolve } from 'node:path'
import type { ProgressListener } from '../../io/progress.ts'
import { JSON_DOCUMENT_LIMIT } from '../../json/parse.ts'
import type { Closure } from '../../nix/listing/closure.ts'
import type { ContentAddressChoice, ContentAddressScheme } from '../../nix/store/address-scheme.ts'
import type { StoreOverlay } from '../../nix/store/store-tree.ts'
import { smallHostFile } from '../small-file.ts'
import { assembleToplevel, type PartsStore } from './index.ts'
import { parseToplevelSpec } from './spec.ts'

export interface ToplevelContext {
  readonly contentAddressScheme?: ContentAddressChoice | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ProgressListener | undefined
}

export interface LoadedToplevel {
  /** Full store path. */
  readonly toplevel: string
  /** All paths of the store, and what is new. */
  readonly available: Closure
  /** The toplevel and all that it refers to. */
  readonly closure: Closure
  /** How the toplevel was hashed. */
  readonly contentAddressScheme: ContentAddressScheme
  /** What is new, and the overlay of the store. */
  readonly overlay: StoreOverlay
  /** Files of the host that were read: the spec, and what it names. */
  readonly inputs: readonly string[]
}

/** Assemble the toplevel of the spec in `file` from the parts in `store`. Throws what `assembleToplevel` throws. */
export async function loadToplevel(file: string, store: PartsStore, context: ToplevelContext = {}): Promise<LoadedToplevel> {
  const { contentAddressScheme = 'auto', signal, onProgress } = context
  const spec = parseToplevelSpec(smallHostFile(file, JSON_DOCUMENT_LIMIT, 'the spec'), file)
  const folder = dirname(resolve(file))
  const assembled = await assembleToplevel({
    spec,
    where: file,
    folder,
    store,
    contentAddressScheme,
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
  })
  const { toplevel, available, closure, contentAddressScheme: scheme, made } = assembled
  const overlay = new Map([...(store.overlay ?? []), ...made.map(({ baseName, tree }) => [baseName, tree] as const)])
  return { toplevel, available, closure, contentAddressScheme: scheme, overlay, inputs: [file, ...assembled.inputs] }
}
