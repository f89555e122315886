/** The container formats by name: what may be asked for, and how files of it are usually named. */
import { tar } from '../../archives/tar/index.ts'
import { utf8 } from '../../bytes/text.ts'
import type { CodecSpec } from '../../codecs/codec.ts'
import { compressedImage } from '../../codecs/stream/index.ts'
import { openOva, ova } from '../../disks/ova/index.ts'
import { type DiskFormat, probeDiskFormat } from '../../disks/probe.ts'
import { openQcow2, qcow2, qcow2Compressed } from '../../disks/qcow2/index.ts'
import { openRaw } from '../../disks/raw/index.ts'
import { openVdi, vdi } from '../../disks/vdi/index.ts'
import { dynamicVhd, fixedVhd, openVhd, VHD_DEFAULTS } from '../../disks/vhd/index.ts'
import { openVhdx, vhdx } from '../../disks/vhdx/index.ts'
import { openVmdk, vmdk, vmdkStream } from '../../disks/vmdk/index.ts'
import { ImageError } from '../../errors.ts'
import type { GrowingImage, Image } from '../../io/image.ts'
import type { RandomAccessSource } from '../../io/source.ts'
import type { OutputFormat } from './names.ts'

export interface ContainerOptions {
  /** Identifiers are derived from it. */
  readonly seed: string
  /** The name of the file to write, without folders: VMDK and OVA repeat it. */
  readonly fileName: string
  /** Of formats that have a time; default: each format's own beginning of time. */
  readonly timeSeconds?: number
  /** Of `qcow2-compressed` (gzip or zstd), `vmdk-stream` and `ova` (gzip); default gzip, level 6. */
  readonly compression?: CodecSpec
  /** Of qcow2, in bytes; default 64 KiB. */
  readonly clusterSize?: number
  /** Of OVA. Default: UEFI. */
  readonly firmware?: 'bios' | 'efi'
}

const COMPRESSED_FORMATS: readonly OutputFormat[] = ['qcow2-compressed', 'vmdk-stream', 'ova', 'raw.tar.gz']

/**
 * The disk in its container. Throws what the format throws, USAGE for a codec where nothing is compressed, UNSUPPORTED
 * for one that the format does not have.
 */
export function containerOf(disk: Image, format: OutputFormat, options: ContainerOptions): Image | GrowingImage {
  const { seed, timeSeconds, compression, clusterSize, firmware } = options
  if (compression !== undefined && !COMPRESSED_FORMATS.includes(format)) {
    throw new ImageError('USAGE', `${format} is not compressed; leave --compression out, or choose one of ${COMPRESSED_FORMATS.join(', ')}`)
  }
  const time = timeSeconds === undefined ? {} : { timeSeconds }
  const clusters = clusterSize === undefined ? {} : { clusterSize }
  switch (format) {
    case 'raw':
      return disk
    case 'qcow2':
      return qcow2(disk, clusters)
    case 'qcow2-compressed':
      return qcow2Compressed(disk, { ...clusters, ...(compression && { codec: compression }) })
    case 'vdi':
      return vdi(disk, { seed })
    case 'vhd':
      return dynamicVhd(disk, { seed, ...vhdTime(timeSeconds) })
    case 'vhd-fixed':
      return fixedVhd(disk, { seed, ...vhdTime(timeSeconds) })
    case 'vhdx':
      return vhdx(disk, { seed })
    case 'vmdk':
      return vmdk(disk, { seed, fileName: plainName(options.fileName) })
    case 'vmdk-stream':
      return vmdkStream(disk, { seed, fileName: plainName(options.fileName), ...deflateLevel(compression, format) })
    case 'ova':
      return ova(disk, {
        seed,
        name:
          plainName(options.fileName)
            .replace(/\.ova$/i, '')
            .slice(0, 64) || 'nixos',
        ...time,
        ...deflateLevel(compression, format),
        ...(firmware && { firmware }),
      })
    case 'raw.tar.gz':
      return googleTarball(disk, timeSeconds ?? 0, compression)
  }
}

/** Time begins later there than in FAT, and than in builds of nixpkgs, where SOURCE_DATE_EPOCH is 1980. */
function vhdTime(timeSeconds = 0): { readonly timeSeconds: number } {
  return { timeSeconds: Math.max(timeSeconds, VHD_DEFAULTS.timeSeconds) }
}

/** What Google Compute Engine imports: a tar archive of one file, `disk.raw`, in GNU's format, compressed by gzip. */
function googleTarball(disk: Image, mtimeSeconds: number, compression: CodecSpec | undefined): GrowingImage {
  const owned = { uid: 0, gid: 0, mtimeSeconds }
  const file = { kind: 'file', mode: 0o644, ...owned, size: disk.size, content: { kind: 'image', image: disk } } as const
  const folder = { kind: 'directory', mode: 0o755, ...owned, entries: [{ name: utf8('disk.raw'), node: file }] } as const
  const level = deflateLevel(compression, 'raw.tar.gz').level ?? 6
  return compressedImage(tar(folder, { format: 'gnu' }), { codec: { name: 'gzip', level }, isLastMember: true })
}

/** What a descriptor can repeat. */
function plainName(fileName: string): string {
  return fileName.replace(/[^0-9A-Za-z._-]/g, '_').slice(0, 255) || 'nixos'
}

function deflateLevel(compression: CodecSpec | undefined, format: OutputFormat): { level?: number } {
  if (compression === undefined) return {}
  if (compression.name === 'gzip') return compression.level === undefined ? {} : { level: compression.level }
  throw new ImageError('UNSUPPORTED', `${format} is compressed by deflate and nothing else; use gzip:1 to gzip:9, not ${compression.name}`)
}

/** The format that a file name asks for by its ending, or undefined. */
export function formatOfName(fileName: string): OutputFormat | undefined {
  if (fileName.toLowerCase().endsWith('.tar.gz')) return 'raw.tar.gz'
  const ending = /\.([^./]+)$/.exec(fileName.toLowerCase())?.[1] ?? ''
  return ENDINGS.get(ending)
}

const ENDINGS: ReadonlyMap<string, OutputFormat> = new Map([
  ['img', 'raw'],
  ['raw', 'raw'],
  ['qcow2', 'qcow2'],
  ['vdi', 'vdi'],
  ['vhd', 'vhd'],
  ['vpc', 'vhd'],
  ['vhdx', 'vhdx'],
  ['vmdk', 'vmdk'],
  ['ova', 'ova'],
])

export interface OpenedDisk {
  readonly format: DiskFormat
  /** The virtual disk. */
  readonly image: Image
}

/**
 * The disk in a container, whose format is found out unless it is given. Throws BAD_INPUT for a damaged one,
 * UNSUPPORTED for features that are not read, and what the source throws.
 */
export async function openDisk(
  source: RandomAccessSource,
  given?: DiskFormat,
  options: { signal?: AbortSignal } = {},
): Promise<OpenedDisk> {
  const format = given ?? (await probeDiskFormat(source))
  switch (format) {
    case 'raw':
      return { format, image: await openRaw(source, { skipZeros: true, ...(options.signal && { signal: options.signal }) }) }
    case 'qcow2':
      return { format, image: await openQcow2(source) }
    case 'vdi':
      return { format, image: await openVdi(source) }
    case 'vhd':
      return { format, image: await openVhd(source) }
    case 'vhdx':
      return { format, image: await openVhdx(source) }
    case 'vmdk':
      return { format, image: await openVmdk(source) }
    case 'ova':
      return { format, image: await openOva(source) }
  }
}
