/** Sample blocks, the same in every run: zeros, text, noise, and a mixture with long and far repeats. */

/** xorshift32: a stream of 32-bit words from a seed that is not 0. */
export function randomWords(seed: number): () => number {
  let state = seed | 0
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
}

export function noise(length: number, seed = 1): Uint8Array {
  const next = randomWords(seed)
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at++) bytes[at] = next()
  return bytes
}

const WORDS = 'the store path of a closure is a name with a hash and every file in it has a time of one second'.split(' ')

export function text(length: number, seed = 2): Uint8Array {
  const next = randomWords(seed)
  let words = ''
  while (words.length < length) words += `${WORDS[next() % WORDS.length]}${next() % 9 === 0 ? `-${next().toString(36)}\n` : ' '}`
  return new TextEncoder().encode(words.slice(0, length))
}

/** Runs of zeros, text, noise and copies of earlier bytes from near and far. */
export function mixed(length: number, seed = 3): Uint8Array {
  const next = randomWords(seed)
  const bytes = new Uint8Array(length)
  const words = text(4096, seed)
  let at = 0
  while (at < length) {
    const count = Math.min(length - at, 1 + (next() % (next() % 5 === 0 ? 3000 : 60)))
    const kind = next() % 4
    if (kind === 0) bytes.set(noise(count, next() | 1), at)
    else if (kind === 1) bytes.set(words.subarray(next() % 1000).subarray(0, count), at)
    else if (kind === 2) for (let i = 0, from = next() % (at + 1); i < count; i++) bytes[at + i] = bytes[from + i] ?? 0
    at += count
  }
  return bytes
}

export const KINDS: Readonly<Record<string, (length: number) => Uint8Array>> = {
  zeros: (length) => new Uint8Array(length),
  text,
  noise,
  mixed,
}
