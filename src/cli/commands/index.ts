/** The commands, in the order of help and documentation: a line each. One that is run loads no other, but for those that tell of all. */
import type { Command } from '../command.ts'

const IMPORTERS = {
  iso: () => import('./iso.ts'),
  squashfs: () => import('./squashfs.ts'),
  initrd: () => import('./initrd.ts'),
  netboot: () => import('./netboot.ts'),
  serve: () => import('./serve.ts'),
  disk: () => import('./disk.ts'),
  zfs: () => import('./zfs.ts'),
  convert: () => import('./convert.ts'),
  toplevel: () => import('./toplevel.ts'),
  replace: () => import('./replace.ts'),
  'store fetch': () => import('./store-fetch.ts'),
  'nar dump': () => import('./nar-dump.ts'),
  'nar hash': () => import('./nar-hash.ts'),
  'nar restore': () => import('./nar-restore.ts'),
  'nar ls': () => import('./nar-ls.ts'),
  'closure show': () => import('./closure-show.ts'),
  'closure why': () => import('./closure-why.ts'),
  'closure diff': () => import('./closure-diff.ts'),
  'closure check': () => import('./closure-check.ts'),
}

/** What tells of Kilnix itself: neither a file nor a store is looked at. */
const ABOUT_IMPORTERS = {
  presets: () => import('./presets.ts'),
  schema: () => import('./schema.ts'),
  help: () => import('./help.ts'),
}

export type CommandName = keyof typeof IMPORTERS

export type AboutName = keyof typeof ABOUT_IMPORTERS

/** Those that do something. */
export const COMMAND_NAMES = Object.keys(IMPORTERS) as readonly CommandName[]

export const ABOUT_NAMES = Object.keys(ABOUT_IMPORTERS) as readonly AboutName[]

export type NamedCommand<N = CommandName> = Command & { readonly name: N }

export async function loadCommand<const N extends CommandName | AboutName>(name: N): Promise<NamedCommand<N>> {
  const importers: Readonly<Record<CommandName | AboutName, () => Promise<unknown>>> = { ...IMPORTERS, ...ABOUT_IMPORTERS }
  const { default: command } = (await importers[name]()) as { readonly default: NamedCommand<N> }
  if (command.name !== name) throw new RangeError(`the file of kilnix ${name} has kilnix ${command.name}`)
  return command
}

/** Without names all that do something. */
export function loadCommands(): Promise<readonly NamedCommand[]>
export function loadCommands<N extends CommandName | AboutName>(names: readonly N[]): Promise<readonly NamedCommand<N>[]>
export function loadCommands(names: readonly (CommandName | AboutName)[] = COMMAND_NAMES): Promise<readonly NamedCommand<unknown>[]> {
  return Promise.all(names.map((name) => loadCommand(name)))
}
