/**
 * An image onto a block device: all of its bytes in order, zeros too, since the device holds something else; brought to the medium; and read
 * back and compared. What the kernel keeps of a device in memory is dropped when the last one who has it open closes it (Linux,
 * `block/bdev.c`, `blkdev_flush_mapping`), so that it is opened anew before it is read.
 *
 * Behind the image all stays as it is, but for one thing: the second copy of a partition table that was on the device lies in its last sector
 * (UEFI 2.10, 5.3.2), where firmware and partitioning tools find it and may put it back. It is cleared, and that is said. The copy that a
 * disk image has stays at the end of the image, so that what is on the device is the image: whoever grows the disk moves it.
 *
 * The device is opened for this process alone (`O_EXCL` without `O_CREAT`, open(2)), which fails where it is mounted, swapped to or part of
 * another device, whoever did that.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { ImageError, systemErrorCode, throwIfAborted } from '../errors.ts'
import { type BlockDevice, checkDevice, inUse } from './block-device.ts'
import type { ByteRun } from './byte-run.ts'
import { equalBlocks } from './equal-blocks.ts'
import { openSpool } from './file-target.ts'
import { type BuildContext, type GrowingImage, type Image, isGrowing } from './image.ts'
import { imageChunks } from './stream.ts'
import { writeError } from './write-error.ts'

/** Bytes that are written, and compared, at a time. */
const BLOCK_SIZE = 1 << 20
/** Bytes after which what was written is brought to the medium, which is slow, and takes long to fail. */
const SYNC_SIZE = 32 << 20

export interface DeviceOutput {
  /** Bytes of the image. */
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
}

/** Opens the device for writing, and then for reading. */
export type DeviceOpener = (path: string, flags: number) => Promise<Pick<FileHandle, 'write' | 'read' | 'datasync' | 'stat' | 'close'>>

/**
 * Throws what `checkDevice` throws, WRITE_FAILED, also where other bytes are read back than were written, ABORTED, and what the image throws.
 * After the first byte what was on the device is lost, whatever happens.
 */
export async function writeDevice(
  image: Image | GrowingImage,
  device: BlockDevice,
  context: BuildContext,
  opener: DeviceOpener = open,
): Promise<DeviceOutput> {
  checkDevice(device, isGrowing(image) ? image.leastSize : image.size)
  if (!isGrowing(image)) return writeFixed(image, device, context, opener)
  const spool = await openSpool()
  try {
    return await writeFixed(await image.pack(spool.target, 0, context), device, context, opener)
  } finally {
    await spool.close()
  }
}

async function writeFixed(image: Image, device: BlockDevice, context: BuildContext, opener: DeviceOpener): Promise<DeviceOutput> {
  const { path } = device
  const { onProgress } = context
  checkDevice(device, image.size)
  let hasBegun = false
  try {
    const handle = await openedFor(device, constants.O_RDWR | constants.O_EXCL, opener)
    const hash = createHash('sha256')
    const digests: Buffer[] = []
    let stale: readonly ByteRun[] = []
    try {
      stale = await staleTables(handle, device, image.size)
      onProgress?.({ kind: 'stage', stage: 'write', totalBytes: image.size })
      let position = 0
      let unsynced = 0
      for await (const block of equalBlocks(imageChunks(image, context.signal ? { signal: context.signal } : {}), BLOCK_SIZE)) {
        hash.update(block)
        digests.push(digestOf(block))
        hasBegun = true
        await writeAt(handle, block, position, path)
        position += block.length
        unsynced += block.length
        if (unsynced >= SYNC_SIZE) {
          await synced(handle, path)
          unsynced = 0
        }
        onProgress?.({ kind: 'bytes', stage: 'write', doneBytes: position })
      }
      for (const { start, length } of stale) await writeAt(handle, new Uint8Array(length), start, path)
      onProgress?.({ kind: 'stage', stage: 'sync' })
      await synced(handle, path)
    } finally {
      await handle.close()
    }
    await compare(device, image.size, digests, stale, context, opener)
    if (stale.length > 0) {
      onProgress?.({
        kind: 'note',
        message: `${path}: the copy of an older partition table (GPT) at its end was cleared, since firmware and tools would find it`,
      })
    }
    return { size: image.size, sha256: hash.digest('hex') }
  } catch (error) {
    if (hasBegun) onProgress?.({ kind: 'note', message: `${path}: holds neither what it held before nor all of the image` })
    throw error
  }
}

const GPT_SIGNATURE = Buffer.from('EFI PART')
/** Bytes of a sector, as the one may have counted who wrote the table. */
const SECTOR_SIZES = [512, 4096]

/** Last sectors behind the image that begin as the header of a GPT does. */
async function staleTables(handle: Pick<FileHandle, 'read'>, { path, size }: BlockDevice, imageSize: number): Promise<ByteRun[]> {
  const found: ByteRun[] = []
  for (const length of SECTOR_SIZES) {
    const start = size - length
    if (start < imageSize) continue
    const sector = Buffer.alloc(length)
    await readAt(handle, sector, start, path)
    if (sector.subarray(0, GPT_SIGNATURE.length).equals(GPT_SIGNATURE)) found.push({ start, length })
  }
  return found
}

async function openedFor({ path, realPath, deviceNumber }: BlockDevice, flags: number, opener: DeviceOpener) {
  const handle = await opener(realPath, flags).catch((error: unknown) => {
    throw systemErrorCode(error) === 'EBUSY' ? inUse(path, 'the kernel says so') : writeError(path, error)
  })
  const { rdev } = await handle.stat({ bigint: true })
  if (rdev === deviceNumber) return handle
  await handle.close()
  throw new ImageError('CHANGED', `${path}: has become another device; look which one is meant`, { path })
}

async function writeAt(handle: Pick<FileHandle, 'write'>, bytes: Uint8Array, position: number, path: string): Promise<void> {
  try {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done)
      done += bytesWritten
    }
  } catch (error) {
    throw writeError(path, error)
  }
}

async function synced(handle: Pick<FileHandle, 'datasync'>, path: string): Promise<void> {
  await handle.datasync().catch((error: unknown) => {
    throw writeError(path, error)
  })
}

async function compare(
  device: BlockDevice,
  size: number,
  digests: readonly Buffer[],
  cleared: readonly ByteRun[],
  { signal, onProgress }: BuildContext,
  opener: DeviceOpener,
): Promise<void> {
  const { path } = device
  const handle = await openedFor(device, constants.O_RDONLY, opener)
  try {
    onProgress?.({ kind: 'stage', stage: 'compare', totalBytes: size })
    const buffer = Buffer.allocUnsafeSlow(BLOCK_SIZE)
    for (const [index, digest] of digests.entries()) {
      throwIfAborted(signal)
      const position = index * BLOCK_SIZE
      const block = buffer.subarray(0, Math.min(BLOCK_SIZE, size - position))
      await readAt(handle, block, position, path)
      if (!digestOf(block).equals(digest)) throw otherBytes(path, position, block.length)
      onProgress?.({ kind: 'bytes', stage: 'compare', doneBytes: position + block.length })
    }
    for (const { start, length } of cleared) {
      const block = buffer.subarray(0, length)
      await readAt(handle, block, start, path)
      if (block.some((byte) => byte !== 0)) throw otherBytes(path, start, length)
    }
  } finally {
    await handle.close()
  }
}

async function readAt(handle: Pick<FileHandle, 'read'>, bytes: Uint8Array, position: number, path: string): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, position + done).catch((error: unknown) => {
      throw new ImageError(
        'WRITE_FAILED',
        `${path}: cannot be read back (${systemErrorCode(error) ?? 'unknown error'}) at byte ${position + done}; it is damaged, use another`,
        { path, cause: error },
      )
    })
    if (bytesRead === 0) throw otherBytes(path, position + done, bytes.length - done)
    done += bytesRead
  }
}

function otherBytes(path: string, position: number, length: number): ImageError {
  return new ImageError(
    'WRITE_FAILED',
    `${path}: ${length} bytes from byte ${position} on are not read back as they were written; the device is damaged, or smaller than it says: use another`,
    { path },
  )
}

function digestOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}
