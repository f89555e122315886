/**
 * OVA: an appliance for VirtualBox and VMware, a tar archive of its descriptor, a manifest, and streamOptimized disks (DMTF DSP0243 1.1,
 * section 5).
 *
 * Not supported: certificates; of VirtualBox' own settings more than the firmware. Of archives that are read, one VMDK is, and
 * the files are compared with the manifest; a certificate is not looked at.
 */
import { createHash, type Hash } from 'node:crypto'
import { alignUp } from '../../bytes/align.ts'
import { deriveGuid, guidToText } from '../../bytes/guid.ts'
import { utf8 } from '../../bytes/text.ts'
import { MEBIBYTE } from '../../bytes/units.ts'
import { ImageError } from '../../errors.ts'
import type { BuildContext, GrowingImage, Image } from '../../io/image.ts'
import { regionImage } from '../../io/region.ts'
import type { Target } from '../../io/target.ts'
import type { MachineOptions } from '../machine.ts'
import { type VmdkAdapter, vmdkStream } from '../vmdk/index.ts'
import { type OvfMachine, ovfText } from './ovf.ts'
import { BLOCK_SIZE, END_SIZE, fileHeader } from './tar.ts'

export { type OvaReadOptions, openOva } from './read.ts'

export interface OvaOptions extends MachineOptions {
  /** Identifiers are derived from it. */
  readonly seed: string
  /** Of the machine and of the files: letters, digits, and `.`, `_`, `-`, at most 64. */
  readonly name: string
  /** Of the files in the archive; seconds since 1970. */
  readonly timeSeconds?: number
  /** Of deflate, 1 to 9. */
  readonly level?: number
}

/** Memory as nixpkgs gives its VirtualBox appliance; the controller for which NixOS' initrds have drivers by themselves. */
export const OVA_DEFAULTS = {
  cpuCount: 2,
  memorySize: 1536 * MEBIBYTE,
  hardwareVersion: 10,
  diskController: 'sata',
  firmware: 'efi',
  manifestDigest: 'sha256',
  timeSeconds: 0,
  level: 6,
} as const

const ADAPTERS: Readonly<Record<OvfMachine['controller'], VmdkAdapter>> = { sata: 'ide', ide: 'ide', lsilogic: 'lsilogic' }

/** Disks that a controller takes: units 0 to 6 of an LSI Logic, ports of an AHCI, one channel of an IDE. */
const DISK_LIMIT: Readonly<Record<OvfMachine['controller'], number>> = { sata: 30, ide: 2, lsilogic: 7 }

interface OvaPlan {
  readonly machine: OvfMachine
  readonly disks: readonly GrowingImage[]
  readonly timeSeconds: number
  readonly digest: NonNullable<MachineOptions['manifestDigest']>
  readonly ovfName: string
  /** Bytes of the descriptor, filled up with white space: the sizes of the disks, which it names, are known last. */
  readonly ovfSize: number
  readonly manifestName: string
  readonly manifestSize: number
  /** Places of contents in the archive; their headers lie right before. */
  readonly manifestOffset: number
  readonly firstDiskOffset: number
}

/**
 * An appliance with the image as its disk, or with several, of which the first starts the machine. A size that is no multiple of 512 is
 * rounded up. Throws USAGE for options out of range, LIMIT for more disks than the controller takes, and what `vmdkStream` throws, also
 * when packed.
 */
export function ova(images: Image | readonly Image[], options: OvaOptions): GrowingImage {
  const plan = planOva(Array.isArray(images) ? (images as readonly Image[]) : [images as Image], options)
  const diskLimits = plan.disks.reduce((sum, { sizeLimit }) => sum + BLOCK_SIZE + alignUp(sizeLimit, BLOCK_SIZE), 0)
  return {
    sizeLimit: plan.firstDiskOffset + diskLimits + END_SIZE,
    pack: (target, start, context) => packOva(plan, target, start, context),
  }
}

function planOva(images: readonly Image[], options: OvaOptions): OvaPlan {
  const { name, seed, cpuCount, memorySize, hardwareVersion, diskController, firmware, manifestDigest, timeSeconds, level } = {
    ...OVA_DEFAULTS,
    ...options,
  }
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(name)) {
    throw new ImageError('USAGE', `ova: name '${name}': 1 to 64 letters, digits, '.', '_' and '-' are possible`)
  }
  checkRange('cpuCount', cpuCount, 1, 128)
  checkRange('memorySize', memorySize, 4 * MEBIBYTE, 2 ** 42)
  if (memorySize % MEBIBYTE !== 0)
    throw new ImageError('USAGE', (option) => `${option('memorySize')} is ${memorySize} bytes; give whole MiB, such as 2G`)
  checkRange('hardwareVersion', hardwareVersion, 4, 99)
  checkRange('timeSeconds', timeSeconds, 0, 8 ** 11 - 1)
  if (images.length === 0 || images.length > DISK_LIMIT[diskController]) {
    throw new ImageError(
      'LIMIT',
      `ova: ${images.length} disks; a controller of kind ${diskController} takes 1 to ${DISK_LIMIT[diskController]}`,
    )
  }
  const parts = images.map((image, index) => {
    const fileName = `${name}-disk${index + 1}.vmdk`
    // The content id of the first has been derived from the seed alone, and one appliance is one with one disk.
    const diskSeed = index === 0 ? seed : `${seed} disk ${index + 1}`
    return {
      image: vmdkStream(image, { seed: diskSeed, fileName, adapter: ADAPTERS[diskController], level }),
      disk: { fileName, capacity: alignUp(image.size, BLOCK_SIZE), uuid: guidToText(deriveGuid(diskSeed, 'ova disk')).toLowerCase() },
    }
  })
  const machine = {
    name,
    uuid: guidToText(deriveGuid(seed, 'ova machine')).toLowerCase(),
    cpuCount,
    memoryMebibytes: memorySize / MEBIBYTE,
    hardwareVersion,
    controller: diskController,
    firmware,
    disks: parts.map(({ disk }) => disk),
  }
  const disks = parts.map(({ image }) => image)
  const ovfName = `${name}.ovf`
  const ovfSize = utf8(
    ovfText(
      machine,
      disks.map(({ sizeLimit }) => sizeLimit),
    ),
  ).length
  const manifestOffset = BLOCK_SIZE + alignUp(ovfSize, BLOCK_SIZE) + BLOCK_SIZE
  const digestLength = createHash(manifestDigest).digest('hex').length
  const names = [ovfName, ...machine.disks.map(({ fileName }) => fileName)]
  const manifestSize = manifestText(
    manifestDigest,
    names.map((file) => [file, '0'.repeat(digestLength)]),
  ).length
  return {
    machine,
    disks,
    timeSeconds,
    digest: manifestDigest,
    ovfName,
    ovfSize,
    manifestName: `${name}.mf`,
    manifestSize,
    manifestOffset,
    firstDiskOffset: manifestOffset + alignUp(manifestSize, BLOCK_SIZE) + BLOCK_SIZE,
  }
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return
  throw new ImageError('USAGE', (option) => `${option(name)} is ${value}; give a whole number from ${least} to ${most}`)
}

/** DSP0243 5.1: a line a file. */
function manifestText(digest: string, files: readonly (readonly [name: string, sum: string])[]): string {
  return files.map(([name, sum]) => `${digest.toUpperCase()}(${name})= ${sum}\n`).join('')
}

async function packOva(plan: OvaPlan, target: Target, start: number, context: BuildContext): Promise<Image> {
  const { machine, digest, ovfName, ovfSize, manifestName, manifestSize, manifestOffset, timeSeconds } = plan
  const parts: { readonly position: number; readonly bytes: Uint8Array }[] = []
  const sums: (readonly [name: string, sum: string])[] = []
  const sizes: number[] = []
  let end = plan.firstDiskOffset - BLOCK_SIZE
  for (const [index, disk] of plan.disks.entries()) {
    const { fileName } = machine.disks[index] as OvfMachine['disks'][number]
    const position = end + BLOCK_SIZE
    const hash = createHash(digest)
    const { size } = await disk.pack(hashingTarget(target, hash, start + position), start + position, context)
    sums.push([fileName, hash.digest('hex')])
    sizes.push(size)
    parts.push({ position: end, bytes: fileHeader(fileName, size, timeSeconds) })
    end = alignUp(position + size, BLOCK_SIZE)
  }
  const descriptor = utf8(ovfText(machine, sizes).padEnd(ovfSize, '\n'))
  const ovfSum = createHash(digest).update(descriptor).digest('hex')
  const size = end + END_SIZE
  parts.push(
    { position: 0, bytes: fileHeader(ovfName, ovfSize, timeSeconds) },
    { position: BLOCK_SIZE, bytes: descriptor },
    { position: manifestOffset - BLOCK_SIZE, bytes: fileHeader(manifestName, manifestSize, timeSeconds) },
    { position: manifestOffset, bytes: utf8(manifestText(digest, [[ovfName, ovfSum], ...sums])) },
    { position: end, bytes: new Uint8Array(END_SIZE) },
  )
  for (const { position, bytes } of parts) await target.write(start + position, bytes)
  return regionImage(target, start, size)
}

/** Hashes what is written, which comes in the order of the file. */
function hashingTarget(target: Target, hash: Hash, start: number): Target {
  let next = start
  return {
    async write(position, bytes) {
      if (position !== next) throw new RangeError(`ova: the disk is not written in order: at ${position}, expected ${next}`)
      next += bytes.length
      hash.update(bytes)
      await target.write(position, bytes)
    },
    read: (position, length) => target.read(position, length),
    setSize: (size) => target.setSize(size),
  }
}
