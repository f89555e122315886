/** The four labels of a device (OpenZFS `include/sys/{vdev_impl,uberblock_impl}.h`). */
import { isSealed } from './checksums.ts'
import { type Device, isZero, number64 } from './device.ts'
import { type NvList, nvList, nvNumber, readNvlist } from './nvlist.ts'
import { type Pointer, readPointer } from './pointer.ts'

export const LABEL_SIZE = 256 << 10
const BOOT = { at: 8 << 10, size: 8 << 10 } as const
const CONFIG = { at: 16 << 10, size: 112 << 10 } as const
export const RING = { at: 128 << 10, size: 128 << 10 } as const
const UBERBLOCK_MAGIC = 0x00bab10c
const MULTIHOST_MAGIC = 0xa11cea11

export interface Uberblock {
  /** On the device. */
  readonly place: number
  readonly size: number
  readonly txg: number
  readonly timeSeconds: number
  readonly guidSum: bigint
  readonly pointer: Pointer
}

export interface Labels {
  readonly config: NvList
  readonly uberblock: Uberblock
  readonly ashift: number
}

/** Labels 2 and 3 lie at the end of the last whole 256 KiB. */
export function labelPlaces({ size }: Device): number[] {
  const end = size - (size % LABEL_SIZE)
  return [0, LABEL_SIZE, end - 2 * LABEL_SIZE, end - LABEL_SIZE]
}

/** Throws when no label can be used; whatever else is wrong becomes a problem. */
export function readLabels(device: Device, problems: string[]): Labels {
  const configs: Buffer[] = []
  const best: Uberblock[] = []
  let found: NvList | undefined
  for (const [index, place] of labelPlaces(device).entries()) {
    const wrong = (what: string): unknown => problems.push(`label ${index}: ${what}`)
    const label = device.read(place, LABEL_SIZE)
    if (!isZero(label.subarray(0, BOOT.at))) wrong('what comes first is not zero')
    const boot = label.subarray(BOOT.at, BOOT.at + BOOT.size)
    if (!isSealed(boot, place + BOOT.at)) wrong('the boot environment has another checksum')
    const packed = label.subarray(CONFIG.at, CONFIG.at + CONFIG.size)
    if (!isSealed(packed, place + CONFIG.at)) {
      wrong('the configuration has another checksum')
      continue
    }
    const { list, size } = readNvlist(packed)
    found ??= list
    configs.push(packed.subarray(0, size))
    const shift = Math.min(13, Math.max(10, nvNumber(nvList(list, 'vdev_tree'), 'ashift')))
    const own = readRing(label, place, 2 ** shift, wrong)
    if (own.length === 0) wrong('there is no uberblock')
    else best.push(own.reduce((a, b) => (b.txg > a.txg || (b.txg === a.txg && b.timeSeconds > a.timeSeconds) ? b : a)))
  }
  const uberblock = best.reduce<Uberblock | undefined>((a, b) => (a === undefined || b.txg > a.txg ? b : a), undefined)
  if (found === undefined || uberblock === undefined) throw new Error('no label is good')
  if (configs.some((bytes) => !bytes.equals(configs[0] as Buffer))) problems.push('labels: their configurations differ')
  if (best.some(({ txg }) => txg !== uberblock.txg)) problems.push('labels: their uberblocks differ')
  return { config: found, uberblock, ashift: nvNumber(nvList(found, 'vdev_tree'), 'ashift') }
}

function readRing(label: Buffer, place: number, size: number, wrong: (what: string) => unknown): Uberblock[] {
  const found: Uberblock[] = []
  for (let at = RING.at; at < RING.at + RING.size; at += size) {
    const slot = label.subarray(at, at + size)
    if (isZero(slot)) continue
    if (!isSealed(slot, place + at)) {
      wrong(`the uberblock at ${at} has another checksum`)
      continue
    }
    const txg = number64(slot, 16)
    const versions = [number64(slot, 8), number64(slot, 168)]
    if (number64(slot, 0) !== UBERBLOCK_MAGIC || number64(slot, 176) !== MULTIHOST_MAGIC) wrong(`the uberblock at ${at} has another magic`)
    if (versions.some((version) => version !== 5000)) wrong(`the uberblock at ${at} is of version ${versions}`)
    if (number64(slot, 200) !== 0) wrong('the pool has a checkpoint')
    if ((at - RING.at) / size !== txg % (RING.size / size)) wrong(`the uberblock of ${txg} stands in slot ${(at - RING.at) / size}`)
    found.push({
      place: place + at,
      size,
      txg,
      guidSum: slot.readBigUInt64LE(24),
      timeSeconds: number64(slot, 32),
      pointer: readPointer(slot, 40),
    })
  }
  return found
}
