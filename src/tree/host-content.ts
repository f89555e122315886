/** Where the bytes of a scanned file are, in little memory. */

/** A name of a folder, and the folder with the slash behind it. */
export interface HostPlace {
  readonly folder: Uint8Array
  readonly name: Uint8Array
}

/** Content of a host file that costs 48 bytes: folder and name are shared with the rest of the tree. */
export class HostContent {
  readonly kind = 'hostFile'
  readonly #folder: Uint8Array
  readonly #name: Uint8Array

  constructor(folder: Uint8Array, name: Uint8Array) {
    this.#folder = folder
    this.#name = name
  }

  get path(): Uint8Array {
    const path = new Uint8Array(this.#folder.length + this.#name.length)
    path.set(this.#folder)
    path.set(this.#name, this.#folder.length)
    return path
  }
}

export function placeOf(path: Uint8Array): HostPlace {
  const cut = path.lastIndexOf(SLASH) + 1
  return { folder: path.slice(0, cut), name: path.slice(cut) }
}

const SLASH = 0x2f
