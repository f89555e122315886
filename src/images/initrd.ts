/** The recipe of `kilnix initrd`: archives of the host, then one of store paths, files and links, compressed. */
import { cpio } from '../archives/cpio/index.ts'
import { utf8 } from '../bytes/text.ts'
import type { CodecSpec } from '../codecs/codec.ts'
import { compressedImage } from '../codecs/stream/index.ts'
import { ImageError } from '../errors.ts'
import { concatGrowing, sizeChecked } from '../io/concat.ts'
import { type Addition, addedTree } from '../system/additions.ts'
import type { StoreInput } from '../system/input.ts'
import { withSources } from '../system/source.ts'
import { checkedStore, loadStore } from '../system/store.ts'
import { mergeTrees, treeAt } from '../tree/merge.ts'
import type { ScanPolicy } from '../tree/scan.ts'
import type { Attributes, DirectoryNode, TreeNode } from '../tree/tree.ts'
import { initrdSizeRule, MEMBER_ALIGNMENT, prependedArchives } from './initrd-parts.ts'
import { type ImageProduct, imageProduct } from './product.ts'

/** All paths of a closure go in, at /nix/store, with the folders /dev, /proc and /sys; default: none. */
export interface InitrdOptions extends StoreInput {
  /** Archives of the host that come first, as they are; microcode has to be uncompressed. */
  readonly prepend?: readonly string[]
  readonly add?: readonly Addition[]
  readonly links?: readonly Link[]
  readonly nodes?: readonly SpecialNode[]
  /** Default zstd, level 10, as nixpkgs has it for kernels from 5.9 on. */
  readonly compression?: CodecSpec
  /** Time of what is not from the store, whose files have 1 as Nix gives them; default 1. */
  readonly mtimeSeconds?: number
  /** Added paths that are one file of the host stay one file; default false. */
  readonly hardLinks?: boolean
}

/** A symbolic link `target`, a path in the archive, that leads to `destination`. */
export interface Link {
  readonly target: string
  readonly destination: string
}

/** A device or a pipe `target`, a path in the archive, which need not be on the host. */
export interface SpecialNode {
  readonly target: string
  readonly kind: 'characterDevice' | 'blockDevice' | 'fifo'
  /** Of a device; default 0. */
  readonly major?: number
  readonly minor?: number
  /** Permission bits; default 0600. */
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
}

/** What goes into an initrd, as plain data. */
export interface InitrdPlan {
  readonly prepended: readonly { readonly path: string; readonly size: number }[]
  readonly pathCount: number
  /** Bytes of all NARs. */
  readonly narBytes: number
  readonly verified: boolean
  readonly recordCount: number
  /** Bytes of the archive before it is compressed. */
  readonly archiveBytes: number
  readonly compression: CodecSpec
}

export const INITRD_DEFAULTS = { compression: { name: 'zstd', level: 10 } as CodecSpec, mtimeSeconds: 1 } as const

/**
 * Load and plan an initrd; nothing is written yet. Throws what `loadStore`, `cpio` and `prependedArchives` throw, USAGE
 * when there is nothing to put in, LIMIT for an initrd of 4 GiB or more; where compression decides, `pack` throws it.
 */
export function initrd(options: InitrdOptions): Promise<ImageProduct<InitrdPlan>> {
  return withSources(options, plannedInitrd)
}

async function plannedInitrd(options: InitrdOptions): Promise<ImageProduct<InitrdPlan>> {
  const { prepend = [], add = [], links = [], nodes = [], compression = INITRD_DEFAULTS.compression } = options
  const mtimeSeconds = options.mtimeSeconds ?? INITRD_DEFAULTS.mtimeSeconds
  const folder: Attributes = { mode: 0o755, uid: 0, gid: 0, mtimeSeconds }
  const policy: ScanPolicy = {
    attributes: (kind, host) => ({ ...folder, mode: kind === 'symlink' ? 0o777 : host.mode }),
    hardLinks: options.hardLinks === true,
  }
  const hasClosure = options.closure !== undefined || options.paths !== undefined
  if (prepend.length + add.length + links.length + nodes.length === 0 && !hasClosure) {
    throw new ImageError('USAGE', 'an initrd needs something to hold: a closure, added files, links, devices, or archives to prepend')
  }
  const prepended = await prependedArchives(prepend, options.onProgress)
  const store = hasClosure ? await storePart(options, folder) : undefined
  const trees = [
    ...(store === undefined ? [] : [store.tree]),
    ...add.map((one) => addedTree(one, folder, policy, options.onProgress)),
    ...links.map(({ target, destination }) =>
      treeAt(target, { kind: 'symlink', ...folder, mode: 0o777, target: utf8(destination) }, folder),
    ),
    ...nodes.map(({ target, ...node }) => treeAt(target, specialNode(node, mtimeSeconds), folder)),
  ]
  const [first, ...others] = trees
  const archive = first === undefined ? undefined : cpio(mergeTrees(first, ...others))
  const parts = [...prepended, ...(archive === undefined ? [] : [compressedImage(archive, { codec: compression, isLastMember: true })])]
  const plan: InitrdPlan = {
    prepended: prepend.map((path, index) => ({ path, size: prepended[index]?.size ?? 0 })),
    pathCount: store?.pathCount ?? 0,
    narBytes: store?.narBytes ?? 0,
    verified: store?.verified ?? true,
    recordCount: archive?.plan.records.length ?? 0,
    archiveBytes: archive?.size ?? 0,
    compression,
  }
  return imageProduct({
    name: 'initrd',
    named:
      archive === undefined
        ? PREPENDED
        : { what: `an archive compressed by ${compression.name}`, endings: ENDINGS[compression.name], isWrappable: false },
    image: sizeChecked(concatGrowing(parts, MEMBER_ALIGNMENT), initrdSizeRule('initrd', options.onProgress)),
    plan,
    inputs: [...(store?.inputs ?? []), ...prepend, ...add.map(({ source }) => source)],
    source: { narBytes: plan.narBytes, verified: plan.verified },
  })
}

function specialNode(
  { kind, major = 0, minor = 0, mode = 0o600, uid = 0, gid = 0 }: Omit<SpecialNode, 'target'>,
  mtimeSeconds: number,
): TreeNode {
  const attributes: Attributes = { mode, uid, gid, mtimeSeconds }
  return kind === 'fifo' ? { kind, ...attributes } : { kind, ...attributes, major, minor }
}

const ENDINGS: Readonly<Record<CodecSpec['name'], readonly string[]>> = {
  none: ['cpio'],
  gzip: ['gz', 'cpio.gz'],
  zstd: ['zst', 'cpio.zst', 'zstd'],
  xz: ['xz', 'cpio.xz'],
  lz4: ['lz4', 'cpio.lz4'],
}

/** They are as they were given, compressed or not. */
const PREPENDED = { what: 'archives as they were given', endings: Object.values(ENDINGS).flat(), isWrappable: false }

/** What `makeInitrd` of nixpkgs lays out around a closure. */
const MOUNT_POINTS = ['dev', 'proc', 'sys']

async function storePart(options: InitrdOptions, folder: Attributes) {
  const store = await loadStore(options)
  const directory: DirectoryNode = { ...checkedStore(store, 'inOrder').root, ...folder }
  const empty: DirectoryNode = { kind: 'directory', ...folder, entries: [] }
  return {
    tree: mergeTrees(treeAt('nix/store', directory, folder), ...MOUNT_POINTS.map((name) => treeAt(name, empty, folder))),
    pathCount: store.closure.paths.length,
    narBytes: store.narBytes,
    verified: store.digests.length > 0,
    inputs: store.inputs,
  }
}
