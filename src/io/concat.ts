/** Images one after another. */
import { alignUp } from '../bytes/align.ts'
import { ImageError, throwIfAborted } from '../errors.ts'
import { type BuildContext, type GrowingImage, type Image, isGrowing, leastSizeOf, moveExtent } from './image.ts'
import { placeImage } from './stream.ts'
import type { Target } from './target.ts'

/** The images in order, each from a multiple of `alignment` bytes on. The last one's end is the end of the whole. */
export function concatImages(parts: readonly Image[], alignment: number): Image {
  let size = 0
  const extents = parts.flatMap((part) => {
    const start = alignUp(size, alignment)
    size = start + part.size
    return part.extents.map((extent) => moveExtent(extent, start))
  })
  return { size, extents }
}

/**
 * The same where some are growing: each is packed or written where the one before ends. `pack` throws what the
 * parts throw.
 */
export function concatGrowing(parts: readonly (Image | GrowingImage)[], alignment: number): GrowingImage {
  const limits = parts.map((part) => alignUp(isGrowing(part) ? part.sizeLimit : part.size, alignment))
  return {
    sizeLimit: limits.reduce((sum, limit) => sum + limit, 0),
    leastSize: parts.reduce((sum, part) => alignUp(sum, alignment) + leastSizeOf(part), 0),
    async pack(target: Target, start: number, context: BuildContext): Promise<Image> {
      const packed: Image[] = []
      let size = 0
      for (const part of parts) {
        throwIfAborted(context.signal)
        const partStart = alignUp(size, alignment)
        const image = await placeImage(part, target, start + partStart, context)
        packed.push(image)
        size = partStart + image.size
      }
      return concatImages(packed, alignment)
    },
  }
}

/** Either of the two: growing when a part is. */
export function concatenation(parts: readonly (Image | GrowingImage)[], alignment: number): Image | GrowingImage {
  const finished = parts.filter((part): part is Image => !isGrowing(part))
  return finished.length === parts.length ? concatImages(finished, alignment) : concatGrowing(parts, alignment)
}

/** The image with zeros behind it, up to a multiple of `alignment`. */
export function padded(image: Image | GrowingImage, alignment: number): Image | GrowingImage {
  if (!isGrowing(image)) return { size: alignUp(image.size, alignment), extents: image.extents }
  return {
    sizeLimit: alignUp(image.sizeLimit, alignment),
    leastSize: alignUp(leastSizeOf(image), alignment),
    async pack(target: Target, start: number, context: BuildContext): Promise<Image> {
      const { size, extents } = await image.pack(target, start, context)
      return { size: alignUp(size, alignment), extents }
    },
  }
}

export interface SizeRule {
  /** Named in messages. */
  readonly what: string
  /** From this many bytes on `onLarge` is called. */
  readonly warnFrom: number
  /** From this many bytes on the image is LIMIT; `remedy` ends the message. */
  readonly refuseFrom: number
  readonly remedy: string
  readonly onLarge: (size: number) => void
}

/** Throws LIMIT for an image that is larger than whoever reads it can take. */
export function checkImageSize({ size }: Image, rule: SizeRule): void {
  refuseSize(size, rule)
  if (size >= rule.warnFrom) rule.onLarge(size)
}

/** Throws LIMIT where the bytes that are known of so far are too many already. */
export function checkLeastSize(size: number, rule: SizeRule): void {
  refuseSize(size, rule, 'at least ')
}

function refuseSize(size: number, { what, refuseFrom, remedy }: SizeRule, atLeast = ''): void {
  if (size < refuseFrom) return
  throw new ImageError('LIMIT', `${what}: ${atLeast}${size} bytes, it has to be smaller than ${refuseFrom}; ${remedy}`)
}

/**
 * A growing image whose size is checked as soon as it is known: here, where its parts are too large already (LIMIT); while
 * it is packed, at the first byte that is beyond the limit; and at the end.
 */
export function sizeChecked(image: GrowingImage, rule: SizeRule): GrowingImage {
  checkLeastSize(leastSizeOf(image), rule)
  return {
    sizeLimit: image.sizeLimit,
    leastSize: leastSizeOf(image),
    async pack(target: Target, start: number, context: BuildContext): Promise<Image> {
      const packed = await image.pack(bounded(target, start, rule), start, context)
      checkImageSize(packed, rule)
      return packed
    },
  }
}

/** The target, which takes no byte of an image that lies there from `start` on and is larger than the rule allows. */
function bounded(target: Target, start: number, rule: SizeRule): Target {
  return {
    async write(position, bytes) {
      checkLeastSize(position + bytes.length - start, rule)
      await target.write(position, bytes)
    },
    read: (position, length) => target.read(position, length),
    setSize: (size) => target.setSize(size),
    flush: () => target.flush?.(),
  }
}
