/** Signatures of store paths: Ed25519 (RFC 8032) over a fingerprint (`libstore/path-info.cc`, `libutil/signature`). */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { quote, utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import { formatSha256 } from '../store/hash.ts'
import type { NarInfo } from './narinfo.ts'

/** The key of cache.nixos.org, which is trusted where nobody says anything else. */
export const CACHE_NIXOS_ORG_KEY = 'cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY='

/** By name; several may have the same one. */
export type TrustedKeys = ReadonlyMap<string, readonly KeyObject[]>

const PUBLIC_KEY_BYTES = 32
const SECRET_KEY_BYTES = 64
const SIGNATURE_BYTES = 64

/** What stands before the 32 bytes in a SubjectPublicKeyInfo of Ed25519 (RFC 8410, section 4). */
const KEY_HEADER = Buffer.from('302a300506032b6570032100', 'hex')

/** Public keys as `name:base 64`. Throws USAGE; what is given is not repeated, for it may be a secret key. */
export function trustedKeys(texts: readonly string[]): TrustedKeys {
  const keys = new Map<string, KeyObject[]>()
  for (const [index, text] of texts.entries()) {
    const [name, bytes] = splitNamed(text)
    const which = `public key ${index + 1}`
    if (name === '' || bytes === undefined)
      throw new ImageError('USAGE', `${which} is no 'name:base64', as nix key convert-secret-to-public prints it`)
    if (bytes.length === SECRET_KEY_BYTES)
      throw new ImageError('USAGE', `${which} (${quote(name)}) is a secret key; name the public one, of ${PUBLIC_KEY_BYTES} bytes`)
    if (bytes.length !== PUBLIC_KEY_BYTES)
      throw new ImageError('USAGE', `${which} (${quote(name)}) has ${bytes.length} bytes, a key has ${PUBLIC_KEY_BYTES}`)
    const key = createPublicKey({ key: Buffer.concat([KEY_HEADER, bytes]), format: 'der', type: 'spki' })
    const same = keys.get(name)
    if (same === undefined) keys.set(name, [key])
    else same.push(key)
  }
  return keys
}

/** What is signed: neither deriver nor content address, nor where the file is. */
export function narFingerprint({
  path,
  narHash,
  narSize,
  references,
}: Pick<NarInfo, 'path' | 'narHash' | 'narSize' | 'references'>): string {
  return `1;${path};${formatSha256(narHash)};${narSize};${references.join(',')}`
}

/** Why no signature of `info` is one to trust; undefined where one is. */
export function signatureFault(info: NarInfo, keys: TrustedKeys): string | undefined {
  if (info.signatures.length === 0) return 'it is not signed'
  const fingerprint = utf8(narFingerprint(info))
  const foreign: string[] = []
  const wrong: string[] = []
  for (const text of info.signatures) {
    const [name, bytes] = splitNamed(text)
    const candidates = keys.get(name) ?? []
    if (candidates.length === 0) foreign.push(name)
    else if (bytes?.length === SIGNATURE_BYTES && candidates.some((key) => verify(null, fingerprint, key, bytes))) return undefined
    else wrong.push(name)
  }
  if (wrong.length > 0)
    return `its signature by ${quote(wrong[0] as string)} is not right: another key of this name made it, or what is signed was changed`
  const known = [...keys.keys()].map((name) => quote(name)).join(', ')
  return `it is signed by ${[...new Set(foreign)]
    .slice(0, 5)
    .map((name) => quote(name.slice(0, 100)))
    .join(', ')}, and trusted ${keys.size === 0 ? 'is nobody' : `are ${known}`}`
}

function splitNamed(text: string): [name: string, bytes: Uint8Array | undefined] {
  const colon = text.indexOf(':')
  if (colon < 0) return ['', undefined]
  const base64 = text.slice(colon + 1)
  const bytes = Buffer.from(base64, 'base64')
  return [text.slice(0, colon), bytes.toString('base64').replace(/=+$/, '') === base64.replace(/=+$/, '') ? bytes : undefined]
}
