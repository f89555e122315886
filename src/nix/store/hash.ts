/**
 * SHA-256 digests in the spellings Nix uses: nix32 (its own base 32), base 16, base 64 and SRI
 * (Nix manual, "Store Path Specification" and "nix hash"; W3C Subresource Integrity, 3.5).
 */

/** Base 32 digits of Nix: no e, o, t, u. */
export const NIX32_ALPHABET = '0123456789abcdfghijklmnpqrsvwxyz'

const SHA256_BYTES = 32
const NIX32_LENGTH = 52
const HEX_LENGTH = 64
const BASE64_LENGTH = 44

const DIGIT_OF = new Map([...NIX32_ALPHABET].map((digit, value) => [digit, value]))

/**
 * Bytes to nix32: 5 bits a digit, ceil(bits / 5) digits, the last digit holding the lowest 5 bits of
 * byte 0.
 */
export function formatNix32(bytes: Uint8Array): string {
  let text = ''
  for (let digit = Math.ceil((bytes.length * 8) / 5) - 1; digit >= 0; digit--) {
    const bit = digit * 5
    const index = bit >> 3
    const pair = (bytes[index] ?? 0) | ((bytes[index + 1] ?? 0) << 8)
    text += NIX32_ALPHABET[(pair >> (bit & 7)) & 31]
  }
  return text
}

/** nix32 to `length` bytes; undefined where a digit is foreign, the length is wrong or padding bits are set. */
export function parseNix32(text: string, length: number): Uint8Array | undefined {
  const digitCount = Math.ceil((length * 8) / 5)
  if (text.length !== digitCount) return undefined
  const bytes = new Uint8Array(length)
  for (let digit = 0; digit < digitCount; digit++) {
    const value = DIGIT_OF.get(text.charAt(digitCount - 1 - digit))
    if (value === undefined) return undefined
    const bit = digit * 5
    const index = bit >> 3
    const shifted = value << (bit & 7)
    bytes[index] = (bytes[index] ?? 0) | (shifted & 0xff)
    if (index + 1 < length) bytes[index + 1] = shifted >> 8
    else if (shifted >> 8 !== 0) return undefined
  }
  return bytes
}

/** `sha256:<nix32>`, as registrations, narinfo files and structured attributes have it. */
export function formatSha256(digest: Uint8Array): string {
  return `sha256:${formatNix32(digest)}`
}

/** `sha256-<base 64>`, as `nix path-info --json` has it. */
export function formatSri(digest: Uint8Array): string {
  return `sha256-${Buffer.from(digest).toString('base64')}`
}

/** 64 lower-case digits, as `nix-store --dump-db` has it. */
export function formatHex(digest: Uint8Array): string {
  return Buffer.from(digest).toString('hex')
}

export type HashSpelling = 'sri' | 'base16' | 'base32' | 'base64'

/** A digest as `nix hash path` prints it; only SRI names the algorithm. */
export function formatHash(algorithm: string, digest: Uint8Array, spelling: HashSpelling): string {
  const base64 = Buffer.from(digest).toString('base64')
  switch (spelling) {
    case 'sri':
      return `${algorithm}-${base64}`
    case 'base16':
      return formatHex(digest)
    case 'base32':
      return formatNix32(digest)
    case 'base64':
      return base64
  }
}

/** Bytes of the digests that Nix knows. */
const DIGEST_BYTES: Readonly<Record<string, number>> = { md5: 16, sha1: 20, sha256: 32, sha512: 64, blake3: 32 }

/** An SRI hash of any algorithm that Nix knows as `<algorithm>:<nix32>`, as content addresses have it; undefined for anything else. */
export function respelledHash(sri: string): string | undefined {
  const [, algorithm = '', base64 = ''] = /^([a-z0-9]+)-(.*)$/.exec(sri) ?? []
  const digest = Buffer.from(base64, 'base64')
  if (digest.length !== DIGEST_BYTES[algorithm] || digest.toString('base64') !== base64) return undefined
  return `${algorithm}:${formatNix32(digest)}`
}

/** The digest of `<algorithm>:<nix32>`; undefined for anything else. */
export function parseTypedNix32(text: string): { readonly algorithm: string; readonly digest: Uint8Array } | undefined {
  const [, algorithm = '', digits = ''] = /^([a-z0-9]+):(.*)$/.exec(text) ?? []
  const length = DIGEST_BYTES[algorithm]
  const digest = length === undefined ? undefined : parseNix32(digits, length)
  return digest && { algorithm, digest }
}

/** `<method>:<algorithm>:<nix32>` of the methods that Nix has (`libstore/content-address.cc`): text, file, NAR, Git tree. */
export function isContentAddress(text: string): boolean {
  const [, method, hash = ''] = /^(text|fixed|fixed:r|fixed:git):([a-z0-9]+:[^:]*)$/.exec(text) ?? []
  const typed = parseTypedNix32(hash)
  return typed !== undefined && (method !== 'text' || typed.algorithm === 'sha256')
}

/** A digest, or why the text is none. */
export type ParsedHash = { readonly digest: Uint8Array } | { readonly reason: string }

/**
 * A SHA-256 in any spelling Nix reads: `sha256:` with nix32, base 16 or base 64, `sha256-` with base 64,
 * or bare nix32 or base 16.
 */
export function parseSha256(text: string): ParsedHash {
  const prefix = /^([a-z0-9]+)([:-])/.exec(text)
  if (prefix !== null && prefix[1] !== 'sha256') {
    return { reason: `'${shorten(text)}' is a ${prefix[1]} hash; the hash of a NAR is always sha256` }
  }
  const sri = prefix?.[2] === '-'
  const body = prefix === null ? text : text.slice(prefix[0].length)
  let digest: Uint8Array | undefined
  if (body.length === BASE64_LENGTH && prefix !== null) digest = parseBase64(body)
  else if (body.length === NIX32_LENGTH && !sri) digest = parseNix32(body, SHA256_BYTES)
  else if (body.length === HEX_LENGTH && !sri && /^[0-9a-fA-F]+$/.test(body)) digest = new Uint8Array(Buffer.from(body, 'hex'))
  if (digest !== undefined) return { digest }
  return {
    reason: `'${shorten(text)}' is no SHA-256; known are sha256:<${NIX32_LENGTH} nix32 digits>, sha256-<${BASE64_LENGTH} base 64 digits> and ${HEX_LENGTH} hex digits`,
  }
}

function parseBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64')
  // Node skips foreign characters and takes loose padding; only the canonical spelling comes back the same.
  return bytes.length === SHA256_BYTES && bytes.toString('base64') === text ? new Uint8Array(bytes) : undefined
}

function shorten(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`
}
