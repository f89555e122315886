/**
 * Is `kilnix iso` as fast as mksquashfs and xorriso one after the other, as nixpkgs runs them?
 *
 *     MKSQUASHFS=/path/to/mksquashfs-4.7 node bench/iso.ts [zstd:3/1M] [zstd:19/1M]
 */
import { readFileSync } from 'node:fs'
import { contest, KILNIX, LARGE, MKSQUASHFS, requireClosure } from './contest.ts'

const DEFAULT_SETTINGS = ['zstd:3/1M', 'zstd:19/1M']
const JOBS = process.env['JOBS'] ?? '2'
const SYSLINUX = process.env['SYSLINUX'] ?? '/usr/lib'
const EFI = process.env['EFI'] ?? '/usr/lib/systemd/boot/efi/systemd-bootx64.efi'

requireClosure()
const toplevel = readFileSync(`${LARGE}/toplevel`, 'utf8').trim()

for (const setting of process.argv.length > 2 ? process.argv.slice(2) : DEFAULT_SETTINGS) {
  const [compression = '', blockSize = ''] = setting.split('/')
  const [codec, level] = compression.split(':')
  const ours = `${KILNIX} iso --closure ${LARGE} --root ${LARGE}/root --compression ${compression} --block-size ${blockSize} --jobs ${JOBS} --syslinux ${SYSLINUX} --efi-boot ${EFI} -o $OUT`
  contest(
    setting,
    [
      { name: 'kilnix', command: ours },
      { name: 'mksquashfs, then xorriso', command: referenceCommand(codec ?? '', level ?? '', blockSize) },
    ],
    Number(process.env['ROUNDS'] ?? (Number(level ?? 1) > 9 ? 1 : 3)),
  )
}

/** The two calls of nixpkgs' make-squashfs.nix and make-iso9660-image.sh, with the same kernel, initrd and boot program. */
function referenceCommand(codec: string, level: string, blockSize: string): string {
  return `
    W=$OUT.work; rm -rf $W; mkdir -p $W/isolinux $W/boot $W/efi/EFI/BOOT; trap 'rm -rf $W' EXIT
    cd ${LARGE}; cp registration $W/nix-path-registration
    SOURCE_DATE_EPOCH=0 ${MKSQUASHFS} $W/nix-path-registration $(sed 's|^|root|' store-paths) $W/nix-store.squashfs -no-hardlinks -keep-as-directory -all-root -root-mode 0755 -b ${blockSize} -comp ${codec} -Xcompression-level ${level} -processors ${JOBS} -quiet -no-progress
    cp ${SYSLINUX}/ISOLINUX/isolinux.bin ${SYSLINUX}/syslinux/modules/bios/{ldlinux,libcom32,libutil,vesamenu}.c32 $W/isolinux/
    cp root$(readlink root${toplevel}/kernel) $W/boot/bzImage; cp root$(readlink root${toplevel}/initrd) $W/boot/initrd
    cp ${EFI} $W/efi/EFI/BOOT/BOOTX64.EFI; cp $W/boot/* $W/efi/EFI/
    truncate -s $(( $(du -sb $W/efi | cut -f1) * 11 / 10 / 1048576 + 2 ))M $W/boot/efi.img
    mkfs.vfat --invariant -i 12345678 -n EFIBOOT $W/boot/efi.img; mcopy -sQ -i $W/boot/efi.img $W/efi/EFI ::
    xorriso -volume_date all_file_dates =315532800 -as mkisofs -iso-level 3 -volid BENCH -full-iso9660-filenames -joliet -r \\
      -eltorito-boot isolinux/isolinux.bin -eltorito-catalog .boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table \\
      -isohybrid-mbr ${SYSLINUX}/ISOLINUX/isohdpfx.bin -eltorito-alt-boot -e boot/efi.img -no-emul-boot -isohybrid-gpt-basdat \\
      -graft-points -o $OUT isolinux=$W/isolinux boot=$W/boot nix-store.squashfs=$W/nix-store.squashfs`
}
