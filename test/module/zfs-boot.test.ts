/**
 * The live system with its root on ZFS boots by UEFI from its two disks and from one. It imports the pool without force, says
 * that its store is whole, by the real Nix and the image's own database, and that a scrub finds no error; it writes to every
 * dataset that it mounts, takes the room of a disk that has grown, and exports the pool, which has to be sound afterwards.
 */
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generatedClosure, storePathNamed, storePaths, toplevelOf } from '../e2e/closures.ts'
import { damagedCopy } from '../e2e/damage.ts'
import { extractPartition, mebibytes, rawOf } from '../e2e/disk-files.ts'
import { kilnix } from '../e2e/kilnix.ts'
import { bootDisks, type DiskBootOptions } from '../e2e/qemu.ts'
import { oracle, runOk } from '../oracles/tools.ts'
import { zdb, zdbOracle } from '../oracles/zfs.ts'

const live = generatedClosure('live-zfs')
const skip = live.skip || oracle('qemu-system-x86_64', 'qemu-img', 'sgdisk', 'sfdisk').skip || zdbOracle().skip
const MINUTES = 60_000
const BOOT_SECONDS = 400
/** Two machines run at a time, and a test may have to wait for its turn. */
const TEST_TIMEOUT = 20 * MINUTES
const GROWTH = mebibytes(512)

describe.skipIf(skip)('ZFS disks of the live system', () => {
  let work: string
  const inWork = (...parts: string[]): string => join(work, ...parts)
  const build = async (name: string, ...options: string[]): Promise<void> => {
    const input = ['--closure', live.folder, '--root', live.root, '--boot-size', 'auto', '--root-size', '1G', '--timeout', '0']
    await kilnix('zfs', ...input, ...options, '-o', inWork(name))
  }
  const expected = (device: string, boot: number, grown: number): RegExp[] => [
    new RegExp(`LIVE-INFO system=${toplevelOf(live.folder)} firmware=uefi kind=disk medium=tank/system/root type=zfs`),
    /LIVE-INFO database=from the image/,
    new RegExp(`LIVE-INFO boot=${boot}\\r?\\n`),
    new RegExp(`LIVE-INFO pool=tank device=${device} size=\\d+ grown=${grown} `),
    /LIVE-INFO pool=tank scrub=ok/,
    new RegExp(`LIVE-CHECK paths=${storePaths(live.folder).length} verify=ok files=\\d+ objects=\\d+ mismatches=0`),
    /LIVE-INFO pool=tank exported/,
    /LIVE-CHECK RESULT ok/,
  ]
  const boots = async (files: readonly string[], options: Pick<DiskBootOptions, 'format' | 'snapshot' | 'expect'>): Promise<void> => {
    const result = await bootDisks(files, { timeoutSeconds: BOOT_SECONDS, bus: 'virtio', ...options })
    expect(result.ok, result.report).toBe(true)
  }
  /** Every block of the pool in that partition is what its checksum says, and belongs to something. */
  const isSound = async (disk: string, partition: number): Promise<void> => {
    const folder = `${disk}.pool`
    await mkdir(folder)
    extractPartition(disk, partition, join(folder, 'device'))
    const { status, text, stderr } = await zdb(['-e', '-p', folder, '-bcc', 'tank'])
    expect({ status, stderr: stderr.replaceAll(/^loading .*$|\r.*/gm, '').trim() }).toEqual({ status: 0, stderr: '' })
    expect(text).toContain('No leaks (block sum matches space maps exactly)')
    await rm(folder, { recursive: true })
  }

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'kilnix-zfs-boot-'))
    await build('two')
    await build('one', '--layout', 'single-disk', '--format', 'qcow2')
    const file = join(live.root, storePathNamed(live.folder, 'incompressible'), 'data')
    await mkdir(inWork('damaged'))
    await copyFile(inWork('two/nixos.boot.img'), inWork('damaged/nixos.boot.img'))
    await damagedCopy(inWork('two/nixos.root.img'), inWork('damaged/nixos.root.img'), file)
  }, 5 * MINUTES)
  afterAll(async () => {
    await rm(work, { recursive: true, force: true })
  })

  it.concurrent(
    'two of them boot, are written to, become qcow2, grow, and boot again with all that was written',
    async () => {
      const names = ['nixos.boot', 'nixos.root']
      const raw = names.map((name) => inWork('two', `${name}.img`))
      await boots(raw, { format: 'raw', snapshot: false, expect: expected('vdb', 1, 0) })
      await isSound(inWork('two/nixos.root.img'), 1)

      const qcow2 = names.map((name) => inWork(`${name}.qcow2`))
      for (const [index, file] of qcow2.entries()) await kilnix('convert', raw[index] as string, '-o', file)
      runOk('qemu-img', ['resize', '-f', 'qcow2', inWork('nixos.root.qcow2'), `+${GROWTH}`])
      await boots(qcow2, { format: 'qcow2', snapshot: false, expect: expected('vdb', 2, GROWTH) })
      const disk = rawOf(inWork('nixos.root.qcow2'), 'qcow2', inWork('grown.img'))
      expect(runOk('sgdisk', ['-v', disk]).text).toContain('No problems found')
      await isSound(disk, 1)
    },
    TEST_TIMEOUT,
  )

  it.concurrent(
    'one with both boots, is written to, and is sound',
    async () => {
      const file = inWork('one/nixos.root.qcow2')
      await boots([file], { format: 'qcow2', snapshot: false, expect: expected('vda3', 1, 0) })
      runOk('qemu-img', ['check', '-f', 'qcow2', file])
      await isSound(rawOf(file, 'qcow2', inWork('one.img')), 3)
    },
    TEST_TIMEOUT,
  )

  it.concurrent(
    'with one changed byte of a file fail these checks',
    async () => {
      await expect(isSound(inWork('damaged/nixos.root.img'), 1)).rejects.toThrow()
      await boots([inWork('damaged/nixos.boot.img'), inWork('damaged/nixos.root.img')], {
        format: 'raw',
        snapshot: true,
        expect: [
          /LIVE-INFO database=from the image/,
          /LIVE-INFO pool: errors: Permanent errors have been detected/,
          /LIVE-INFO pool: \S*\/nix\/store\/\S+-incompressible\/data/,
          /LIVE-INFO fail: zpool status finds fault/,
          // The file cannot be read.
          /LIVE-CHECK paths=\d+ verify=FAIL files=\d+ objects=\d+ mismatches=1 /,
          /LIVE-CHECK RESULT FAIL/,
        ],
      })
    },
    TEST_TIMEOUT,
  )
})
