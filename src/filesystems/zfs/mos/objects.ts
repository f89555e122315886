/** The objects of the pool itself while they are put together: numbered, with content, not yet written. */

import type { Space } from '../block-pointer.ts'
import { OBJECT_TYPE, SECTOR_SIZE } from '../constants.ts'
import { type ZapEntry, zapBlocks, zapSalt } from '../zap/index.ts'
import { microZap } from '../zap/micro.ts'

/** What is known only when all is placed. */
export interface PoolTotals {
  /** Of the meta objset itself. */
  readonly metaSpace: Space
  /** Objects by metaslab; 0 where one is not in use. */
  readonly spaceMaps: readonly number[]
}

export interface MetaObject {
  readonly object: number
  readonly type: number
  readonly blockSize: number
  /** `late`: one block, made when all is placed, and not compressed. */
  readonly content:
    | { readonly kind: 'blocks'; readonly blocks: readonly Uint8Array[] }
    | { readonly kind: 'late'; readonly make: LateBlock }
  readonly bonusType: number
  readonly bonus: (totals: PoolTotals) => Uint8Array | undefined
}

type LateBlock = (totals: PoolTotals) => Uint8Array

type BonusOf = Uint8Array | ((totals: PoolTotals) => Uint8Array)

export interface MetaContent {
  readonly type: number
  readonly bonusType?: number
  readonly bonus?: BonusOf
}

export class MetaObjects {
  readonly #seed: string
  readonly #objects: MetaObject[] = []
  #next = 1

  constructor(seed: string) {
    this.#seed = seed
  }

  /** In the order of their numbers. */
  get all(): readonly MetaObject[] {
    return [...this.#objects].sort((a, b) => a.object - b.object)
  }

  /** The number that the next object gets. */
  get next(): number {
    return this.#next
  }

  /** A number for an object that is described later. */
  number(): number {
    return this.#next++
  }

  /** An object that is a map of names; `object` was numbered before, or a new number is taken. */
  zap(content: MetaContent, entries: readonly ZapEntry[], object = this.number(), normalizationFlags = 0): number {
    const { blockSize, blocks } = zapBlocks(entries, this.#salt(object), normalizationFlags)
    return this.#add(object, content, blockSize, [...blocks()])
  }

  /** The block of a map with few short names, such as `late` wants it. */
  microZap(entries: readonly ZapEntry[], object: number): Uint8Array {
    return microZap(entries, this.#salt(object))
  }

  /** An object of one block, which has the size of the block. */
  block(content: MetaContent, block: Uint8Array, object = this.number()): number {
    return this.#add(object, content, block.length, [block])
  }

  /** An object whose data are a hole. */
  hole(content: MetaContent, blockSize = SECTOR_SIZE, object = this.number()): number {
    return this.#add(object, content, blockSize, [])
  }

  /** An object of one block of `blockSize` bytes whose content comes last. */
  late(content: MetaContent, blockSize: number, make: LateBlock, object = this.number()): number {
    return this.#addContent(object, content, blockSize, { kind: 'late', make })
  }

  #salt(object: number): bigint {
    return zapSalt(this.#seed, `meta ${object}`)
  }

  #add(object: number, content: MetaContent, blockSize: number, blocks: readonly Uint8Array[]): number {
    return this.#addContent(object, content, blockSize, { kind: 'blocks', blocks })
  }

  #addContent(object: number, description: MetaContent, blockSize: number, content: MetaObject['content']): number {
    const { type, bonus, bonusType = bonus === undefined ? OBJECT_TYPE.none : type } = description
    const bonusOf = typeof bonus === 'function' ? bonus : (): Uint8Array | undefined => bonus
    this.#objects.push({ object, type, blockSize, content, bonusType, bonus: bonusOf })
    return object
  }
}
