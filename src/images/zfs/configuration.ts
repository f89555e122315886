/** /etc/nixos/configuration.nix as nixpkgs' ZFS images have it: the file systems, and what the user gives. */

import { compareBytes } from '../../bytes/order.ts'
import { utf8 } from '../../bytes/text.ts'
import type { ZfsDataset } from '../../filesystems/zfs/index.ts'

/**
 * A NixOS module with the datasets that are mounted. `own` is the text of another module, which is imported beside it:
 * any Nix expression that is one.
 */
export function zfsConfiguration(datasets: readonly ZfsDataset[], own?: string): string {
  const fileSystems = fileSystemsModule(datasets)
  if (own === undefined) return fileSystems
  return `{\n  imports = [\n    (${indented(fileSystems.trimEnd(), 4)})\n    (\n${own.trimEnd()}\n    )\n  ];\n}\n`
}

function fileSystemsModule(datasets: readonly ZfsDataset[]): string {
  const mounted = datasets.flatMap(({ name, mount }) => (mount === undefined ? [] : [{ name, mount }]))
  mounted.sort((a, b) => compareBytes(utf8(a.mount), utf8(b.mount)))
  const fileSystems = Object.fromEntries(mounted.map(({ name, mount }) => [mount, { device: name, fsType: 'zfs' }]))
  const json = JSON.stringify({ fileSystems }, null, 2)
  // What would end an indented string of Nix, or begin an expression in it.
  const escaped = json.replace(/''/g, "'''").replace(/\$\{/g, "''${")
  return `builtins.fromJSON ''\n  ${indented(escaped, 2)}\n''\n`
}

function indented(text: string, columns: number): string {
  return text.replaceAll('\n', `\n${' '.repeat(columns)}`)
}
