import { imageCommand } from '../command.ts'
import { storeInput } from '../input.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'

export default imageCommand({
  name: 'squashfs',
  writes: 'image',
  help: {
    summary: 'Write the closure as a squashfs image, to be mounted as /nix/store',
    usage: 'kilnix squashfs PATH|--closure CLOSURE -o FILE [options]',
    examples: [
      { about: 'The store as nixpkgs packs it', line: 'kilnix squashfs --closure ./closure-info -o nix-store.squashfs' },
      {
        about: 'From what the machine has in its store now',
        line: 'nix path-info -r --json /run/current-system | kilnix squashfs --closure - -o nix-store.squashfs',
      },
    ],
  },
  rows: {
    ...rows.SOURCE,
    toplevelSpec: rows.TOPLEVEL_SPEC,
    ...rows.STORE_FILES,
    output: rows.FILE,
    force: rows.FORCE,
    ...rows.DRY_RUN,
    compression: rows.STORE_COMPRESSION,
    blockSize: rows.BLOCK_SIZE,
    jobs: rows.JOBS,
    memory: rows.MEMORY,
    mtimeSeconds: row({ ...rows.MTIME, defaultText: 'SOURCE_DATE_EPOCH, else 1970-01-01' }),
    ...rows.BUILDING,
  },
  async make(given, context) {
    const { storeSquashfs } = await import('../../images/squashfs.ts')
    return storeSquashfs({ ...given, ...storeInput(given, context) })
  },
})
