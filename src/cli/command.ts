/** What a command is. */
import type { ImageProduct, Product } from '../images/product.ts'
import type { SavedFile } from '../io/folder.ts'
import type { ProgressListener } from '../io/progress.ts'
import type { SourceScope } from '../system/input.ts'
import type { LoadedClosure } from '../system/store.ts'
import type { Progress } from './progress.ts'
import type { Given, Rows } from './row.ts'

export interface CommandHelp {
  /** One line without a full stop. */
  readonly summary: string
  readonly usage: string
  readonly examples: readonly { readonly about: string; readonly line: string }[]
}

interface CommandBase<R> {
  /** One word, or two of which the first names a family. */
  readonly name: string
  readonly help: CommandHelp
  readonly rows: R
  /** Throws USAGE for what was given and does not go together. */
  check?(given: Given<R>): void
}

/** What a recipe needs beside its options. */
export interface Context {
  readonly signal: AbortSignal
  readonly onProgress: ProgressListener
  /** Closures that are opened in it are closed when the command ends. */
  readonly sources: SourceScope
}

/** Writes one file, or streams it. */
export interface ImageCommand<R = Rows> extends CommandBase<R> {
  readonly writes: 'image'
  make(given: Given<R>, context: Context): Promise<ImageProduct>
}

/** Writes a folder of images. */
export interface FolderCommand<R = Rows, P extends Product = Product> extends CommandBase<R> {
  readonly writes: 'folder'
  /** Whether what was given makes one file instead, or a stream; `make` then resolves to an `ImageProduct`. */
  writesImage?(given: Given<R>): boolean
  make(given: Given<R>, context: Context): Promise<P>
  /** What the last line says between the path and the time. */
  summary(product: P, saved: readonly SavedFile[]): string
}

/** Writes a store into a folder. */
export interface StoreCommand<R = Rows> extends CommandBase<R> {
  readonly writes: 'store'
  /** Plain data, for --dry-run: what `make` would take long to know may be left out. */
  plan(given: Given<R>, context: Context): Promise<object>
  make(given: Given<R>, context: Context): Promise<StoreProduct>
}

export interface StoreProduct {
  /** The closure that is written. */
  readonly store: LoadedClosure
  /** Full store paths, which are printed as the result. */
  readonly results: readonly string[]
  /** What the last line says first of `written`, whose NARs have `narBytes`. */
  summary(written: readonly string[], narBytes: number): string
}

/** Does something else. */
export interface RunCommand<R = Rows> extends CommandBase<R> {
  /** It goes on until a signal comes, and then its status is its own. */
  readonly isService?: true
  /** Resolves to the exit status. */
  run(given: Given<R>, run: Run): Promise<number>
}

/** All commands, for those that tell of them. */
export interface Catalogue {
  commands(): Promise<readonly Command[]>
  /** The help that `words` name, without any the list of all; it ends in a line feed. Throws USAGE. */
  help(words: readonly string[]): Promise<string>
}

export interface Run {
  readonly catalogue: Catalogue
  readonly signal: AbortSignal
  readonly progress: Progress
  readonly sources: SourceScope
  /** Seconds since the command began. */
  seconds(): number
}

export type Command<R = Rows> = ImageCommand<R> | FolderCommand<R> | StoreCommand<R> | RunCommand<R>

type Named<C, N extends string> = C & { readonly name: N }

/** These keep the types of name and rows. */
export function imageCommand<const N extends string, R extends Rows>(command: Named<ImageCommand<R>, N>): Named<ImageCommand<R>, N> {
  return command
}

export function folderCommand<const N extends string, R extends Rows, P extends Product>(
  command: Named<FolderCommand<R, P>, N>,
): Named<FolderCommand<R, P>, N> {
  return command
}

export function storeCommand<const N extends string, R extends Rows>(command: Named<StoreCommand<R>, N>): Named<StoreCommand<R>, N> {
  return command
}

export function runCommand<const N extends string, R extends Rows>(command: Named<RunCommand<R>, N>): Named<RunCommand<R>, N> {
  return command
}
