/**
 * Whether a registered content address is that of the path's contents, and the path's name that of the address (Nix
 * manual, "Store Path Specification"; `libstore/content-address.cc`).
 *
 * Not supported: addresses of Git trees (`fixed:git:`), which are reported as not checked.
 */
import { createHash } from 'node:crypto'
import { quote, utf8 } from '../../bytes/text.ts'
import { imageChunks } from '../../io/stream.ts'
import { contentExtents } from '../../tree/content.ts'
import type { TreeNode } from '../../tree/tree.ts'
import { hashNar, NAR_HASHES, type NarHashAlgorithm } from '../nar/digest.ts'
import { CONTENT_ADDRESS_SCHEMES, type ContentAddressScheme } from '../store/address-scheme.ts'
import { moduloHashes } from '../store/content-address.ts'
import { fingerprintHashPart } from '../store/fingerprint.ts'
import { formatHex, formatNix32, parseTypedNix32 } from '../store/hash.ts'
import { HASH_PART_LENGTH, hashPart, storePath } from '../store/store-path.ts'

/** What is hashed: a text with its references, the bytes of a file, or a NAR. */
type AddressMethod = 'text' | 'flat' | 'nar'

interface ContentAddress {
  readonly method: AddressMethod
  readonly algorithm: NarHashAlgorithm
  readonly digest: Uint8Array
}

export interface AddressedPath {
  readonly baseName: string
  /** As it is registered. */
  readonly ca: string
  /** Full paths, with the path itself where it refers to itself. */
  readonly references: readonly string[]
  readonly node: TreeNode
  /** SHA-256 of the NAR of `node`. */
  readonly narHash: Uint8Array
}

export type AddressVerdict =
  /** `scheme` where that makes a difference: the path holds its own hash part. */
  | { readonly kind: 'right'; readonly scheme?: ContentAddressScheme }
  | { readonly kind: 'wrong'; readonly message: string }
  | { readonly kind: 'unknown'; readonly message: string }

/** Contents are read again where the NAR hash does not say it. Throws what reading throws, and ABORTED. */
export async function checkAddress(path: AddressedPath, signal?: AbortSignal): Promise<AddressVerdict> {
  const { baseName, ca } = path
  const address = parseAddress(ca)
  if (address === undefined) {
    return {
      kind: 'unknown',
      message: `its content address ${quote(ca)} is of a kind that is not checked; known are text:, fixed: and fixed:r:`,
    }
  }
  const own = storePath(baseName)
  const others = path.references.filter((reference) => reference !== own)
  const expected = addressHashPart(address, baseName.slice(HASH_PART_LENGTH + 1), others, others.length < path.references.length)
  if (expected !== hashPart(baseName)) {
    return { kind: 'wrong', message: `a path with its name, references and content address ${ca} has the hash part ${expected}` }
  }
  const found = await contentDigests(address, path, others, signal)
  if (found.length === 0) return { kind: 'wrong', message: `its content address is ${ca}, that of a file, and it is none` }
  const match = found.find(({ digest }) => Buffer.compare(digest, address.digest) === 0)
  if (match !== undefined) return { kind: 'right', ...(match.scheme && { scheme: match.scheme }) }
  const actual = found.map(({ digest }) => `${address.algorithm}:${formatNix32(digest)}`).join(' or ')
  return { kind: 'wrong', message: `its content address is ${ca}, but its contents have ${actual}` }
}

function parseAddress(ca: string): ContentAddress | undefined {
  const [, prefix = '', hash = ''] = /^(text:|fixed:r:|fixed:)(.*)$/.exec(ca) ?? []
  const method = ({ 'text:': 'text', 'fixed:r:': 'nar', 'fixed:': 'flat' } as const)[prefix]
  const typed = parseTypedNix32(hash)
  const algorithm = NAR_HASHES.find((candidate) => candidate === typed?.algorithm)
  if (method === undefined || typed === undefined || algorithm === undefined) return undefined
  return method === 'text' && algorithm !== 'sha256' ? undefined : { method, algorithm, digest: typed.digest }
}

function addressHashPart(
  { method, algorithm, digest }: ContentAddress,
  name: string,
  references: readonly string[],
  self: boolean,
): string {
  const listed = references.map((reference) => `:${reference}`).join('')
  if (method === 'text') return fingerprintHashPart(`text${listed}`, digest, name)
  if (method === 'nar' && algorithm === 'sha256') return fingerprintHashPart(`source${listed}${self ? ':self' : ''}`, digest, name)
  const inner = createHash('sha256').update(utf8(`fixed:out:${method === 'nar' ? 'r:' : ''}${algorithm}:${formatHex(digest)}:`))
  return fingerprintHashPart('output:out', inner.digest(), name)
}

interface ContentDigest {
  readonly digest: Uint8Array
  /** Whose it is, where there is another. */
  readonly scheme?: ContentAddressScheme
}

/**
 * What the contents may be addressed by; none for something else than a file where the address is that of one. A path that
 * holds its own hash part need not be registered as one that refers to itself.
 */
async function contentDigests(
  { method, algorithm, digest }: ContentAddress,
  { baseName, node, narHash, references }: AddressedPath,
  others: readonly string[],
  signal: AbortSignal | undefined,
): Promise<ContentDigest[]> {
  const options = signal ? { signal } : {}
  if (method === 'nar') {
    if (algorithm !== 'sha256') return [{ digest: (await hashNar(node, storePath(baseName), { algorithm, ...options })).hash }]
    if (others.length === references.length && Buffer.compare(narHash, digest) === 0) return [{ digest: narHash }]
    const { ownCount, ...hashes } = await moduloHashes(node, baseName, options)
    if (ownCount === 0) return [{ digest: hashes.zeros }]
    return CONTENT_ADDRESS_SCHEMES.map((scheme) => ({ digest: hashes[scheme], scheme }))
  }
  if (node.kind !== 'file') return []
  const hash = createHash(algorithm)
  const image = { size: node.size, extents: contentExtents(node, 0, storePath(baseName)) }
  for await (const chunk of imageChunks(image, options)) hash.update(chunk)
  return [{ digest: hash.digest() }]
}
