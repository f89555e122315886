/** `kilnix/closure`: listings of closures, what is in them, paths that are made or replaced. */
export { type CheckOptions, type ClosureNote, type ClosureProblem, type ClosureReport, checkClosure } from '../nix/inspect/check.ts'
export { type ClosureDifference, type ClosureTotals, closureDifference, type PackageDifference } from '../nix/inspect/diff.ts'
export { type ClosureSizes, closureSizes, type InspectOptions, type PathSizes } from '../nix/inspect/sizes.ts'
export { type ChainOptions, referenceChain, referenceChains } from '../nix/inspect/why.ts'
export type { Closure, ClosurePath } from '../nix/listing/closure.ts'
export type { ListingKind } from '../nix/listing/listing.ts'
export { type ReadClosureOptions, readClosure } from '../nix/listing/read.ts'
export { type LocalClosure, type LocalClosureOptions, localClosure } from '../nix/local/index.ts'
export type { NixEnvironment } from '../nix/local/place.ts'
export {
  type ReplaceContext,
  type ReplacedClosure,
  type Replacement,
  type ReplaceOptions,
  replaceDependencies,
} from '../nix/rewrite/replace.ts'
export type { RewritePassOptions, Rewrites } from '../nix/rewrite/rewrite.ts'
export type { ContentAddressChoice, ContentAddressScheme } from '../nix/store/address-scheme.ts'
export { type ContentAddressedInput, type ContentAddressedPath, contentAddressed } from '../nix/store/content-address.ts'
export type { StorePlaces } from '../nix/store/listed-tree.ts'
export type { NarFile, NarFiles } from '../nix/store/nar-file.ts'
export type { StoreOverlay } from '../nix/store/store-tree.ts'
export * from './nodes.ts'
export * from './vocabulary.ts'
