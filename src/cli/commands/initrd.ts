import { imageCommand } from '../command.ts'
import { storeInput } from '../input.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { flag, linkage } from '../values.ts'
import { nodeValue } from '../values-initrd.ts'

export default imageCommand({
  name: 'initrd',
  writes: 'image',
  help: {
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
  rows: {
    ...rows.SOURCE,
    closure: row({ ...rows.LISTING, defaultText: 'no store paths' }),
    verify: rows.VERIFY,
    caseHack: rows.CASE_HACK,
    output: rows.FILE,
    force: rows.FORCE,
    ...rows.DRY_RUN,
    compression: rows.ARCHIVE_COMPRESSION,
    jobs: rows.JOBS,
    memory: rows.MEMORY,
    prepend: rows.PREPEND,
    add: rows.ADD,
    links: row({
      type: linkage(),
      group: 'Image',
      flag: 'link',
      repeatable: true,
      about: 'Put a symbolic link TARGET into the archive that leads to DESTINATION',
    }),
    nodes: row({
      type: nodeValue(),
      group: 'Image',
      flag: 'node',
      repeatable: true,
      about:
        'Put a device into the archive, which nobody has to have on the host, as /dev/console=c:5:1, or a pipe (p); mode 0600 unless said',
    }),
    hardLinks: row({
      type: flag(),
      group: 'Image',
      default: false,
      about: 'Added paths that are one file of the host stay one file',
    }),
    mtimeSeconds: row({ ...rows.MTIME, defaultText: 'SOURCE_DATE_EPOCH, else 1, as files of the store have it' }),
    ...rows.BUILDING,
  },
  check: ({ add, links, nodes }) => rows.checkTargets(add, links, nodes),
  async make(given, context) {
    const { initrd } = await import('../../images/initrd.ts')
    return initrd({ ...given, ...storeInput(given, context) })
  },
})
