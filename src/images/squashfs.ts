/** The recipe of `kilnix squashfs`: the store alone, to be mounted as the store directory. */
import type { CodecSpec } from '../codecs/codec.ts'
import { SQUASHFS_DEFAULTS, type SquashfsImage, squashfs } from '../filesystems/squashfs/index.ts'
import type { StoreInput } from '../system/input.ts'
import { withSources } from '../system/source.ts'
import { checkedStore, type LoadedStore, loadStore, registrationEntry } from '../system/store.ts'
import { type ImageProduct, imageProduct, type ProductSource } from './product.ts'

export interface StorePacking {
  /** Default zstd, level 19. */
  readonly compression?: CodecSpec
  /** Default 1 MiB. */
  readonly blockSize?: number
}

export interface StoreSquashfsOptions extends StoreInput, StorePacking {
  /** Time of the image itself; the files' is 1, as Nix has it. Default 0. */
  readonly mtimeSeconds?: number
}

/** What is packed, as plain data. */
export interface StoreSummary {
  readonly listing: string
  readonly pathCount: number
  readonly narBytes: number
  readonly contentBytes: number
  readonly inodeCount: number
  readonly verified: boolean
  readonly compression: CodecSpec
  readonly blockSize: number
  /** No image is larger. */
  readonly sizeLimit: number
}

/** Load a closure and plan the squashfs of its store; nothing is written yet. Throws what `loadStore` and `squashfs` throw. */
export function storeSquashfs(options: StoreSquashfsOptions): Promise<ImageProduct<StoreSummary>> {
  return withSources(options, plannedStoreSquashfs)
}

async function plannedStoreSquashfs(options: StoreSquashfsOptions): Promise<ImageProduct<StoreSummary>> {
  const store = await loadStore(options)
  const image = packedStore(store, options, options.mtimeSeconds ?? 0)
  const plan = storeSummary(store, image)
  const named = { what: 'a squashfs', endings: ['squashfs', 'sqsh', 'sfs'] }
  return imageProduct({ name: 'nix-store.squashfs', named, image, plan, inputs: store.inputs, source: sourceOf(store) })
}

/** One entry a store path, and `nix-path-registration`. */
export function packedStore(store: LoadedStore, packing: StorePacking, mtimeSeconds: number): SquashfsImage {
  const { root, digests } = checkedStore(store, 'byFormat')
  const tree = { ...root, mode: 0o755, entries: [...root.entries, registrationEntry(store.closure)] }
  return squashfs(tree, {
    codec: packing.compression ?? SQUASHFS_DEFAULTS.codec,
    blockSize: packing.blockSize ?? SQUASHFS_DEFAULTS.blockSize,
    timeSeconds: mtimeSeconds,
    digests,
  })
}

/** For every product of a store. */
export function sourceOf({ narBytes, digests }: LoadedStore): ProductSource {
  return { narBytes, verified: digests.length > 0 }
}

export function storeSummary(store: LoadedStore, image: SquashfsImage): StoreSummary {
  const { codec, blockSize } = image.plan.options
  return {
    listing: store.closure.kind,
    pathCount: store.closure.paths.length,
    narBytes: store.narBytes,
    contentBytes: image.contentBytes,
    inodeCount: image.plan.inodes.length,
    verified: store.digests.length > 0,
    compression: codec,
    blockSize,
    sizeLimit: image.sizeLimit,
  }
}
