/** What other people's tools make of our volumes. */
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Image } from '../../../src/io/image.ts'
import type { DirectoryNode, Entry, TreeNode } from '../../../src/tree/tree.ts'
import { oracle, run, runOk } from '../../oracles/tools.ts'
import { readIso } from '../../readers/iso9660-reader.ts'
import {
  BOOT,
  bootTree,
  DISK_GUID,
  directory,
  EPOCH,
  expectedEntries,
  file,
  growing,
  isolinuxLike,
  nastyTree,
  owner,
  packToFile,
  scratchFolder,
  symlink,
} from './volumes.ts'

const folder = scratchFolder()

/**
 * The tree without what a tool cannot read from any volume: xorriso 1.5.4 refuses link targets beyond
 * 1,024 bytes and drops doubled slashes; isoinfo crashes on targets of 4,095 bytes. Devices need root.
 */
function without(node: DirectoryNode, unreadable: (path: string, child: TreeNode) => boolean, path = ''): DirectoryNode {
  const entries = node.entries.flatMap((entry): Entry[] => {
    const name = `${path}/${Buffer.from(entry.name).toString('latin1')}`
    if (unreadable(name, entry.node)) return []
    return [entry.node.kind === 'directory' ? { ...entry, node: without(entry.node, unreadable, name) } : entry]
  })
  return { ...node, entries }
}

function isLongLink(node: TreeNode, limit: number): boolean {
  return node.kind === 'symlink' && node.target.length > limit
}

/** Compare a folder of the host with a tree, names and targets as bytes. */
function compareFolder(base: string, root: DirectoryNode): void {
  const hostPath = (path: string): Buffer => Buffer.concat([Buffer.from(base), Buffer.from(path, 'latin1')])
  const found: string[] = []
  const list = (path: string): void => {
    for (const name of readdirSync(hostPath(path), { encoding: 'buffer' })) {
      const child = `${path}/${name.toString('latin1')}`
      found.push(child)
      if (lstatSync(hostPath(child)).isDirectory()) list(child)
    }
  }
  list('')
  const expected = expectedEntries(root)
  expect(found.sort()).toEqual([...expected.keys()].sort())
  for (const [path, node] of expected) {
    const stat = lstatSync(hostPath(path))
    if (node.kind === 'symlink') expect(readlinkSync(hostPath(path), { encoding: 'buffer' }).equals(node.target)).toBe(true)
    else expect([path, stat.mode & 0o7777, stat.uid, stat.gid]).toEqual([path, node.mode, node.uid, node.gid])
    if (node.kind === 'file') {
      expect(readFileSync(hostPath(path)).equals((node.content as { bytes: Uint8Array }).bytes)).toBe(true)
      expect(stat.mtimeMs / 1000).toBe(node.mtimeSeconds)
    }
  }
}

describe.skipIf(oracle('xorriso').skip)('xorriso', () => {
  const extract = (iso: string, name: string): string => {
    const output = join(folder, name)
    mkdirSync(output)
    const result = run('xorriso', [
      '-abort_on',
      'WARNING',
      '-osirrox',
      'on:auto_chmod_off',
      '-hardlinks',
      'on',
      '-indev',
      iso,
      '-extract',
      '/',
      output,
    ])
    if (result.status !== 0) throw new Error(result.stderr)
    return output
  }

  it('extracts a nasty tree as it was', async () => {
    const root = without(nastyTree(), (path, node) => path === '/dev' || path.startsWith('/symlinks/doubled') || isLongLink(node, 1024))
    const { path } = await packToFile(folder, 'nasty.iso', root)
    const output = extract(path, 'nasty')
    compareFolder(output, root)
    const inode = (name: string): number => statSync(join(output, name)).ino
    expect(inode('links/hard link b')).toBe(inode('hard link a'))
  }, 30_000)

  it('lists devices, and says what it finds without complaint', async () => {
    const { path } = await packToFile(
      folder,
      'dev.iso',
      directory({ dev: nastyTree().entries.find(({ name }) => Buffer.from(name).toString() === 'dev')?.node as DirectoryNode }),
    )
    const result = runOk('xorriso', ['-abort_on', 'WARNING', '-indev', path, '-find', '/dev', '-exec', 'lsdl'])
    expect(result.text).toMatch(/^crw------- .* 5,1 .*'\/dev\/console'$/m)
    expect(result.text).toMatch(/^brw-rw---- .* 8,0 .*'\/dev\/sda'$/m)
    expect(result.text).toMatch(/^prw-r--r-- .*'\/dev\/pipe'$/m)
    expect(result.text).toMatch(/^srwxr-xr-x .*'\/dev\/socket'$/m)
    expect(result.stderr).not.toMatch(/WARNING|SORRY|FAILURE|damaged/)
  })

  it('refuses a damaged volume', async () => {
    const { path } = await packToFile(folder, 'damaged.iso', directory({ a: file('content'), b: symlink('c') }))
    const bytes = readFileSync(path)
    const root = bytes.readUInt32LE(16 * 2048 + 158)
    bytes[bytes.indexOf('NM', root * 2048) + 2] = 0
    writeFileSync(path, bytes)
    expect(() => {
      compareFolder(extract(path, 'damaged'), directory({ a: file('content'), b: symlink('c') }))
    }).toThrow()
  })

  it('finds boot images and partitions of a gpt hybrid', async () => {
    const { path } = await packToFile(folder, 'gpt.iso', bootTree(), {
      boot: BOOT,
      hybrid: { kind: 'gpt', diskGuid: DISK_GUID, bootCode: isohybridCode() },
      growingFile: { path: 'store', mode: 0o444, ...owner, image: growing(new Uint8Array(777_777).fill(1), 5e9) },
    })
    const { text, stderr } = runOk('xorriso', ['-indev', path, '-report_el_torito', 'plain', '-report_system_area', 'plain'])
    expect(stderr).not.toMatch(/WARNING|SORRY|FAILURE/)
    expect(text).toMatch(/^El Torito cat path : \/.boot.cat$/m)
    expect(text).toMatch(/^El Torito boot img : +1 +BIOS +y +none +0x0000 +0x00 +4 /m)
    expect(text).toMatch(/^El Torito boot img : +2 +UEFI +y +none +0x0000 +0x00 +2880 /m)
    expect(text).toMatch(/^El Torito img path : +1 +\/isolinux\/isolinux.bin$/m)
    // xorriso recomputes the checksum of the boot info table before it says so.
    expect(text).toMatch(/^El Torito img opts : +1 +boot-info-table/m)
    expect(text).toMatch(/^El Torito img path : +2 +\/boot\/efi.img$/m)
    expect(text).toMatch(/^Partition offset +: 16$/m)
    expect(text).toMatch(/^MBR partition +: +1 +0x00 +0xee +1 /m)
    expect(text).toMatch(/^MBR partition +: +2 +0x80 +0x00 +0 +1$/m)
    expect(text).toMatch(/^GPT entry array +: +2 +128 +separated$/m)
    expect(text).toMatch(/^GPT type GUID +: +2 +28732ac11ff8d211ba4b00a0c93ec93b$/m)
    expect(text).toMatch(/^GPT partition path : +2 +\/boot\/efi.img$/m)
  })

  it('writes the same partition tables as the nixpkgs hybrid', async () => {
    const source = join(folder, 'source')
    for (const name of ['isolinux', 'boot']) mkdirSync(join(source, name), { recursive: true })
    writeFileSync(join(source, 'isolinux/isolinux.bin'), isolinuxLike())
    writeFileSync(join(source, 'isolinux/isolinux.cfg'), 'DEFAULT x\n')
    writeFileSync(join(source, 'boot/efi.img'), new Uint8Array(1474560).fill(0xee))
    writeFileSync(join(source, 'version.txt'), '26.11')
    const code = join(folder, 'isohdpfx.bin')
    writeFileSync(code, isohybridCode())
    const reference = join(folder, 'reference.iso')
    runOk('xorriso', [
      ...[
        '-boot_image',
        'any',
        `gpt_disk_guid=${Buffer.from(DISK_GUID).toString('hex')}`,
        '-volume_date',
        'all_file_dates',
        `=${EPOCH}`,
        '-as',
        'mkisofs',
      ],
      ...[
        '-iso-level',
        '3',
        '-full-iso9660-filenames',
        '-joliet',
        '-r',
        '-volid',
        'nixos-minimal-26.11-x86_64',
        '-appid',
        'nixos',
        '-publisher',
        'nixos',
      ],
      ...[
        '-eltorito-boot',
        'isolinux/isolinux.bin',
        '-eltorito-catalog',
        '.boot.cat',
        '-no-emul-boot',
        '-boot-load-size',
        '4',
        '-boot-info-table',
      ],
      ...[
        '-isohybrid-mbr',
        code,
        '-eltorito-alt-boot',
        '-e',
        'boot/efi.img',
        '-no-emul-boot',
        '-isohybrid-gpt-basdat',
        '-o',
        reference,
        source,
      ],
    ])
    const theirs = readFileSync(reference)
    const mbrId = theirs.readUInt32LE(440)
    const { path } = await packToFile(folder, 'nixpkgs.iso', bootTree(), {
      volumeId: 'nixos-minimal-26.11-x86_64',
      applicationId: 'nixos',
      publisherId: 'nixos',
      boot: BOOT,
      hybrid: { kind: 'nixpkgs', diskGuid: DISK_GUID, bootCode: isohybridCode(), mbrId },
    })
    const ours = readFileSync(path)
    expect(ours.length).toBe(theirs.length)
    // Addresses of the two boot files differ; everything else of the tables is the same, byte for byte.
    const blockOf = (bytes: Buffer, name: string): number =>
      readIso((at, length) => bytes.subarray(at, at + length)).primary.entries.find((entry) => entry.path === name)?.extents[0]?.block ?? 0
    const normalise = (bytes: Buffer, efi: number, bios: number): Buffer => {
      const tables = Buffer.concat([bytes.subarray(0, 32768), bytes.subarray(-32256)])
      const [primary, backup] = [1024, 32768]
      for (const array of [primary, backup]) {
        expect(Number(tables.readBigUInt64LE(array + 128 + 32))).toBe(efi * 4)
        expect(Number(tables.readBigUInt64LE(array + 128 + 40))).toBe(efi * 4 + 2879)
        tables.fill(0, array + 128 + 32, array + 128 + 48)
      }
      expect(tables.readUInt32LE(462 + 8)).toBe(efi * 4)
      expect(Number(tables.readBigUInt64LE(432))).toBe(bios * 4)
      tables.fill(0, 432, 440)
      tables.fill(0, 470, 474)
      // The checksums cover the addresses.
      for (const header of [512, tables.length - 512]) for (const at of [16, 88]) tables.fill(0, header + at, header + at + 4)
      return tables
    }
    const efi = blockOf(ours, '/boot/efi.img')
    const bios = blockOf(ours, '/isolinux/isolinux.bin')
    const report = runOk('xorriso', ['-indev', reference, '-report_el_torito', 'plain']).text
    const [theirBios = 0, theirEfi = 0] = [...report.matchAll(/^El Torito boot img .* (\d+)$/gm)].map((match) => Number(match[1]))
    expect(normalise(ours, efi, bios).equals(normalise(theirs, theirEfi, theirBios))).toBe(true)
    // The volume descriptor's names, written as xorriso writes them.
    for (const [start, end] of [
      [8, 72],
      [190, 446],
      [574, 702],
    ] as const) {
      expect(ours.toString('latin1', 32768 + start, 32768 + end)).toBe(theirs.toString('latin1', 32768 + start, 32768 + end))
    }
  })

  it('reads files beyond 4 GiB, as does the strict reader', async () => {
    const huge = (size: number, marks: readonly number[]): Image => ({
      size,
      extents: marks.map((start) => ({
        start,
        length: 16,
        async *read() {
          yield new Uint8Array(Buffer.from(`mark ${start}`.padEnd(16)))
        },
      })),
    })
    const GiB = 2 ** 30
    const marks = [0, 4 * GiB - 2048 - 8, 4 * GiB, 8 * GiB + 1, 9 * GiB - 15]
    const image = huge(9 * GiB + 1, marks)
    const exact = 2 * (4 * GiB - 2048)
    const root = directory({
      'nine.img': { kind: 'file', mode: 0o444, ...owner, size: image.size, content: { kind: 'image', image } },
      'two-sections': { kind: 'file', mode: 0o444, ...owner, size: exact, content: { kind: 'image', image: huge(exact, [exact - 16]) } },
      'z-last': file('behind 17 GiB'),
    })
    const { path, readAt } = await packToFile(folder, 'huge.iso', root, { hybrid: { kind: 'gpt', diskGuid: DISK_GUID } })
    expect(statSync(path).blocks * 512).toBeLessThan(4 << 20)
    const iso = readIso(readAt)
    for (const volume of [iso.primary, iso.joliet, readIso(readAt, 32768).primary]) {
      const sizes = volume?.entries.map((entry) => [entry.size, entry.extents.length])
      expect(sizes).toEqual([
        [image.size, 3],
        [exact, 2],
        [13, 1],
      ])
    }
    const nine = iso.primary.entries[0]?.extents ?? []
    for (const mark of marks) {
      const section = Math.floor(mark / 0xfffff800)
      const position = (nine[section]?.block ?? 0) * 2048 + (mark - section * 0xfffff800)
      expect(Buffer.from(readAt(position, 16)).toString().trim()).toBe(`mark ${mark}`)
    }
    const result = runOk('xorriso', ['-abort_on', 'WARNING', '-indev', path, '-find', '/', '-type', 'f', '-exec', 'lsdl'])
    expect(result.text).toMatch(new RegExp(`^-r--r--r-- +1 +0 +0 +${image.size} .*'/nine.img'$`, 'm'))
    expect(result.text).toMatch(new RegExp(` ${exact} .*'/two-sections'$`, 'm'))
    const output = join(folder, 'last')
    runOk('xorriso', ['-osirrox', 'on', '-indev', path, '-extract', '/z-last', output])
    expect(readFileSync(output, 'utf8')).toBe('behind 17 GiB')
    if (!oracle('sgdisk').skip) expect(runOk('sgdisk', ['-v', path]).text).toContain('No problems found')
  }, 60_000)
})

describe.skipIf(oracle('isoinfo').skip)('isoinfo', () => {
  it('lists both trees and the boot catalogue', async () => {
    const { path } = await packToFile(folder, 'isoinfo.iso', bootTree(), { boot: BOOT })
    const description = runOk('isoinfo', ['-d', '-i', path]).text
    for (const line of ['Volume id: test-volume', 'Joliet with UCS level 3 found', 'Rock Ridge signatures version 1 found', 'Key 55 AA'])
      expect(description).toContain(line)
    const rockRidge = runOk('isoinfo', ['-R', '-f', '-i', path]).text.trim().split('\n').sort()
    expect(rockRidge).toEqual([
      '/.boot.cat',
      '/boot',
      '/boot/efi.img',
      '/isolinux',
      '/isolinux/isolinux.bin',
      '/isolinux/isolinux.cfg',
      '/version.txt',
    ])
    const joliet = runOk('isoinfo', ['-J', '-f', '-i', path]).text.trim().split('\n').sort()
    expect(joliet).toEqual(rockRidge)
    const plain = runOk('isoinfo', ['-f', '-i', path]).text.trim().split('\n').sort()
    expect(plain).toEqual([
      '/BOOT',
      '/BOOT/EFI.IMG;1',
      '/ISOLINUX',
      '/ISOLINUX/ISOLINUX.BIN;1',
      '/ISOLINUX/ISOLINUX.CFG;1',
      '/VERSION.TXT;1',
      '/_BOOT.CAT;1',
    ])
    expect(runOk('isoinfo', ['-R', '-x', '/version.txt', '-i', path]).text).toBe('26.11')
  })

  it('reads a nasty tree to its end', async () => {
    const root = without(nastyTree(), (_, node) => isLongLink(node, 2048))
    const { path } = await packToFile(folder, 'isoinfo-nasty.iso', root)
    const listed = runOk('isoinfo', ['-R', '-f', '-i', path]).stdout.toString('latin1')
    for (const name of expectedEntries(root).keys()) expect(listed.includes(`${name}\n`), name).toBe(true)
  })
})

describe.skipIf(oracle('sgdisk', 'sfdisk').skip)('sgdisk and sfdisk', () => {
  const make = (bootCode: boolean, efi: boolean): ReturnType<typeof packToFile> =>
    packToFile(folder, `tables-${bootCode}-${efi}.iso`, bootTree(), {
      boot: efi ? BOOT : { catalogPath: BOOT.catalogPath, bios: { path: 'isolinux/isolinux.bin' } },
      hybrid: { kind: 'gpt', diskGuid: DISK_GUID, ...(bootCode ? { bootCode: isohybridCode() } : {}) },
    })

  it.each([
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ])('find nothing wrong (boot code: %s, EFI image: %s)', async (bootCode, efi) => {
    const { path } = await make(bootCode, efi)
    expect(runOk('sgdisk', ['-v', path]).text).toContain('No problems found')
    expect(runOk('sfdisk', ['--verify', path]).text).toContain('No errors detected')
    const dump = runOk('sfdisk', ['-d', path]).text
    expect(dump).toContain('label: gpt')
    expect(dump).toMatch(/1 : start= +64, .*type=0FC63DAF-8483-4772-8E79-3D69D8477DE4/)
    if (efi) expect(dump).toMatch(/2 : start= +2048, size= +2880, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B/)
  })

  it.each([
    ['primary header', 512 + 60],
    ['entry array', 1024 + 32],
    ['protective entry', 446 + 4],
    ['backup header', -512 + 60],
  ])('find a changed byte in the %s', async (_, at) => {
    const { path } = await make(true, true)
    const bytes = readFileSync(path)
    const position = at < 0 ? bytes.length + at : at
    bytes[position] = (bytes[position] ?? 0) ^ 0x11
    const damaged = join(folder, 'damaged-table.iso')
    writeFileSync(damaged, bytes)
    const result = run('sgdisk', ['-v', damaged])
    expect(result.text.includes('No problems found') && !/caution|warning|invalid|corrupt/i.test(result.text + result.stderr)).toBe(false)
  })
})

/** Boot code of the right length, with the bytes by which xorriso knows it for isohdpfx.bin. */
function isohybridCode(): Uint8Array {
  const bytes = new Uint8Array(432).fill(0x90)
  bytes.set([0x33, 0xed, 0x90, 0x90])
  return bytes
}
