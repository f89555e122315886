/** What every recipe makes of a closure, as digests, to be compared with what it makes of the same one from elsewhere. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { disk } from '../../src/images/disk/index.ts'
import { initrd } from '../../src/images/initrd.ts'
import { iso } from '../../src/images/iso.ts'
import { netboot } from '../../src/images/netboot/index.ts'
import type { Product } from '../../src/images/product.ts'
import { saveProduct } from '../../src/images/save.ts'
import { storeSquashfs } from '../../src/images/squashfs.ts'
import { zfs } from '../../src/images/zfs/index.ts'
import type { StoreInput } from '../../src/system/input.ts'

const FAST = { compression: { name: 'zstd', level: 1 }, blockSize: 131072 } as const

export const RECIPES: Readonly<Record<string, (input: StoreInput) => Promise<Product>>> = {
  squashfs: (input) => storeSquashfs({ ...input, ...FAST }),
  iso: (input) => iso({ ...input, ...FAST }),
  initrd: (input) => initrd({ ...input, compression: FAST.compression }),
  disk: (input) => disk({ ...input, format: 'raw', layout: 'efi', freeSize: 4 << 20 }),
  qcow2: (input) => disk({ ...input, format: 'qcow2', layout: 'efi', freeSize: 4 << 20 }),
  zfs: (input) => zfs({ ...input, format: 'qcow2' }),
  single: (input) => netboot({ ...input, ...FAST, style: 'single' }),
  manifest: (input) => netboot({ ...input, ...FAST, style: 'manifest' }),
  'per-path': (input) => netboot({ ...input, compression: FAST.compression, style: 'per-path' }),
}

/** SHA-256 by name of each file that the recipe writes; `folder` is there, and empty again after. */
export async function madeBytes(recipe: string, input: StoreInput, folder: string): Promise<Readonly<Record<string, string>>> {
  const out = join(folder, 'out')
  const make = RECIPES[recipe]
  if (make === undefined) throw new RangeError(recipe)
  try {
    await saveProduct(await make(input), out, { jobs: 2, force: true })
    const names = statSync(out).isDirectory() ? readdirSync(out).sort() : ['']
    return Object.fromEntries(
      names.map((name) => [
        name,
        createHash('sha256')
          .update(readFileSync(join(out, name)))
          .digest('hex'),
      ]),
    )
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
}
