/** What datasets use, as their directories count it (OpenZFS `include/sys/dsl_dir.h`, `dd_used_t`). */
import { ImageError } from '../../../errors.ts'
import { addSpace, type BlockPointer, NO_SPACE, type Space } from '../block-pointer.ts'
import type { DatasetSpec } from '../datasets.ts'
import { parseSize, type SizeProperty } from '../properties.ts'
import type { WrittenObjset } from '../zpl/emit.ts'

/** A dataset after its file systems were written. */
export interface DatasetContent {
  readonly spec: DatasetSpec
  readonly head: WrittenObjset
  /** The file system as it was made, when it has empty snapshots; `pointers` are its blocks that lie on the device. */
  readonly empty: (WrittenObjset & { readonly pointers: readonly BlockPointer[] }) | undefined
  /** Guids of the features that blocks of the head need. */
  readonly features: readonly string[]
  /** And of the empty one. */
  readonly emptyFeatures: readonly string[]
}

export interface Usage extends Space {
  readonly usedByHead: number
  readonly usedBySnapshots: number
  readonly usedByChildren: number
  readonly usedByChildReservations: number
  readonly usedByReservation: number
}

export function sizeProperty({ spec }: DatasetContent, name: SizeProperty): number {
  return parseSize(name, spec.properties[name] ?? 'none')
}

/** What the head has that no snapshot has: nothing, once a snapshot was taken of the same state. */
export function uniqueToHead({ spec, head }: DatasetContent): number {
  return spec.snapshots.some(({ state }) => state === 'populated') ? 0 : head.space.used
}

/** Of each dataset; `metaSpace` counts as a child of the first. `contents` has parents before their children. */
export function directoryUsages(contents: readonly DatasetContent[], metaSpace: Space): Usage[] {
  const childSpace = contents.map((_, index) => (index === 0 ? metaSpace : NO_SPACE))
  const reserved = contents.map(() => 0)
  const usages: Usage[] = []
  for (const [index, content] of [...contents.entries()].reverse()) {
    const { head, empty, spec } = content
    const below = childSpace[index] ?? NO_SPACE
    const unique = uniqueToHead(content)
    const parts = {
      // `DD_USED_HEAD` is all that the head refers to, though snapshots may have it too.
      usedByHead: head.space.used,
      usedBySnapshots: empty?.space.used ?? 0,
      usedByChildren: below.used,
      usedByChildReservations: reserved[index] ?? 0,
      usedByReservation: Math.max(0, sizeProperty(content, 'refreservation') - unique),
    }
    const own = addSpace(addSpace(head.space, empty?.space ?? NO_SPACE), below)
    const used = own.used + parts.usedByChildReservations + parts.usedByReservation
    const usage = { ...own, ...parts, used }
    usages.unshift(usage)
    if (spec.parent === undefined) continue
    childSpace[spec.parent] = addSpace(childSpace[spec.parent] ?? NO_SPACE, usage)
    reserved[spec.parent] = (reserved[spec.parent] ?? 0) + Math.max(0, sizeProperty(content, 'reservation') - used)
  }
  return usages
}

/** Of the pool's space this part is for ZFS itself: `spa_slop_shift` is 5. */
const SLOP_DIVISOR = 32

/** Throws LIMIT for a dataset that its quota does not hold, and for reservations that the pool does not. */
export function checkUsages(contents: readonly DatasetContent[], poolSize: number): void {
  const usages = directoryUsages(contents, NO_SPACE)
  for (const [index, content] of contents.entries()) {
    const { name } = content.spec
    const used = { quota: usages[index]?.used ?? 0, refquota: content.head.space.used }
    for (const property of ['quota', 'refquota'] as const) {
      const limit = sizeProperty(content, property)
      if (limit === 0 || used[property] <= limit) continue
      throw new ImageError('LIMIT', `zfs: ${name} takes ${used[property]} bytes, its ${property} is ${limit}; give it more`)
    }
  }
  const all = Math.max(usages[0]?.used ?? 0, ...contents.slice(0, 1).map((root) => sizeProperty(root, 'reservation')))
  const available = poolSize - Math.floor(poolSize / SLOP_DIVISOR)
  if (contents.some((content) => isReserving(content)) && all > available) {
    throw new ImageError(
      'LIMIT',
      `zfs: with its reservations the pool needs ${all} bytes and has ${available}; reserve less, or make it larger`,
    )
  }
}

function isReserving(content: DatasetContent): boolean {
  return sizeProperty(content, 'reservation') > 0 || sizeProperty(content, 'refreservation') > 0
}
