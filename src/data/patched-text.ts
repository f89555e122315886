/** How a read task names a patched host file: its path, and the patches that matter for the part that is read. */
import { firstPatchAfter } from '../tree/patch.ts'
import type { Patch, PatchedContent } from '../tree/tree.ts'

/** Before the path its length; before the bytes of a patch where they go and how many there are. */
const PATH_HEAD = 4
const PATCH_HEAD = 12

/** For `length` bytes of the file from `start` on. */
export function patchedText({ path, patches }: PatchedContent, start: number, length: number): Uint8Array {
  const wanted: Patch[] = []
  for (let index = firstPatchAfter(patches, start); index < patches.length; index++) {
    const patch = patches[index] as Patch
    if (patch.position >= start + length) break
    wanted.push(patch)
  }
  const text = Buffer.alloc(wanted.reduce((sum, { bytes }) => sum + PATCH_HEAD + bytes.length, PATH_HEAD + path.length))
  text.writeUInt32LE(path.length, 0)
  text.set(path, PATH_HEAD)
  let at = PATH_HEAD + path.length
  for (const { position, bytes } of wanted) {
    text.writeDoubleLE(position, at)
    text.writeUInt32LE(bytes.length, at + 8)
    text.set(bytes, at + PATCH_HEAD)
    at += PATCH_HEAD + bytes.length
  }
  return text
}

export function parsePatchedText(text: Buffer): { readonly path: Buffer; readonly patches: readonly Patch[] } {
  const pathEnd = PATH_HEAD + text.readUInt32LE(0)
  const patches: Patch[] = []
  for (let at = pathEnd; at < text.length; ) {
    const position = text.readDoubleLE(at)
    const start = at + PATCH_HEAD
    at = start + text.readUInt32LE(at + 8)
    patches.push({ position, bytes: text.subarray(start, at) })
  }
  return { path: text.subarray(PATH_HEAD, pathEnd), patches }
}
