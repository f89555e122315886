/** The recipe of disks on the small closure: what is planned, what is refused, and what other people's tools read back. */
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DiskOptions, disk } from '../../src/images/disk/index.ts'
import { saveImage } from '../../src/io/output.ts'
import { compareTrees } from '../oracles/compare-trees.ts'
import { oracle, run, runOk } from '../oracles/tools.ts'
import type { ReadVolume } from '../readers/fat-reader.ts'
import {
  type DiskWork,
  debugfs,
  diskWork,
  expectClean,
  fatOf,
  MEBIBYTE,
  partitionBytes,
  partitionFile,
  type TablePartition,
  tableOf,
} from './disk-support.ts'

let work: DiskWork
let toplevel: string
beforeAll(async () => {
  work = await diskWork()
  toplevel = work.small.toplevel
})
afterAll(() => work.remove())

const skip = oracle('debugfs', 'e2fsck', 'sfdisk').skip
const planOf = async (options: Partial<DiskOptions>) => (await disk({ ...work.base, ...options })).plan
const hostFile = (storePath: string): string => join(work.small.root, storePath)
const named = (name: string): string => work.small.storePaths.find((path) => path.slice('/nix/store/'.length + 33) === name) ?? ''

describe('the plan', () => {
  it('is plain data and says what comes to lie where', async () => {
    const plan = await planOf({})
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
    expect(plan).toMatchObject({
      toplevel,
      system: 'x86_64-linux',
      format: 'raw',
      layout: 'efi',
      bootLoader: 'systemd-boot',
      rootFileSystem: 'ext4',
      rootUuid: 'F222513B-DED1-49FA-B591-20CE86A2FE7F',
      pathCount: 14,
      verified: true,
    })
    expect(plan.entries).toEqual([expect.stringMatching(/^nixos-[0-9a-f]{64}\.conf$/), expect.stringMatching(/^nixos-[0-9a-f]{64}\.conf$/)])
    expect((await planOf({ verify: false })).verified).toBe(false)
  })

  it('names all that is read on the host', async () => {
    const source = work.at('closure', 'toplevel')
    const { inputs } = await disk({ ...work.base, add: [{ target: '/x', source }] })
    expect(inputs).toEqual(expect.arrayContaining([source, ...work.small.storePaths.map(hostFile)]))
  })

  it('has a boot loader where the layout has a partition for one', async () => {
    expect((await planOf({ layout: 'hybrid' })).bootLoader).toBe('systemd-boot')
    for (const layout of ['legacy+gpt', 'legacy', 'legacy+boot', 'none'] as const) {
      expect(await planOf({ layout })).toMatchObject({ bootLoader: 'none', entries: [] })
      for (const bootLoader of ['systemd-boot', 'uki'] as const) {
        await expect(disk({ ...work.base, layout, bootLoader })).rejects.toMatchObject({
          code: 'USAGE',
          message: expect.stringContaining(`the layout ${layout} has no EFI system partition, which ${bootLoader} needs`),
        })
      }
    }
  })

  it('has as much free as is asked for, or what an explicit size leaves', async () => {
    const least = await planOf({ layout: 'legacy+gpt' })
    for (const freeSize of [MEBIBYTE, 100 * MEBIBYTE, 5 * 2 ** 30]) {
      const { rootFreeBytes = 0, diskSize = 0 } = await planOf({ layout: 'legacy+gpt', freeSize })
      expect(rootFreeBytes).toBeGreaterThanOrEqual(freeSize)
      // Metadata of ext4 takes less than 2 %, its journal up to 128 MiB.
      expect(diskSize).toBeLessThan(1.02 * freeSize + (least.diskSize ?? 0) + 132 * MEBIBYTE)
    }
    const size = 700 * MEBIBYTE
    const given = await planOf({ layout: 'legacy+gpt', size, freeSize: 2 ** 40 })
    expect(given).toMatchObject({ diskSize: size, partitions: [{}, { start: 2 * MEBIBYTE, size: 697 * MEBIBYTE }] })
  })

  it.each(['efi', 'legacy+gpt', 'legacy', 'none'] as const)('%s: a size that is too small names one that would do', async (layout) => {
    for (const size of [MEBIBYTE, 14 * MEBIBYTE]) {
      const error = await disk({ ...work.base, layout, size }).catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'LIMIT', message: expect.stringContaining(`size is ${size} bytes`) })
      const [, enough] = /give size (\d+)M or more, or auto$/.exec((error as Error).message) ?? []
      expect((await planOf({ layout, size: Number(enough) * MEBIBYTE })).diskSize).toBe(Number(enough) * MEBIBYTE)
      await expect(planOf({ layout, size: (Number(enough) - 1) * MEBIBYTE })).rejects.toMatchObject({ code: 'LIMIT' })
    }
  })

  it.each<[string, Partial<DiskOptions>, string, string]>([
    ['a size that is not whole MiB', { size: 500 * MEBIBYTE + 512 }, 'USAGE', 'size is 524288512 bytes; give whole MiB'],
    ['a size that is none', { size: Number.NaN }, 'USAGE', 'size is NaN bytes'],
    ['a negative size', { size: -MEBIBYTE }, 'USAGE', 'size is -1048576 bytes'],
    ['a root larger than ext4', { size: 2 ** 50 }, 'LIMIT', 'less than 16 TiB'],
    ['boot partitions of nothing', { espSize: 4 * MEBIBYTE }, 'LIMIT', 'espSize is 4194304 bytes'],
    [
      'an ESP too small for the kernel',
      { espSize: 12 * MEBIBYTE },
      'LIMIT',
      'give espSize 30M or more, which leaves room for the next system (19M for this one alone)',
    ],
    ['an XBOOTLDR too small', { layout: 'efixbootldr', espSize: 102 * MEBIBYTE }, 'LIMIT', 'the partition BOOT has 3145728 bytes'],
    ['a label too long', { label: 'seventeen letters' }, 'LIMIT', 'ext4 allows 16'],
    ['a UUID that is none', { rootUuid: '1234' }, 'USAGE', "'1234' is not of the form"],
    ['a disk GUID that is none', { diskGuid: '1234' }, 'USAGE', "'1234' is not of the form"],
    ['a disk GUID without a GPT', { layout: 'legacy', diskGuid: 'F222513B-DED1-49FA-B591-20CE86A2FE7F' }, 'USAGE', 'diskGuid'],
    ['a root UUID that the table has already', { diskGuid: 'x' }, 'USAGE', 'is not of the form'],
    ['a time before 1970', { mtimeSeconds: -1 }, 'USAGE', 'time -1'],
    ['a timeout that is none', { timeoutSeconds: 0.5 }, 'USAGE', 'menu timeout 0.5'],
    ['a codec where nothing is compressed', { compression: { name: 'zstd' } }, 'USAGE', 'raw is not compressed'],
    ['a codec that qcow2 has not', { format: 'qcow2-compressed', compression: { name: 'lz4' } }, 'UNSUPPORTED', 'choose gzip or zstd'],
    ['a codec that VMDK has not', { format: 'vmdk-stream', compression: { name: 'zstd' } }, 'UNSUPPORTED', 'by zstd; choose gzip'],
    ['an addition that is not there', { add: [{ target: '/x', source: '/nowhere/at/all' }] }, 'NOT_FOUND', '/nowhere/at/all'],
    ['an addition over a file', { add: [{ target: '/etc/NIXOS', source: '/etc/hostname' }] }, 'USAGE', 'NIXOS'],
    ['a mode that is none', { add: [{ target: '/x', source: '/etc/hostname', mode: 0o10000 }] }, 'USAGE', 'mode 10000'],
    ['an owner that is none', { add: [{ target: '/x', source: '/etc/hostname', uid: 2 ** 32 }] }, 'USAGE', '4294967296 is no user'],
    ['a channel that is not in the closure', { channel: `/nix/store/${'0'.repeat(32)}-channels` }, 'NOT_FOUND', 'channel'],
    ['a system that is not in the closure', { toplevel: `/nix/store/${'0'.repeat(32)}-system` }, 'NOT_FOUND', '-system'],
    ['a closure that is not there', { closure: '/nowhere/at/all' }, 'NOT_FOUND', '/nowhere/at/all'],
  ])('refuses %s', async (_, options, code, message) => {
    for (const rootFileSystem of ['ext4', 'squashfs'] as const) {
      // A squashfs has no label, and no size before it is packed.
      if (rootFileSystem === 'squashfs' && (options.label || (options.size ?? 0) === 2 ** 50)) continue
      await expect(disk({ ...work.base, ...options, rootFileSystem })).rejects.toMatchObject({
        code,
        message: expect.stringContaining(message),
      })
    }
  })
})

/** Path to content of the files of a boot partition. */
function filesOf(volume: ReadVolume): ReadonlyMap<string, Buffer> {
  return new Map([...volume.files].map(([path, file]) => [path, file.read()]))
}

const text = (volume: ReadVolume, path: string): string => volume.files.get(path)?.read().toString() ?? `no ${path}`
const nameInEsp = (storePath: string): string => `/EFI/nixos/${storePath.slice('/nix/store/'.length).replaceAll('/', '-')}.efi`

describe('systemd-boot', () => {
  const kernel = () => `${named('linux-6.1.176')}/bzImage`
  const initrd = () => `${named('initrd-linux-6.1.176')}/initrd`
  const program = () => readFileSync(hostFile(`${named('systemd-252.39')}/lib/systemd/boot/efi/systemd-bootx64.efi`))

  it('lies on the EFI system partition with kernels, initrds and entries', async () => {
    const built = await work.build({ kernelParams: ['added.by=test'], timeoutSeconds: null })
    const volume = fatOf(built, 'esp')
    const files = filesOf(volume)
    const { entries } = built.plan
    expect([...files.keys()].sort()).toEqual(
      [
        '/EFI/BOOT/BOOTX64.EFI',
        '/EFI/systemd/systemd-bootx64.efi',
        nameInEsp(kernel()),
        nameInEsp(initrd()),
        '/loader/loader.conf',
        '/loader/entries.srel',
        ...entries.map((name) => `/loader/entries/${name}`),
      ].sort(),
    )
    expect(files.get('/EFI/BOOT/BOOTX64.EFI')?.equals(program())).toBe(true)
    expect(files.get('/EFI/systemd/systemd-bootx64.efi')?.equals(program())).toBe(true)
    expect(files.get(nameInEsp(kernel()))?.equals(readFileSync(hostFile(kernel())))).toBe(true)
    expect(files.get(nameInEsp(initrd()))?.equals(readFileSync(hostFile(initrd())))).toBe(true)
    expect(text(volume, '/loader/loader.conf')).toBe(`timeout menu-force\ndefault ${entries[0]}\nconsole-mode keep\n`)
    const [first = '', second = ''] = entries.map((name) => text(volume, `/loader/entries/${name}`))
    expect(first).toContain(`\nlinux ${nameInEsp(kernel())}\ninitrd ${nameInEsp(initrd())}\noptions init=${toplevel}/init console=tty0 `)
    expect(first).toMatch(/panic=-1 added\.by=test$/m)
    expect(second).toContain('title NixOS (verbose)\n')
    expect(second).toMatch(/small\.verbose added\.by=test$/m)
    for (const [index, name] of entries.entries()) {
      expect(name).toBe(
        `nixos-${createHash('sha256')
          .update([first, second][index] ?? '')
          .digest('hex')}.conf`,
      )
    }
  })

  it.skipIf(oracle('mdir', 'mcopy', 'fsck.fat').skip)('as mtools and fsck.fat read it', async () => {
    const built = await work.build()
    const esp = partitionFile(built, 'esp')
    runOk('fsck.fat', ['-n', esp])
    const list = runOk('mdir', ['-/', '-b', '-i', esp, '::']).text
    for (const path of fatOf(built, 'esp').files.keys()) expect(list).toContain(`::${path}`)
    expect(runOk('mcopy', ['-n', '-i', esp, `::${nameInEsp(kernel())}`, '-']).stdout.equals(readFileSync(hostFile(kernel())))).toBe(true)
  })

  it('has kernels and entries on XBOOTLDR, and programs on the ESP', async () => {
    const built = await work.build({ layout: 'efixbootldr', espSize: 112 * MEBIBYTE })
    expect([...fatOf(built, 'esp').files.keys()].sort()).toEqual([
      '/EFI/BOOT/BOOTX64.EFI',
      '/EFI/systemd/systemd-bootx64.efi',
      '/loader/loader.conf',
    ])
    const boot = fatOf(built, 'extendedBoot')
    expect([...boot.files.keys()].sort()).toEqual(
      [
        nameInEsp(kernel()),
        nameInEsp(initrd()),
        '/loader/entries.srel',
        ...built.plan.entries.map((name) => `/loader/entries/${name}`),
      ].sort(),
    )
  })
})

describe('unified kernel images', () => {
  it.skipIf(oracle('objdump').skip)('lie in EFI/Linux with their sections, one a system', async () => {
    const built = await work.build({ bootLoader: 'uki', espSize: 40 * MEBIBYTE, kernelParams: ['added.by=test'] })
    const volume = fatOf(built, 'esp')
    const names = ['nixos-generation-1.efi', 'nixos-generation-1-specialisation-verbose.efi']
    expect(built.plan.entries).toEqual(names)
    expect([...volume.files.keys()].sort()).toEqual(
      [
        '/EFI/BOOT/BOOTX64.EFI',
        '/EFI/systemd/systemd-bootx64.efi',
        '/loader/loader.conf',
        ...names.map((name) => `/EFI/Linux/${name}`),
      ].sort(),
    )
    expect(text(volume, '/loader/loader.conf')).toContain(`\ndefault ${names[0]}\n`)
    for (const [index, name] of names.entries()) {
      const image = work.at(name)
      const bytes = volume.files.get(`/EFI/Linux/${name}`)?.read() ?? Buffer.alloc(0)
      writeFileSync(image, bytes)
      const headers = runOk('objdump', ['-h', image]).text
      const section = (which: string): Buffer => {
        const columns =
          headers
            .split('\n')
            .find((line) => line.split(/\s+/)[2] === which)
            ?.trim()
            .split(/\s+/) ?? []
        const [size = 0, offset = 0] = [columns[2], columns[5]].map((column) => Number.parseInt(column ?? '', 16))
        return bytes.subarray(offset, offset + size)
      }
      const commandLine = section('.cmdline').toString().replace(/\0+$/, '')
      expect(commandLine).toMatch(
        index === 0 ? /^init=\S+-nixos-system-small-26\.05\/init .* panic=-1 added\.by=test$/ : /small\.verbose added\.by=test$/,
      )
      expect(section('.osrel').toString()).toContain(`PRETTY_NAME="NixOS 26.05.small${index === 0 ? '' : ' verbose'} (Linux 6.1.176)`)
      const kernel = readFileSync(hostFile(`${named('linux-6.1.176')}/bzImage`))
      expect(section('.linux').subarray(0, kernel.length).equals(kernel)).toBe(true)
      const initrd = readFileSync(hostFile(`${named('initrd-linux-6.1.176')}/initrd`))
      expect(section('.initrd').subarray(0, initrd.length).equals(initrd)).toBe(true)
    }
  })

  it('go to XBOOTLDR where there is one', async () => {
    const built = await work.build({ bootLoader: 'uki', layout: 'efixbootldr', espSize: 140 * MEBIBYTE })
    expect([...fatOf(built, 'extendedBoot').files.keys()].sort()).toEqual(built.plan.entries.map((name) => `/EFI/Linux/${name}`).sort())
  })
})

describe('extlinux', () => {
  it.skipIf(skip)('lies in /boot of the root, in a partition that U-Boot looks at', async () => {
    const built = await work.build({ bootLoader: 'extlinux', layout: 'legacy+gpt', timeoutSeconds: 3 })
    expect(tableOf(built.file).partitions[1]).toMatchObject({ attrs: 'LegacyBIOSBootable' } satisfies Partial<TablePartition>)
    const root = partitionFile(built, 'root')
    expectClean(root)
    const conf = debugfs(root, 'cat /boot/extlinux/extlinux.conf')
    expect(conf).toMatch(/^TIMEOUT 30$/m)
    const [, linux = ''] = /^\s*LINUX \.\.(\S+)$/m.exec(conf) ?? []
    expect(linux).toMatch(/^\/nixos\/.*bzImage/)
    runOk('debugfs', ['-R', `dump /boot${linux} ${work.at('kernel')}`, root])
    expect(readFileSync(work.at('kernel')).equals(readFileSync(hostFile(`${named('linux-6.1.176')}/bzImage`)))).toBe(true)
    expect(tableOf((await work.build({ layout: 'legacy+gpt' })).file).partitions[1]?.attrs).toBeUndefined()
  })

  it('lies on the boot partition where the layout has one', async () => {
    const built = await work.build({ bootLoader: 'extlinux', layout: 'legacy+boot' })
    expect(text(fatOf(built, 'boot'), '/extlinux/extlinux.conf')).toMatch(/^\s*LINUX \.\.\/nixos\//m)
  })
})

describe.skipIf(skip)('an ext4 root', () => {
  it('has the store of the closure, file by file', async () => {
    const built = await work.build({ layout: 'none' })
    expectClean(built.file)
    mkdirSync(work.at('dumped'))
    runOk('debugfs', ['-R', `rdump /nix/store ${work.at('dumped')}`, built.file])
    // Nix's own folder; the closure has none.
    runOk('rmdir', [work.at('dumped', 'store', '.links')])
    chmodSync(work.at('dumped', 'store'), 0o755)
    expect(compareTrees(join(work.small.root, 'nix/store'), work.at('dumped', 'store'), { owners: false })).toEqual([])
  })

  it('has a system profile, a marker, a configuration and a channel', async () => {
    const channel = named('contents')
    const { file } = await work.build({ layout: 'none', configuration: '{ ... }: { }\n', channel, label: 'my root' })
    const stat = (path: string): string => debugfs(file, `stat ${path}`)
    expect(stat('/nix/var/nix/profiles/system')).toContain('Fast link dest: "system-1-link"')
    // 69 bytes do not fit in an inode.
    expect(debugfs(file, 'cat /nix/var/nix/profiles/system-1-link')).toBe(toplevel)
    expect(stat('/etc/NIXOS')).toMatch(/Type: regular.*Mode: {2}0644[\s\S]*Size: 0$/m)
    expect(debugfs(file, 'cat /etc/nixos/configuration.nix')).toBe('{ ... }: { }\n')
    expect(stat('/nix/var/nix/profiles/per-user/root/channels-1-link')).toContain(`Fast link dest: "${channel}"`)
    expect(stat('/nix/store')).toMatch(/Mode: {2}01775[\s\S]*User: +0 +Group: 30000/)
    runOk('debugfs', ['-R', `dump /nix/var/nix/db/db.sqlite ${work.at('db.sqlite')}`, file])
    const query = `import sqlite3; print([row[0] for row in sqlite3.connect('${work.at('db.sqlite')}').execute('select path from ValidPaths order by path')])`
    expect(runOk('python3', ['-c', query]).text.match(/\/nix\/store\/[^']+/g)).toEqual([...work.small.storePaths].sort())
    expect(runOk('dumpe2fs', ['-h', file]).text).toMatch(/^Filesystem volume name: {3}my root$/m)
  })

  it("has a person's own files, with mode and owner", async () => {
    mkdirSync(work.at('given'))
    writeFileSync(work.at('given', 'key'), 'secret', { mode: 0o640 })
    writeFileSync(work.at('given', 'run'), '#!/bin/sh\n', { mode: 0o750 })
    symlinkSync('key', work.at('given', 'link'))
    symlinkSync('given', work.at('result'))
    const { file } = await work.build({
      layout: 'none',
      add: [
        { target: '/etc/as-it-is', source: work.at('given', 'run') },
        { target: '/etc/with-mode', source: work.at('given', 'run'), mode: 0o4711 },
        { target: '/etc/with-owner', source: work.at('given', 'key'), mode: 0o600, uid: 1000, gid: 100 },
        { target: '/srv/folder', source: work.at('result'), mode: 0o640, uid: 70000 },
        { target: '/root/.ssh/authorized_keys', source: work.at('given', 'key') },
      ],
    })
    const seen = (path: string): string => {
      const [, type, mode, uid, gid] =
        /Type: (\S+) +Mode: +(\d+)[\s\S]*User: +(\d+) +Group: +(\d+)/.exec(debugfs(file, `stat ${path}`)) ?? []
      return `${type} ${mode} ${uid}:${gid}`
    }
    expect(seen('/etc/as-it-is')).toBe('regular 0750 0:0')
    expect(seen('/etc/with-mode')).toBe('regular 04711 0:0')
    expect(seen('/etc/with-owner')).toBe('regular 0600 1000:100')
    expect(seen('/srv')).toBe('directory 0755 0:0')
    expect(seen('/srv/folder')).toBe('directory 0750 70000:0')
    expect(seen('/srv/folder/key')).toBe('regular 0640 70000:0')
    expect(seen('/srv/folder/link')).toBe('symlink 0777 70000:0')
    expect(seen('/root')).toBe('directory 0700 0:0')
    expect(debugfs(file, 'cat /root/.ssh/authorized_keys')).toBe('secret')
    expectClean(file)
  })
})

describe('a squashfs root', () => {
  it.skipIf(oracle('unsquashfs', 'sfdisk').skip)('is read by unsquashfs, in a partition of its size', async () => {
    const built = await work.build({ rootFileSystem: 'squashfs', layout: 'efi' })
    expect(built.plan).toMatchObject({ diskSize: undefined, rootFreeBytes: undefined })
    const root = work.at('root.squashfs')
    const partition = tableOf(built.file).partitions[1]
    const start = (partition?.start ?? 0) * 512
    writeFileSync(root, built.bytes.subarray(start, start + (partition?.size ?? 0) * 512))
    runOk('unsquashfs', ['-q', '-n', '-d', work.at('unpacked'), root])
    expect(compareTrees(join(work.small.root, 'nix/store'), work.at('unpacked/nix/store'), { owners: false })).toEqual([
      expect.stringContaining('.links'),
    ])
    expect(readFileSync(work.at('unpacked/etc/NIXOS'), 'utf8')).toBe('')
    expect([...fatOf({ ...built }, 'esp').files.keys()]).toContain('/EFI/BOOT/BOOTX64.EFI')
  })

  it('fits a size that is large enough, and says what would be', async () => {
    const built = await work.build({ rootFileSystem: 'squashfs', layout: 'legacy+gpt', size: 64 * MEBIBYTE })
    expect([built.bytes.length, built.plan.diskSize]).toEqual([64 * MEBIBYTE, 64 * MEBIBYTE])
    const small = await disk({ ...work.base, rootFileSystem: 'squashfs', layout: 'legacy+gpt', size: 5 * MEBIBYTE })
    await expect(saveImage(small.image, work.at('none'), { jobs: 2 })).rejects.toMatchObject({
      code: 'LIMIT',
      message: expect.stringMatching(/size is 5242880 bytes, the packed root needs a disk of \d+; give size \d+M or more, or auto/),
    })
  })
})

describe('identifiers', () => {
  it('are the same for the same seed, and so is every byte', async () => {
    const first = (await work.build({ seed: 'one' })).bytes
    const second = (await work.build({ seed: 'one' })).bytes
    expect(first.equals(second)).toBe(true)
    expect((await work.build()).bytes.equals((await work.build()).bytes)).toBe(true)
  })

  it.skipIf(oracle('sfdisk', 'dumpe2fs').skip)('are others for another seed, or those that are given', async () => {
    const identifiers = async (options: Partial<DiskOptions>) => {
      const built = await work.build(options)
      const table = tableOf(built.file)
      const said = runOk('dumpe2fs', ['-h', partitionFile(built, 'root')]).text
      return {
        disk: table.id,
        esp: table.partitions[0]?.uuid,
        root: table.partitions[1]?.uuid,
        serial: fatOf(built, 'esp').volumeSerial,
        fileSystem: /^Filesystem UUID: +(\S+)$/m.exec(said)?.[1]?.toUpperCase(),
        hashSeed: /^Directory Hash Seed: +(\S+)$/m.exec(said)?.[1],
      }
    }
    const [one, other] = [await identifiers({ seed: 'one' }), await identifiers({ seed: 'other' })]
    for (const name of ['disk', 'esp', 'serial', 'hashSeed'] as const) expect(one[name], name).not.toBe(other[name])
    // nixpkgs' own, whatever the seed.
    for (const { root, fileSystem } of [one, other])
      expect([root, fileSystem]).toEqual(Array(2).fill('F222513B-DED1-49FA-B591-20CE86A2FE7F'))
    const rootUuid = '01234567-89AB-CDEF-0123-456789ABCDEF'
    const diskGuid = 'FEDCBA98-7654-3210-FEDC-BA9876543210'
    expect(await identifiers({ seed: 'one', rootUuid, diskGuid })).toEqual({ ...one, disk: diskGuid, root: rootUuid, fileSystem: rootUuid })
  })

  it.skipIf(oracle('sfdisk').skip)('of an MBR depend on the seed too', async () => {
    const signature = async (seed: string) => tableOf((await work.build({ seed, layout: 'legacy' })).file).id
    expect(await signature('one')).not.toBe(await signature('other'))
  })
})

describe('what is read back', () => {
  it.skipIf(skip)('is found to be wrong by e2fsck when a bit of it is', async () => {
    const built = await work.build({ layout: 'none' })
    // In the table of inodes, which has checksums.
    const inode = Number(/located at block (\d+)/.exec(debugfs(built.file, 'imap /etc/NIXOS'))?.[1]) * 4096
    const bytes = Buffer.from(partitionBytes(built.bytes, built.plan, 'root'))
    bytes[inode + 4] = (bytes[inode + 4] ?? 0) ^ 1
    writeFileSync(built.file, bytes)
    expect(run('e2fsck', ['-fn', built.file]).status).not.toBe(0)
  })
})
