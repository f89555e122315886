/** What a network boot consists of, as plain data. */
import type { CodecSpec } from '../../codecs/codec.ts'

/** How the store gets to the machine. */
export const NETBOOT_STYLES = ['single', 'manifest', 'per-path'] as const

export type NetbootStyle = (typeof NETBOOT_STYLES)[number]

export interface NetbootPlan {
  readonly style: NetbootStyle
  readonly toplevel: string
  readonly specialisation: string | undefined
  readonly system: string
  readonly label: string
  /** File names. */
  readonly kernel: string
  readonly initrds: readonly string[]
  /** The kernel command line without `initrd=`. */
  readonly parameters: string
  readonly pathCount: number
  /** Bytes of all NARs. */
  readonly narBytes: number
  readonly verified: boolean
  readonly compression: CodecSpec
  readonly initrdCompression: CodecSpec
}
