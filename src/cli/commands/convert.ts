import { basename } from 'node:path'
import { CONTAINERS } from '../../disks/containers.ts'
import { imageCommand } from '../command.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { standardInput } from '../standard-input.ts'
import { choice, path, text } from '../values.ts'

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
      { about: 'A change, and the disk that it is one of', line: 'kilnix convert change.qcow2 --backing base.qcow2 -o whole.qcow2' },
      { about: 'Two disks in one appliance', line: 'kilnix convert boot.img --additional-disk data.img -o machine.ova' },
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
      about: `The disk image to read: ${READABLE}; compressed as a whole by gzip or zstd, too; a block device, or - for standard input`,
    }),
    inputFormat: row({
      type: choice(CONTAINERS.inputFormats, 'FORMAT'),
      group: 'Input',
      defaultText: 'what the first and last bytes say',
      about: `Format of IN: ${READABLE}`,
    }),
    backing: row({
      type: path('FILE'),
      group: 'Input',
      repeatable: true,
      about:
        'The disk that IN is a change of, its backing file or parent; once more for the one below that. Nothing is opened because an image names it',
    }),
    dataFile: row({ type: path('FILE'), group: 'Input', about: 'The file with the data of a qcow2 that keeps them apart' }),
    extents: row({
      type: path('DIR'),
      group: 'Input',
      about: 'The folder with the files of a vmdk that lies in several, flat or split; they have the names that it says',
    }),
    snapshot: row({ type: text('NAME'), group: 'Input', about: 'The snapshot of a qcow2 to read, by its id or name' }),
    disk: row({ type: text('NAME'), group: 'Input', about: 'The disk of an OVA with several to read, by its name or number' }),
    additionalDisks: row({
      type: path('FILE'),
      flag: 'additional-disk',
      group: 'Input',
      repeatable: true,
      about: 'A further disk for an OVA, behind that of IN',
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
