/** What is done with store paths that are scanned, in whatever thread. */
import type { WorkModule } from '../../threads/work.ts'
import { type PackedScan, ScanPacker } from '../../tree/packed-scan.ts'
import { scanHost } from '../../tree/scan.ts'
import { storePolicy } from './store-policy.ts'

export interface ScanSetup {
  readonly mtimeSeconds: number
}

export interface ScanTask {
  /** On the host. */
  readonly paths: readonly string[]
}

export const work: WorkModule<ScanSetup, ScanTask, PackedScan> = {
  module: import.meta.url,
  open({ mtimeSeconds }, { isStopped }) {
    const policy = storePolicy(mtimeSeconds)
    return {
      run({ paths }) {
        const packer = new ScanPacker()
        for (const path of paths) {
          if (isStopped()) break
          packer.add(scanHost(path, policy))
        }
        return packer.finish()
      },
      moved: ({ attributes, bytes }) => [attributes.buffer, bytes.buffer],
    }
  },
}
