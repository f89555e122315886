/**
 * The few header fields by which an EFI program says what it runs on (Microsoft PE and COFF
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
  optionalHeaderSize: [20, 'u16le'],
  optionalMagic: [24, 'u16le'],
  subsystem: [92, 'u16le'],
})

/** IMAGE_SUBSYSTEM_EFI_APPLICATION: what firmware starts from a boot entry. */
const EFI_APPLICATION = 10

/** The `machine` field of an EFI program. Throws BAD_INPUT when `bytes` (its beginning) is none. */
export function efiMachine(bytes: Uint8Array, path: string): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const isDos = bytes.length >= DOS_HEADER.size && text.toString('latin1', 0, 2) === 'MZ'
  const start = isDos ? view.getUint32(DOS_HEADER.fields.peOffset[0], true) : 0
  if (!isDos || start + PE_HEADER.size > bytes.length || text.toString('latin1', start, start + 4) !== 'PE\0\0') {
    throw new ImageError('BAD_INPUT', `${path} is no EFI program: it has no PE header`, { path })
  }
  const subsystem = view.getUint16(start + PE_HEADER.fields.subsystem[0], true)
  if (subsystem !== EFI_APPLICATION) {
    throw new ImageError(
      'BAD_INPUT',
      `${path} is no EFI application: its PE subsystem is ${subsystem}, firmware starts ${EFI_APPLICATION}`,
      { path },
    )
  }
  return view.getUint16(start + PE_HEADER.fields.machine[0], true)
}
