/**
 * The header fields by which an EFI program says what it runs on and how it is loaded (Microsoft PE and COFF
 * specification; UEFI 2.10 section 2.1.1, UEFI images).
 */
import { struct } from '../bytes/struct.ts'
import { ImageError } from '../errors.ts'

/** MS-DOS stub, at the start of the file (PE specification, "MS-DOS Stub"). */
export const DOS_HEADER = struct('DOS header', 64, {
  magic: [0, 'bytes', 2],
  /** Where the PE header begins. */
  peOffset: [0x3c, 'u32le'],
})

/** Signature, COFF file header, and the optional header up to the subsystem (PE specification, "COFF File Header", "Optional Header"). */
export const PE_HEADER = struct('PE header', 94, {
  signature: [0, 'bytes', 4],
  machine: [4, 'u16le'],
  sectionCount: [6, 'u16le'],
  symbolTableOffset: [12, 'u32le'],
  symbolCount: [16, 'u32le'],
  optionalHeaderSize: [20, 'u16le'],
  optionalMagic: [24, 'u16le'],
  initializedDataSize: [32, 'u32le'],
  /** In memory; a power of two, as is `fileAlignment`. */
  sectionAlignment: [56, 'u32le'],
  fileAlignment: [60, 'u32le'],
  /** Bytes of the loaded program, headers included. */
  imageSize: [80, 'u32le'],
  /** Bytes of all headers and the section table, rounded up to the file alignment. */
  headersSize: [84, 'u32le'],
  /** 0 where nobody checks it; UEFI firmware does not. */
  checkSum: [88, 'u32le'],
  subsystem: [92, 'u16le'],
})

/** Signature and COFF file header, after which the optional header begins. */
export const COFF_HEADER_SIZE = 24

/** IMAGE_SUBSYSTEM_EFI_APPLICATION: what firmware starts from a boot entry. */
const EFI_APPLICATION = 10

/** Where the PE header of an EFI application begins. Throws BAD_INPUT when `bytes` (its beginning) is none. */
export function efiHeaderOffset(bytes: Uint8Array, path: string): number {
  const start = peHeaderOffset(bytes)
  if (start === undefined) throw new ImageError('BAD_INPUT', `${path} is no EFI program: it has no PE header`, { path })
  const subsystem = peField(bytes, start + PE_HEADER.fields.subsystem[0], 'u16le')
  if (subsystem !== EFI_APPLICATION) {
    throw new ImageError(
      'BAD_INPUT',
      `${path} is no EFI application: its PE subsystem is ${subsystem}, firmware starts ${EFI_APPLICATION}`,
      { path },
    )
  }
  return start
}

/** The `machine` field of an EFI program. Throws BAD_INPUT when `bytes` (its beginning) is none. */
export function efiMachine(bytes: Uint8Array, path: string): number {
  return peField(bytes, efiHeaderOffset(bytes, path) + PE_HEADER.fields.machine[0], 'u16le')
}

/**
 * Bytes that a program takes when it is loaded, which is more than its file where zeros are left out; undefined where
 * `bytes` (its beginning, 64 KiB are plenty) has no PE header. For a kernel with an EFI stub.
 */
export function peImageSize(bytes: Uint8Array): number | undefined {
  const start = peHeaderOffset(bytes)
  return start === undefined ? undefined : peField(bytes, start + PE_HEADER.fields.imageSize[0], 'u32le')
}

/** A field read back. */
export function peField(bytes: Uint8Array, offset: number, type: 'u16le' | 'u32le'): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return type === 'u16le' ? view.getUint16(offset, true) : view.getUint32(offset, true)
}

function peHeaderOffset(bytes: Uint8Array): number | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < DOS_HEADER.size || text.toString('latin1', 0, 2) !== 'MZ') return undefined
  const start = peField(bytes, DOS_HEADER.fields.peOffset[0], 'u32le')
  const isWhole = start + PE_HEADER.size <= bytes.length && text.toString('latin1', start, start + 4) === 'PE\0\0'
  return isWhole ? start : undefined
}
