/** What of an image carriers bring to a file, and what has to be written by whoever writes the image. */
import {
  type CarriedContent,
  type CarriedGroup,
  type CarriedLoad,
  type CarriedPart,
  type CarriedSource,
  type Carrier,
  type Extent,
  type Image,
  moveExtent,
} from './image.ts'

type Load = Map<CarriedGroup, CarriedPart[]>

export interface SharedOut {
  /** Parts count from the beginning of the file. */
  readonly loads: ReadonlyMap<Carrier, CarriedLoad>
  /** Extents that lie before all that is carried. */
  readonly before: readonly Extent[]
  /** The others, ascending. */
  readonly left: readonly Extent[]
}

/**
 * Share out an image that begins at byte `start` of its file. A group of which the image does not hold all, and what
 * stands in an extent with such a one, is left: then its bytes come in the order of the image, as to any other reader.
 */
export function sharedOut({ extents }: Image, start: number): SharedOut {
  const kept = carriedExtents(extents)
  const loads = new Map<Carrier, Load>()
  const before: Extent[] = []
  const left: Extent[] = []
  let first = Number.POSITIVE_INFINITY
  const addLeft = (extent: Extent): unknown => (start + extent.start < first ? before : left).push(extent)
  for (const extent of extents) {
    const carried = kept.get(extent)
    if (carried === undefined) {
      addLeft(extent)
      continue
    }
    for (const part of carried.parts()) {
      const at = start + extent.start + part.start
      first = Math.min(first, at)
      addPart(loads, { ...part, start: at })
    }
    for (const rest of carried.rest()) addLeft(moveExtent(rest, extent.start))
  }
  return { loads, before, left }
}

/** Those of which all groups are whole. */
function carriedExtents(extents: readonly Extent[]): Map<Extent, CarriedContent> {
  const kept = new Map<Extent, CarriedContent>()
  for (const extent of extents) if (extent.carried !== undefined) kept.set(extent, extent.carried)
  // One that is given up takes its groups with it, and they other extents.
  for (let before = -1; before !== kept.size && kept.size > 0; ) {
    before = kept.size
    const broken = brokenGroups(kept.values())
    if (broken.size === 0) break
    for (const [extent, carried] of kept) {
      for (const { source } of carried.parts()) if (broken.has(source.group)) kept.delete(extent)
    }
  }
  return kept
}

function brokenGroups(contents: Iterable<CarriedContent>): Set<CarriedGroup> {
  const sizes = new Map<CarriedGroup, number>()
  for (const content of contents) {
    for (const { source, offset, length } of content.parts()) {
      const count = Math.max(0, Math.min(length, source.size - offset))
      sizes.set(source.group, (sizes.get(source.group) ?? 0) + count)
    }
  }
  const broken = new Set<CarriedGroup>()
  for (const [group, size] of sizes) if (size !== group.size) broken.add(group)
  return broken
}

function addPart(loads: Map<Carrier, Load>, part: CarriedPart): void {
  const { group } = part.source
  const ofCarrier = loads.get(group.carrier) ?? new Map<CarriedGroup, CarriedPart[]>()
  loads.set(group.carrier, ofCarrier)
  const parts = ofCarrier.get(group)
  if (parts === undefined) ofCarrier.set(group, [part])
  else parts.push(part)
}

/** The source that is all of an image; undefined where it is none, or more than that. */
export function wholeSource({ size, extents: [extent] }: Image): CarriedSource | undefined {
  if (extent?.carried === undefined || extent.length !== size) return undefined
  const [part, more] = extent.carried.parts()
  return more === undefined && part?.offset === 0 && part.length === size && part.source.size === size ? part.source : undefined
}
