/** Codec names and levels: what may be asked for, and how it is written (`zstd:19`, `gzip`, `lz4:hc`). */
import { ImageError } from '../errors.ts'
import type { CodecName, CodecSpec } from './codec.ts'

/** The level that stands for `lz4:hc`, the one high-compression mode of lz4. */
export const LZ4_HC_LEVEL = 12

export interface LevelRange {
  readonly minimum: number
  readonly maximum: number
  readonly default: number
}

/** Codecs with numbered levels. `lz4` and `none` have no number to choose. */
export const LEVEL_RANGES: Readonly<Partial<Record<CodecName, LevelRange>>> = {
  gzip: { minimum: 1, maximum: 9, default: 9 },
  zstd: { minimum: 1, maximum: 22, default: 19 },
  xz: { minimum: 0, maximum: 9, default: 6 },
}

const NAMES: readonly CodecName[] = ['zstd', 'gzip', 'xz', 'lz4', 'none']

const ALLOWED = 'use zstd[:1-22], gzip[:1-9], xz[:0-9], lz4, lz4:hc or none'

/**
 * Parse `name` or `name:level`; a codec with levels gets its default when none is given.
 *
 * @throws ImageError USAGE for an unknown name or a level outside the codec's range.
 */
export function parseCodecSpec(text: string): CodecSpec {
  const colon = text.indexOf(':')
  const name = NAMES.find((candidate) => candidate === (colon < 0 ? text : text.slice(0, colon)))
  if (name === undefined) throw new ImageError('USAGE', `compression '${text}': there is no such codec; ${ALLOWED}`)
  const levelText = colon < 0 ? undefined : text.slice(colon + 1)
  if (levelText === undefined) return checkCodecSpec({ name })
  if (name === 'lz4' && levelText === 'hc') return { name, level: LZ4_HC_LEVEL }
  if (!/^(0|[1-9][0-9]?)$/.test(levelText)) {
    throw new ImageError('USAGE', `compression '${text}': '${levelText}' is not a level of ${name}; ${ALLOWED}`)
  }
  return checkCodecSpec({ name, level: Number(levelText) })
}

/** The text that `parseCodecSpec` reads back as the same spec. */
export function formatCodecSpec(spec: CodecSpec): string {
  const { name, level } = checkCodecSpec(spec)
  if (level === undefined) return name
  return name === 'lz4' ? 'lz4:hc' : `${name}:${level}`
}

/**
 * The spec with its default level filled in.
 *
 * @throws ImageError USAGE for a level the codec does not have.
 */
export function checkCodecSpec(spec: CodecSpec): CodecSpec {
  const { name, level } = spec
  const range = LEVEL_RANGES[name]
  if (range === undefined) {
    if (level === undefined || (name === 'lz4' && level === LZ4_HC_LEVEL)) return spec
    throw new ImageError('USAGE', `compression '${name}:${level}': ${name} has no level ${level}; ${ALLOWED}`)
  }
  if (level === undefined) return { name, level: range.default }
  if (!Number.isInteger(level) || level < range.minimum || level > range.maximum) {
    throw new ImageError('USAGE', `compression '${name}:${level}': levels of ${name} are ${range.minimum} to ${range.maximum}; ${ALLOWED}`)
  }
  return spec
}
