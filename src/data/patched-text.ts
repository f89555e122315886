/** How a read task names a host file, or a range of one; and a patched one, with the patches that matter for the part that is read. */
import { firstPatchAfter } from '../tree/patch.ts'
import type { HostFileContent, HostRange, Patch, PatchedContent } from '../tree/tree.ts'

/** Before the path of a range: a NUL, with which no path begins, where it begins, and the size of the file. */
const RANGE_HEAD = 17

/** Where the bytes of a content are. */
export interface HostPlace {
  readonly path: Buffer
  readonly range: HostRange | undefined
}

export function placeText({ path, range }: HostFileContent | PatchedContent): Uint8Array {
  if (range === undefined) return path
  const text = Buffer.alloc(RANGE_HEAD + path.length)
  text.writeDoubleLE(range.start, 1)
  text.writeDoubleLE(range.fileSize, 9)
  text.set(path, RANGE_HEAD)
  return text
}

export function parsePlaceText(text: Buffer): HostPlace {
  if (text[0] !== 0) return { path: text, range: undefined }
  return { path: text.subarray(RANGE_HEAD), range: { start: text.readDoubleLE(1), fileSize: text.readDoubleLE(9) } }
}

/** Before the place its length; before the bytes of a patch where they go and how many there are. */
const PLACE_HEAD = 4
const PATCH_HEAD = 12

/** For `length` bytes of the file from `start` on. */
export function patchedText(content: PatchedContent, start: number, length: number): Uint8Array {
  const { patches } = content
  const place = placeText(content)
  const wanted: Patch[] = []
  for (let index = firstPatchAfter(patches, start); index < patches.length; index++) {
    const patch = patches[index] as Patch
    if (patch.position >= start + length) break
    wanted.push(patch)
  }
  const text = Buffer.alloc(wanted.reduce((sum, { bytes }) => sum + PATCH_HEAD + bytes.length, PLACE_HEAD + place.length))
  text.writeUInt32LE(place.length, 0)
  text.set(place, PLACE_HEAD)
  let at = PLACE_HEAD + place.length
  for (const { position, bytes } of wanted) {
    text.writeDoubleLE(position, at)
    text.writeUInt32LE(bytes.length, at + 8)
    text.set(bytes, at + PATCH_HEAD)
    at += PATCH_HEAD + bytes.length
  }
  return text
}

export function parsePatchedText(text: Buffer): HostPlace & { readonly patches: readonly Patch[] } {
  const placeEnd = PLACE_HEAD + text.readUInt32LE(0)
  const patches: Patch[] = []
  for (let at = placeEnd; at < text.length; ) {
    const position = text.readDoubleLE(at)
    const start = at + PATCH_HEAD
    at = start + text.readUInt32LE(at + 8)
    patches.push({ position, bytes: text.subarray(start, at) })
  }
  return { ...parsePlaceText(text.subarray(PLACE_HEAD, placeEnd)), patches }
}
