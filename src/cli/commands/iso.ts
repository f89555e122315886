import { MENU_DEFAULTS } from '../../boot/menu.ts'
import { MENU_STYLES } from '../../boot/menu-look.ts'
import { ISO_FIRMWARES } from '../../images/iso/firmware.ts'
import { imageCommand } from '../command.ts'
import { storeInput } from '../input.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { choice, flag, path, text } from '../values.ts'
import { menuAddition } from '../values-boot.ts'

export default imageCommand({
  name: 'iso',
  writes: 'image',
  help: {
    summary: 'Write a bootable ISO image with the closure in it',
    usage: 'kilnix iso PATH|--closure CLOSURE -o FILE [options]',
    examples: [
      { about: 'An ISO for UEFI, of a system that Nix has built here', line: 'kilnix iso ./result -o nixos.iso' },
      {
        about: 'The same without Nix, from a binary cache',
        line: 'kilnix iso --from https://cache.nixos.org /nix/store/HASH-NAME -o nixos.iso',
      },
      { about: 'From a listing of the closure', line: 'kilnix iso --closure ./closure-info -o nixos.iso' },
      {
        about: 'For BIOS and UEFI, from a store below ./root, with a faster codec',
        line: 'kilnix iso --closure ./closure-info --root ./root --syslinux /usr/lib --compression zstd:3 -o nixos.iso',
      },
      {
        about: 'With Memtest86+ in the menu, for BIOS and UEFI alike, and on a serial port',
        line: "kilnix iso --closure ./closure-info --syslinux /usr/lib --entry 'Memtest86+=./memtest86plus.efi' --serial-console ttyS0 -o nixos.iso",
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
    firmware: row({
      type: choice(ISO_FIRMWARES),
      group: 'Boot',
      defaultText: 'both with --syslinux, else uefi',
      about: 'What is to start the image; bios leaves out the EFI system partition',
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
    entries: row({
      type: menuAddition(),
      group: 'Boot',
      flag: 'entry',
      repeatable: true,
      about:
        'A further entry: an EFI program (systemd-boot, GRUB) or what is made as a kernel of Linux (isolinux), such as Memtest86+ or an EFI shell; several files of one title are one entry, of which each boot loader takes the first that it can start; next-device leaves the medium (GRUB, isolinux)',
    }),
    menu: row({
      type: choice(MENU_STYLES),
      group: 'Boot',
      default: 'graphical',
      about: 'Whether GRUB and isolinux may use a graphical screen for their menus; systemd-boot is always in text',
    }),
    menuTitle: row({
      type: text('TEXT'),
      group: 'Boot',
      defaultText: 'NixOS; that of the theme',
      about: "Heading of isolinux' menu and of a theme for GRUB",
    }),
    grubTheme: row({
      type: path('DIR'),
      group: 'Boot',
      defaultText: 'none, or what --efi-boot brings',
      about: 'Theme for GRUB: a folder with theme.txt, whose fonts are loaded',
    }),
    splash: row({
      type: path('FILE'),
      group: 'Boot',
      defaultText: 'none',
      about: 'Picture behind the menus of isolinux and of GRUB without a theme: a PNG or JPEG, for isolinux of 800x600',
    }),
    serialConsole: row({
      type: text('PORT[,SPEED]'),
      group: 'Boot',
      defaultText: 'none; isolinux is on ttyS0 in any case',
      about:
        'Menus of GRUB and isolinux, and the messages and console of the kernel, on a serial port of a PC as well: ttyS0 to ttyS3, at 115200 unless SPEED says otherwise; systemd-boot is where the firmware is',
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
    mediaCheck: row({
      type: flag(),
      group: 'Image',
      default: false,
      about:
        'Implant an MD5 of the image as isomd5sum does, by which checkisomd5 finds a medium that is damaged; the image is read once more',
    }),
    seed: rows.SEED,
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
