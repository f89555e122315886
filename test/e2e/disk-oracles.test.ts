/** Finished disks, through the command, as other people's tools see them: the table, the boot partitions, the root. */
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore, unpackSmall } from '../../fixtures/unpack.ts'
import { fsckFindings } from '../filesystems/ext4/support.ts'
import { nixTools, skipNix } from '../nix/nix-tools.ts'
import { compareTrees } from '../oracles/compare-trees.ts'
import { oracle, run, runOk } from '../oracles/tools.ts'
import { generatedClosure, storePathNamed, toplevelOf } from './closures.ts'
import {
  extractPartition,
  flipByte,
  growDisk,
  mebibytes,
  type Partition,
  partitionTable,
  sameBytes,
  superblockField,
} from './disk-files.ts'
import { kilnix } from './kilnix.ts'

const MINUTES = 60_000
const live = generatedClosure('live')
const asRoot = process.getuid?.() === 0
/** What a store may hold beside store paths. */
const ignore = ['.links']
const ROOT_UUID = 'F222513B-DED1-49FA-B591-20CE86A2FE7F'

let work: string
let small: Awaited<ReturnType<typeof unpackSmall>>
const inWork = (...parts: string[]): string => join(work, ...parts)

/** The small closure's disk, or another closure's. */
async function build(name: string, options: readonly string[] = [], closure: { folder: string; root: string } = small): Promise<string> {
  await kilnix('disk', '--closure', closure.folder, '--root', closure.root, '--free', '16M', ...options, '-o', inWork(name))
  return inWork(name)
}

beforeAll(async () => {
  // Memory lists a folder by the order of its making, a disk by hashes of the names.
  work = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'kilnix-disk-oracles-'))
  small = await unpackSmall(inWork('small'))
  await build('disk.raw')
}, 2 * MINUTES)
afterAll(async () => {
  await removeStore(work)
})

const TYPE = {
  esp: 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B',
  extendedBoot: 'BC13C2FF-59E6-4262-A352-B275FD6F7172',
  biosBoot: '21686148-6449-6E6F-744E-656564454649',
  linux: '0FC63DAF-8483-4772-8E79-3D69D8477DE4',
} as const

/** nixpkgs' partitions in sectors, without the root, which is the last one. Its start is a MiB boundary, and so is its end. */
const LAYOUTS: readonly { layout: string; label: string; before: readonly Partial<Partition>[]; root: Partial<Partition> }[] = [
  {
    layout: 'efi',
    label: 'gpt',
    before: [{ start: 16384, size: 526335 - 16384 + 1, type: TYPE.esp, name: 'ESP' }],
    root: { start: 526336, type: TYPE.linux, name: 'primary', uuid: ROOT_UUID },
  },
  {
    layout: 'efixbootldr',
    label: 'gpt',
    before: [
      { start: 16384, size: 92 * 2048, type: TYPE.esp, name: 'ESP' },
      { start: 100 * 2048, size: 157 * 2048, type: TYPE.extendedBoot, name: 'BOOT' },
    ],
    root: { start: 526336, type: TYPE.linux, name: 'ROOT', uuid: ROOT_UUID },
  },
  {
    layout: 'hybrid',
    label: 'gpt',
    before: [
      { start: 16384, size: 509952, type: TYPE.esp, name: 'ESP' },
      { start: 34, size: 2048 - 34, type: TYPE.biosBoot, name: 'no-fs' },
    ],
    root: { start: 526336, type: TYPE.linux, name: 'primary', uuid: ROOT_UUID },
  },
  {
    layout: 'legacy+gpt',
    label: 'gpt',
    before: [{ start: 2048, size: 2048, type: TYPE.biosBoot, name: 'no-fs' }],
    root: { start: 4096, type: TYPE.linux, name: 'primary', uuid: ROOT_UUID },
  },
  { layout: 'legacy', label: 'dos', before: [], root: { start: 2048, type: '83' } },
  {
    layout: 'legacy+boot',
    label: 'dos',
    before: [{ start: 2048, size: 526336 - 2048, type: 'c', bootable: true }],
    root: { start: 526336, type: '83' },
  },
]

describe.skipIf(oracle('sgdisk', 'sfdisk', 'blkid', 'e2fsck', 'dumpe2fs', 'fsck.fat').skip)('the table', () => {
  it.each(LAYOUTS)('$layout is that of nixpkgs, and sound', async ({ layout, label, before, root }) => {
    const disk = layout === 'efi' ? inWork('disk.raw') : await build(`${layout}.raw`, ['--layout', layout])
    const table = partitionTable(disk)
    expect(table).toMatchObject({ label, partitions: [...before, root] })
    const { start, size } = table.partitions.at(-1) ?? { start: 0, size: 0 }
    // The second GPT takes the last MiB.
    expect((await stat(disk)).size - (start + size) * 512).toBe(label === 'gpt' ? mebibytes(1) : 0)
    expect(size).toBeGreaterThan(mebibytes(16) / 512)
    expect(run('sfdisk', ['--verify', disk])).toMatchObject({ status: 0, stderr: '' })
    if (label === 'gpt') expect(runOk('sgdisk', ['-v', disk]).text).toContain('No problems found')
    const number = table.partitions.length
    const partition = extractPartition(disk, number, inWork('root'))
    expect(fsckFindings(partition)).toBe('')
    expect(runOk('blkid', ['-p', '-o', 'export', partition]).text).toMatch(
      new RegExp(`LABEL=nixos\nUUID=${ROOT_UUID.toLowerCase()}\n(.*\n)*TYPE=ext4\n`),
    )
    for (const [index, { type }] of table.partitions.entries()) {
      if (type !== TYPE.esp && type !== TYPE.extendedBoot && type !== 'c') continue
      const volume = extractPartition(disk, index + 1, inWork('volume'))
      expect(run('fsck.fat', ['-n', volume])).toMatchObject({ status: 0, stderr: '' })
      expect(runOk('blkid', ['-p', '-o', 'value', '-s', 'LABEL', volume]).text).toBe(type === TYPE.esp ? 'ESP\n' : 'BOOT\n')
    }
    if (layout !== 'efi') await rm(disk)
  })

  it('none is a bare root', async () => {
    const disk = await build('none.raw', ['--layout', 'none'])
    expect(fsckFindings(disk)).toBe('')
    expect(run('sfdisk', ['--json', disk]).status).not.toBe(0)
    expect(superblockField(disk, 'Filesystem volume name')).toBe('nixos')
    await rm(disk)
  })

  it('is refused where a byte of it is another', async () => {
    const disk = inWork('damaged.raw')
    await copyFile(inWork('disk.raw'), disk)
    // In the second table's entries: the name of the first partition
    await flipByte(disk, (await stat(disk)).size - 33 * 512 + 56, 0x01)
    expect(runOk('sgdisk', ['-v', disk]).text).not.toContain('No problems found')
    await rm(disk)
  })

  it('carries the identifiers that are asked for', async () => {
    const [rootUuid, diskGuid] = ['01234567-89AB-CDEF-0123-456789ABCDEF', '97FD5997-F390-0B4A-A3F8-D106C1723AEA']
    const disk = await build('named.raw', ['--root-uuid', rootUuid, '--disk-guid', diskGuid, '--label', 'other'])
    const table = partitionTable(disk)
    expect(table).toMatchObject({ id: diskGuid, partitions: [{ name: 'ESP' }, { uuid: rootUuid }] })
    const partition = extractPartition(disk, 2, inWork('root'))
    expect(superblockField(partition, 'Filesystem UUID')).toBe(rootUuid.toLowerCase())
    expect(superblockField(partition, 'Filesystem volume name')).toBe('other')
    await rm(disk)
  })
})

/** Boot files by their names on the disk, with the files of the store that they have to equal. */
async function wantedKernels(): Promise<Map<string, string>> {
  const boot = JSON.parse(await readFile(join(small.root, small.toplevel, 'boot.json'), 'utf8'))['org.nixos.bootspec.v1']
  // nixpkgs: the store path's name, a dash, the file's name, and what UEFI wants programs to end with
  return new Map([boot.kernel, boot.initrd].map((path: string) => [`${path.slice('/nix/store/'.length).replace('/', '-')}.efi`, path]))
}

describe.skipIf(oracle('mdir', 'mcopy', 'sfdisk').skip)('the boot partitions by mtools', () => {
  const listing = (volume: string): string[] =>
    runOk('mdir', ['-/', '-b', '-i', volume, '::/'])
      .text.trim()
      .split('\n')
      .filter((line) => !line.endsWith('/'))
      .map((line) => line.slice('::/'.length).replace(/nixos-[0-9a-f]{64}/, 'nixos-HASH'))
      .sort()
  const programs = ['EFI/BOOT/BOOTX64.EFI', 'EFI/systemd/systemd-bootx64.efi', 'loader/loader.conf']
  const entries = ['loader/entries/nixos-HASH.conf', 'loader/entries/nixos-HASH.conf', 'loader/entries.srel']

  it('hold systemd-boot, its entries, and what they start', async () => {
    const esp = extractPartition(inWork('disk.raw'), 1, inWork('esp'))
    const kernels = await wantedKernels()
    expect(listing(esp)).toEqual([...programs, ...entries, ...[...kernels.keys()].map((name) => `EFI/nixos/${name}`)].sort())
    for (const [name, path] of kernels) {
      runOk('mcopy', ['-n', '-i', esp, `::/EFI/nixos/${name}`, inWork('copied')])
      expect(await sameBytes(inWork('copied'), join(small.root, path)), name).toBe(true)
    }
    const program = join(small.root, storePathOfSystemdBoot(), 'lib/systemd/boot/efi/systemd-bootx64.efi')
    runOk('mcopy', ['-n', '-i', esp, '::/EFI/BOOT/BOOTX64.EFI', inWork('copied')])
    expect(await sameBytes(inWork('copied'), program)).toBe(true)
  })

  it('are two where the kernels have a partition of their own', async () => {
    const disk = await build('two.raw', ['--layout', 'efixbootldr'])
    expect(listing(extractPartition(disk, 1, inWork('esp')))).toEqual(programs)
    const kernels = [...(await wantedKernels()).keys()].map((name) => `EFI/nixos/${name}`)
    expect(listing(extractPartition(disk, 2, inWork('esp')))).toEqual([...entries, ...kernels].sort())
    await rm(disk)
  })

  it.skipIf(oracle('objdump').skip)('hold unified images where those are asked for', async () => {
    const disk = await build('unified.raw', ['--boot-loader', 'uki'])
    const esp = extractPartition(disk, 1, inWork('esp'))
    const images = ['EFI/Linux/nixos-generation-1-specialisation-verbose.efi', 'EFI/Linux/nixos-generation-1.efi']
    expect(listing(esp)).toEqual([...programs, ...images].sort())
    for (const image of images) {
      runOk('mcopy', ['-n', '-i', esp, `::/${image}`, inWork('copied')])
      expect(runOk('objdump', ['-h', inWork('copied')]).text).toMatch(/ \.osrel .* \.cmdline .* \.initrd .* \.linux /s)
    }
    await rm(disk)
  })

  const LISTED = [
    ['efi', 'systemd-boot', /^ *type: Boot Loader Specification Type #1 /],
    ['efixbootldr', 'systemd-boot', /^ *type: Boot Loader Specification Type #1 /],
    ['efi', 'uki', /^ *type: Boot Loader Specification Type #2 /],
    ['efixbootldr', 'uki', /^ *type: Boot Loader Specification Type #2 /],
  ] as const
  it.skipIf(oracle('bootctl', 'unshare').skip).each(LISTED)('%s with %s is what bootctl lists', async (layout, loader, type) => {
    const disk = await build(`${layout}-${loader}.raw`, ['--layout', layout, '--boot-loader', loader])
    const [esp, boot] = [inWork(`${layout}-${loader}.esp`), inWork(`${layout}-${loader}.boot`)]
    const copy = (number: number, folder: string): void => {
      runOk('mcopy', ['-s', '-Q', '-i', extractPartition(disk, number, inWork('volume')), '::/*', folder])
    }
    for (const folder of [esp, boot]) await mkdir(folder)
    copy(1, esp)
    if (layout === 'efixbootldr') copy(2, boot)
    const listed = bootctlList(esp, boot)
    expect(listed).toHaveLength(2)
    expect(listed.join()).not.toContain('No such file')
    for (const entry of listed) expect(entry).toMatch(type)
    const chosen = listed.filter((entry) => /title: .*\(default\)/.test(entry))
    expect(chosen).toEqual([expect.stringContaining(`options: init=${small.toplevel}/init `)])
    for (const folder of [esp, boot]) await rm(folder, { recursive: true })
    await rm(disk)
  })
})

describe.skipIf(oracle('debugfs', 'e2fsck', 'sfdisk', 'dumpe2fs').skip || !asRoot)('the root', () => {
  const closures = [
    { name: 'small', skip: false, of: () => small },
    { name: 'live', skip: live.skip, of: () => live },
  ]
  for (const { name, skip, of } of closures) {
    it.skipIf(skip || skipNix)(
      `of the ${name} closure is unpacked by debugfs as it was, and whole by the real Nix`,
      async () => {
        const closure = of()
        const disk = name === 'small' ? inWork('disk.raw') : await build('live.raw', [], closure)
        const partition = extractPartition(disk, 2, inWork('root'))
        if (name !== 'small') await rm(disk)
        expect(fsckFindings(partition)).toBe('')
        const unpacked = inWork('unpacked')
        await mkdir(unpacked)
        runOk('debugfs', ['-R', `rdump / ${unpacked}`, partition])
        await rm(partition)
        expect(compareTrees(join(closure.root, 'nix/store'), join(unpacked, 'nix/store'), { ignore })).toEqual([])

        const nix = nixTools(inWork(`home-${name}`))
        const toplevel = toplevelOf(closure.folder)
        expect(nix.ok(unpacked, 'nix-store', ['--verify', '--check-contents']).stderr).not.toMatch(/error|modified|disappeared/)
        expect(pathInfos(nix.ok(unpacked, 'nix', ['path-info', '-r', '--json', toplevel]).text)).toEqual(
          pathInfos(await readFile(join(closure.folder, 'path-info.json'), 'utf8')),
        )
        expect(nix.ok(unpacked, 'nix-store', ['--gc', '--print-dead']).text).toBe('')

        // A judge that sees no difference is none.
        const path = storePathNamed(closure.folder, name === 'small' ? 'contents' : 'incompressible')
        const file = name === 'small' ? `${path}/random-200000` : `${path}/data`
        await flipByte(join(unpacked, file), 777, 0x80)
        const verified = nix.run(unpacked, 'nix-store', ['--verify', '--check-contents'])
        expect(verified.stderr).toMatch(new RegExp(`path '${path}' was modified`))
        expect(compareTrees(join(closure.root, 'nix/store'), join(unpacked, 'nix/store'), { ignore })).toHaveLength(1)
        await removeStore(unpacked)
      },
      5 * MINUTES,
    )
  }

  it('is refused by e2fsck where a bit of a bitmap is another', async () => {
    const partition = extractPartition(inWork('disk.raw'), 2, inWork('root'))
    const blockSize = Number(superblockField(partition, 'Block size'))
    const groups = runOk('dumpe2fs', [partition]).text
    for (const bitmap of ['Block', 'Inode']) {
      const block = new RegExp(`${bitmap} bitmap at (\\d+)`, 'i').exec(groups)?.[1]
      const at = Number(block) * blockSize + 200
      await flipByte(partition, at, 0x10)
      expect(fsckFindings(partition)).toMatch(/^status 4\n/)
      await flipByte(partition, at, 0x10)
      expect(fsckFindings(partition)).toBe('')
    }
  })

  it.skipIf(oracle('sgdisk', 'resize2fs').skip)('grows with its disk', async () => {
    const disk = inWork('grown.raw')
    await copyFile(inWork('disk.raw'), disk)
    const before = partitionTable(disk).partitions[1]?.size ?? 0
    await growDisk(disk, mebibytes(1000), inWork('root'))
    const after = partitionTable(disk).partitions[1]?.size ?? 0
    expect(after).toBeGreaterThanOrEqual(before + mebibytes(1000) / 512)
    expect(runOk('sgdisk', ['-v', disk]).text).toContain('No problems found')
    const partition = extractPartition(disk, 2, inWork('root'))
    await rm(disk)
    expect(fsckFindings(partition)).toBe('')
    expect(Number(superblockField(partition, 'Block count'))).toBe(Math.floor((after * 512) / 4096))
    const unpacked = inWork('unpacked')
    await mkdir(unpacked)
    runOk('debugfs', ['-R', `rdump /nix/store ${unpacked}`, partition])
    expect(compareTrees(join(small.root, 'nix/store'), join(unpacked, 'store'), { ignore })).toEqual([])
    await removeStore(unpacked)
    await rm(partition)
  })

  it.skipIf(oracle('unsquashfs').skip)(
    'as squashfs is unpacked by unsquashfs as it was',
    async () => {
      const disk = await build('squashfs.raw', ['--root-fs', 'squashfs'])
      const unpacked = inWork('unpacked')
      runOk('unsquashfs', ['-quiet', '-no-progress', '-dest', unpacked, extractPartition(disk, 2, inWork('root'))])
      expect(compareTrees(join(small.root, 'nix/store'), join(unpacked, 'nix/store'), { ignore })).toEqual([])
      expect(runOk('sgdisk', ['-v', disk]).text).toContain('No problems found')
      await removeStore(unpacked)
      await rm(disk)
    },
    2 * MINUTES,
  )
})

function storePathOfSystemdBoot(): string {
  const found = small.storePaths.find((path) => /-systemd-[\d.]+$/.test(path))
  if (found === undefined) throw new Error('no systemd in the small closure')
  return found
}

/** What a listing of `nix path-info --json` says, by path and in one order. */
function pathInfos(json: string): unknown[] {
  const listed = JSON.parse(json) as { path: string; narHash: string; narSize: number; references: string[] }[]
  return listed
    .map(({ path, narHash, narSize, references }) => ({ path, narHash, narSize, references: [...references].sort() }))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** What bootctl says, an entry a string. It looks at whole file systems only. */
function bootctlList(esp: string, boot: string): string[] {
  const mounted = [inWork('esp.mounted'), inWork('boot.mounted')]
  runOk('mkdir', ['-p', ...mounted])
  const script = [
    'mount -t tmpfs none "$3" && cp -r "$1/." "$3" && mount -t tmpfs none "$4" && cp -r "$2/." "$4"',
    'export SYSTEMD_RELAX_ESP_CHECKS=1 SYSTEMD_RELAX_XBOOTLDR_CHECKS=1',
    'exec bootctl --no-pager --esp-path="$3" --boot-path="$4" list',
  ].join(' && ')
  const { text } = runOk('unshare', ['-rm', 'sh', '-c', script, 'sh', esp, boot, ...mounted])
  return text.trim().split('\n\n')
}
