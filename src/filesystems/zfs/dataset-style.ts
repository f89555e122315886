/** How the file system of a dataset is written, as its properties want it. */
import { ImageError } from '../../errors.ts'
import type { BlockChecksum } from './checksum.ts'
import { type Compression, parseCompression } from './compression.ts'
import { BLOCK_SIZE_MAXIMUM, CHECKSUM, COMPRESSION } from './constants.ts'
import type { DatasetSpec } from './datasets.ts'
import { FEATURE, featureName, hasFeature } from './features.ts'
import type { CheckedOptions } from './options.ts'
import { nameRulesOf, neededFeature, parseRecordSize } from './properties.ts'
import { recordShape } from './zpl/content.ts'
import type { NameRules } from './zpl/name-rules.ts'
import type { FileSystemPlan } from './zpl/plan.ts'

export interface DatasetStyle {
  /** Of file contents. */
  readonly compression: Compression
  readonly checksum: BlockChecksum
  readonly copies: number
  readonly recordSize: number
  readonly names: NameRules
}

/** Throws USAGE, or UNSUPPORTED when the pool lacks a feature that a property of the dataset needs. */
export function planStyle({ name, properties, effective }: DatasetSpec, { features, compatibility }: CheckedOptions): DatasetStyle {
  for (const [property, value] of Object.entries(properties)) {
    const needed = neededFeature(property, value)
    if (needed === undefined || hasFeature(features, needed)) continue
    const feature = featureName({ guid: needed })
    throw new ImageError(
      'UNSUPPORTED',
      `zfs: ${name}: ${property}=${value} needs the feature ${feature}, which a pool with compatibility=${compatibility} does not have; ` +
        `choose another value, or give the pool the property feature@${feature}=enabled`,
    )
  }
  const { compression = 'off', checksum, copies = '1', recordsize } = effective
  // Without the feature `on` would mean lzjb, which this writer does not have.
  const text = compression === 'on' && !hasFeature(features, FEATURE.lz4) ? 'off' : compression
  return {
    compression: parseCompression(text) ?? { id: COMPRESSION.off },
    // With checksum=off contents have checksums all the same; ZFS verifies what a block pointer says.
    checksum: checksum === 'sha256' ? CHECKSUM.sha256 : CHECKSUM.fletcher4,
    copies: Number(copies),
    recordSize: recordsize === undefined ? BLOCK_SIZE_MAXIMUM : parseRecordSize(recordsize),
    names: nameRulesOf(effective),
  }
}

/** Guids of the features that the blocks of a file system need, which its dataset names. */
export function usedFeatures({ compression, recordSize }: DatasetStyle, plan: FileSystemPlan, { accounts }: CheckedOptions): string[] {
  const hasFiles = plan.nodes.some(({ node }) => node.kind === 'file' && node.size > 0)
  const hasLargeRecords =
    recordSize > BLOCK_SIZE_MAXIMUM &&
    plan.nodes.some(({ node }) => node.kind === 'file' && recordShape(node.size, recordSize).recordSize > BLOCK_SIZE_MAXIMUM)
  return [
    ...(accounts.objects ? [FEATURE.accountsObjects] : []),
    ...(accounts.projects ? [FEATURE.projects] : []),
    ...(compression.id === COMPRESSION.zstd && hasFiles ? [FEATURE.zstd] : []),
    ...(hasLargeRecords ? [FEATURE.largeBlocks] : []),
  ]
}
