/** The question before a device is written to. */
import { createInterface } from 'node:readline/promises'
import { isatty } from 'node:tty'
import { printableText } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import type { BlockDevice } from '../io/block-device.ts'
import { deviceExists } from '../io/output.ts'
import { formatBytes } from './units.ts'

/** Who is asked, and answers. */
export interface Asker {
  readonly isTerminal: boolean
  ask(question: string, signal: AbortSignal): Promise<string>
}

const TERMINAL: Asker = {
  get isTerminal() {
    return isatty(0) && isatty(2)
  },
  async ask(question, signal) {
    const lines = createInterface({ input: process.stdin, output: process.stderr })
    try {
      return await lines.question(question, { signal })
    } finally {
      lines.close()
    }
  },
}

/** Throws EXISTS where nobody can be asked, ABORTED for any answer but yes. */
export async function confirmDevice(device: BlockDevice, signal: AbortSignal, asker: Asker = TERMINAL): Promise<void> {
  if (!asker.isTerminal) throw deviceExists(device)
  const answer = await asker
    .ask(printableText(`${describeDevice(device)}. All that is on it will be lost. Write to it? Type yes: `), signal)
    .catch((cause: unknown) => {
      throw new ImageError('ABORTED', 'cancelled', { cause })
    })
  if (answer.trim() !== 'yes')
    throw new ImageError('ABORTED', `${device.path}: is left as it is; the answer was not yes`, { path: device.path })
}

/** `/dev/sdb (SanDisk Ultra, 28.7 GiB, removable; 2 partitions: sdb1, sdb2)`. */
export function describeDevice({ path, realPath, name, model, size, isRemovable, isPartition, partitions }: BlockDevice): string {
  const where = path === realPath ? path : `${path}, which is ${realPath}`
  const kind = isPartition ? 'one partition of a disk' : isRemovable ? 'removable' : 'not removable'
  const facts = [model || name, formatBytes(size), kind].join(', ')
  const parts =
    partitions.length === 0 ? '' : `; ${partitions.length} partition${partitions.length === 1 ? '' : 's'}: ${partitions.join(', ')}`
  return `${where} (${facts}${parts})`
}
