/** NARs by hand, word for word. */

/** Zeros up to a multiple of 8. */
export function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)])
}

/** A string of the format; `length` may be another than the true one. */
export function word(text: string | Uint8Array, length: bigint = BigInt(text.length)): Buffer {
  const head = Buffer.alloc(8)
  head.writeBigUInt64LE(length)
  return Buffer.concat([head, padded(typeof text === 'string' ? Buffer.from(text, 'latin1') : text)])
}

/** Words between blanks; `''` is the empty one. */
export function words(text: string): Buffer {
  return Buffer.concat(text.split(' ').map((one) => word(one === "''" ? '' : one)))
}

export const HEAD = words('nix-archive-1')

export function fileNode(contents: string, executable = false): Buffer {
  return Buffer.concat([words(`( type regular${executable ? " executable ''" : ''} contents`), word(contents), words(')')])
}

export function linkNode(target: string): Buffer {
  return Buffer.concat([words('( type symlink target'), word(target), words(')')])
}

export function entry(name: string, node: Uint8Array): Buffer {
  return Buffer.concat([words('entry ( name'), word(name), words('node'), node, words(')')])
}

export function folderNode(...entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat([words('( type directory'), ...entries, words(')')])
}

export function nar(node: Uint8Array): Buffer {
  return Buffer.concat([HEAD, node])
}

/** In chunks of `size` bytes. */
export async function* chunksOf(bytes: Uint8Array, size = bytes.length || 1): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** Folders within folders, the root being level 1. */
export function nested(levels: number, innermost = folderNode()): Buffer {
  let node = innermost
  for (let level = 1; level < levels; level++) node = folderNode(entry('d', node))
  return node
}
