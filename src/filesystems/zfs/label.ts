/** The four labels of a device, two in front and two at its end (OpenZFS `include/sys/vdev_impl.h`). */
import { ImageError } from '../../errors.ts'
import { bytesExtent, type Extent } from '../../io/image.ts'
import { sealLabelPart } from './checksum.ts'
import { LABEL_SIZE, POOL_VERSION, TAIL_SIZE } from './constants.ts'
import { LABEL_PARTS, MULTIHOST_MAGIC, UBERBLOCK, UBERBLOCK_MAGIC } from './disk.ts'

export interface LabelContent {
  readonly deviceSize: number
  readonly ashift: number
  /** The packed list of the label. */
  readonly config: Uint8Array
  readonly txg: number
  readonly guidSum: bigint
  readonly timeSeconds: number
  /** The block pointer of the meta objset. */
  readonly rootPointer: Uint8Array
}

const UBERBLOCK_SIZE_MINIMUM = 1 << 10
const UBERBLOCK_SIZE_MAXIMUM = 8 << 10

/** The labels as extents of the device. */
export function labelExtents(content: LabelContent): Extent[] {
  const { deviceSize } = content
  const places = [0, LABEL_SIZE, deviceSize - TAIL_SIZE, deviceSize - LABEL_SIZE]
  return places.map((place) => bytesExtent(place, labelBytes(content, place)))
}

function labelBytes(content: LabelContent, place: number): Uint8Array {
  const label = new Uint8Array(LABEL_SIZE)
  const { bootEnvironment, config, uberblocks } = LABEL_PARTS
  const part = (offset: number, size: number): Uint8Array => label.subarray(offset, offset + size)
  sealLabelPart(part(bootEnvironment.offset, bootEnvironment.size), place + bootEnvironment.offset)
  if (content.config.length > config.size - 40) {
    throw new ImageError('LIMIT', `zfs: the pool's configuration is ${content.config.length} bytes, a label holds ${config.size - 40}`)
  }
  label.set(content.config, config.offset)
  sealLabelPart(part(config.offset, config.size), place + config.offset)
  const slotSize = Math.min(UBERBLOCK_SIZE_MAXIMUM, Math.max(UBERBLOCK_SIZE_MINIMUM, 2 ** content.ashift))
  const slot = uberblocks.offset + (content.txg % (uberblocks.size / slotSize)) * slotSize
  UBERBLOCK.write(label, slot, {
    magic: UBERBLOCK_MAGIC,
    version: POOL_VERSION,
    txg: content.txg,
    guidSum: content.guidSum,
    timeSeconds: content.timeSeconds,
    rootPointer: content.rootPointer,
    softwareVersion: POOL_VERSION,
    multihostMagic: MULTIHOST_MAGIC,
  })
  sealLabelPart(part(slot, slotSize), place + slot)
  return label
}
