/** A system as one program that UEFI firmware starts: a unified kernel image from files of its store. */
import { efiArchitecture, efiStubPath, peImageSize, type UnifiedKernelParts, unifiedKernelImage } from '../boot/index.ts'
import { ImageError } from '../errors.ts'
import type { Image } from '../io/image.ts'
import { imageSlice } from '../io/slice.ts'
import { imageChunks } from '../io/stream.ts'
import type { Bootspec } from '../system/bootspec.ts'
import { bytesInStore, type StorePlace } from '../system/store-files.ts'

/** A kernel's headers, with its size in memory, lie in its first bytes. */
const HEAD_SIZE = 64 << 10

export type UnifiedSystemParts = Pick<UnifiedKernelParts, 'stub' | 'kernel' | 'commandLine' | 'initrd' | 'deviceTree'> & {
  readonly label: string
  /** Name of the specialisation; empty for the system itself. */
  readonly specialisation: string
}

/** systemd's stub of the system. Throws NOT_FOUND where the system has none, UNSUPPORTED for a machine without UEFI. */
export async function efiStub({ system, toplevel }: Bootspec, store: StorePlace): Promise<Uint8Array> {
  const path = efiStubPath(toplevel, efiArchitecture(system))
  try {
    return await bytesInStore(path, store)
  } catch (error) {
    if (!(error instanceof ImageError) || error.code !== 'NOT_FOUND') throw error
    const message = `${path}: the closure has no EFI stub of systemd, of which a unified kernel image is made`
    throw new ImageError('NOT_FOUND', message, { path, cause: error })
  }
}

/**
 * From the initrd, whose size may be known late, to the image. Throws what reading the beginning of the kernel throws; the function
 * what `unifiedKernelImage` throws.
 */
export async function unifiedSystem(parts: Omit<UnifiedSystemParts, 'initrd'>): Promise<(initrd: Image | undefined) => Image> {
  const { label, specialisation, ...rest } = parts
  const kernelMemorySize = peImageSize(await headOf(parts.kernel))
  return (initrd) =>
    unifiedKernelImage({ ...rest, kernelMemorySize, osRelease: osRelease(label, specialisation), ...(initrd && { initrd }) })
}

/** os-release(5), of which boot menus show the name, and sort by id and version. */
function osRelease(label: string, specialisation: string): string {
  const name = `${label}${specialisation === '' ? '' : ` (${specialisation})`}`.replace(/["\\$`]/g, '\\$&')
  return `ID=nixos\nNAME=NixOS\nPRETTY_NAME="${name}"\nVERSION_ID="1"\n`
}

async function headOf(image: Image): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const chunk of imageChunks(imageSlice(image, 0, Math.min(HEAD_SIZE, image.size)))) {
    parts.push(Buffer.from(chunk))
    size += chunk.length
  }
  return Buffer.concat(parts, size)
}
