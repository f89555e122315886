/** From a tree and options to the file systems of a pool. Pure: no content is read. */
import { checkDepth } from '../../tree/depth.ts'
import type { DirectoryNode } from '../../tree/tree.ts'
import type { DatasetPlan } from './dataset-plan.ts'
import { planStyle, usedFeatures } from './dataset-style.ts'
import { type DatasetSpec, planDatasets } from './datasets.ts'
import type { Txgs } from './mos/datasets.ts'
import { type ResolvedOptions, resolveOptions, type ZfsPoolOptions } from './options.ts'
import { planSize, type SizePlan } from './plan-size.ts'
import { storedPoolProperty } from './pool-properties.ts'
import { spreadTree } from './spread.ts'
import { planFileSystem } from './zpl/plan.ts'

export interface ZfsPlan {
  readonly options: ResolvedOptions
  readonly txgs: Txgs
  /** Parents before their children, the pool's own first. */
  readonly datasets: readonly DatasetPlan[]
  /** Bytes of all files, each hard link once. */
  readonly contentBytes: number
  readonly size: SizePlan
}

/** The first that a real pool has on disk; blocks must be younger than the origin of datasets. */
const ORIGIN_TXG = 1
/** `TXG_INITIAL`: no dataset can be rolled back to an older snapshot. */
const INITIAL_TXG = 4
/** An import reads all blocks again that are no older than this. */
const RECENT_TXGS = 4

/** Throws USAGE, LIMIT or UNSUPPORTED. */
export function planZfs(root: DirectoryNode, options: ZfsPoolOptions): ZfsPlan {
  checkDepth(root)
  const resolved = resolveOptions(options)
  const specs = planDatasets(resolved)
  for (const [name, value] of Object.entries(resolved.poolProperties)) {
    storedPoolProperty(name, value, (dataset) => (specs.some((spec) => spec.name === dataset) ? 1 : undefined))
  }
  const trees = spreadTree(root, specs)
  const datasets = specs.map((spec, index): DatasetPlan => {
    const tree = trees[index] as DirectoryNode
    const isSnapped = spec.snapshots.some(({ state }) => state === 'empty')
    const style = planStyle(spec, resolved)
    const rules = { hasProjects: resolved.accounts.projects, names: style.names }
    const fileSystem = planFileSystem(tree, rules)
    const empty = planFileSystem({ ...tree, entries: [] }, rules)
    return {
      spec,
      fileSystem,
      empty: isSnapped ? empty : undefined,
      style,
      features: usedFeatures(style, fileSystem, resolved),
      emptyFeatures: usedFeatures(style, empty, resolved),
    }
  })
  const size = planSize(resolved, datasets)
  const contentBytes = contentBytesOf(datasets)
  return { options: { ...resolved, geometry: size.geometry }, txgs: txgsOf(specs), datasets, contentBytes, size }
}

function txgsOf(specs: readonly DatasetSpec[]): Txgs {
  const most = (state: string): number => Math.max(...specs.map(({ snapshots }) => snapshots.filter((own) => own.state === state).length))
  const content = INITIAL_TXG + most('empty')
  return { origin: ORIGIN_TXG, created: INITIAL_TXG, empty: INITIAL_TXG, content, last: content + most('populated') + RECENT_TXGS }
}

function contentBytesOf(datasets: readonly DatasetPlan[]): number {
  let bytes = 0
  for (const { fileSystem } of datasets) for (const { node } of fileSystem.nodes) if (node.kind === 'file') bytes += node.size
  return bytes
}
