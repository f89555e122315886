/** What is said of the store paths whose contents are checked. */
import type { ErrorCode } from '../../errors.ts'
import type { ListedPlace } from '../store/listed-tree.ts'
import type { AddressVerdict } from './address.ts'

export interface CheckSetup {
  /** Base names of all paths, which references may lead to. */
  readonly baseNames: readonly string[]
  readonly caseHack: boolean
}

export interface CheckTask extends ListedPlace {
  readonly baseName: string
  readonly references: readonly string[]
  readonly ca: string | undefined
}

/** What is found at a path. */
export interface FoundContents {
  readonly kind: 'found'
  readonly narHash: Uint8Array
  readonly narSize: number
  /** Base names of the paths whose hash parts stand in it, sorted. */
  readonly references: readonly string[]
  /** Undefined where no content address is registered. */
  readonly address: AddressVerdict | undefined
}

export interface Failure {
  readonly kind: 'failure'
  readonly code: ErrorCode
  readonly message: string
}

export type TaskResult = FoundContents | Failure
