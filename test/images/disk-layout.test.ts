/** Partition tables as plain data, with the addresses of nixpkgs' make-disk-image, and as other people's tools read them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { disk } from '../../src/images/disk/index.ts'
import { diskSizeFor, planLayout, rootSizeOn, tableOf as tableKind } from '../../src/images/disk/layout.ts'
import { DISK_LAYOUTS } from '../../src/images/disk/names.ts'
import { oracle, run, runOk } from '../oracles/tools.ts'
import { type DiskWork, diskWork, expectClean, MEBIBYTE, partitionFile, tableOf } from './disk-support.ts'

/** In MiB: where partitions begin and, but for the root, end; boot partitions of 256M. */
const ADDRESSES = {
  efi: [
    ['esp', 'ESP', 8, 257],
    ['root', 'primary', 257, undefined],
  ],
  efixbootldr: [
    ['esp', 'ESP', 8, 100],
    ['extendedBoot', 'BOOT', 100, 257],
    ['root', 'ROOT', 257, undefined],
  ],
  hybrid: [
    ['esp', 'ESP', 8, 257],
    ['biosBoot', 'no-fs', 34 / 2048, 1],
    ['root', 'primary', 257, undefined],
  ],
  'legacy+gpt': [
    ['biosBoot', 'no-fs', 1, 2],
    ['root', 'primary', 2, undefined],
  ],
  legacy: [['root', 'root', 1, undefined]],
  'legacy+boot': [
    ['boot', 'BOOT', 1, 257],
    ['root', 'root', 257, undefined],
  ],
  none: [['root', '', 0, undefined]],
} as const

describe('planLayout', () => {
  it.each(DISK_LAYOUTS)('%s lies where nixpkgs puts it', (layout) => {
    const planned = planLayout(layout, 256 * MEBIBYTE).map(({ role, name, start, size }) => [
      role,
      name,
      start / MEBIBYTE,
      size === undefined ? undefined : (start + size) / MEBIBYTE,
    ])
    expect(planned).toEqual(ADDRESSES[layout])
  })

  it.each(DISK_LAYOUTS)('%s: a disk for a root, and a root for that disk', (layout) => {
    const start = planLayout(layout, 256 * MEBIBYTE).at(-1)?.start ?? -1
    for (const rootSize of [MEBIBYTE, 777 * MEBIBYTE, 3 * 2 ** 40]) {
      const size = diskSizeFor(layout, start, rootSize)
      expect(size % MEBIBYTE).toBe(0)
      expect(rootSizeOn(layout, start, size)).toBe(rootSize)
      expect(size - start - rootSize).toBe(tableKind(layout) === 'gpt' ? MEBIBYTE : 0)
    }
  })

  it('rounds boot partitions to whole MiB, and one more as nixpkgs does', () => {
    expect(planLayout('efi', 100 * MEBIBYTE - 1)[0]?.size).toBe(92 * MEBIBYTE)
    expect(planLayout('efi', 100 * MEBIBYTE)[0]?.size).toBe(93 * MEBIBYTE)
  })

  it.each([
    ['efi', 7, 8],
    ['hybrid', 7, 8],
    ['efixbootldr', 99, 100],
  ] as const)('%s has no boot partition of nothing', (layout, less, least) => {
    expect(() => planLayout(layout, less * MEBIBYTE)).toThrow(
      expect.objectContaining({ code: 'LIMIT', message: expect.stringContaining(`espSize is ${less * MEBIBYTE} bytes`) }),
    )
    expect(planLayout(layout, least * MEBIBYTE).length).toBe(ADDRESSES[layout].length)
  })
})

const skip = oracle('sfdisk', 'sgdisk', 'e2fsck', 'blkid').skip

/** sgdisk mends what it can before it verifies the rest, and says so. */
function isSound(file: string): boolean {
  const { text, stderr } = run('sgdisk', ['-v', file])
  return text.includes('No problems found') && !/caution|warning|invalid|corrupt/i.test(text + stderr)
}

describe('a disk', () => {
  let work: DiskWork
  beforeAll(async () => {
    work = await diskWork()
  })
  afterAll(() => work.remove())

  /** XBOOTLDR begins at 100 MiB: what it needs is beyond. */
  const espSize = (layout: string) => ({ espSize: (layout === 'efixbootldr' ? 112 : 20) * MEBIBYTE })

  it.skipIf(skip).each(DISK_LAYOUTS)('%s as sfdisk, sgdisk and blkid read it is what the plan says', async (layout) => {
    const built = await work.build({ layout, ...espSize(layout) })
    const { plan, file, bytes } = built
    expect(bytes.length).toBe(plan.diskSize)
    if (layout === 'none') {
      expectClean(file)
      expect(runOk('blkid', ['-p', '-o', 'export', file]).text).toMatch(/^TYPE=ext4$/m)
      expect(run('sfdisk', ['--json', file]).status).not.toBe(0)
      return
    }
    const table = tableOf(file)
    expect(table.label).toBe(tableKind(layout) === 'gpt' ? 'gpt' : 'dos')
    const read = table.partitions.map(({ start, size, name }) => ({ start: start * 512, size: size * 512, ...(name && { name }) }))
    const said = plan.partitions.map(({ start, size, name }) => ({ start, size, ...(table.label === 'gpt' && { name }) }))
    expect(read).toEqual(said)
    if (table.label === 'gpt') expect(isSound(file)).toBe(true)
    expectClean(partitionFile(built, 'root'))
    const label = (role: 'esp' | 'extendedBoot' | 'boot' | 'root') =>
      runOk('blkid', ['-p', '-o', 'export', partitionFile(built, role)]).text
    expect(label('root')).toMatch(/^LABEL=nixos$/m)
    for (const { role } of plan.partitions) {
      if (role === 'esp') expect(label(role)).toMatch(/^LABEL=ESP$/m)
      if (role === 'extendedBoot' || role === 'boot') expect(label(role)).toMatch(/^LABEL=BOOT$/m)
    }
  })

  it.skipIf(skip)('has types by which firmware, systemd and GRUB find them', async () => {
    const types = async (layout: (typeof DISK_LAYOUTS)[number]) =>
      tableOf((await work.build({ layout, bootLoader: 'none', ...espSize(layout) })).file).partitions.map(({ type }) => type)
    const esp = 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B'
    const linux = '0FC63DAF-8483-4772-8E79-3D69D8477DE4'
    const bios = '21686148-6449-6E6F-744E-656564454649'
    expect(await types('efixbootldr')).toEqual([esp, 'BC13C2FF-59E6-4262-A352-B275FD6F7172', linux])
    expect(await types('hybrid')).toEqual([esp, bios, linux])
    expect(await types('legacy+gpt')).toEqual([bios, linux])
    expect(await types('legacy+boot')).toEqual(['c', '83'])
  })

  it.skipIf(skip)('whose second table is damaged is not called sound by sgdisk', async () => {
    const { file, bytes } = await work.build({ layout: 'legacy+gpt' })
    bytes[bytes.length - 512 + 40] = (bytes[bytes.length - 512 + 40] ?? 0) ^ 1
    runOk('dd', [`of=${file}`, 'bs=512', `seek=${bytes.length / 512 - 1}`, 'conv=notrunc', 'status=none'], {
      input: bytes.subarray(-512),
    })
    expect(isSound(file)).toBe(false)
  })

  it('of two TiB and more is refused where an MBR cannot say it, and planned where a GPT can', async () => {
    const size = 4 * 2 ** 40
    await expect(disk({ ...work.base, layout: 'legacy', size })).rejects.toMatchObject({
      code: 'LIMIT',
      message: expect.stringContaining('choose a layout with one'),
    })
    const { plan, image } = await disk({ ...work.base, layout: 'efi', size })
    expect(plan.diskSize).toBe(size)
    expect('extents' in image && image.extents.length).toBeGreaterThan(100)
  })
})
