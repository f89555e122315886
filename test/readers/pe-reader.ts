/** The section table of a PE program, read by the specification alone. */

export interface Section {
  readonly name: string
  readonly virtualSize: number
  readonly virtualAddress: number
  readonly rawSize: number
  readonly rawOffset: number
  readonly characteristics: number
}

export function sectionsOf(bytes: Buffer): Section[] {
  const pe = bytes.readUInt32LE(0x3c)
  const table = pe + 24 + bytes.readUInt16LE(pe + 20)
  return Array.from({ length: bytes.readUInt16LE(pe + 6) }, (_, index) => {
    const at = table + index * 40
    return {
      name: bytes.toString('latin1', at, at + 8).replace(/\0+$/, ''),
      virtualSize: bytes.readUInt32LE(at + 8),
      virtualAddress: bytes.readUInt32LE(at + 12),
      rawSize: bytes.readUInt32LE(at + 16),
      rawOffset: bytes.readUInt32LE(at + 20),
      characteristics: bytes.readUInt32LE(at + 36),
    }
  })
}

/** What is in a section, without what fills it up in the file. */
export function sectionContent(bytes: Buffer, name: string): Buffer | undefined {
  const found = sectionsOf(bytes).find((one) => one.name === name)
  return found && bytes.subarray(found.rawOffset, found.rawOffset + Math.min(found.virtualSize, found.rawSize))
}
