/** Contents with other bytes in places: what is read is overlaid while it passes, and nothing is copied before. */
import type { Extent } from '../io/image.ts'
import type { Content, Patch } from './tree.ts'

/** The first of `patches` that ends behind `position`, or their number. */
export function firstPatchAfter(patches: readonly Patch[], position: number): number {
  let [low, high] = [0, patches.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    const patch = patches[middle] as Patch
    if (patch.position + patch.bytes.length <= position) low = middle + 1
    else high = middle
  }
  return low
}

/** Write into `bytes`, which are those from `position` on, what of `patches` falls there. */
export function applyPatches(bytes: Uint8Array, position: number, patches: readonly Patch[]): void {
  const end = position + bytes.length
  for (let index = firstPatchAfter(patches, position); index < patches.length; index++) {
    const patch = patches[index] as Patch
    if (patch.position >= end) return
    const from = Math.max(0, position - patch.position)
    const to = Math.min(patch.bytes.length, end - patch.position)
    bytes.set(patch.bytes.subarray(from, to), patch.position + from - position)
  }
}

/** The chunks that begin at byte `position`, overlaid. A chunk that is changed is a copy: others may share it. */
export async function* patchedChunks(
  chunks: AsyncIterable<Uint8Array>,
  patches: readonly Patch[],
  position: number,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    const next = patches[firstPatchAfter(patches, position)]
    if (next !== undefined && next.position < position + chunk.length) {
      const copy = Uint8Array.from(chunk)
      applyPatches(copy, position, patches)
      yield copy
    } else {
      yield chunk
    }
    position += chunk.length
  }
}

/** The extent with `patches` over it, whose positions count from where the extent's own `start` does. */
export function patchedExtent(extent: Extent, patches: readonly Patch[]): Extent {
  const { start, length, readRange } = extent
  return {
    start,
    length,
    read: () => patchedChunks(extent.read(), patches, start),
    ...(readRange && {
      readRange: (from: number, count: number, buffer?: Uint8Array) =>
        patchedChunks(readRange.call(extent, from, count, buffer), patches, start + from),
    }),
  }
}

/** The content with `patches` over it. */
export function patchedContent(content: Content, patches: readonly Patch[]): Content {
  switch (content.kind) {
    case 'bytes': {
      const bytes = Uint8Array.from(content.bytes)
      applyPatches(bytes, 0, patches)
      return { kind: 'bytes', bytes }
    }
    case 'hostFile':
      return { kind: 'patched', path: content.path, range: content.range, patches, proof: content.proof }
    case 'patched':
      return { ...content, patches: laidOver(content.patches, patches) }
    case 'image': {
      const { size, extents } = content.image
      return { kind: 'image', image: { size, extents: extents.map((extent) => patchedExtent(extent, patches)) } }
    }
  }
}

/** Both lists as one; where two overlap, what is left of the lower one stays. */
function laidOver(lower: readonly Patch[], upper: readonly Patch[]): Patch[] {
  const all: Patch[] = [...upper]
  for (const patch of lower) {
    let { position } = patch
    const end = position + patch.bytes.length
    const keep = (to: number): void => {
      if (to > position) all.push({ position, bytes: patch.bytes.slice(position - patch.position, to - patch.position) })
    }
    for (let index = firstPatchAfter(upper, position); index < upper.length; index++) {
      const over = upper[index] as Patch
      if (over.position >= end) break
      keep(over.position)
      position = over.position + over.bytes.length
    }
    keep(end)
  }
  return all.sort((a, b) => a.position - b.position)
}
