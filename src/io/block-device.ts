/**
 * What the system knows of a block device, and what speaks against writing to it (Linux, Documentation/ABI/stable/sysfs-block,
 * proc_pid_mountinfo(5), proc_swaps(5)).
 */
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { ImageError } from '../errors.ts'

/** Where the kernel tells; tests have places of their own. */
export interface SystemPlaces {
  readonly proc: string
  readonly sys: string
}

export const SYSTEM_PLACES: SystemPlaces = { proc: '/proc', sys: '/sys' }

export interface BlockDevice {
  /** As the user wrote it. */
  readonly path: string
  /** The node that links lead to. */
  readonly realPath: string
  /** As the kernel calls it, such as `sdb1`. */
  readonly name: string
  readonly deviceNumber: bigint
  /** Bytes. */
  readonly size: number
  /** Bytes of a logical sector. */
  readonly sectorSize: number
  readonly isPartition: boolean
  readonly isReadOnly: boolean
  readonly isRemovable: boolean
  /** Vendor and model, or nothing. */
  readonly model: string
  /** Names of its partitions. */
  readonly partitions: readonly string[]
  /** Why nobody may write to it now: what is mounted, swapped to, or built on it. */
  readonly uses: readonly string[]
}

const SIZE_UNIT = 512

/** Throws UNSUPPORTED where the kernel tells nothing of it. */
export function blockDevice(path: string, places: SystemPlaces = SYSTEM_PLACES): BlockDevice {
  const { rdev } = statSync(path, { bigint: true })
  return knownDevice({ path, realPath: realpathSync(path), deviceNumber: rdev }, places)
}

/** The device of that number. Throws likewise. */
export function knownDevice(node: Pick<BlockDevice, 'path' | 'realPath' | 'deviceNumber'>, places: SystemPlaces): BlockDevice {
  const folder = sysFolder(node, places)
  const isPartition = existsSync(join(folder, 'partition'))
  const disk = isPartition ? dirname(folder) : folder
  const parts = readdirSync(folder).filter((name) => existsSync(join(folder, name, 'partition')))
  const size = Number(textOf(join(folder, 'size'))) * SIZE_UNIT
  return {
    ...node,
    name: basename(folder),
    size: Number.isSafeInteger(size) ? size : 0,
    sectorSize: Number(textOf(join(disk, 'queue/logical_block_size'))) || SIZE_UNIT,
    isPartition,
    isReadOnly: textOf(join(folder, 'ro')) === '1',
    isRemovable: textOf(join(disk, 'removable')) === '1',
    model: ['vendor', 'model']
      .map((name) => textOf(join(disk, 'device', name)))
      .join(' ')
      .trim(),
    partitions: parts.sort(),
    uses: usesOf(folder, places),
  }
}

/** Throws UNSUPPORTED for a device that cannot be written to or is in use, LIMIT for one that is smaller than `size`. */
export function checkDevice(device: BlockDevice, size = 0): void {
  const { path, isReadOnly, uses } = device
  if (device.size === 0) throw new ImageError('UNSUPPORTED', `${path}: has no medium, or one of no size; put one in`, { path })
  if (isReadOnly) throw new ImageError('UNSUPPORTED', `${path}: is read-only; look for a switch on it, or choose another`, { path })
  if (uses.length > 0) throw inUse(path, uses.join(', '))
  if (size > device.size) {
    throw new ImageError('LIMIT', `${path}: has ${device.size} bytes, the image ${size}; choose a larger one, or a smaller image`, { path })
  }
}

export function inUse(path: string, why: string): ImageError {
  return new ImageError('UNSUPPORTED', `${path}: is in use (${why}); unmount it or choose another: what is in use is never written to`, {
    path,
  })
}

function sysFolder({ path, deviceNumber }: Pick<BlockDevice, 'path' | 'deviceNumber'>, { sys }: SystemPlaces): string {
  try {
    return realpathSync(join(sys, 'dev/block', numberText(deviceNumber)))
  } catch (cause) {
    throw new ImageError(
      'UNSUPPORTED',
      (option) =>
        `${path}: is a block device of which the system tells nothing in ${sys}; Linux does. Write to a file, or with ${option('output')} - and a redirection`,
      { path, cause },
    )
  }
}

/** glibc's gnu_dev_major and gnu_dev_minor. */
export function numberText(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn)
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n)
  return `${major}:${minor}`
}

/** The device, its partitions, and whatever is built on any of them. */
function usesOf(folder: string, places: SystemPlaces): string[] {
  const numbers = new Set<string>()
  const holders: string[] = []
  const visit = (place: string): void => {
    const number = textOf(join(place, 'dev'))
    if (number === '' || numbers.has(number)) return
    numbers.add(number)
    for (const name of readdirSync(place)) if (existsSync(join(place, name, 'partition'))) visit(join(place, name))
    for (const name of namesIn(join(place, 'holders'))) {
      holders.push(`${name} is built on ${basename(place)}`)
      const holder = join(places.sys, 'class/block', name)
      if (existsSync(holder)) visit(realpathSync(holder))
    }
  }
  visit(folder)
  return [...mounts(numbers, places), ...swaps(numbers, places), ...holders]
}

function mounts(numbers: ReadonlySet<string>, { proc }: SystemPlaces): string[] {
  return textOf(join(proc, 'self/mountinfo'))
    .split('\n')
    .flatMap((line) => {
      const [, , number = '', , point = ''] = line.split(' ')
      // Of file systems with several devices only the source names one.
      const source = / - \S+ (\S+)/.exec(line)?.[1] ?? ''
      if (!numbers.has(number) && !(source.startsWith('/') && numbers.has(numberOf(unescaped(source))))) return []
      return [point === '/' ? 'the root file system of this machine is on it' : `mounted on ${unescaped(point)}`]
    })
    .filter((use, index, all) => all.indexOf(use) === index)
}

function swaps(numbers: ReadonlySet<string>, { proc }: SystemPlaces): string[] {
  return textOf(join(proc, 'swaps'))
    .split('\n')
    .slice(1)
    .map((line) => unescaped(line.split(/\s/)[0] ?? ''))
    .filter((path) => path.startsWith('/') && numbers.has(numberOf(path)))
    .map((path) => `${path} is swap space`)
}

function numberOf(path: string): string {
  try {
    const status = statSync(path, { bigint: true })
    return status.isBlockDevice() ? numberText(status.rdev) : ''
  } catch {
    return ''
  }
}

function unescaped(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

/** Of a small file of the kernel, without the blanks around it; nothing where it cannot be read. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path).sort()
  } catch {
    return []
  }
}
