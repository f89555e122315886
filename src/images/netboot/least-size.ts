/** What is known of the size of an initrd before anything is built. */
import { cpio } from '../../archives/cpio/index.ts'
import { concatImages } from '../../io/concat.ts'
import { scanStore } from '../../system/store.ts'
import { MEMBER_ALIGNMENT } from '../initrd-parts.ts'
import { type NetbootSource, type NetbootStyleRecipe, ownInitrd } from './source.ts'

/**
 * Bytes that the first initrd of a style has at the least: those of the archives that go in as they are, and of the store
 * where its files are neither compressed nor stored once. Throws what `scanStore` throws.
 */
export async function leastInitrdSize(style: NetbootStyleRecipe, source: NetbootSource): Promise<number> {
  const known = [...source.prepended, ...(style.usesOwnInitrd ? [await ownInitrd(source)] : [])]
  const { size } = concatImages(known, MEMBER_ALIGNMENT)
  if (style.usesOwnInitrd || source.compression.name !== 'none') return size
  const { scanned } = await scanStore(source.loaded, source.input)
  return size + cpio(scanned).size
}
