/** The commands, in the order of help and documentation: a line each. One that is run loads no other. */
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

export type CommandName = keyof typeof IMPORTERS

export const COMMAND_NAMES = Object.keys(IMPORTERS) as readonly CommandName[]

export type NamedCommand = Command & { readonly name: CommandName }

export async function loadCommand(name: CommandName): Promise<NamedCommand> {
  const { default: command }: { readonly default: NamedCommand } = await IMPORTERS[name]()
  if (command.name !== name) throw new RangeError(`the file of kilnix ${name} has kilnix ${command.name}`)
  return command
}

export function loadCommands(names: readonly CommandName[] = COMMAND_NAMES): Promise<readonly NamedCommand[]> {
  return Promise.all(names.map(loadCommand))
}
