/** The machine that has OpenZFS's kernel module: `fixtures/zfs/module.sh` makes it. */
import { mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cpio } from '../../src/archives/cpio/index.ts'
import { type ZfsPlan, zfsPool } from '../../src/filesystems/zfs/index.ts'
import { FileTarget } from '../../src/io/file-target.ts'
import type { GrowingImage } from '../../src/io/image.ts'
import { imageChunks } from '../../src/io/stream.ts'
import { type BootResult, runMachine } from '../e2e/machine.ts'
import { directory, file } from '../filesystems/zfs/support.ts'
import { runOk } from '../oracles/tools.ts'
import { type ZFS_SUITES, zfsMachineFile } from '../oracles/zfs.ts'
import type { PoolCase } from './pools.ts'

export interface MachineRun {
  readonly boot: BootResult
  /** What the steps have written, by their names. */
  readonly results: ReadonlyMap<string, string>
  /** With the disks as the machine has left them. */
  readonly folder: string
  readonly plans: ReadonlyMap<string, ZfsPlan>
}

export const MACHINE_TIMEOUT_SECONDS = 1500
const RESULTS_SIZE = 1 << 30
const MEMORY_MIB = 2048

/** Pack the pools, give them to the machine, run its script, and call `use` while the disks are there. `prepare` gets each disk first. */
export async function withMachine<T>(
  suite: (typeof ZFS_SUITES)[number],
  cases: readonly PoolCase[],
  prepare: (name: string, disk: string) => Promise<void>,
  use: (run: MachineRun) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'kilnix-module-'))
  const diskOf = (name: string): string => join(folder, `${name}.img`)
  try {
    const plans = new Map<string, ZfsPlan>()
    for (const each of cases) {
      const pool = zfsPool(each.root, each.options)
      plans.set(each.options.name, pool.plan)
      await writeDisk(each.disk?.(pool) ?? pool, diskOf(each.options.name), each.diskSize)
      await prepare(each.options.name, diskOf(each.options.name))
    }
    const results = diskOf('results')
    const handle = await open(results, 'w')
    await handle.truncate(RESULTS_SIZE)
    await handle.close()
    const boot = await start(suite, cases, plans, folder)
    const unpacked = join(folder, 'results')
    runOk('sh', ['-c', 'mkdir "$1" && tar -x -f "$0" -C "$1"', results, unpacked])
    const texts = new Map<string, string>()
    for (const name of await readdir(unpacked)) texts.set(name, await readFile(join(unpacked, name), 'latin1'))
    return await use({ boot, results: texts, folder, plans })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function writeDisk(image: GrowingImage, path: string, size: number | undefined): Promise<void> {
  const handle = await open(path, 'w+')
  const target = new FileTarget(handle, path, false)
  await image.pack(target, 0, { jobs: 2 })
  if (size !== undefined) await handle.truncate(size)
  await target.close()
}

async function start(
  suite: (typeof ZFS_SUITES)[number],
  cases: readonly PoolCase[],
  plans: ReadonlyMap<string, ZfsPlan>,
  folder: string,
): Promise<BootResult> {
  const initrd = join(folder, 'initrd')
  const base = zfsMachineFile(suite, 'initrd') as string
  await writeInitrd(initrd, base, cases, plans)
  const disk = (name: string): string[] => [
    ...['-drive', `if=none,id=${name},format=raw,cache=unsafe,discard=unmap,file=${join(folder, name)}.img`],
    ...['-device', `virtio-blk-pci,drive=${name},serial=${name}`],
  ]
  const system = ['-kernel', zfsMachineFile(suite, 'vmlinuz') as string, '-initrd', initrd, '-append', 'console=ttyS0 quiet panic=-1']
  const disks = [...cases.map(({ options }) => options.name), 'results'].flatMap(disk)
  const options = { memoryMiB: MEMORY_MIB, timeoutSeconds: MACHINE_TIMEOUT_SECONDS, expect: [/^machine: done/m] }
  return runMachine(async () => ['-machine', 'pc', '-nic', 'none', ...system, ...disks], options)
}

/** An archive with the script, in front of that of the fixture. */
async function writeInitrd(path: string, base: string, cases: readonly PoolCase[], plans: ReadonlyMap<string, ZfsPlan>): Promise<void> {
  const script = await readFile(join(import.meta.dirname, 'script.sh'))
  const mounts = cases.map(({ options: { name } }) => [`${name}.mounts`, file(lines(mountsOf(plans.get(name))))] as const)
  const pools = file(lines(cases.map(({ options, steps }) => `${options.name} ${steps.join(' ')}`)))
  const test = directory({ script: file(script), pools, ...Object.fromEntries(mounts) })
  const target = await open(path, 'w')
  for await (const chunk of imageChunks(cpio(directory({ test })))) await target.write(chunk)
  await target.write(await readFile(base))
  await target.close()
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('')
}

/** A dataset and the folder at which it belongs, outer ones first. */
export function mountsOf(plan: ZfsPlan | undefined): string[] {
  const mounted = (plan?.datasets ?? []).flatMap(({ spec }) => (spec.mount === undefined ? [] : [`${spec.name} ${spec.mount}`]))
  return mounted.sort((a, b) => a.slice(a.indexOf(' ')).length - b.slice(b.indexOf(' ')).length)
}
