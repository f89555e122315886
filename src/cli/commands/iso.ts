import { MENU_DEFAULTS } from '../../boot/menu.ts'
import { imageCommand } from '../command.ts'
import { storeInput } from '../input.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { choice, flag, path, text } from '../values.ts'

export default imageCommand({
  name: 'iso',
  writes: 'image',
  help: {
    summary: 'Write a bootable ISO image with the closure in it',
    usage: 'kilnix iso --closure CLOSURE -o FILE [options]',
    examples: [
      { about: 'An ISO for UEFI; nothing but the closure is needed', line: 'kilnix iso --closure ./closure-info -o nixos.iso' },
      {
        about: 'For BIOS and UEFI, from a store below ./root, with a faster codec',
        line: 'kilnix iso --closure ./closure-info --root ./root --syslinux /usr/lib --compression zstd:3 -o nixos.iso',
      },
      { about: 'Straight onto a USB stick', line: 'kilnix iso --closure ./closure-info -o /dev/sdX' },
      { about: 'What would be written', line: 'kilnix iso --closure ./closure-info -o nixos.iso --dry-run' },
    ],
  },
  rows: {
    ...rows.SYSTEM,
    output: rows.FILE,
    force: rows.FORCE,
    compressImage: row({
      type: flag(),
      group: 'Output',
      default: false,
      about: 'Compress the whole image with zstd at level 3, as the ending .iso.zst does; for standard output',
    }),
    ...rows.DRY_RUN,
    compression: rows.STORE_COMPRESSION,
    blockSize: rows.BLOCK_SIZE,
    jobs: rows.JOBS,
    memory: rows.MEMORY,
    syslinux: row({
      type: path('DIR'),
      group: 'Boot',
      defaultText: 'no BIOS boot',
      about: "Where syslinux is, for BIOS: nixpkgs' package, or /usr/lib on Debian",
    }),
    efiBoot: row({
      type: path('PATH'),
      group: 'Boot',
      defaultText: 'systemd-boot from the closure',
      about:
        'For UEFI: a folder with EFI/BOOT/BOOT*.EFI, of as many machines as there are, or one EFI program; an x86_64 system may have one for 32-bit firmware alone. The menu of GRUB is written where that GRUB looks, also behind a shim',
    }),
    kernelParams: rows.KERNEL_PARAMS,
    ...rows.INITRD_SECRETS,
    timeoutSeconds: row({ ...rows.TIMEOUT, defaultText: String(MENU_DEFAULTS.timeoutSeconds) }),
    menuPrefix: row({ type: text('TEXT'), group: 'Boot', default: MENU_DEFAULTS.labelPrefix, about: 'Before every menu label' }),
    menuSuffix: row({ type: text('TEXT'), group: 'Boot', default: MENU_DEFAULTS.labelSuffix, about: 'After every menu label' }),
    defaultEntry: row({
      type: text('ENTRY'),
      group: 'Boot',
      defaultText: 'the system itself',
      about: 'The entry that boots by itself and stands first: a specialisation (a/b for b in a), or a title of the menu',
    }),
    hideBase: row({
      type: flag(),
      group: 'Boot',
      default: false,
      about: 'No entry for the system itself, only for its specialisations, as isoImage.showConfiguration = false',
    }),
    specialisation: row({
      ...rows.SPECIALISATION,
      about: 'Specialisation whose menu it is: there is an entry for it, and for those in it',
    }),
    volumeId: row({
      type: text('TEXT'),
      group: 'Image',
      defaultText: 'what the system expects, else nixos[-EDITION]-RELEASE-CPU',
      about: 'Volume id of the ISO, 32 characters at most; the scripted stage 1 of NixOS finds the medium by it',
    }),
    labelEdition: row({
      type: text('TEXT'),
      group: 'Image',
      defaultText: 'none',
      about: 'EDITION in the default volume id, such as minimal',
    }),
    hybrid: row({
      type: choice(['gpt', 'nixpkgs', 'none']),
      group: 'Image',
      default: 'gpt',
      about: 'Partition tables for USB sticks: a clean GPT with a protective MBR, the overlapping entries that nixpkgs writes, or none',
    }),
    add: rows.ADD,
    mtimeSeconds: rows.MTIME,
    ...rows.BUILDING,
  },
  check: ({ add }) => rows.checkTargets(add),
  async make(given, context) {
    const { iso } = await import('../../images/iso.ts')
    return iso({ ...given, ...storeInput(given, context) })
  },
})
