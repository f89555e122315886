/**
 * A strict NAR reader, written from the grammar alone (Nix manual, "Nix Archive (NAR) Format"). Throws on
 * anything Nix refuses: unsorted or repeated entries, padding that is not zero, bytes after the end.
 */

export type NarNode =
  | { readonly type: 'regular'; readonly executable: boolean; readonly contents: Buffer }
  | { readonly type: 'symlink'; readonly target: string }
  /** Names as byte strings (latin1). */
  | { readonly type: 'directory'; readonly entries: ReadonlyMap<string, NarNode> }

export function readNar(nar: Uint8Array): NarNode {
  const reader = new Reader(Buffer.from(nar))
  reader.expect('nix-archive-1')
  const node = readNode(reader)
  reader.end()
  return node
}

function readNode(reader: Reader): NarNode {
  reader.expect('(')
  reader.expect('type')
  const type = reader.text()
  if (type === 'symlink') {
    reader.expect('target')
    const target = reader.text()
    reader.expect(')')
    return { type, target }
  }
  if (type === 'regular') {
    let key = reader.text()
    const executable = key === 'executable'
    if (executable) {
      reader.expect('')
      key = reader.text()
    }
    if (key !== 'contents') throw new Error(`'${key}' where contents should be`)
    const contents = reader.bytes()
    reader.expect(')')
    return { type, executable, contents }
  }
  if (type !== 'directory') throw new Error(`type '${type}'`)
  const entries = new Map<string, NarNode>()
  let last: Buffer | undefined
  for (let key = reader.text(); key !== ')'; key = reader.text()) {
    if (key !== 'entry') throw new Error(`'${key}' where an entry should be`)
    reader.expect('(')
    reader.expect('name')
    const name = reader.bytes()
    const text = name.toString('latin1')
    if (text === '' || text === '.' || text === '..' || name.includes(0) || name.includes(0x2f)) throw new Error(`name '${text}'`)
    if (last !== undefined && Buffer.compare(last, name) >= 0) throw new Error(`'${text}' is out of order`)
    last = name
    reader.expect('node')
    entries.set(text, readNode(reader))
    reader.expect(')')
  }
  return { type, entries }
}

class Reader {
  readonly #nar: Buffer
  #position = 0

  constructor(nar: Buffer) {
    this.#nar = nar
  }

  bytes(): Buffer {
    const length = Number(this.#take(8).readBigUInt64LE())
    const bytes = this.#take(length)
    if (this.#take((8 - (length % 8)) % 8).some((byte) => byte !== 0)) throw new Error(`padding at ${this.#position} is not zero`)
    return bytes
  }

  text(): string {
    return this.bytes().toString('latin1')
  }

  expect(text: string): void {
    const found = this.text()
    if (found !== text) throw new Error(`'${found}' where '${text}' should be, before ${this.#position}`)
  }

  end(): void {
    if (this.#position !== this.#nar.length) throw new Error(`${this.#nar.length - this.#position} bytes after the end`)
  }

  #take(length: number): Buffer {
    if (this.#position + length > this.#nar.length) throw new Error(`ends within a string at ${this.#position}`)
    this.#position += length
    return this.#nar.subarray(this.#position - length, this.#position)
  }
}
