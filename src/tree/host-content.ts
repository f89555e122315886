/** Where the bytes of a scanned file are, and what its name is, in little memory: there may be half a million. */
import type { Entry, TreeNode } from './tree.ts'

/** A name of a folder, and the folder with the slash behind it. */
export interface HostPlace {
  readonly folder: Uint8Array
  readonly name: Uint8Array
}

/**
 * An entry of a scanned folder. Its name is a view of bytes that it shares with others, made when it is asked for: a view costs
 * more than all else that is known of a file.
 */
export class HostEntry implements Entry, HostPlace {
  readonly folder: Uint8Array
  node!: TreeNode
  readonly #names: Uint8Array
  readonly #start: number
  readonly #end: number

  /** The name lies in `names` from `start` up to `end`. Whoever makes it sets `node`. */
  constructor(folder: Uint8Array, names: Uint8Array, start: number, end: number) {
    this.folder = folder
    this.#names = names
    this.#start = start
    this.#end = end
  }

  get name(): Uint8Array {
    return new Uint8Array(this.#names.buffer, this.#names.byteOffset + this.#start, this.#end - this.#start)
  }
}

/** Content of a host file, which knows its place by its entry. */
export class HostContent {
  readonly kind = 'hostFile'
  /** A scan gives whole files. */
  declare readonly range?: undefined
  declare readonly proof?: undefined
  readonly #place: HostPlace

  constructor(place: HostPlace) {
    this.#place = place
  }

  get path(): Uint8Array {
    const { folder, name } = this.#place
    const path = new Uint8Array(folder.length + name.length)
    path.set(folder)
    path.set(name, folder.length)
    return path
  }
}

export function placeOf(path: Uint8Array): HostPlace {
  const cut = path.lastIndexOf(SLASH) + 1
  return { folder: path.slice(0, cut), name: path.slice(cut) }
}

/** A number that was read as 64 bits. V8 keeps whole numbers of up to 31 bits in place, once it knows that they are. */
export function small(value: number): number {
  const whole = value | 0
  return whole === value ? whole : value
}

const SLASH = 0x2f
