/** The hash part of a store path, from what it is made of (Nix manual, "Store Path Specification"; `libstore/store-dir-config.cc`). */
import { createHash } from 'node:crypto'
import { utf8 } from '../../bytes/text.ts'
import { formatHex, formatNix32 } from './hash.ts'
import { STORE_DIRECTORY } from './store-path.ts'

/** Bytes of a hash part: 160 bits. */
const FOLDED_BYTES = 20

/** The 32 digits of `<type>:sha256:<hex of inner>:<store directory>:<name>`, whose SHA-256 is folded to 160 bits by exclusive or. */
export function fingerprintHashPart(type: string, inner: Uint8Array, name: string): string {
  const digest = createHash('sha256')
    .update(utf8(`${type}:sha256:${formatHex(inner)}:${STORE_DIRECTORY}:${name}`))
    .digest()
  const folded = new Uint8Array(FOLDED_BYTES)
  for (const [index, byte] of digest.entries()) folded[index % FOLDED_BYTES] = (folded[index % FOLDED_BYTES] ?? 0) ^ byte
  return formatNix32(folded)
}
