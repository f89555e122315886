/** Fletcher's checksum as WebAssembly; without WebAssembly its twin in TypeScript gives the same sums. */
import { nativeInstance } from '../../codecs/native.ts'
import { fletcher4Twin } from './fletcher4-twin.ts'

/** The 32 bytes of the checksum as a block pointer has them. The length of `bytes` is a multiple of 4. */
export type Fletcher4 = (bytes: Uint8Array) => Uint8Array

const SUMS_SIZE = 32
/** Bytes that are summed at a time; a larger piece would leave the second-level cache before it is read. */
const PIECE_SIZE = 128 << 10

let opened: Fletcher4 | undefined

export function fletcher4(bytes: Uint8Array): Uint8Array {
  opened ??= fletcher4Native() ?? fletcher4Twin
  return opened(bytes)
}

/** Undefined where there is no WebAssembly. */
export function fletcher4Native(): Fletcher4 | undefined {
  const instance = nativeInstance(SUMS_SIZE + PIECE_SIZE)
  if (instance === undefined) return undefined
  const { bytes: memory } = instance
  const add = instance.exports['fletcher4'] as (source: number, length: number, sums: number) => void
  return (bytes) => {
    memory.fill(0, 0, SUMS_SIZE)
    for (let at = 0; at < bytes.length; at += PIECE_SIZE) {
      const length = Math.min(PIECE_SIZE, bytes.length - at)
      memory.set(bytes.subarray(at, at + length), SUMS_SIZE)
      add(SUMS_SIZE, length, 0)
    }
    return memory.slice(0, SUMS_SIZE)
  }
}
