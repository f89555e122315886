/** The real Nix on a store in a folder, kept from the host's own store, configuration and caches. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { oracle, run, runOk, type ToolResult } from '../oracles/tools.ts'

/** Stores in a folder are for root, and need no more than Nix itself. */
const tools = oracle('nix-store', 'nix')
export const skipNix = tools.skip || (process.getuid?.() !== 0 && process.env.CI !== 'true')

export interface NixProgram {
  /** Debian's suite. */
  readonly suite: string
  /** The folder with its programs; undefined for those that the machine has. */
  readonly folder?: string
}

/** The Nix of this machine, and those that `fixtures/nix/tools.sh` gets; outside CI those that are there. */
export const NIX_PROGRAMS: readonly NixProgram[] = [
  { suite: 'bookworm' },
  ...['trixie', 'sid']
    .map((suite) => ({ suite, folder: join(import.meta.dirname, '../../.cache/nix', suite) }))
    .filter(({ folder }) => process.env.CI === 'true' || existsSync(folder)),
]

export interface NixTools {
  /** Run `tool` on the store below `root`; must succeed. */
  readonly ok: (root: string, tool: string, args: readonly string[], input?: Uint8Array) => ToolResult
  /** The same, with any exit status. */
  readonly run: (root: string, tool: string, args: readonly string[], input?: Uint8Array) => ToolResult
}

/** `home` is a folder that is made here; the programs are those in `folder`, or the machine's. */
export function nixTools(home: string, folder?: string): NixTools {
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
  const program = (tool: string): string => (folder === undefined ? tool : join(folder, tool))
  return {
    ok: (root, tool, args, input) => runOk(program(tool), arguments_(root, tool, args), { env, ...(input && { input }) }),
    run: (root, tool, args, input) => run(program(tool), arguments_(root, tool, args), { env, ...(input && { input }) }),
  }
}
