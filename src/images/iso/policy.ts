/** Owners and permissions of what comes from the host. */
import type { ScanPolicy } from '../../tree/scan.ts'
import type { Attributes } from '../../tree/tree.ts'

/** Owners become 0, and permissions those of a read-only medium. */
export function readOnlyPolicy(folder: Attributes): ScanPolicy {
  return {
    attributes: (kind, host) => ({
      ...folder,
      mode: kind === 'symlink' ? 0o777 : kind === 'directory' || host.mode & 0o111 ? 0o555 : 0o444,
    }),
  }
}
