/** Bytes that come in pieces, gathered in memory that is kept for the next time. */

const SMALLEST_ROOM = 64 << 10

export interface Gathered {
  append(bytes: Uint8Array): void
  /** What was appended since the last `take`; valid until the next `append`. */
  take(): Uint8Array
}

export function gathered(): Gathered {
  let memory = new Uint8Array(0)
  let length = 0
  return {
    append(bytes) {
      if (length + bytes.length > memory.length) {
        const larger = new Uint8Array(Math.max(SMALLEST_ROOM, 2 * memory.length, length + bytes.length))
        larger.set(memory.subarray(0, length))
        memory = larger
      }
      memory.set(bytes, length)
      length += bytes.length
    },
    take() {
      const taken = memory.subarray(0, length)
      length = 0
      return taken
    },
  }
}
