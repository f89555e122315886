/** The commands, in the order of help and documentation: a line each. They load what they work with when they run. */
import type { Command } from '../command.ts'

const modules = await Promise.all([
  import('./iso.ts'),
  import('./squashfs.ts'),
  import('./initrd.ts'),
  import('./netboot.ts'),
  import('./serve.ts'),
  import('./disk.ts'),
  import('./zfs.ts'),
  import('./convert.ts'),
  import('./toplevel.ts'),
  import('./replace.ts'),
  import('./nar-dump.ts'),
  import('./nar-hash.ts'),
  import('./nar-restore.ts'),
  import('./nar-ls.ts'),
  import('./closure-show.ts'),
  import('./closure-why.ts'),
  import('./closure-diff.ts'),
  import('./closure-check.ts'),
])

export type CommandName = (typeof modules)[number]['default']['name']

export const COMMANDS: readonly (Command & { readonly name: CommandName })[] = modules.map((module) => module.default)
