/** The extended attributes of inodes: equal sets are stored once. */
import { compareBytes } from '../../bytes/order.ts'
import { utf8 } from '../../bytes/text.ts'
import type { Xattr } from '../../tree/tree.ts'

/** Sorted by name. */
export type XattrSet = readonly { readonly name: Uint8Array; readonly value: Uint8Array }[]

export class XattrSets {
  readonly sets: XattrSet[] = []
  readonly #indexes = new Map<string, number>()

  /** The index of the set of these attributes, in any order. */
  indexOf(xattrs: readonly Xattr[]): number {
    const set = xattrs.map(({ name, value }) => ({ name: utf8(name), value })).sort((a, b) => compareBytes(a.name, b.name))
    // Names hold no zero byte and hex digits no comma: different sets have different keys.
    const key = set.map(({ name, value }) => `${Buffer.from(name).toString('latin1')}\0${Buffer.from(value).toString('hex')}`).join(',')
    const known = this.#indexes.get(key)
    if (known !== undefined) return known
    const index = this.sets.push(set) - 1
    this.#indexes.set(key, index)
    return index
  }
}
