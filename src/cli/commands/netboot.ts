import { folderCommand } from '../command.ts'
import { storeInput } from '../input.ts'
import { NETBOOT_ROWS, piecesText } from '../netboot-rows.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { formatBytes, formatShare } from '../units.ts'
import { compression, flag } from '../values.ts'

export default folderCommand({
  name: 'netboot',
  writes: 'folder',
  help: {
    summary: 'Write a folder with kernel, initrds and iPXE script, to boot the closure over a network',
    usage: 'kilnix netboot PATH|--closure CLOSURE -o DIR [options]',
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
  rows: {
    ...NETBOOT_ROWS,
    output: rows.FOLDER,
    force: rows.FORCE_FOLDER,
    ...rows.DRY_RUN,
    kexec: row({
      type: flag(),
      group: 'Image',
      default: false,
      about: 'Write a folder kexec with a script kexec-boot that starts the system from a running Linux, and a tarball of it',
    }),
    kexecCompression: row({
      type: compression(),
      group: 'Image',
      defaultText: 'gzip:1',
      about: 'Codec and level of that tarball; what is in it is compressed already',
    }),
    ...rows.BUILDING,
  },
  async make(given, context) {
    const { netboot } = await import('../../images/netboot/index.ts')
    return netboot({ ...given, ...storeInput(given, context) })
  },
  summary(product, saved) {
    const { kernel, initrds, narBytes, pathCount } = product.plan
    const loaded = [kernel, ...initrds].map((name) => saved.find(({ path }) => path === name)?.size ?? 0)
    const size = loaded.reduce((sum, bytes) => sum + bytes, 0)
    const ratio = narBytes === 0 ? '' : `, ${formatShare(size, narBytes, 'the closure')}`
    return `${formatBytes(size)} to load${ratio}, ${pathCount} store paths${piecesText(product.pieces())}`
  },
})
