/** The commands by name, for help and dispatch. */
import type { CommandName } from './options.ts'

export interface CommandInfo {
  readonly summary: string
  readonly usage: string
  readonly examples: readonly { readonly about: string; readonly line: string }[]
}

export const COMMANDS: Readonly<Record<CommandName, CommandInfo>> = {
  iso: {
    summary: 'Write a bootable ISO image with the closure in it',
    usage: 'kilnix iso --closure CLOSURE -o FILE [options]',
    examples: [
      { about: 'An ISO for UEFI; nothing but the closure is needed', line: 'kilnix iso --closure ./closure-info -o nixos.iso' },
      {
        about: 'For BIOS and UEFI, from a store below ./root, with a faster codec',
        line: 'kilnix iso --closure ./closure-info --root ./root --syslinux /usr/lib --compression zstd:3 -o nixos.iso',
      },
      { about: 'Straight onto a USB stick', line: 'kilnix iso --closure ./closure-info -o - > /dev/sdX' },
      { about: 'What would be written', line: 'kilnix iso --closure ./closure-info -o nixos.iso --dry-run' },
    ],
  },
  squashfs: {
    summary: 'Write the closure as a squashfs image, to be mounted as /nix/store',
    usage: 'kilnix squashfs --closure CLOSURE -o FILE [options]',
    examples: [
      { about: 'The store as nixpkgs packs it', line: 'kilnix squashfs --closure ./closure-info -o nix-store.squashfs' },
      {
        about: 'From what the machine has in its store now',
        line: 'nix path-info -r --json /run/current-system | kilnix squashfs --closure - -o nix-store.squashfs',
      },
    ],
  },
}

export const COMMAND_NAMES: readonly CommandName[] = ['iso', 'squashfs']
