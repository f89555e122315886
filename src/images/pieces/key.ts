/**
 * The names of pieces: `<name>-<key>-<SHA-256 of the content>.<suffix>`. The key stands for all that the content is
 * made from, so that a piece that is found equals one that would be built; the checksum in the name makes files that
 * describe others unnecessary, and two processes that build the same piece give it the same name.
 */

import { createHash } from 'node:crypto'
import type { CodecName, CodecSpec } from '../../codecs/codec.ts'
import { checkCodecSpec, formatCodecSpec } from '../../codecs/spec.ts'
import { compressorVersion } from '../../codecs/version.ts'
import { ImageError } from '../../errors.ts'
import type { Closure, ClosurePath } from '../../nix/listing/closure.ts'
import type { StorePlaces } from '../../nix/store/listed-tree.ts'
import type { StoreOverlay } from '../../nix/store/store-tree.ts'

/** `squashfs`: an image that holds the store path. `cpio`: records named `nix/store/...`, compressed, zeros to a multiple of 4. */
export type PieceSettings =
  | { readonly kind: 'squashfs'; readonly codec: CodecSpec; readonly blockSize: number }
  | { readonly kind: 'cpio'; readonly codec: CodecSpec }

/** To be raised when the bytes of any piece become others for reasons that are not in its key. */
const FORMAT_VERSION = 1

/** Hexadecimal digits of a key: 128 bits. */
const KEY_LENGTH = 32

/** What is left of a file name of 255 bytes for the piece's own name, besides key, checksum and suffix. */
const SHOWN_NAME_LENGTH = 140

const CPIO_SUFFIXES: Readonly<Record<CodecName, string>> = {
  zstd: 'cpio.zst',
  gzip: 'cpio.gz',
  xz: 'cpio.xz',
  lz4: 'cpio.lz4',
  none: 'cpio',
}

/** What is known of a piece before its content. */
export interface PieceKey {
  /** Shown in the file name, as far as it fits; the key tells pieces apart. */
  readonly name: string
  readonly key: string
  readonly suffix: string
}

/** How a piece is built, besides its settings. */
export interface KeyedBuild {
  readonly caseHack: boolean
  readonly verified: boolean
  /** As `compressorVersion` gives it. */
  readonly compressor: string
}

/** The key of a store path's piece. One that is built without a look at the NAR hash is another piece than one with. */
export function storePathKey(path: ClosurePath, settings: PieceSettings, build: KeyedBuild): PieceKey {
  const codec = checkCodecSpec(settings.codec)
  const parts = [
    'store path',
    path.path,
    Buffer.from(path.narHash ?? []).toString('hex'),
    String(path.narSize),
    settings.kind,
    formatCodecSpec(codec),
    settings.kind === 'squashfs' ? String(settings.blockSize) : '',
    build.compressor,
    build.caseHack ? 'case hack undone' : '',
    build.verified ? 'verified' : '',
  ]
  return { name: path.baseName, key: keyOf(parts), suffix: settings.kind === 'squashfs' ? 'squashfs' : CPIO_SUFFIXES[codec.name] }
}

const SUFFIX = /^[0-9A-Za-z.]+$/

/** The key of any other piece; `parts` are all that its content is made from, but for the compressors. Throws USAGE for a suffix that no file name can have. */
export function otherKey(name: string, parts: readonly string[], suffix: string): PieceKey {
  if (!SUFFIX.test(suffix)) throw new ImageError('USAGE', `a piece's suffix is '${suffix}'; letters, digits and dots are possible`)
  const compressors = (Object.keys(CPIO_SUFFIXES) as CodecName[]).map(compressorVersion)
  return { name, key: keyOf(['other', ...compressors, name, ...parts]), suffix }
}

function keyOf(parts: readonly string[]): string {
  return createHash('sha256')
    .update(JSON.stringify([FORMAT_VERSION, ...parts]))
    .digest('hex')
    .slice(0, KEY_LENGTH)
}

/** The file name of a piece whose content has this checksum (lower-case hex). */
export function pieceFileName({ name, key, suffix }: PieceKey, sha256: string): string {
  const shown = name.replace(/^\.|[^0-9A-Za-z+\-._?=]/g, '_').slice(0, SHOWN_NAME_LENGTH)
  return `${shown}-${key}-${sha256}.${suffix}`
}

const FILE_NAME = /^[^.].*-([0-9a-f]{32})-([0-9a-f]{64})\.([0-9A-Za-z.]+)$/

/** What the name of a file in the folder says, or undefined where it is not that of a piece. */
export function parseFileName(fileName: string): { readonly key: string; readonly sha256: string; readonly suffix: string } | undefined {
  const [, key, sha256, suffix] = FILE_NAME.exec(fileName) ?? []
  return key === undefined || sha256 === undefined || suffix === undefined ? undefined : { key, sha256, suffix }
}

export interface PieceInput extends StorePlaces {
  /** With the hashes of all paths. */
  readonly closure: Closure
  /** Store paths that are neither there nor in NARs. */
  readonly overlay?: StoreOverlay
  /** The store was written by Nix on macOS: undo its case hack. */
  readonly caseHack?: boolean
  /** Compare the NAR hash of every path that is built with the listing; default true. Then no piece is used that was built without. */
  readonly verify?: boolean
}

/** What another piece than that of a store path is made from. */
export interface OtherPieceKey {
  /** For people. */
  readonly name: string
  /** All that decides on the content; the versions of the compressors are added. */
  readonly parts: readonly string[]
  /** Of the file name, such as `squashfs`. */
  readonly suffix: string
}
