/**
 * A unified kernel image (UAPI.5): systemd's EFI stub with the kernel, the initrd, the command line and what describes
 * them as further sections, so that firmware starts all of it as one program (Microsoft PE and COFF specification).
 *
 * Not supported: Secure Boot signatures (one that the stub has is dropped, as it cannot hold any more), signed PCR
 * policies, profiles, add-ons, a splash picture; the stub's own `.sbat` stays as it is.
 */
import { alignUp } from '../bytes/align.ts'
import { struct } from '../bytes/struct.ts'
import { ascii, utf8 } from '../bytes/text.ts'
import { ImageError } from '../errors.ts'
import { bytesExtent, bytesImage, type Image, moveExtent } from '../io/image.ts'
import { requireCommandLineFits, requirePlainText } from './command-line.ts'
import type { EfiArchitecture } from './efi.ts'
import { COFF_HEADER_SIZE, efiHeaderOffset, PE_HEADER, peField } from './pe.ts'

export interface UnifiedKernelParts {
  /** All bytes of `linux<architecture>.efi.stub`. */
  readonly stub: Uint8Array
  readonly kernel: Image
  /** `peImageSize` of the kernel: old stubs start it where it lies, and it needs the room behind it. */
  readonly kernelMemorySize?: number | undefined
  readonly initrd?: Image | undefined
  /** The kernel command line. */
  readonly commandLine: string
  /** Text of os-release(5); boot menus take the title from it. */
  readonly osRelease: string
  /** What `uname -r` says of the kernel. */
  readonly kernelRelease?: string | undefined
  readonly deviceTree?: Image | undefined
}

/** Entry of the section table (PE specification, "Section Table (Section Headers)"). */
export const SECTION_HEADER = struct('PE section header', 40, {
  name: [0, 'bytes', 8],
  virtualSize: [8, 'u32le'],
  virtualAddress: [12, 'u32le'],
  rawSize: [16, 'u32le'],
  rawOffset: [20, 'u32le'],
  characteristics: [36, 'u32le'],
})

/** PE specification, "Section Flags". */
const CODE = 0x0000_0020
const INITIALIZED_DATA = 0x0000_0040
const EXECUTABLE = 0x2000_0000
const READABLE = 0x4000_0000

/** Entry of the data directories: where the certificates lie, as a file offset and a size (PE specification, "Optional Header Data Directories"). */
const CERTIFICATE_DIRECTORY = 4
const DIRECTORY_SIZE = 8
/** Offset of the data directories in the optional header, by its magic: PE32 and PE32+. */
const DIRECTORIES_OFFSET: Readonly<Record<number, number>> = { 267: 96, 523: 112 }

/** Firmware gives pages of this size their access rights, and the kernel is not to share one with its data. */
const MEMORY_PAGE_SIZE = 4096

/** All offsets are 32 bits wide. */
const SIZE_LIMIT = 0xffff_ffff

export interface UnifiedKernelPlan {
  /** Bytes of the file. */
  readonly size: number
  /** Bytes in memory. */
  readonly imageSize: number
  /** Those that are added to the stub's own. */
  readonly sections: readonly PlannedSection[]
}

export interface PlannedSection {
  readonly name: string
  /** Bytes in memory; zeros follow those of the file. */
  readonly virtualSize: number
  readonly virtualAddress: number
  readonly rawOffset: number
  /** Bytes in the file, with padding. */
  readonly rawSize: number
}

/** Where a NixOS system keeps its own copy of the stub. */
export function efiStubPath(toplevel: string, architecture: EfiArchitecture): string {
  return `${toplevel}/systemd/lib/systemd/boot/efi/linux${architecture.name}.efi.stub`
}

/** The image; nothing is read yet but the stub. Throws what `planUnifiedKernelImage` throws. */
export function unifiedKernelImage(parts: UnifiedKernelParts): Image {
  const plan = planUnifiedKernelImage(parts)
  const stub = readStub(parts.stub)
  const contents = contentsOf(parts)
  const head = stubWith(stub, plan, contents)
  const extents = plan.sections.flatMap(({ rawOffset }, index) =>
    (contents[index]?.image.extents ?? []).map((extent) => moveExtent(extent, rawOffset)),
  )
  return { size: plan.size, extents: [bytesExtent(0, head), ...extents] }
}

/**
 * Where everything will lie. Throws BAD_INPUT for a stub that is none or holds a kernel already, or texts that cannot be
 * lines; LIMIT where the stub's headers have no room, the command line is too long, or the image is larger than 4 GiB.
 */
export function planUnifiedKernelImage(parts: UnifiedKernelParts): UnifiedKernelPlan {
  requirePlainText(parts.commandLine, 'kernel command line')
  requireCommandLineFits(parts.commandLine, 'unified kernel image', 'the system')
  requirePlainText(parts.kernelRelease ?? '', 'kernel release')
  const stub = readStub(parts.stub)
  const contents = contentsOf(parts)
  const tableEnd = stub.tableOffset + (stub.sections.length + contents.length) * SECTION_HEADER.size
  if (tableEnd > stub.headersSize) {
    const room = Math.floor((stub.headersSize - stub.tableOffset) / SECTION_HEADER.size) - stub.sections.length
    throw new ImageError(
      'LIMIT',
      `unified kernel image: ${contents.length} sections are to be added, the headers of the stub have room for ${room}; use the stub of another systemd`,
    )
  }
  const taken = contents.find(({ name }) => stub.sections.some((section) => section.name === name))
  if (taken !== undefined) {
    throw new ImageError('BAD_INPUT', `unified kernel image: the stub has a section ${taken.name} already; give the plain stub of systemd`)
  }
  const alignment = Math.max(stub.sectionAlignment, MEMORY_PAGE_SIZE)
  let virtualAddress = alignUp(Math.max(...stub.sections.map((section) => section.virtualAddress + section.virtualSize)), alignment)
  let rawOffset = alignUp(stub.rawEnd, stub.fileAlignment)
  let imageSize = 0
  const sections = contents.map(({ name, image, virtualSize }): PlannedSection => {
    const rawSize = alignUp(image.size, stub.fileAlignment)
    const section = { name, virtualSize, virtualAddress, rawOffset, rawSize }
    imageSize = alignUp(virtualAddress + virtualSize, alignment)
    virtualAddress = imageSize
    rawOffset += rawSize
    return section
  })
  for (const size of [rawOffset, imageSize]) {
    if (size > SIZE_LIMIT) {
      throw new ImageError(
        'LIMIT',
        `unified kernel image: it would be ${size} bytes, the limit is ${SIZE_LIMIT}; use a boot menu, which loads kernel and initrd as files`,
      )
    }
  }
  return { size: rawOffset, imageSize, sections }
}

interface SectionContent {
  readonly name: string
  readonly image: Image
  readonly virtualSize: number
  readonly characteristics: number
}

/** The kernel comes last, as some stubs let it unpack itself into what follows. */
function contentsOf(parts: UnifiedKernelParts): SectionContent[] {
  const data = (name: string, image: Image | undefined): SectionContent[] =>
    image === undefined ? [] : [{ name, image, virtualSize: image.size, characteristics: INITIALIZED_DATA | READABLE }]
  const text = (name: string, value: string | undefined): SectionContent[] =>
    data(name, value === undefined ? undefined : bytesImage(utf8(value)))
  const { kernel, kernelMemorySize = kernel.size } = parts
  return [
    ...text('.osrel', parts.osRelease),
    ...text('.cmdline', parts.commandLine),
    ...data('.dtb', parts.deviceTree),
    ...text('.uname', parts.kernelRelease),
    ...data('.initrd', parts.initrd),
    { name: '.linux', image: kernel, virtualSize: Math.max(kernel.size, kernelMemorySize), characteristics: CODE | EXECUTABLE | READABLE },
  ]
}

interface Stub {
  readonly bytes: Uint8Array
  readonly peOffset: number
  readonly tableOffset: number
  readonly headersSize: number
  readonly sectionAlignment: number
  readonly fileAlignment: number
  /** End of the last section in the file: symbols and certificates may follow. */
  readonly rawEnd: number
  readonly sections: readonly { readonly name: string; readonly virtualAddress: number; readonly virtualSize: number }[]
}

function readStub(bytes: Uint8Array): Stub {
  const peOffset = efiHeaderOffset(bytes, 'the EFI stub')
  const { fields } = PE_HEADER
  const header = (name: 'headersSize' | 'sectionAlignment' | 'fileAlignment'): number => peField(bytes, peOffset + fields[name][0], 'u32le')
  const count = peField(bytes, peOffset + fields.sectionCount[0], 'u16le')
  const tableOffset = peOffset + COFF_HEADER_SIZE + peField(bytes, peOffset + fields.optionalHeaderSize[0], 'u16le')
  const [sectionAlignment, fileAlignment, headersSize] = [header('sectionAlignment'), header('fileAlignment'), header('headersSize')]
  const isAligned = [sectionAlignment, fileAlignment].every((alignment) => alignment > 0 && Number.isInteger(Math.log2(alignment)))
  if (count === 0 || !isAligned || headersSize > bytes.length || tableOffset + count * SECTION_HEADER.size > headersSize) {
    throw badStub('its section table cannot be read')
  }
  let rawEnd = headersSize
  const sections = Array.from({ length: count }, (_, index) => {
    const at = tableOffset + index * SECTION_HEADER.size
    const field = (name: 'virtualAddress' | 'virtualSize' | 'rawOffset' | 'rawSize'): number =>
      peField(bytes, at + SECTION_HEADER.fields[name][0], 'u32le')
    // Sections of zeros have no place in the file.
    if (field('rawSize') > 0) rawEnd = Math.max(rawEnd, field('rawOffset') + field('rawSize'))
    const name = Buffer.from(bytes.subarray(at, at + 8))
      .toString('latin1')
      .replace(/\0+$/, '')
    return { name, virtualAddress: field('virtualAddress'), virtualSize: field('virtualSize') }
  })
  if (rawEnd > bytes.length) throw badStub(`its sections end at byte ${rawEnd}, the file has ${bytes.length}`)
  return { bytes, peOffset, tableOffset, headersSize, sectionAlignment, fileAlignment, rawEnd, sections }
}

function badStub(what: string): ImageError {
  return new ImageError('BAD_INPUT', `unified kernel image: the stub is no EFI program that can be extended: ${what}`)
}

/** The stub up to its last section, with the headers of the whole. */
function stubWith(stub: Stub, plan: UnifiedKernelPlan, contents: readonly SectionContent[]): Uint8Array {
  const { peOffset, tableOffset, sections } = stub
  // A copy: the slice of a Buffer would be the same memory.
  const head = new Uint8Array(stub.bytes.subarray(0, stub.rawEnd))
  const initializedDataSize = peField(head, peOffset + PE_HEADER.fields.initializedDataSize[0], 'u32le')
  PE_HEADER.write(head, peOffset, {
    sectionCount: sections.length + plan.sections.length,
    // What they tell of lies behind the last section and is left out.
    symbolTableOffset: 0,
    symbolCount: 0,
    initializedDataSize: initializedDataSize + plan.sections.reduce((sum, { name, rawSize }) => sum + (name === '.linux' ? 0 : rawSize), 0),
    imageSize: plan.imageSize,
    checkSum: 0,
  })
  clearCertificates(head, peOffset)
  for (const [index, { name, ...place }] of plan.sections.entries()) {
    const at = tableOffset + (sections.length + index) * SECTION_HEADER.size
    head.fill(0, at, at + SECTION_HEADER.size)
    const characteristics = contents[index]?.characteristics ?? 0
    SECTION_HEADER.write(head, at, { name: ascii(name, 'section'), ...place, characteristics })
  }
  return head
}

function clearCertificates(head: Uint8Array, peOffset: number): void {
  const directories = DIRECTORIES_OFFSET[peField(head, peOffset + PE_HEADER.fields.optionalMagic[0], 'u16le')]
  if (directories === undefined) throw badStub('its optional header is neither PE32 nor PE32+')
  const optional = peOffset + COFF_HEADER_SIZE
  // The number of directories stands right before them.
  if (peField(head, optional + directories - 4, 'u32le') <= CERTIFICATE_DIRECTORY) return
  const at = optional + directories + CERTIFICATE_DIRECTORY * DIRECTORY_SIZE
  head.fill(0, at, at + DIRECTORY_SIZE)
}
