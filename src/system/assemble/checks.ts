/** The checks that nixpkgs makes before a toplevel counts as built. */
import { ImageError } from '../../errors.ts'
import { type ExtendedRegex, extendedRegex } from '../../extended-regex/index.ts'
import type { ProgressListener } from '../../io/progress.ts'
import { isObject } from '../../json/parse.ts'
import type { ClosurePath } from '../../nix/listing/closure.ts'
import { chainTo, reachable } from '../../nix/listing/reachable.ts'
import { compareNames, hashPart } from '../../nix/store/store-path.ts'
import type { TreeNode } from '../../tree/tree.ts'
import type { SpecialisationSpec, ToplevelSpec } from './spec.ts'

/** Offenders that a message names; the others are counted. */
const NAMED_OFFENDERS = 50

/** Store paths that a note names; the others are counted. */
const NAMED_UNKNOWN = 5

const STORE_PATH = /\/nix\/store\/([0-9a-df-np-sv-z]{32}-[\w+.?=-]+)/g

/**
 * A note where texts or links of `tree` name store paths that are not `known` by their hash part: Nix counts them as no
 * references, and they may not be there when the system runs.
 */
export function noteUnknownPaths(
  tree: TreeNode,
  known: ReadonlySet<string>,
  where: string,
  onProgress: ProgressListener | undefined,
): void {
  const unknown = new Set<string>()
  const look = (bytes: Uint8Array): void => {
    for (const [path, baseName = ''] of Buffer.from(bytes).toString('latin1').matchAll(STORE_PATH))
      if (!known.has(hashPart(baseName))) unknown.add(path)
  }
  const visit = (node: TreeNode): void => {
    if (node.kind === 'directory') for (const entry of node.entries) visit(entry.node)
    else if (node.kind === 'symlink') look(node.target)
    else if (node.kind === 'file' && node.content.kind === 'bytes') look(node.content.bytes)
  }
  visit(tree)
  if (unknown.size === 0) return
  const paths = [...unknown].sort(compareNames)
  const more = paths.length > NAMED_UNKNOWN ? ` and ${paths.length - NAMED_UNKNOWN} more` : ''
  const message = `warning: ${where} names store paths that are not in the closure: ${paths.slice(0, NAMED_UNKNOWN).join(', ')}${more}`
  onProgress?.({ kind: 'note', message })
}

/** The toplevel and its specialisations, each with what stands before its messages. */
function* systems(spec: ToplevelSpec): Generator<[prefix: string, spec: SpecialisationSpec]> {
  yield ['', spec]
  for (const [name, child] of spec.specialisations) if (typeof child !== 'string') yield [`specialisation ${name}: `, child]
}

/**
 * Failed assertions end the work, all at once, as `lib.asserts.checkAssertWarn` has it; else warnings are shown. Throws
 * BAD_INPUT.
 */
export function checkAssertions(spec: ToplevelSpec, where: string, onProgress: ProgressListener | undefined): void {
  const failed = [...systems(spec)].flatMap(([prefix, { assertions }]) =>
    assertions.filter(({ assertion }) => !assertion).map(({ message }) => `- ${prefix}${message}`),
  )
  if (failed.length > 0) throw new ImageError('BAD_INPUT', `Failed assertions:\n${failed.join('\n')}`, { path: where })
  for (const [prefix, { warnings }] of systems(spec)) {
    for (const warning of warnings) onProgress?.({ kind: 'note', message: `warning: ${prefix}${warning}` })
  }
}

/** The extension that stage 1 reads (`nixos/modules/system/activation/nixos-init.nix`, `pkgs/by-name/ni/nixos-init` of 26.11). */
const NIXOS_INIT = 'org.nixos.nixos-init.v1'
const ETC_FIELDS = ['etc_basedir', 'etc_metadata_image']
const INIT_FIELDS = ['firmware', 'modprobe_binary', 'nix_store_mount_opts']

/**
 * Stage 1 of NixOS from 26.05 on finds the etc overlay by boot.json, and nixos-init all else that it needs; without them the
 * system does not come up. Up to 25.11 it found the overlay by links in the toplevel.
 */
export function noteMissingExtensions(spec: ToplevelSpec, onProgress: ProgressListener | undefined): void {
  for (const [prefix, { etcOverlay, nixosInit, extensions }] of systems(spec)) {
    const why = nixosInit ? 'nixosInit' : etcOverlay === undefined ? undefined : 'etcOverlay'
    if (why === undefined) continue
    const given = extensions.get(NIXOS_INIT)
    const missing = [...ETC_FIELDS, ...(nixosInit ? INIT_FIELDS : [])].filter((field) => !isObject(given) || given[field] === undefined)
    if (missing.length === 0) continue
    const from = nixosInit ? '' : ' of NixOS from 26.05 on'
    const message = `warning: ${prefix}${why} is given, but extensions has no ${NIXOS_INIT} with ${missing.join(', ')}, without which a stage 1${from} does not start the system`
    onProgress?.({ kind: 'note', message })
  }
}

/** The expressions, which have to be in order before any work is done; empty ones forbid nothing. */
export function forbiddenExpressions({ forbiddenDependenciesRegexes }: SpecialisationSpec, where: string): ExtendedRegex[] {
  return forbiddenDependenciesRegexes.flatMap((source, index) =>
    source === '' ? [] : [extendedRegex(source, `${where}.forbiddenDependenciesRegexes[${index}]`)],
  )
}

/**
 * Throws BAD_INPUT when a path that `toplevel` needs is forbidden: names each, and the chain of references by which it is
 * there. `paths` have the references without those of extra dependencies.
 */
export function checkForbidden(
  paths: readonly Pick<ClosurePath, 'path' | 'references'>[],
  toplevel: string,
  forbidden: readonly ExtendedRegex[],
): void {
  if (forbidden.length === 0) return
  const found = reachable(paths, [toplevel])
  const offenders = [...found.keys()].filter((path) => forbidden.some((regex) => regex.test(path))).sort()
  const [first] = offenders
  if (first === undefined) return
  const lines = offenders.slice(0, NAMED_OFFENDERS).map((path) => {
    const sources = forbidden.filter((regex) => regex.test(path)).map(({ source }) => source)
    return `${path} (forbidden by ${sources.join(' and ')}): ${chainTo(path, found).join(' -> ')}`
  })
  const more = offenders.length > NAMED_OFFENDERS ? [`and ${offenders.length - NAMED_OFFENDERS} more`] : []
  throw new ImageError(
    'BAD_INPUT',
    `System closure ${toplevel} contains the following disallowed paths, each with the references that lead to it:\n${[...lines, ...more].join('\n')}`,
    { path: first },
  )
}
