/**
 * An image with one byte changed, in the content of a chosen file: what every check of the content has to notice. The live system
 * that boots from it names that file and nothing else, so such a boot also shows that all else is whole.
 */
import { constants, copyFile, open } from 'node:fs/promises'
import { join } from 'node:path'
import { type Closure, storePathNamed } from './closures.ts'

const WINDOW = 1 << 22
const SAMPLE = 64

/**
 * Copy `image` to `target` and change one byte in the middle of the content of `file`, which must be stored uncompressed, as
 * incompressible content is. The place is found by its bytes, so that no reader of ours is part of the proof.
 */
export async function damagedCopy(image: string, target: string, file: string): Promise<string> {
  await copyFile(image, target, constants.COPYFILE_FICLONE)
  const content = await open(file, 'r')
  const copy = await open(target, 'r+')
  try {
    const sample = Buffer.alloc(SAMPLE)
    const { size } = await content.stat()
    // A few bytes off any block boundary
    await content.read(sample, 0, SAMPLE, Math.floor(size / 2) + 12_345)
    const offset = await find(copy, sample)
    if (offset === undefined) throw new Error(`${image}: the content of ${file} is not stored as it is`)
    await copy.write(Buffer.of((sample[0] ?? 0) ^ 0x01), 0, 1, offset)
    return target
  } finally {
    await content.close()
    await copy.close()
  }
}

/** The content of the live system's closure that is damaged, in every sample of it. */
export function damagedContent(live: Closure): string {
  return join(live.root, storePathNamed(live.folder, 'incompressible'), 'data')
}

/** What the live system says where that file is another, and nothing else of its `paths`. */
export function damagedLines(live: Closure, paths: number): RegExp[] {
  const path = storePathNamed(live.folder, 'incompressible')
  return [
    // One file that should be and one that is
    new RegExp(`LIVE-CHECK paths=${paths} verify=FAIL files=\\d+ objects=\\d+ mismatches=2 `),
    new RegExp(`path '${path}' was modified! expected hash`),
    new RegExp(`fail: manifest: (?:file [0-9a-f]{32} {2}${path}/data\\r?\\n){2}LIVE-`),
    /LIVE-CHECK RESULT FAIL/,
  ]
}

/** The complaints of the live system, by their first words. */
export function complaintsIn(serial: string): string[] {
  return [...serial.matchAll(/LIVE-INFO fail: ([^:\r\n]*)/g)].map(([, words = '']) => words)
}

/** Those of a system that finds one file damaged, by both of its checks. */
export const DAMAGE_COMPLAINTS: readonly string[] = ['nix-store --verify', 'manifest']

async function find(image: Awaited<ReturnType<typeof open>>, sample: Buffer): Promise<number | undefined> {
  const { size } = await image.stat()
  const window = Buffer.alloc(WINDOW)
  for (let start = 0; start < size; start += WINDOW - SAMPLE) {
    const { bytesRead } = await image.read(window, 0, WINDOW, start)
    const found = window.subarray(0, bytesRead).indexOf(sample)
    if (found >= 0) return start + found
  }
  return undefined
}
