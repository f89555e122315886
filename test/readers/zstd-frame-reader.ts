/** Reads the header of a Zstandard frame and walks its blocks (RFC 8878, sections 3.1.1.1 and 3.1.1.2); decodes nothing. */

export interface ZstdFrame {
  readonly windowSize: number
  readonly contentSize: number | undefined
  readonly singleSegment: boolean
  readonly hasChecksum: boolean
  readonly dictionaryId: number
  /** Length of the frame in bytes; what follows belongs to another frame. */
  readonly frameSize: number
}

export function readZstdFrame(bytes: Uint8Array): ZstdFrame {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== 0xfd2fb528) throw new Error('no Zstandard magic number')
  const descriptor = view.getUint8(4)
  if ((descriptor & 0x08) !== 0) throw new Error('the reserved bit of the frame header descriptor is set')
  const singleSegment = (descriptor & 0x20) !== 0
  let at = 5
  let windowSize = 0
  if (!singleSegment) {
    const window = view.getUint8(at++)
    const base = 2 ** (10 + (window >> 3))
    windowSize = base + (base / 8) * (window & 7)
  }
  const littleEndian = (size: number): number => {
    let value = 0
    for (let i = size - 1; i >= 0; i--) value = value * 256 + view.getUint8(at + i)
    at += size
    return value
  }
  const dictionaryId = littleEndian([0, 1, 2, 4][descriptor & 3] ?? 0)
  const contentFlag = descriptor >> 6
  const contentFieldSize = contentFlag === 0 ? (singleSegment ? 1 : 0) : 2 ** contentFlag
  const contentSize = contentFieldSize === 0 ? undefined : littleEndian(contentFieldSize) + (contentFieldSize === 2 ? 256 : 0)
  if (singleSegment) windowSize = contentSize ?? 0
  for (let last = false; !last; ) {
    const header = littleEndian(3)
    last = (header & 1) !== 0
    const type = (header >> 1) & 3
    if (type === 3) throw new Error('a block has the reserved type')
    at += type === 1 ? 1 : header >> 3
  }
  const hasChecksum = (descriptor & 4) !== 0
  if (hasChecksum) at += 4
  if (at > bytes.length) throw new Error('the frame ends inside a block')
  return { windowSize, contentSize, singleSegment, hasChecksum, dictionaryId, frameSize: at }
}
