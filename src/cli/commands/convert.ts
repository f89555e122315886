import { basename } from 'node:path'
import { CONTAINERS } from '../../disks/containers.ts'
import { imageCommand } from '../command.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { standardInput } from '../standard-input.ts'
import { choice, path } from '../values.ts'

/** Names of what can be read, as a sentence has them. */
const READABLE = CONTAINERS.inputFormats.join(', ').replace(/, ([^,]+)$/, ' or $1')

export default imageCommand({
  name: 'convert',
  writes: 'image',
  help: {
    summary: 'Write a disk image in another container',
    usage: 'kilnix convert IN -o FILE [options]',
    examples: [
      { about: 'By the endings of the names', line: 'kilnix convert nixos.img -o nixos.vdi' },
      { about: 'Compressed', line: 'kilnix convert nixos.vmdk --format qcow2-compressed --compression zstd:3 -o nixos.qcow2' },
    ],
  },
  rows: {
    input: row({
      type: path('IN'),
      group: 'Input',
      required: true,
      positional: true,
      configurable: false,
      about: `The disk image to read: ${READABLE}; a block device, or - for standard input`,
    }),
    inputFormat: row({
      type: choice(CONTAINERS.inputFormats, 'FORMAT'),
      group: 'Input',
      defaultText: 'what the first and last bytes say',
      about: `Format of IN: ${READABLE}`,
    }),
    output: rows.FILE,
    force: rows.FORCE,
    ...rows.DRY_RUN,
    compression: rows.CONTAINER_COMPRESSION,
    jobs: rows.JOBS,
    memory: rows.MEMORY,
    format: row({
      type: choice(CONTAINERS.outputFormats, 'FORMAT'),
      group: 'Image',
      defaultText: 'what the ending of FILE says, else raw',
      about: `Container of the disk: ${CONTAINERS.outputFormats.join(', ')}`,
    }),
    sectorSize: row({
      ...rows.SECTOR_SIZE,
      defaultText: 'what IN says, else what its GPT is made for, else 512',
    }),
    ...rows.MACHINE,
    seed: rows.SEED,
    mtimeSeconds: row({
      ...rows.MTIME,
      about: 'Time in containers that have one',
      defaultText: 'SOURCE_DATE_EPOCH, else the first that the format has',
    }),
    ...rows.BUILDING,
  },
  async make(given, context) {
    const { convertDisk } = await import('../../images/disk/convert.ts')
    const { output } = given
    const stdin = given.input === '-' ? { stdin: standardInput(context.signal) } : {}
    return convertDisk({ ...(output !== '-' && { fileName: basename(output) }), ...given, ...context, ...stdin })
  },
})
