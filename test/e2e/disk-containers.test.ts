/**
 * The small closure's disk in every container, through the command, as other people's tools see it; with the same bytes each time. What
 * `disk` writes as each of them is compared in test/images/disk-containers.test.ts.
 */
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../fixtures/unpack.ts'
import { fsckFindings } from '../filesystems/ext4/support.ts'
import { oracle, run, runOk } from '../oracles/tools.ts'
import { extractPartition, flipByte, mebibytes, partitionTable, rawOf } from './disk-files.ts'
import { disturbedCopy } from './disturbed-copy.ts'
import { kilnix, sha256 } from './kilnix.ts'

const MINUTES = 60_000

let work: string
let small: Awaited<ReturnType<typeof unpackSmall>>
const inWork = (...parts: string[]): string => join(work, ...parts)

async function build(name: string, options: readonly string[] = []): Promise<string> {
  await kilnix(
    'disk',
    '--closure',
    small.folder,
    '--root',
    small.root,
    '--free',
    '16M',
    '--esp-size',
    '40M',
    ...options,
    '-o',
    inWork(name),
  )
  return inWork(name)
}

beforeAll(async () => {
  // Memory lists a folder by the order of its making, a disk by hashes of the names.
  work = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'kilnix-disk-containers-'))
  small = await unpackSmall(inWork('small'))
  await build('disk.raw')
}, 2 * MINUTES)
afterAll(async () => {
  await removeStore(work)
})

/** Containers, QEMU's names of them, and whether `qemu-img check` knows them. */
const CONTAINERS = [
  { format: 'qcow2', file: 'a.qcow2', qemu: 'qcow2', isChecked: true },
  { format: 'qcow2-compressed', file: 'b.qcow2', qemu: 'qcow2', isChecked: true },
  { format: 'vdi', file: 'c.vdi', qemu: 'vdi', isChecked: true },
  { format: 'vhd', file: 'd.vhd', qemu: 'vpc', isChecked: false },
  { format: 'vhd-fixed', file: 'e.vhd', qemu: 'vpc', isChecked: false },
  { format: 'vhdx', file: 'f.vhdx', qemu: 'vhdx', isChecked: true },
  { format: 'vmdk', file: 'g.vmdk', qemu: 'vmdk', isChecked: true },
  { format: 'vmdk-stream', file: 'h.vmdk', qemu: 'vmdk', isChecked: true },
] as const

describe.skipIf(oracle('qemu-img').skip)('the container', () => {
  it('raw.tar.gz is what tar and gzip unpack', async () => {
    const tarball = await build('disk.raw.tar.gz')
    runOk('gzip', ['-t', tarball])
    expect(runOk('tar', ['-tzf', tarball]).text).toBe('disk.raw\n')
    const folder = inWork('tarball')
    await mkdir(folder)
    runOk('tar', ['-xzf', tarball, '-C', folder])
    expect(await sha256(join(folder, 'disk.raw'))).toBe(await sha256(inWork('disk.raw')))
    await rm(folder, { recursive: true })
    await rm(tarball)
  })

  it.skipIf(oracle('bsdtar').skip)('ova is an archive of a descriptor, its sums, and the disk', async () => {
    const appliance = await build('appliance.ova')
    const folder = inWork('appliance')
    await mkdir(folder)
    runOk('bsdtar', ['-xf', appliance, '-C', folder])
    const names = (await readdir(folder)).sort()
    expect(names).toEqual(['appliance-disk1.vmdk', 'appliance.mf', 'appliance.ovf'])
    const sums = await readFile(join(folder, 'appliance.mf'), 'utf8')
    for (const name of names.filter((name) => !name.endsWith('.mf'))) {
      expect(sums).toContain(`SHA256(${name})= ${await sha256(join(folder, name))}\n`)
    }
    const compared = run('qemu-img', ['compare', '-f', 'raw', '-F', 'vmdk', inWork('disk.raw'), join(folder, 'appliance-disk1.vmdk')])
    expect(compared).toMatchObject({ status: 0, text: expect.stringContaining('identical') })
    await rm(folder, { recursive: true })
    await rm(appliance)
  })

  it(
    'after container holds the disk, by qemu-img, and the last one the same bytes',
    async () => {
      let from = inWork('disk.raw')
      const { size } = await stat(from)
      for (const { format, file, qemu, isChecked } of CONTAINERS) {
        const container = inWork(file)
        await kilnix('convert', from, '--format', format, '-o', container)
        const info = JSON.parse(runOk('qemu-img', ['info', '--output=json', '-f', qemu, container]).text)
        expect(info, format).toMatchObject({ format: qemu, 'virtual-size': size })
        if (isChecked) runOk('qemu-img', ['check', '-f', qemu, container])
        const compared = run('qemu-img', ['compare', '-f', 'raw', '-F', qemu, inWork('disk.raw'), container])
        expect(compared, format).toMatchObject({ status: 0, text: expect.stringContaining('identical') })
        if (from !== inWork('disk.raw')) await rm(from)
        from = container
      }
      await kilnix('convert', from, '-o', inWork('z.raw'))
      expect(await sha256(inWork('z.raw'))).toBe(await sha256(inWork('disk.raw')))
      for (const file of [from, inWork('z.raw')]) await rm(file)
    },
    2 * MINUTES,
  )

  it('of another disk is not identical', async () => {
    const other = inWork('other.raw')
    await copyFile(inWork('disk.raw'), other)
    await flipByte(other, mebibytes(50) + 5, 0x04)
    await kilnix('convert', other, '-o', inWork('other.qcow2'))
    expect(run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', inWork('disk.raw'), inWork('other.qcow2')]).status).toBe(1)
    await rm(other)
    await rm(inWork('other.qcow2'))
  })
})

describe.skipIf(oracle('qemu-img', 'sfdisk', 'sgdisk', 'e2fsck').skip)('the preset', () => {
  it.each([
    { preset: 'amazon', qemu: 'vpc', size: mebibytes(4096) },
    { preset: 'azure', qemu: 'vpc', size: undefined },
    { preset: 'hyperv', qemu: 'vhdx', size: mebibytes(4096) },
    { preset: 'oci', qemu: 'qcow2', size: mebibytes(8192) },
  ])('$preset has a sound root in a disk of its size', async ({ preset, qemu, size }) => {
    const container = await build(`preset.${qemu}`, ['--preset', preset])
    const info = JSON.parse(runOk('qemu-img', ['info', '--output=json', '-f', qemu, container]).text)
    const disk = rawOf(container, qemu, inWork('preset.raw'))
    expect(info['virtual-size']).toBe(size ?? (await stat(inWork('disk.raw'))).size)
    expect((await stat(disk)).size).toBe(info['virtual-size'])
    expect(runOk('sgdisk', ['-v', disk]).text).toContain('No problems found')
    expect(fsckFindings(extractPartition(disk, 2, inWork('root')))).toBe('')
    for (const file of [container, disk, inWork('root')]) await rm(file)
  })
})

describe('a disk is reproducible', () => {
  it(
    'has the same bytes twice, with other workers, and from a store that a host has disturbed',
    async () => {
      const copy = inWork('copy')
      await mkdir(join(copy, 'nix'), { recursive: true })
      disturbedCopy(join(small.root, 'nix/store'), join(copy, 'nix/store'))
      const hashes = new Set([await sha256(inWork('disk.raw'))])
      for (const options of [
        ['--jobs', '1'],
        ['--jobs', '4', '--root', copy],
      ]) {
        const file = await build('again.raw', options)
        hashes.add(await sha256(file))
        await rm(file)
      }
      expect([...hashes]).toHaveLength(1)
    },
    2 * MINUTES,
  )

  it('and differs by its seed in nothing but identifiers that are derived from it', async () => {
    const disk = await build('seeded.raw', ['--seed', 'another'])
    const [one, other] = [partitionTable(inWork('disk.raw')), partitionTable(disk)]
    expect(other.id).not.toBe(one.id)
    expect(other.partitions[0]?.uuid).not.toBe(one.partitions[0]?.uuid)
    expect(other.partitions[1]).toMatchObject({ uuid: one.partitions[1]?.uuid, size: one.partitions[1]?.size })
    await rm(disk)
  })
})
