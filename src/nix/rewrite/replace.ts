/**
 * Replacing paths deep in a closure without building anything: every path that refers to one, directly or not, is
 * rewritten to refer to the other, and gets a path of its own by its content, so that Nix accepts it without a signature.
 *
 * Not supported: references in compressed content, which are named in warnings; names of different lengths.
 */
import { setImmediate } from 'node:timers/promises'
import { printable } from '../../bytes/text.ts'
import { ImageError, throwIfAborted } from '../../errors.ts'
import type { Proof } from '../../io/proven.ts'
import type { FileNode, TreeNode } from '../../tree/tree.ts'
import { provenContent } from '../../tree/verified.ts'
import { type Closure, type ClosurePath, listedPath } from '../listing/closure.ts'
import { type ContentAddressChoice, type ContentAddressScheme, chosenScheme } from '../store/address-scheme.ts'
import { type ContentAddressedPath, contentAddressed } from '../store/content-address.ts'
import { compareNames, HASH_PART_LENGTH, storePath } from '../store/store-path.ts'
import type { StoreOverlay } from '../store/store-tree.ts'
import { compressedKind, holdsCompressed } from './compressed.ts'
import { finalStandIn, planReplacement, type ReplaceOptions, type ReplacePlan } from './replace-plan.ts'
import { type RewriteFinder, rewriteFinder } from './rewrite.ts'

export type { Replacement, ReplaceOptions, ReplacePlan } from './replace-plan.ts'
export { closureRoots, planReplacement } from './replace-plan.ts'

export interface ReplaceContext {
  /** Compare paths that are rewritten with their NAR hashes while they are read; default true. */
  readonly verify?: boolean
  /** How new paths that refer to themselves are hashed; default `auto`, the way of the newest Nix in the new closure. */
  readonly contentAddressScheme?: ContentAddressChoice
  readonly signal?: AbortSignal | undefined
  /** Called once, with the bytes of all NARs that will be read. */
  readonly onBegin?: ((totalBytes: number) => void) | undefined
  /** Bytes of NARs that have been read. */
  readonly onBytes?: ((doneBytes: number) => void) | undefined
}

export interface ReplacedClosure {
  readonly closure: Closure
  /** The rewritten paths. Their contents are those of the old ones with patches; nothing is written. */
  readonly overlay: StoreOverlay
  /** Full path to full path: what was replaced, and what was rewritten. */
  readonly mapping: ReadonlyMap<string, string>
  /** Full paths that were listed and are not in the new closure. */
  readonly dropped: readonly string[]
  /** How rewritten paths that refer to themselves were hashed. */
  readonly contentAddressScheme: ContentAddressScheme
  readonly warnings: readonly string[]
}

/**
 * Replace paths of a closure. `treeOf` gives the tree of a listed path by its base name. Rewritten paths are read here,
 * once or twice, and again when the result is.
 *
 * Throws what `planReplacement` and `contentAddressed` throw.
 */
export async function replaceDependencies(
  closure: Closure,
  treeOf: (baseName: string) => TreeNode,
  options: ReplaceOptions & ReplaceContext,
): Promise<ReplacedClosure> {
  const plan = await planReplacement(closure, options)
  const { scheme, warnings } = replacementScheme(plan, options.contentAddressScheme)
  const made = new Map<string, ContentAddressedPath>()
  const newName = (name: string): string => {
    const last = finalStandIn(name, plan.standIns)
    return made.get(last)?.baseName ?? last
  }
  let doneBytes = 0
  options.onBegin?.(plan.rewritten.reduce((sum, name) => sum + (listedPath(closure, name)?.narSize ?? 0), 0))
  for (const name of plan.rewritten) {
    await setImmediate()
    throwIfAborted(options.signal, 'cancelled while paths were rewritten')
    const listed = requireListed(closure, name)
    const others = listed.references.filter((reference) => reference !== listed.path).map(baseNameOf)
    const rewrites = new Map(others.map((other) => [other, newName(other)] as const).filter(([from, to]) => from !== to))
    const compressed: [file: FileNode, kind: string][] = []
    let proofs: ReadonlyMap<FileNode, Proof> = new Map()
    const tree = treeOf(name)
    const result = await contentAddressed(
      {
        name: name.slice(HASH_PART_LENGTH + 1),
        tree,
        references: others.map((other) => storePath(newName(other))),
        selfReference: name,
        refersToItself: listed.references.includes(listed.path),
        scheme,
        rewrites,
        ...registeredAs(listed, options),
      },
      {
        signal: options.signal,
        onBytes: (bytes) => options.onBytes?.(doneBytes + bytes),
        onFile: (file, head) => {
          const kind = compressedKind(head)
          if (kind !== undefined) compressed.push([file, kind])
        },
        onProven: (found) => {
          proofs = found
        },
      },
    )
    doneBytes += result.narSize
    made.set(name, result)
    warnings.push(...compressedWarnings(listed.path, tree, compressed, { finder: rewriteFinder(rewrites, name), proofs }))
  }
  return { ...newClosure(closure, plan.kept, made), mapping: mappingOf(plan, newName), contentAddressScheme: scheme, warnings }
}

/** How new paths are hashed, by what the new closure holds; and the warnings of the plan, with that of this choice. */
export function replacementScheme(
  { kept, rewritten, warnings }: ReplacePlan,
  choice: ContentAddressChoice = 'auto',
): { readonly scheme: ContentAddressScheme; readonly warnings: string[] } {
  const { scheme, warning } = chosenScheme(choice, [...kept, ...rewritten])
  return { scheme, warnings: warning === undefined || rewritten.length === 0 ? [...warnings] : [...warnings, warning] }
}

function registeredAs({ path, narHash, narSize }: ClosurePath, { verify = true }: ReplaceContext) {
  return verify && narHash !== undefined && narSize !== undefined ? { registered: { path, hash: narHash, size: narSize } } : {}
}

function newClosure(
  closure: Closure,
  kept: readonly string[],
  made: ReadonlyMap<string, ContentAddressedPath>,
): Pick<ReplacedClosure, 'closure' | 'overlay' | 'dropped'> {
  const paths = new Map<string, ClosurePath>(kept.map((name) => [name, requireListed(closure, name)]))
  const overlay = new Map<string, TreeNode>()
  for (const { path, baseName, narHash, narSize, references, ca, tree } of made.values()) {
    // Two paths that differed in what was replaced may have become one, or one that was there.
    if (paths.has(baseName)) continue
    paths.set(baseName, { path, baseName, narHash, narSize, references, ca })
    overlay.set(baseName, tree)
  }
  const sorted = [...paths.values()].sort((a, b) => compareNames(a.baseName, b.baseName))
  const hashesKnown = sorted.every(({ narHash }) => narHash !== undefined)
  const dropped = closure.paths.filter(({ baseName }) => !paths.has(baseName)).map(({ path }) => path)
  return { closure: { ...closure, paths: sorted, hashesKnown }, overlay, dropped }
}

function mappingOf({ standIns, rewritten }: ReplacePlan, newName: (name: string) => string): Map<string, string> {
  return new Map([...standIns.keys(), ...rewritten].map((name) => [storePath(name), storePath(newName(name))]))
}

/** Files that a warning names; the others are counted. */
const NAMED_FILES = 5

/** One warning for what is known to hold an old name, and one for what may. */
function compressedWarnings(
  path: string,
  tree: TreeNode,
  files: readonly (readonly [FileNode, string])[],
  { finder, proofs }: { readonly finder: RewriteFinder; readonly proofs: ReadonlyMap<FileNode, Proof> },
): string[] {
  if (files.length === 0) return []
  const names = new Map(namedFiles(tree, path))
  const certain: string[] = []
  const possible: string[] = []
  for (const [file, kind] of files) {
    const isFound = holdsCompressed({ ...file, content: provenContent(file.content, proofs.get(file)) }, kind, finder)
    if (isFound !== false) (isFound ? certain : possible).push(`${names.get(placeOf(file)) ?? path} (${kind})`)
  }
  const warn = (what: string, list: readonly string[]): string[] => {
    if (list.length === 0) return []
    const more = list.length > NAMED_FILES ? ` and ${list.length - NAMED_FILES} more` : ''
    return [`${path}: ${what}: ${list.slice(0, NAMED_FILES).join(', ')}${more}`]
  }
  return [
    ...warn('compressed files hold the name of a replaced path, and keep it', certain),
    ...warn('compressed files may hold the name of a replaced path, and would keep it', possible),
  ]
}

/** By which a file is known when its node has got a proof: where it lies on the host, else the bytes themselves. */
function placeOf({ content }: FileNode): unknown {
  return 'path' in content ? Buffer.from(content.path).toString('latin1') : content
}

/** Files by their place; where several names lead to one, the last. */
function* namedFiles(node: TreeNode, path: string): Generator<[unknown, string]> {
  if (node.kind === 'file') yield [placeOf(node), path]
  if (node.kind === 'directory') for (const entry of node.entries) yield* namedFiles(entry.node, `${path}/${printable(entry.name)}`)
}

function requireListed(closure: Closure, name: string): ClosurePath {
  const listed = listedPath(closure, name)
  if (listed === undefined) throw new ImageError('NOT_FOUND', `${storePath(name)}: is not in the listing`, { path: storePath(name) })
  return listed
}

function baseNameOf(path: string): string {
  return path.slice(storePath('').length)
}
