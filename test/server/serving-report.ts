/** What the server in a process of its own serves, and says at its end. */
export const SAMPLE_MEBIBYTES = 8

export interface ServingReport {
  /** The most that was resident, beyond what was when it began to listen. */
  readonly residentBytes: number
  /** File descriptors beyond those from before it listened. */
  readonly openFiles: number
  readonly finished: number
  readonly dropped: number
}
