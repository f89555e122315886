/**
 * The live system's disk boots by UEFI from containers that QEMU reads, with each kind of boot entry and layout and on each kind of
 * bus. The system says that its store is whole, by the real Nix and the image's own database: all of it in the first container, and in
 * the others, which hold the same root, a sample. It writes to the disk, which has to be sound afterwards. In one container a
 * byte is damaged, and the system finds that byte and nothing else. That every container holds the disk, qemu-img says:
 * disk-containers.test.ts.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sha256Of } from '../faults/support.ts'
import { fsckFindings } from '../filesystems/ext4/support.ts'
import { oracle, runOk } from '../oracles/tools.ts'
import { generatedClosure, storePaths, toplevelOf } from './closures.ts'
import { complaintsIn, DAMAGE_COMPLAINTS, damagedContent, damagedCopy, damagedLines } from './damage.ts'
import { extractPartition, growDisk, mebibytes, rawOf, superblockField } from './disk-files.ts'
import { kilnix } from './kilnix.ts'
import type { BootResult } from './machine.ts'
import { bootDisk, type DiskBootOptions, type DiskBus } from './qemu.ts'

const live = generatedClosure('live')
const skip = live.skip || oracle('qemu-system-x86_64', 'qemu-img', 'sgdisk', 'sfdisk', 'e2fsck', 'resize2fs', 'dumpe2fs').skip
const MINUTES = 60_000
const BOOT_SECONDS = 400
/** Two machines run at a time, and a test may have to wait for its turn. */
const TEST_TIMEOUT = 30 * MINUTES
const DEVICE: Readonly<Record<DiskBus, string>> = { virtio: '/dev/vda', ata: '/dev/sda', nvme: '/dev/nvme0n1p' }
/** systemd-boot draws this on the serial line. */
const MENU = /Boot in \d+ s/

describe.skipIf(skip)('the disk of the live system', () => {
  let work: string
  const inWork = (name: string): string => join(work, name)
  const build = async (name: string, ...options: string[]): Promise<void> => {
    const input = ['--closure', live.folder, '--root', live.root, '--free', '64M']
    await kilnix('disk', ...input, ...(options.includes('--timeout') ? [] : ['--timeout', '1']), ...options, '-o', inWork(name))
  }
  const expected = (bus: DiskBus, root: number, boot: number, checked: 'all' | 'sample'): RegExp[] => [
    new RegExp(`LIVE-INFO system=${toplevelOf(live.folder)} firmware=uefi kind=disk medium=${DEVICE[bus]}${root} type=ext4`),
    new RegExp(`LIVE-INFO checked=${checked} `),
    /LIVE-INFO database=from the image/,
    new RegExp(`LIVE-INFO boot=${boot}\\r?\\n`),
    new RegExp(`LIVE-CHECK paths=${storePaths(live.folder).length} verify=ok files=\\d+ objects=\\d+ mismatches=0`),
    /LIVE-CHECK RESULT ok/,
  ]
  const bootsWell = async (name: string, options: Omit<DiskBootOptions, 'timeoutSeconds'>): Promise<BootResult> => {
    const result = await bootDisk(inWork(name), { timeoutSeconds: BOOT_SECONDS, ...options })
    expect(result.ok, result.report).toBe(true)
    return result
  }
  const ofRoot = async <T>(
    name: string,
    format: string,
    root: number,
    sectorSize: 512 | 4096,
    look: (partition: string) => T,
  ): Promise<T> => {
    const disk = format === 'raw' ? inWork(name) : rawOf(inWork(name), format, inWork(`${name}.raw`))
    const partition = extractPartition(disk, root, inWork(`${name}.root`), sectorSize)
    const found = look(partition)
    await rm(partition)
    if (disk !== inWork(name)) await rm(disk)
    return found
  }
  /** What e2fsck says of the root, of which nothing has been replayed or repaired. */
  const rootFindings = (name: string, format: string, root: number, sectorSize: 512 | 4096 = 512): Promise<string> =>
    ofRoot(name, format, root, sectorSize, fsckFindings)
  /** Of the root of the raw disk, all of whose store a machine checks. */
  let rootDigest: string
  const expectSameRoot = async (name: string, format: string, root: number, sectorSize: 512 | 4096 = 512): Promise<void> => {
    expect(await ofRoot(name, format, root, sectorSize, sha256Of)).toBe(rootDigest)
  }

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-disk-'))
    await build('disk.raw')
    rootDigest = await ofRoot('disk.raw', 'raw', 2, 512, sha256Of)
    await build('unified.qcow2', '--format', 'qcow2-compressed', '--boot-loader', 'uki', '--sector-size', '4096')
    await build('extended-boot.vmdk', '--layout', 'efixbootldr')
    await build('specialised.raw', '--layout', 'hybrid', '--timeout', '30')
    await expectSameRoot('specialised.raw', 'raw', 3)
    await damagedCopy(inWork('specialised.raw'), inWork('damaged.raw'), damagedContent(live))
    await kilnix('convert', inWork('damaged.raw'), '-o', inWork('specialised.vhdx'))
    for (const name of ['specialised.raw', 'damaged.raw']) await rm(inWork(name))
  }, 10 * MINUTES)
  afterAll(async () => {
    await rm(work, { recursive: true, force: true })
  })

  it.concurrent(
    '(disk.raw) boots, is written to, grows, becomes a VHD, then a VDI, and boots again with all that was written',
    async () => {
      const root = inWork('disk.root')
      const blocks = (partition: string): number => Number(superblockField(partition, 'Block count'))
      await bootsWell('disk.raw', { format: 'raw', bus: 'virtio', snapshot: false, expect: expected('virtio', 2, 1, 'all') })
      expect(await rootFindings('disk.raw', 'raw', 2)).toBe('')
      const before = blocks(extractPartition(inWork('disk.raw'), 2, root))
      await growDisk(inWork('disk.raw'), mebibytes(300), root)
      expect(runOk('sgdisk', ['-v', inWork('disk.raw')]).text).toContain('No problems found')
      expect(blocks(extractPartition(inWork('disk.raw'), 2, root))).toBeGreaterThanOrEqual(before + mebibytes(300) / 4096)
      await kilnix('convert', inWork('disk.raw'), '-o', inWork('disk.vhd'))
      await rm(inWork('disk.raw'))
      await kilnix('convert', inWork('disk.vhd'), '-o', inWork('disk.vdi'))
      await rm(inWork('disk.vhd'))
      await bootsWell('disk.vdi', { format: 'vdi', bus: 'ata', snapshot: false, sample: true, expect: expected('ata', 2, 2, 'sample') })
      runOk('qemu-img', ['check', '-f', 'vdi', inWork('disk.vdi')])
      expect(await rootFindings('disk.vdi', 'vdi', 2)).toBe('')
    },
    TEST_TIMEOUT,
  )

  const boots = [
    { name: 'unified.qcow2', format: 'qcow2', bus: 'nvme', root: 2, sectorSize: 4096 },
    { name: 'extended-boot.vmdk', format: 'vmdk', bus: 'ata', root: 3, sectorSize: 512 },
  ] as const
  for (const { name, format, bus, root, sectorSize } of boots) {
    it.concurrent(
      `(${name}) boots from ${bus} with sectors of ${sectorSize} bytes, is written to, and is clean`,
      async () => {
        await expectSameRoot(name, format, root, sectorSize)
        await bootsWell(name, { format, bus, sectorSize, snapshot: false, sample: true, expect: expected(bus, root, 1, 'sample') })
        runOk('qemu-img', ['check', '-f', format, inWork(name)])
        expect(await rootFindings(name, format, root, sectorSize)).toBe('')
      },
      TEST_TIMEOUT,
    )
  }

  it.concurrent(
    '(specialised.vhdx) boots the specialisation that is chosen in the menu, finds the file of which one byte is another, and is clean',
    async () => {
      const { serial, report } = await bootsWell('specialised.vhdx', {
        format: 'vhdx',
        bus: 'virtio',
        snapshot: false,
        sample: true,
        keys: { after: MENU, names: ['down', 'ret'] },
        expect: [
          /LIVE-INFO system=\S+-nixos-system-live-(recovery|quiet)-\S+ .* kind=disk/,
          /live\.entry=(recovery|quiet)/,
          /LIVE-INFO database=from the image/,
          // Without the system itself and its other specialisation
          ...damagedLines(live, storePaths(live.folder).length - 2),
        ],
      })
      expect(complaintsIn(serial), report).toEqual(DAMAGE_COMPLAINTS)
      runOk('qemu-img', ['check', '-f', 'vhdx', inWork('specialised.vhdx')])
      expect(await rootFindings('specialised.vhdx', 'vhdx', 3)).toBe('')
    },
    TEST_TIMEOUT,
  )
})
