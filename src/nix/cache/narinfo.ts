/** narinfo files: what a binary cache says of one store path (`libstore/nar-info.cc`). */
import { quote } from '../../bytes/text.ts'
import { badInput } from '../../errors.ts'
import { checkNarHash, checkNarSize, isDeriver, parseDecimal } from '../listing/listing.ts'
import { isContentAddress } from '../store/hash.ts'
import { checkBaseName, parseStorePath, sortNames, storePath } from '../store/store-path.ts'

export interface NarInfo {
  /** `/nix/store/<base name>` */
  readonly path: string
  readonly baseName: string
  /** Of the file, relative to the cache. */
  readonly url: string
  /** As it is written; `bzip2` where nothing is. */
  readonly compression: string
  /** SHA-256 of the compressed file, and its bytes, where they are said. */
  readonly fileHash?: Uint8Array
  readonly fileSize?: number
  readonly narHash: Uint8Array
  readonly narSize: number
  /** Full paths, sorted, each once. */
  readonly references: readonly string[]
  /** Full path. */
  readonly deriver?: string
  /** `name:base 64` */
  readonly signatures: readonly string[]
  readonly ca?: string
}

/** A path with thousands of references has some 100 KiB; bytes. */
export const NARINFO_LIMIT = 4 << 20

/** Lines are `Name: value`; names that are not known are left alone. Throws BAD_INPUT; `where` names the file. */
export function parseNarInfo(text: string, where: string): NarInfo {
  const fields = new Map<string, string>()
  const signatures: string[] = []
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const colon = line.indexOf(':')
    if (colon <= 0)
      throw badInput(`${where}:${index + 1}`, `the line ${quote(line.slice(0, 80))} is no 'Name: value'; this is no narinfo file`)
    const name = line.slice(0, colon)
    const value = line.slice(colon + 1).trim()
    if (name === 'Sig') signatures.push(value)
    else if (fields.has(name)) throw badInput(`${where}:${index + 1}`, `${quote(name)} stands there twice`)
    else fields.set(name, value)
  }
  const required = (name: string): string => {
    const value = fields.get(name)
    if (value === undefined || value === '') throw badInput(where, `it has no ${name}; this is no narinfo file, or it is damaged`)
    return value
  }
  const baseName = parseStorePath(required('StorePath'), `${where}: StorePath`)
  const names = (fields.get('References') ?? '').split(/\s+/).filter((name) => name !== '')
  const references = names.map((name) => storePath(checkBaseName(name, `${where}: References`)))
  const deriver = fields.get('Deriver')
  const fileHash = fields.get('FileHash')
  const fileSize = fields.get('FileSize')
  const ca = fields.get('CA')
  if (ca !== undefined && ca !== '' && !isContentAddress(ca))
    throw badInput(where, `its CA ${quote(ca.slice(0, 80))} is no content address`)
  return {
    path: storePath(baseName),
    baseName,
    url: required('URL'),
    compression: fields.get('Compression') || 'bzip2',
    ...(fileHash && { fileHash: checkNarHash(fileHash, `${where}: FileHash`) }),
    // Some servers make files on the way and say 0.
    ...(fileSize && fileSize !== '0' && { fileSize: parseDecimal(fileSize, 'FileSize', where) }),
    narHash: checkNarHash(required('NarHash'), `${where}: NarHash`),
    narSize: checkNarSize(parseDecimal(required('NarSize'), 'NarSize', where), where),
    references: sortNames([...new Set(references)]),
    ...(deriver && isDeriver(deriver) && { deriver: storePath(checkBaseName(deriver, `${where}: Deriver`)) }),
    signatures,
    ...(ca && { ca }),
  }
}
