/** Attributes of nodes that have nothing of variable size. Most nodes are such, and most have the same but for a few numbers. */
import type { TreeNode } from '../../../tree/tree.ts'
import { attributeOffset, encodeAttributes, layoutKey, type NodeFacts, placeAttributes, setWord } from './attributes.ts'

interface Template {
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Where the numbers stand in which nodes differ. */
  readonly offsets: Readonly<Record<'size' | 'generation' | 'parent' | 'links', number>>
}

export class PlainBonuses {
  readonly #layouts: ReadonlyMap<string, number>
  readonly #templates = new Map<string, Template>()

  /** `layouts` are numbers by `layoutKey`. */
  constructor(layouts: ReadonlyMap<string, number>) {
    this.#layouts = layouts
  }

  /** The encoded attributes, which the next call may overwrite; undefined for a node that is not so plain. */
  encode(node: TreeNode, facts: NodeFacts): Uint8Array | undefined {
    if ((node.kind !== 'file' && node.kind !== 'directory') || (node.xattrs ?? []).length > 0) return undefined
    const key = `${node.kind} ${node.mode} ${node.uid} ${node.gid} ${node.mtimeSeconds}`
    let template = this.#templates.get(key)
    if (template === undefined) {
      template = this.#make(node, facts)
      this.#templates.set(key, template)
    }
    const { bytes, view, offsets } = template
    const { size, generation, parent, links } = offsets
    setWord(view, size, facts.size)
    setWord(view, generation, facts.generation)
    setWord(view, parent, facts.parent)
    setWord(view, links, facts.links)
    return bytes
  }

  #make(node: TreeNode, facts: NodeFacts): Template {
    const { bonus } = placeAttributes(node, facts)
    const offsets = {
      size: attributeOffset(bonus, 'size'),
      generation: attributeOffset(bonus, 'gen'),
      parent: attributeOffset(bonus, 'parent'),
      links: attributeOffset(bonus, 'links'),
    }
    const bytes = encodeAttributes(bonus, this.#layouts.get(layoutKey(bonus)) as number)
    return { bytes, view: new DataView(bytes.buffer), offsets }
  }
}
