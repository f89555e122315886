/**
 * OVA: an appliance for VirtualBox and VMware, a tar archive of its descriptor, a manifest, and one streamOptimized
 * disk (DMTF DSP0243 1.1, section 5).
 *
 * Not supported: further disks, certificates, VirtualBox's own settings (where the firmware is chosen: a machine
 * imported there begins with BIOS, VMware takes `efi` from the descriptor). Read are archives with one VMDK in them,
 * whose files are compared with the manifest; a certificate is not looked at.
 */
import { createHash, type Hash } from 'node:crypto'
import { alignUp } from '../../bytes/align.ts'
import { utf8 } from '../../bytes/text.ts'
import { ImageError } from '../../errors.ts'
import type { BuildContext, GrowingImage, Image } from '../../io/image.ts'
import { regionImage } from '../../io/region.ts'
import type { Target } from '../../io/target.ts'
import { type VmdkAdapter, vmdkStream } from '../vmdk/index.ts'
import { type OvfMachine, ovfText } from './ovf.ts'
import { BLOCK_SIZE, END_SIZE, fileHeader } from './tar.ts'

export { openOva } from './read.ts'

export interface OvaOptions {
  /** Identifiers are derived from it. */
  readonly seed: string
  /** Of the machine and of the files: letters, digits, and `.`, `_`, `-`, at most 64. */
  readonly name: string
  readonly cpuCount?: number
  readonly memoryMebibytes?: number
  readonly controller?: OvfMachine['controller']
  readonly firmware?: OvfMachine['firmware']
  /** Of the files in the archive; seconds since 1970. */
  readonly timeSeconds?: number
  /** Of deflate, 1 to 9. */
  readonly level?: number
}

/** Memory as nixpkgs gives its VirtualBox appliance. */
export const OVA_DEFAULTS = { cpuCount: 2, memoryMebibytes: 1536, controller: 'sata', firmware: 'efi', timeSeconds: 0, level: 6 } as const

const ADAPTERS: Readonly<Record<OvfMachine['controller'], VmdkAdapter>> = { sata: 'ide', ide: 'ide', lsilogic: 'lsilogic' }

interface OvaPlan {
  readonly machine: OvfMachine
  readonly disk: GrowingImage
  readonly timeSeconds: number
  readonly ovfName: string
  /** Bytes of the descriptor, filled up with white space: the size of the disk, which it names, is known last. */
  readonly ovfSize: number
  readonly manifestName: string
  readonly manifestSize: number
  /** Places of contents in the archive; their headers lie right before. */
  readonly manifestOffset: number
  readonly diskOffset: number
}

/**
 * An appliance with the image as its disk. A size that is no multiple of 512 is rounded up. Throws USAGE for options
 * out of range and what `vmdkStream` throws, also when packed.
 */
export function ova(image: Image, options: OvaOptions): GrowingImage {
  const plan = planOva(image, options)
  return {
    sizeLimit: plan.diskOffset + alignUp(plan.disk.sizeLimit, BLOCK_SIZE) + END_SIZE,
    pack: (target, start, context) => packOva(plan, target, start, context),
  }
}

function planOva(image: Image, options: OvaOptions): OvaPlan {
  const { name, seed, cpuCount, memoryMebibytes, controller, firmware, timeSeconds, level } = { ...OVA_DEFAULTS, ...options }
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(name)) {
    throw new ImageError('USAGE', `ova: name '${name}': 1 to 64 letters, digits, '.', '_' and '-' are possible`)
  }
  checkRange('CPU count', cpuCount, 1, 128)
  checkRange('memory in MiB', memoryMebibytes, 4, 4 << 20)
  checkRange('time', timeSeconds, 0, 8 ** 11 - 1)
  const diskName = `${name}-disk1.vmdk`
  const disk = vmdkStream(image, { seed, fileName: diskName, adapter: ADAPTERS[controller], level })
  const capacity = alignUp(image.size, BLOCK_SIZE)
  const machine = { name, cpuCount, memoryMebibytes, controller, firmware, diskName, capacity }
  const ovfName = `${name}.ovf`
  const ovfSize = utf8(ovfText(machine, disk.sizeLimit)).length
  const manifestOffset = BLOCK_SIZE + alignUp(ovfSize, BLOCK_SIZE) + BLOCK_SIZE
  const manifestSize = manifestText([ovfName, '0'.repeat(64)], [diskName, '0'.repeat(64)]).length
  const diskOffset = manifestOffset + alignUp(manifestSize, BLOCK_SIZE) + BLOCK_SIZE
  return { machine, disk, timeSeconds, ovfName, ovfSize, manifestName: `${name}.mf`, manifestSize, manifestOffset, diskOffset }
}

function checkRange(what: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return
  throw new ImageError('USAGE', `ova: ${what} ${value}; give a whole number from ${least} to ${most}`)
}

/** DSP0243 5.1: a line a file. */
function manifestText(...files: readonly (readonly [name: string, sha256: string])[]): string {
  return files.map(([name, sha256]) => `SHA256(${name})= ${sha256}\n`).join('')
}

async function packOva(plan: OvaPlan, target: Target, start: number, context: BuildContext): Promise<Image> {
  const { machine, ovfName, ovfSize, manifestName, manifestSize, manifestOffset, diskOffset, timeSeconds } = plan
  const diskHash = createHash('sha256')
  const disk = await plan.disk.pack(hashingTarget(target, diskHash, start + diskOffset), start + diskOffset, context)
  const descriptor = utf8(ovfText(machine, disk.size).padEnd(ovfSize, '\n'))
  const ovfHash = createHash('sha256').update(descriptor).digest('hex')
  const manifest = utf8(manifestText([ovfName, ovfHash], [machine.diskName, diskHash.digest('hex')]))
  const size = alignUp(diskOffset + disk.size, BLOCK_SIZE) + END_SIZE
  const parts = [
    { position: 0, bytes: fileHeader(ovfName, ovfSize, timeSeconds) },
    { position: BLOCK_SIZE, bytes: descriptor },
    { position: manifestOffset - BLOCK_SIZE, bytes: fileHeader(manifestName, manifestSize, timeSeconds) },
    { position: manifestOffset, bytes: manifest },
    { position: diskOffset - BLOCK_SIZE, bytes: fileHeader(machine.diskName, disk.size, timeSeconds) },
    { position: size - END_SIZE, bytes: new Uint8Array(END_SIZE) },
  ]
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
