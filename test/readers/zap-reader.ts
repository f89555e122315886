/** A small reader of ZAPs with one number a name, by the names of OpenZFS `zap_impl.h` and `zap_leaf.h`. */

const POLYNOMIAL = 0xc96c5795d7870f42n

function hashOf(name: Buffer, salt: bigint): bigint {
  let crc = salt
  for (const byte of name) {
    crc ^= BigInt(byte)
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1n) ^ ((crc & 1n) === 1n ? POLYNOMIAL : 0n)
  }
  return (crc >> 36n) << 36n
}

/** Throws when it is no micro ZAP, or two names have the same place. */
export function readMicroZap(block: Uint8Array): Map<string, bigint> {
  const bytes = Buffer.from(block)
  if (bytes.readBigUInt64LE(0) !== 0x8000000000000003n) throw new Error('not a micro ZAP')
  const salt = bytes.readBigUInt64LE(8)
  const places = new Set<string>()
  const found = new Map<string, bigint>()
  for (let at = 64; at < bytes.length; at += 64) {
    const name = bytes.subarray(at + 14, bytes.indexOf(0, at + 14))
    if (name.length === 0) continue
    const place = `${hashOf(name, salt)} ${bytes.readUInt32LE(at + 8)}`
    if (places.has(place)) throw new Error(`${name} has the place of another name`)
    places.add(place)
    found.set(name.toString(), bytes.readBigUInt64LE(at))
  }
  return found
}

/** Follows the table and the chains; throws when a name cannot be found by its hash, or counts are wrong. */
export function readFatZap(blocks: readonly Uint8Array[]): Map<string, bigint> {
  const header = Buffer.from(blocks[0] ?? new Uint8Array(0))
  if (header.readBigUInt64LE(0) !== 0x8000000000000001n || header.readBigUInt64LE(8) !== 0x2f52ab2abn) throw new Error('not a fat ZAP')
  const shift = Math.log2(header.length)
  const tableBits = Number(header.readBigUInt64LE(32))
  const salt = header.readBigUInt64LE(80)
  const found = new Map<string, bigint>()
  const seen = new Set<number>()
  const places = new Set<string>()
  for (let slot = 0; slot < 2 ** tableBits; slot++) {
    const block = Number(header.readBigUInt64LE(header.length / 2 + 8 * slot))
    if (seen.has(block)) continue
    seen.add(block)
    const leaf = Buffer.from(blocks[block] ?? new Uint8Array(0))
    if (leaf.readBigUInt64LE(0) !== 0x8000000000000000n || leaf.readUInt32LE(24) !== 0x2ab1eaf) throw new Error('not a leaf')
    const prefixLength = leaf.readUInt16LE(32)
    if (leaf.readBigUInt64LE(16) !== BigInt(slot >> (tableBits - prefixLength))) throw new Error('a leaf has the wrong prefix')
    const chunksAt = 48 + 2 * 2 ** (shift - 5)
    const chunk = (index: number): Buffer => leaf.subarray(chunksAt + 24 * index, chunksAt + 24 * (index + 1))
    const array = (first: number, length: number): Buffer => {
      const parts: Buffer[] = []
      for (let index = first; index !== 0xffff; index = chunk(index).readUInt16LE(22)) {
        if (chunk(index)[0] !== 251) throw new Error('not an array chunk')
        parts.push(chunk(index).subarray(1, 22))
      }
      return Buffer.concat(parts).subarray(0, length)
    }
    let entries = 0
    for (let bucket = 0; bucket < 2 ** (shift - 5); bucket++) {
      for (let index = leaf.readUInt16LE(48 + 2 * bucket); index !== 0xffff; index = chunk(index).readUInt16LE(2)) {
        const entry = chunk(index)
        const name = array(entry.readUInt16LE(4), entry.readUInt16LE(6) - 1)
        const hash = hashOf(name, salt)
        const bits = BigInt(shift - 5)
        const own = ((hash << BigInt(prefixLength)) & 0xffffffffffffffffn) >> (64n - bits)
        const place = `${hash} ${entry.readUInt32LE(12)}`
        if (entry[0] !== 252 || entry.readBigUInt64LE(16) !== hash || own !== BigInt(bucket))
          throw new Error(`${name} is in the wrong place`)
        if ((hash >> BigInt(64 - tableBits)) >> BigInt(tableBits - prefixLength) !== leaf.readBigUInt64LE(16)) throw new Error('wrong leaf')
        if (places.has(place)) throw new Error(`${name} has the place of another name`)
        places.add(place)
        found.set(name.toString(), array(entry.readUInt16LE(8), 8).readBigUInt64BE(0))
        entries++
      }
    }
    if (entries !== leaf.readUInt16LE(30)) throw new Error('a leaf counts its entries wrongly')
    let free = 0
    for (let index = leaf.readUInt16LE(34); index !== 0xffff; index = chunk(index).readUInt16LE(22)) free += chunk(index)[0] === 253 ? 1 : 0
    if (free !== leaf.readUInt16LE(28)) throw new Error('a leaf counts its free chunks wrongly')
  }
  if (BigInt(found.size) !== header.readBigUInt64LE(72) || BigInt(seen.size) !== header.readBigUInt64LE(64)) throw new Error('wrong counts')
  return found
}
