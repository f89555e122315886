/** The commands by name, for help and dispatch. */
import type { CommandInfo } from './command-info.ts'
import { INSPECTIONS } from './commands-inspect.ts'
import type { CommandName } from './options.ts'

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
  initrd: {
    summary: 'Write an initrd: archives to prepend, and one of store paths, files and links',
    usage: 'kilnix initrd -o FILE [options]',
    examples: [
      {
        about: 'A closure with its init',
        line: 'kilnix initrd --closure ./closure-info --link /init=/nix/store/...-init/bin/init -o initrd',
      },
      {
        about: 'Microcode first, then the initrd that a system has, then one more file',
        line: 'kilnix initrd --prepend ucode.img --prepend /boot/initrd --add /etc/key=./key -o initrd',
      },
    ],
  },
  netboot: {
    summary: 'Write a folder with kernel, initrds and iPXE script, to boot the closure over a network',
    usage: 'kilnix netboot --closure CLOSURE -o DIR [options]',
    examples: [
      { about: 'As nixpkgs has it: bzImage, initrd and netboot.ipxe', line: 'kilnix netboot --closure ./closure-info -o netboot' },
      {
        about: 'Only what has changed is packed again',
        line: 'kilnix netboot --closure ./closure-info --style per-path --pieces ~/.cache/kilnix --force -o netboot',
      },
      {
        about: 'To start it from a running Linux: netboot/kexec/kexec-boot',
        line: 'kilnix netboot --closure ./closure-info --kexec -o netboot',
      },
    ],
  },
  serve: {
    summary: 'Serve kernel, initrds and iPXE script over HTTP, without writing them to a folder',
    usage: 'kilnix serve --closure CLOSURE [options]',
    examples: [
      { about: 'For machines on this host', line: 'kilnix serve --closure ./closure-info --pieces ~/.cache/kilnix' },
      { about: 'For the machines of a network', line: 'kilnix serve --closure ./closure-info --style per-path --listen 192.168.0.1:8080' },
      {
        about: 'For machines that know it by a name',
        line: 'kilnix serve --closure ./closure-info --listen 0.0.0.0:8080 --host boot.example.org',
      },
    ],
  },
  disk: {
    summary: 'Write a disk image with the system installed on it',
    usage: 'kilnix disk --closure CLOSURE -o FILE [options]',
    examples: [
      { about: 'For QEMU with OVMF', line: 'kilnix disk --closure ./closure-info -o nixos.qcow2' },
      {
        about: 'For a cloud; kilnix presets lists what there is',
        line: 'kilnix disk --closure ./closure-info --preset azure -o nixos.vhd',
      },
      {
        about: 'Of 8 GiB, with a file of its own',
        line: 'kilnix disk --closure ./closure-info --size 8G --add /root/.ssh/authorized_keys=./keys:0600 -o nixos.img',
      },
    ],
  },
  zfs: {
    summary: 'Write a boot disk and a disk with a ZFS pool, with the system installed on its datasets',
    usage: 'kilnix zfs --closure CLOSURE -o DIR [options]',
    examples: [
      {
        about: 'DIR/nixos.boot.img and DIR/nixos.root.img; datasets as the system mounts them',
        line: 'kilnix zfs --closure ./closure-info -o disks',
      },
      {
        about: 'With datasets of its own, and a root to roll back to at each boot',
        line: 'kilnix zfs --closure ./closure-info --dataset tank/root:/ --dataset tank/nix:/nix,compression=zstd-19 --snapshot tank/root@blank -o disks',
      },
      {
        about: 'One disk, as large as it has to be',
        line: 'kilnix zfs --closure ./closure-info --layout single-disk --boot-size auto --root-size auto --format qcow2 -o disks',
      },
    ],
  },
  convert: {
    summary: 'Write a disk image in another container',
    usage: 'kilnix convert IN -o FILE [options]',
    examples: [
      { about: 'By the endings of the names', line: 'kilnix convert nixos.img -o nixos.vdi' },
      { about: 'Compressed', line: 'kilnix convert nixos.vmdk --format qcow2-compressed --compression zstd:3 -o nixos.qcow2' },
    ],
  },
  toplevel: {
    summary: 'Assemble the system directory of NixOS from a spec and parts that are built',
    usage: 'kilnix toplevel SPEC.json --closure CLOSURE -o DIR [options]',
    examples: [
      { about: 'The new store paths, and the listing of their closure', line: 'kilnix toplevel system.json --closure ./parts -o ./system' },
      {
        about: 'What would be made, for programs',
        line: 'kilnix toplevel system.json --closure ./parts -o ./system --dry-run --json',
      },
    ],
  },
  replace: {
    summary: 'Put other store paths in place of some, and rewrite all that refers to them',
    usage: 'kilnix replace --closure CLOSURE --replace OLD=NEW -o DIR [options]',
    examples: [
      {
        about: 'A mended library in a system that nobody rebuilds; both are in the listing',
        line: 'nix path-info -r --json SYSTEM NEW | kilnix replace --closure - --replace OLD=NEW -o patched',
      },
      {
        about: 'An ISO of the same, with nothing written in between',
        line: 'kilnix iso --closure closure.json --replace OLD=NEW -o nixos.iso',
      },
    ],
  },
  ...INSPECTIONS,
}

/** In the order of help and documentation. */
export const COMMAND_NAMES = Object.keys(COMMANDS) as readonly CommandName[]

/** First words of the commands that have two. */
export const COMMAND_FAMILIES = { nar: 'Nix archives', closure: 'Closures: sizes, references, differences, checks' } as const

export type CommandFamily = keyof typeof COMMAND_FAMILIES

export function familyMembers(family: CommandFamily): CommandName[] {
  return COMMAND_NAMES.filter((name) => name.startsWith(`${family} `))
}

export function isFamily(word: string | undefined): word is CommandFamily {
  return word !== undefined && Object.hasOwn(COMMAND_FAMILIES, word)
}

/** The command that `words` begin with, and the words behind it. */
export function commandOf(words: readonly string[]): { readonly command: CommandName; readonly rest: readonly string[] } | undefined {
  for (const count of [2, 1]) {
    const command = words.length < count ? undefined : COMMAND_NAMES.find((name) => name === words.slice(0, count).join(' '))
    if (command !== undefined) return { command, rest: words.slice(count) }
  }
  return undefined
}
