/** What `kilnix netboot` and `kilnix serve` have in common. */
import { NETBOOT_STYLES } from '../images/netboot/plan.ts'
import { row } from './row.ts'
import * as rows from './rows.ts'
import { choice, compression, flag, path, size } from './values.ts'

export const NETBOOT_ROWS = {
  ...rows.SYSTEM,
  compression: row({ ...rows.STORE_COMPRESSION, defaultText: 'zstd:19; for per-path zstd:10' }),
  blockSize: rows.BLOCK_SIZE,
  initrdCompression: row({
    type: compression(),
    group: 'Store',
    defaultText: 'none',
    about: 'Codec and level of the archives around squashfs images, which are compressed already',
  }),
  pieces: row({
    type: path('FOLDER'),
    group: 'Store',
    defaultText: 'none are kept',
    about:
      'Folder of finished pieces: store paths that have not changed are taken from there; nobody else may write to it; several runs may share it, and it may be deleted',
  }),
  piecesLimit: row({
    type: size(0, 2 ** 50),
    group: 'Store',
    needs: 'pieces',
    defaultText: 'no limit',
    about: 'Remove the pieces that were not used for longest until the folder holds no more',
  }),
  jobs: rows.JOBS,
  memory: rows.MEMORY,
  kernelParams: rows.KERNEL_PARAMS,
  ...rows.INITRD_SECRETS,
  style: row({
    type: choice(NETBOOT_STYLES),
    group: 'Boot',
    default: 'single',
    about:
      "How the store gets to the machine: one squashfs behind the system's own initrd, as nixpkgs has it; a squashfs a store path and a manifest of them; or an archive a store path, from which the system starts without a stage 1",
  }),
  uki: row({
    type: flag(),
    group: 'Boot',
    default: false,
    about:
      'A file netboot.efi beside the others: kernel, initrds and parameters as one program (a unified kernel image), which UEFI firmware fetches by HTTP and starts without iPXE; it takes twice its size of memory',
  }),
  specialisation: rows.SPECIALISATION,
  prepend: rows.PREPEND,
} as const

/** `, 3 of 45 pieces built anew` */
export function piecesText(pieces: readonly { readonly reused: boolean }[]): string {
  if (pieces.length === 0) return ''
  const built = pieces.filter(({ reused }) => !reused).length
  return `, ${built} of ${pieces.length} pieces built anew`
}
