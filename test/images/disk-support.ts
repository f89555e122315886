/** Disks of the small closure, and what other people's tools say is on them. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeStore, type SmallClosure, unpackSmall } from '../../fixtures/unpack.ts'
import { type DiskOptions, type DiskPlan, disk } from '../../src/images/disk/index.ts'
import type { ImageProduct } from '../../src/images/product.ts'
import { saveImage } from '../../src/io/output.ts'
import { runOk } from '../oracles/tools.ts'
import { fromBytes, type ReadVolume, readFat } from '../readers/fat-reader.ts'

export const MEBIBYTE = 1 << 20

export interface DiskWork {
  readonly folder: string
  readonly small: SmallClosure
  /** The small closure on a disk that is as small as it can be. */
  readonly base: DiskOptions
  at(...names: string[]): string
  /** The bytes of a disk, and its plan. */
  build(options?: Partial<DiskOptions>): Promise<BuiltDisk>
  remove(): Promise<void>
}

export interface BuiltDisk extends ImageProduct<DiskPlan> {
  readonly file: string
  readonly bytes: Buffer
}

export async function diskWork(): Promise<DiskWork> {
  const folder = await mkdtemp(join(tmpdir(), 'kilnix-disk-'))
  const at = (...names: string[]): string => join(folder, ...names)
  const small = await unpackSmall(at('closure'))
  const base: DiskOptions = { closure: small.folder, root: small.root, freeSize: 0, espSize: 20 * MEBIBYTE }
  return {
    folder,
    small,
    base,
    at,
    async build(options = {}) {
      const image = await disk({ ...base, ...options })
      const file = at('built')
      rmSync(file, { force: true })
      await saveImage(image.image, file, { jobs: 2, digest: false })
      return { ...image, file, bytes: readFileSync(file) }
    },
    remove: () => removeStore(folder),
  }
}

export interface TablePartition {
  readonly start: number
  readonly size: number
  readonly type: string
  readonly uuid?: string
  readonly name?: string
  readonly attrs?: string
  readonly bootable?: boolean
}

export interface PartitionTable {
  readonly label: string
  readonly id: string
  readonly partitions: readonly TablePartition[]
}

/** What util-linux reads, in sectors of 512 bytes. */
export function tableOf(file: string): PartitionTable {
  return JSON.parse(runOk('sfdisk', ['--json', file]).text).partitiontable
}

/** A partition's own bytes, in a file beside the disk. */
export function partitionFile({ file, bytes, plan }: BuiltDisk, role: DiskPartition['role']): string {
  const path = `${file}.${role}`
  writeFileSync(path, partitionBytes(bytes, plan, role))
  return path
}

type DiskPartition = DiskPlan['partitions'][number]

export function partitionBytes(bytes: Buffer, plan: DiskPlan, role: DiskPartition['role']): Buffer {
  const partition = plan.partitions.find((one) => one.role === role)
  if (partition === undefined) throw new Error(`no partition ${role}`)
  return bytes.subarray(partition.start, partition.size === undefined ? undefined : partition.start + partition.size)
}

/** A boot partition, by a reader that trusts nothing. */
export function fatOf({ bytes, plan }: BuiltDisk, role: DiskPartition['role']): ReadVolume {
  return readFat(fromBytes(partitionBytes(bytes, plan, role)))
}

/** Requests to debugfs, each with what it answers. */
export function debugfs(file: string, request: string): string {
  return runOk('debugfs', ['-R', request, file]).text
}

/** `e2fsck -fn` finds nothing to do. */
export function expectClean(file: string): void {
  runOk('e2fsck', ['-fn', file])
}
