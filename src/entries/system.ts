/** `kilnix/system`: a closure opened as a system, systems that are made, and what is installed of one. */
export type { JsonObject } from '../json/parse.ts'
export type { Field as ShapeField, Fields as ShapeFields, Read as ReadShape } from '../json/shape.ts'
export type { Login } from '../nix/cache/address.ts'
export type { CacheHttp } from '../nix/cache/http.ts'
export type { Logins } from '../nix/cache/netrc.ts'
export type { ProxySettings } from '../nix/cache/proxies.ts'
export type { DatabaseOptions } from '../nix/store/database.ts'
export type { DerivationOutputs } from '../nix/store/derivation.ts'
export type { StoreTrees, StoreTreesOptions } from '../nix/store/store-trees.ts'
export type { Addition } from '../system/additions.ts'
export { type AssembledToplevel, type AssembleOptions, assembleToplevel, type MadePath, type PartsStore } from '../system/assemble/index.ts'
export { parseToplevelSpec, type SpecialisationSpec, type ToplevelSpec, toplevelSchema } from '../system/assemble/spec.ts'
export type { Bootspec } from '../system/bootspec.ts'
export type { OpenedSource, SourceScope, StoreInput } from '../system/input.ts'
export { type InstallableSystem, type InstalledAddition, type InstalledOptions, installedTree } from '../system/installed.ts'
export { type SavedStore, type SaveStoreOptions, type StoreToSave, saveStore } from '../system/saved-store.ts'
export { OpenedSources, type OpenOptions, openSource } from '../system/source.ts'
export {
  type CheckedTree,
  checkedStore,
  type LoadedClosure,
  type LoadedStore,
  loadClosure,
  loadStore,
  type StoreCheck,
} from '../system/store.ts'
export { bytesInStore, fileInStore, imageInStore, type StorePlace, textInStore } from '../system/store-files.ts'
export { openSystem, type System, type SystemInput, systemText } from '../system/system.ts'
export * from './closure.ts'
