/** The real Nix on a store in a folder, kept from the host's own store, configuration and caches. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { oracle, run, runOk, type ToolResult } from '../oracles/tools.ts'

/** Stores in a folder are for root, and need no more than Nix itself. */
const tools = oracle('nix-store', 'nix')
export const skipNix = tools.skip || (process.getuid?.() !== 0 && process.env.CI !== 'true')

export interface NixTools {
  /** Run `tool` on the store below `root`; must succeed. */
  readonly ok: (root: string, tool: string, args: readonly string[], input?: Uint8Array) => ToolResult
  /** The same, with any exit status. */
  readonly run: (root: string, tool: string, args: readonly string[], input?: Uint8Array) => ToolResult
}

/** `home` is a folder that is made here. */
export function nixTools(home: string): NixTools {
  mkdirSync(home)
  writeFileSync(join(home, 'nix.conf'), 'build-users-group =\nsandbox = false\nsubstituters =\nexperimental-features = nix-command\n')
  const env = {
    HOME: home,
    NIX_CONF_DIR: home,
    NIX_USER_CONF_FILES: '/dev/null',
    NIX_REMOTE: '',
    NIX_PATH: '',
    XDG_CACHE_HOME: join(home, 'cache'),
  }
  // `nix` takes the store behind its subcommand, all others take it first.
  const arguments_ = (root: string, tool: string, args: readonly string[]): string[] =>
    tool === 'nix' ? [...args, '--store', root] : ['--store', root, ...args]
  return {
    ok: (root, tool, args, input) => runOk(tool, arguments_(root, tool, args), { env, ...(input && { input }) }),
    run: (root, tool, args, input) => run(tool, arguments_(root, tool, args), { env, ...(input && { input }) }),
  }
}
