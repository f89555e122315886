/** Hashes of names in indexed directories (dir: "Hash Tree Directories"): MD4 cut to three short rounds. */

const INITIAL = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476] as const
const K2 = 0x5a827999
const K3 = 0x6ed9eba1
const CHUNK_BYTES = 32
const CHUNK_WORDS = 8
/** Kept as the mark of the end of a directory. */
const END_OF_DIRECTORY = 0xfffffffe

/** The state before a name, from the 16 bytes of the seed; a seed of zeros stands for MD4's own start. */
export function hashStart(seed: Uint8Array): Int32Array {
  if (seed.every((byte) => byte === 0)) return Int32Array.from(INITIAL)
  const view = new DataView(seed.buffer, seed.byteOffset, seed.byteLength)
  return Int32Array.from([0, 4, 8, 12], (offset) => view.getInt32(offset, true))
}

const state = new Int32Array(4)
const words = new Int32Array(CHUNK_WORDS)

/** The 32-bit hash of `name`, its bytes taken as signed; the lowest bit is 0. */
export function hashName(name: Uint8Array, start: Int32Array): number {
  state.set(start)
  for (let at = 0; at < name.length; at += CHUNK_BYTES) {
    fillWords(name, at)
    transform()
  }
  const hash = ((state[1] as number) & ~1) >>> 0
  return hash === END_OF_DIRECTORY ? END_OF_DIRECTORY - 2 : hash
}

/** The next 32 bytes of the name as words, the first byte highest; what is missing is the count of bytes left, repeated. */
function fillWords(name: Uint8Array, from: number): void {
  const left = name.length - from
  const pad = Math.imul(left, 0x01010101)
  const count = Math.min(left, CHUNK_BYTES)
  let word = 0
  let value = pad
  for (let i = 0; i < count; i++) {
    // Signed as on x86: a byte from 0x80 on takes from those above it.
    value = ((((name[from + i] as number) << 24) >> 24) + (value << 8)) | 0
    if (i % 4 === 3) {
      words[word++] = value
      value = pad
    }
  }
  if (word < CHUNK_WORDS) words[word++] = value
  while (word < CHUNK_WORDS) words[word++] = pad
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

/** Which word each step takes, and by how much it turns; round by round. */
const ROUND_1 = [0, 1, 2, 3, 4, 5, 6, 7] as const
const ROUND_2 = [1, 3, 5, 7, 0, 2, 4, 6] as const
const ROUND_3 = [3, 7, 2, 6, 1, 5, 0, 4] as const
const TURNS_1 = [3, 7, 11, 19] as const
const TURNS_2 = [3, 5, 9, 13] as const
const TURNS_3 = [3, 9, 11, 15] as const

function transform(): void {
  let a = state[0] as number
  let b = state[1] as number
  let c = state[2] as number
  let d = state[3] as number
  for (let step = 0; step < CHUNK_WORDS; step++) {
    const sum = (a + (d ^ (b & (c ^ d))) + (words[ROUND_1[step] as number] as number)) | 0
    a = d
    d = c
    c = b
    b = rotate(sum, TURNS_1[step & 3] as number)
  }
  for (let step = 0; step < CHUNK_WORDS; step++) {
    const sum = (a + (((b & c) + ((b ^ c) & d)) | 0) + (words[ROUND_2[step] as number] as number) + K2) | 0
    a = d
    d = c
    c = b
    b = rotate(sum, TURNS_2[step & 3] as number)
  }
  for (let step = 0; step < CHUNK_WORDS; step++) {
    const sum = (a + (b ^ c ^ d) + (words[ROUND_3[step] as number] as number) + K3) | 0
    a = d
    d = c
    c = b
    b = rotate(sum, TURNS_3[step & 3] as number)
  }
  state[0] = (state[0] as number) + a
  state[1] = (state[1] as number) + b
  state[2] = (state[2] as number) + c
  state[3] = (state[3] as number) + d
}
