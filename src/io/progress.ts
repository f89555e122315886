/** What the library reports while it works; it never prints. */
export type ProgressEvent =
  /** A stage begins; `totalBytes` is undefined where it cannot be known. */
  | { readonly kind: 'stage'; readonly stage: Stage; readonly totalBytes?: number }
  /** Bytes of the current stage's input (or output, for `write`) done so far. */
  | { readonly kind: 'bytes'; readonly stage: Stage; readonly doneBytes: number }
  | { readonly kind: 'note'; readonly message: string }

/**
 * `scan`: listing the store; `fetch`: NARs of binary caches, in bytes of NARs; `open`: what a disk is read for before it is written; `squashfs`: reading, hashing, compressing; `pieces`: the same for one image a store path (its
 * bytes are those of NARs); `hash`: reading and hashing the store; `sum`: adding up the closures of paths; `write`: the rest of the image; `sync`: to stable storage; `compare`: reading back
 * what a device has.
 */
export type Stage =
  | 'scan'
  | 'fetch'
  | 'open'
  | 'replace'
  | 'squashfs'
  | 'pieces'
  | 'hash'
  | 'sum'
  | 'write'
  | 'compress'
  | 'sync'
  | 'compare'

export type ProgressListener = (event: ProgressEvent) => void
